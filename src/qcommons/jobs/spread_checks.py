"""From a report to outcomes that may be used: what is checked, whom it tells of, what is handed back.

Flow: ReportRead -> *Checks.reported* -> accepted as it is (none), audited (audit), judged with the others (replicate)
-> verdicts, records -> ItemsEnded, PieceEnded; after a lie -> Doubted.

    assurance  a report that reads          then
    none       is used                      -
    audit      chosen runs are computed     right: used. One wrong: none of its runs is used, nor are those that came
               again, here or by a third    unchecked from this peer before; its other leases are dropped
    replicate  waits for the others; each   an answer that a majority gave, or that agrees with ours, is used; where
               run is judged by itself      nobody has one, this node computes it, or a third replica does

A run that failed at one peer is tried at another: what one peer says is no fact. The second failure stands.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from qcommons.base.effects import Effect, Run, Send, note
from qcommons.base.errors import PeerError
from qcommons.base.units import PPM
from qcommons.jobs.checking import (
    LeaseAudit,
    Party,
    judge_replicas,
    opens,
    own_found,
    party,
    recomputations,
    verdicts,
)
from qcommons.jobs.issuing import HeldJob, Parcel
from qcommons.jobs.leases import LeaseRecord, derived
from qcommons.jobs.outcomes import Done, Outcome
from qcommons.jobs.plan.records import Price
from qcommons.jobs.records import Piece
from qcommons.jobs.report import Reported
from qcommons.jobs.spread_board import Board, OpenLease
from qcommons.jobs.work_events import JOBS, Doubted
from qcommons.mesh.records import PeerId
from qcommons.verify.answers import Found, overstated
from qcommons.verify.audit import rate_ppm
from qcommons.verify.records import Verdict
from qcommons.verify.replicate import Judgement
from qcommons.verify.verdict import punishes

__all__ = ["TRIES_MAX", "Checks"]

TRIES_MAX = 12  # leases of a parcel that came to nothing, before its runs end so: each was another peer or a minute
THIRDS_MAX = 3  # peers who compute a run again for one audit
REPLICAS_KEPT_MAX = 4  # answers that may be compared before a run begins anew with a fresh seed
DONE_IN = "its answers were used"


class Checks:
    """Audits and replicas under way; they live in leases and parcels."""

    def __init__(self, board: Board) -> None:
        self.board = board

    def reported(self, lease: OpenLease, reported: Reported, public_key: bytes, now_ns: int) -> list[Effect]:
        """Raises PeerError: the report is of another lease, or opens another commitment."""
        held, name = lease.held, lease.record.hired_job
        for place, run in enumerate(reported.runs):
            if run.receipt.job_id != name:
                raise PeerError(f"a receipt of {run.receipt.job_id}; this lease is {name}", where=f"runs[{place}]")
        if lease.record.offer.commits:
            place_ = opens(lease.record, lease.salt, reported)
            if place_ is not None:
                raise PeerError("the answer is not what it committed to", where=f"runs[{place_}]")
        receipts = tuple(run.receipt_bytes for run in reported.runs)
        kept = self.board.moved(
            lease, "reported", now_ns, public_key=public_key, receipts=receipts, signed_root=reported.signed_root,
            salt=lease.salt, overstated=_overstated(lease.parcel.price, reported),
        )  # fmt: skip
        lease.party, lease.fetch = party(lease.record, lease.piece, reported), None
        self.board.free_place(lease)
        looks = [*_said_too_much(lease.record), *self.board.place(now_ns)]
        if lease.parcel.helps:
            return [kept, *looks, *self._third(lease, now_ns)]
        if lease.record.offer.commits:
            return [kept, *looks, *self.replicas(held, lease.parcel, now_ns)]
        if held.job.assurance == "audit" and lease.checked_root != reported.signed_root:
            rate = rate_ppm(self.board.quarantine.standing(lease.peer))
            lease.audit = LeaseAudit(self.board.me, lease.party, rate, lease.parcel.price.here)
            looked_at = [kept] if lease.audit.chosen() else []  # else its next state is kept at once
            return [*looked_at, *looks, *self.audit(lease, now_ns)]
        if lease.checked_root:  # fetched again after a restart: what was not used, or taken back, is not used now
            used, checked = lease.record.accepted, lease.record.checked
        else:
            used, checked = lease.record.runs, ()
        return [*looks, *self._use(lease, held, used, checked, now_ns)]

    # what is used

    def _use(
        self, lease: OpenLease, held: HeldJob, runs: Iterable[int], checked: Iterable[int], now_ns: int
    ) -> list[Effect]:
        """Its answers to these runs are right, or are not checked; whatever else was in the lease is run elsewhere."""
        board, parcel, one = self.board, lease.parcel, lease.party
        assert one is not None
        used = set(runs)
        ends: dict[int, Outcome] = {}
        retry: dict[int, Outcome | None] = {}
        units = 0
        for run, place in one.place_of.items():
            if run not in held.wanted:
                continue
            said = one.reported.runs[place]
            if run not in used:
                retry[run] = None
            elif isinstance(said.outcome, Done) or run in parcel.failures:
                ends[run] = said.outcome
                units += said.receipt.work_units
            else:
                retry[run] = said.outcome
        board.closed(lease)
        held.settle(lease.id, lease.record.offer.price_max, units)
        accepted, looked_at = tuple(ends), tuple(sorted(checked))
        kept = board.moved(lease, "accepted", now_ns, DONE_IN, accepted=accepted, checked=looked_at)
        held.unaudited.setdefault(lease.peer, set()).update(set(accepted).difference(looked_at))
        effects = [kept, *held.handed(ends)]
        return [*effects, *self._elsewhere(held, parcel, lease.peer, retry, now_ns)]

    def _elsewhere(
        self, held: HeldJob, parcel: Parcel, peer: PeerId, retry: dict[int, Outcome | None], now_ns: int
    ) -> list[Effect]:
        """Runs that this peer did not answer well go to another one; the parcel that they came from is over."""
        effects = self.board.over(held, parcel, "another lease answered first", now_ns, is_answered=True)
        if retry:
            again = held.again(parcel, retry)
            again.avoid[peer] = "its answer was not used"
            again.failures = {run: outcome for run, outcome in retry.items() if outcome is not None}
            again.tries += 1
            held.keep(again)
        return [*effects, *self.board.place(now_ns)]

    # audits

    def audit(self, lease: OpenLease, now_ns: int) -> list[Effect]:
        """Go on: have computed what is missing, or end it."""
        audit, board = lease.audit, self.board
        assert audit is not None
        missing = audit.missing()
        running = {item.index for owner, piece in board.own_runs.values() if owner is lease for item in piece.items}
        helped = any(one.helps == lease.id for one in lease.held.parcels.values())
        if audit.here and missing:
            new = [place for place in missing if place not in running]
            return self._own(lease, lease.id.hex() + (".f" if audit.free else ""), audit.party, new, audit.free)
        if missing and not helped:
            if len(audit.thirds) >= THIRDS_MAX:
                return self.third_missing(lease.id, now_ns)
            return self._ask_third(lease, missing, now_ns)
        return [] if missing else self._audited(lease, now_ns)

    def _own(self, owner: object, name: str, audited: Party, places: Iterable[int], free: bool = False) -> list[Effect]:
        """Have this node's workers compute these runs. free: as of `recomputations`."""
        number = sum(1 for piece in self.board.own_runs if piece.startswith(f"audit.{name}."))
        pieces = recomputations(f"audit.{name}.{number}", audited, places, free)
        self.board.own_runs.update((piece.id, (owner, piece)) for piece in pieces)
        return [Run(piece.id, piece) for piece in pieces]

    def _ask_third(self, lease: OpenLease, places: tuple[int, ...], now_ns: int) -> list[Effect]:
        """This node cannot compute them: another peer does, and is told neither the answer nor what it is for."""
        held, parcel = lease.held, lease.parcel
        runs = tuple(lease.record.runs[place] for place in places)
        helper = held.again(parcel, runs)
        helper.helps, helper.need = lease.id, 1
        helper.avoid = {lease.peer: "its own answer is looked at"}
        assert lease.audit is not None
        helper.avoid |= {third.peer: "it was asked already" for third in lease.audit.thirds}
        held.keep(helper)
        return self.board.place(now_ns)

    def _third(self, lease: OpenLease, now_ns: int) -> list[Effect]:
        """A third has computed again what an audit asked for."""
        board, held, asked = self.board, lease.held, self.board.leases.get(lease.parcel.helps)
        board.closed(lease)
        assert lease.party is not None
        units = sum(run.receipt.work_units for run in lease.party.reported.runs)
        held.settle(lease.id, lease.record.offer.price_max, units)
        kept = board.moved(lease, "accepted", now_ns, "it computed runs of another peer again")
        effects = [kept, *board.over(held, lease.parcel, "another lease answered first", now_ns, is_answered=True)]
        if asked is None or asked.audit is None:
            return effects
        asked.audit.thirds.append(lease.party)
        return [*effects, *self.audit(asked, now_ns)]

    def third_missing(self, lease_id: bytes, now_ns: int) -> list[Effect]:
        """Nobody can compute them again: what was found stays, and what was not is proved by nobody."""
        lease = self.board.leases.get(lease_id)
        if lease is None or lease.audit is None:
            return []
        for place in lease.audit.chosen():
            lease.audit.own.setdefault(lease.record.runs[place], None)
        lease.audit.here = True
        return self._audited(lease, now_ns)

    def _audited(self, lease: OpenLease, now_ns: int) -> list[Effect]:
        audit, held, runs = lease.audit, lease.held, lease.record.runs
        assert audit is not None
        lease.record = msgspec.structs.replace(lease.record, rate_ppm=audit.rate_ppm)
        held.records[lease.id] = lease.record
        if not audit.chosen():
            return self._use(lease, held, runs, (), now_ns)
        ended, judgements = audit.result()
        open_ = tuple(audit.party.place_of[run] for run, judged in judgements.items() if _is_disputed(judged))
        if open_ and not audit.here and len(audit.thirds) < THIRDS_MAX:
            return self._ask_third(lease, open_, now_ns)
        parties = [audit.party, *audit.thirds]
        found = verdicts(self.board.me, parties, judgements, audit.own, self.board.peers.wall_ns(now_ns))
        effects = self._judged(held, found, now_ns)
        lies = ended.kind in ("wrong", "malformed")
        # where two contradict each other and nobody decides, or nobody could compute a chosen run again, no run of the
        # lease is better than those: else who names runs that nobody can check passes with all the others
        is_unchecked = any(not judged.seen for judged in judgements.values())
        doubted = set(runs) if lies or open_ or is_unchecked else {runs[place] for place in ended.doubted}
        if lies:
            self.board.chooser.reported(lease.record.pick, None)
            lease.record = msgspec.structs.replace(lease.record, checked=tuple(sorted(judgements)))
            effects += self.board.nothing(lease, "it was found lying: none of its runs is used", now_ns)
        else:
            effects += self._use(lease, held, [run for run in runs if run not in doubted], judgements, now_ns)
        return effects + self._liars(held, found, now_ns)

    # replicas

    def replicas(self, held: HeldJob, parcel: Parcel, now_ns: int) -> list[Effect]:
        """Judge, when whoever is out has opened; parties of an earlier round count too."""
        board = self.board
        out = [board.leases[one] for one in parcel.leases]
        if not parcel.opened or any(one.party is None for one in out):
            return []
        own = parcel.own
        parties = [*parcel.parties, *(one.party for one in out if one.party is not None)]
        runs = [run for run in parcel.runs if run in held.wanted]
        secret = derived(board.secret, "replicas", held.job.id)
        judgements = judge_replicas(parties, runs, secret, own)
        chosen = {run: judged.chosen for run, judged in judgements.items() if judged.chosen is not None}
        ends: dict[int, Outcome] = {}
        by_peer = {one.peer: one for one in parties}
        for run in runs:
            node = chosen.get(run)
            failures = [one.outcome(run) for one in parties if run in one.place_of and one.found(run) is None]
            if node is not None:
                ends[run] = by_peer[PeerId(node)].outcome(run)
            elif run not in judgements and len(failures) >= 2:
                ends[run] = failures[-1]
        open_ = [run for run in runs if run not in ends]
        asked = [run for run in open_ if run not in own and any(one.found(run) for one in parties)]
        if asked and parcel.price.here and parties:
            return self._arbitrate(parcel, parties, asked)
        judged = {run: one for run, one in judgements.items() if one.chosen is not None or run in own or not open_}
        found = verdicts(board.me, parties, judged, own, board.peers.wall_ns(now_ns))
        effects = self._judged(held, found, now_ns)
        effects += self._replicas_used(held, parcel, out, chosen, now_ns)
        effects += held.handed(ends)
        effects += board.over(held, parcel, "the run has its answer", now_ns, is_answered=True)
        if open_:
            effects += self._third_replica(held, parcel, parties, open_, now_ns)
        return effects + self._liars(held, found, now_ns)

    def _arbitrate(self, parcel: Parcel, parties: list[Party], runs: list[int]) -> list[Effect]:
        """Where replicas do not agree this node computes it: the only word that proves who is wrong."""
        running = any(owner is parcel for owner, _ in self.board.own_runs.values())
        if running:
            return []
        effects: list[Effect] = []
        parcel.judged_from = [one.record for one in parties]
        left = set(runs)
        for one in parties:
            mine = [run for run in sorted(left) if one.found(run) is not None]
            left.difference_update(mine)
            if mine:
                name = f"{one.record.lease.hex()}.r"
                effects += self._own(parcel, name, one, [one.place_of[run] for run in mine])
        return effects

    def _replicas_used(
        self, held: HeldJob, parcel: Parcel, out: list[OpenLease], chosen: dict[int, bytes], now_ns: int
    ) -> list[Effect]:
        """Each replica is paid for what was not found wrong; the one whose answer stands is named in its record."""
        effects: list[Effect] = []
        for lease in out:
            assert lease.party is not None
            mine = tuple(run for run, node in chosen.items() if node == lease.peer)
            units = sum(one.receipt.work_units for one in lease.party.reported.runs if isinstance(one.outcome, Done))
            self.board.closed(lease)
            held.settle(lease.id, lease.record.offer.price_max, units)
            effects.append(
                self.board.moved(lease, "accepted", now_ns, DONE_IN if mine else _replica_why(lease), accepted=mine,
                                 checked=tuple(chosen))
            )  # fmt: skip
        return effects

    def _third_replica(
        self, held: HeldJob, parcel: Parcel, parties: list[Party], runs: list[int], now_ns: int
    ) -> list[Effect]:
        again = held.again(parcel, runs)
        again.tries += 1
        if parties and len(parties) < REPLICAS_KEPT_MAX and parcel.nonce:
            again.parties, again.nonce, again.need = parties, parcel.nonce, 1
            again.avoid |= {one.peer: "it answered this already; another must arbitrate" for one in parties}
        again.failures = {run: one.outcome(run) for one in parties for run in runs
                          if run in one.place_of and one.found(run) is None}  # fmt: skip
        held.keep(again)
        return self.board.place(now_ns)

    def open_due(self, held: HeldJob, parcel: Parcel, now_ns: int) -> list[OpenLease]:
        """Who committed and did not open in time."""
        return [self.board.leases[one] for one in parcel.leases if self.board.leases[one].party is None]

    def lost(self, held: HeldJob, parcel: Parcel, now_ns: int) -> list[Effect]:
        """A lease of it came to nothing: of an opened parcel the others are judged without it, if there are any."""
        if parcel.number not in held.parcels or not parcel.opened:
            return []
        if parcel.leases:
            return self.replicas(held, parcel, now_ns)
        runs = [run for run in parcel.runs if run in held.wanted]
        effects = self.board.over(held, parcel, "no replica opened", now_ns)
        return [*effects, *self._third_replica(held, parcel, parcel.parties, runs, now_ns)]

    # own computations

    def own_ended(self, piece_id: str, ends: Iterable[tuple[int, Outcome]]) -> None:
        owner, piece = self.board.own_runs[piece_id]
        seeds = {item.index: item.seed for item in piece.items}
        known, runs = self._known(owner, piece)
        for place, outcome in ends:
            if place in seeds:
                known[runs[place]] = own_found(outcome, seeds[place])

    def own_over(self, piece_id: str, now_ns: int) -> list[Effect]:
        owner, piece = self.board.own_runs.pop(piece_id)
        known, runs = self._known(owner, piece)
        for item in piece.items:
            known.setdefault(runs[item.index], None)
        if any(other is owner for other, _ in self.board.own_runs.values()):
            return []
        if isinstance(owner, Parcel):
            held = self.board.jobs[owner.pieces[0].partition(".")[0]]
            return self.replicas(held, owner, now_ns)
        assert isinstance(owner, OpenLease) and owner.audit is not None
        if None in owner.audit.own.values():
            failed = [run for run, found in owner.audit.own.items() if found is None]
            for run in failed:
                del owner.audit.own[run]
            if owner.audit.party.piece.engine is None and not owner.audit.free:  # the peer chose an engine: not ours
                owner.audit.free = True
                return self.audit(owner, now_ns)
            owner.audit.here = False  # it was more than this node can do: a third may
            said = note("own_audit_failed", lease=owner.id.hex(), runs=len(failed))
            return [said, *self.audit(owner, now_ns)]
        return self.audit(owner, now_ns)

    @staticmethod
    def _known(owner: object, piece: Piece) -> tuple[dict[int, Found | None], tuple[int, ...]]:
        """Where the answers of a piece go, and the run of each of its places."""
        if isinstance(owner, Parcel):
            record = next(one for one in owner.judged_from if piece.id.startswith(f"audit.{one.lease.hex()}."))
            return owner.own, record.runs
        assert isinstance(owner, OpenLease) and owner.audit is not None
        return owner.audit.own, owner.record.runs

    # verdicts

    def _judged(self, held: HeldJob, found: list[tuple[Party, Verdict]], now_ns: int) -> list[Effect]:
        return [
            effect for one, verdict in found for effect in self.board.judged(held, one.record.lease, verdict, now_ns)
        ]

    def _liars(self, held: HeldJob, found: list[tuple[Party, Verdict]], now_ns: int) -> list[Effect]:
        """A proof counts everywhere; the word of a majority, which liars can be, in this job alone."""
        effects: list[Effect] = []
        for one, verdict in found:
            if verdict.kind == "wrong" and punishes(verdict):
                effects += self._lied(one.peer, now_ns)
            elif verdict.kind == "wrong":
                held.outvoted[one.peer] = "in this job other peers contradicted it"
                effects += self._doubt(held, one.peer)
        return effects

    def _lied(self, peer: PeerId, now_ns: int) -> list[Effect]:
        """It was proved to lie: what came unchecked from it is doubted, what is out is dropped, what is here is looked
        at whole."""
        board, effects = self.board, []
        for lease in [one for one in board.leases.values() if one.peer == peer]:
            if lease.id not in board.leases:
                continue
            if lease.audit is not None:
                lease.audit.rate_ppm = PPM
                effects += self.audit(lease, now_ns)
            elif lease.party is None:
                why = "its peer was found lying"
                effects += [board.drop(lease, why), *board.nothing(lease, why, now_ns)]
                effects += self.lost(lease.held, lease.parcel, now_ns)
        for held in board.jobs.values():
            if held.job.assurance != "none":
                effects += self._doubt(held, peer)
        return effects

    def _doubt(self, held: HeldJob, peer: PeerId) -> list[Effect]:
        """What came unchecked from it is given up, and run again."""
        runs = tuple(sorted(held.unaudited.pop(peer, ())))
        if not runs:
            return []
        doubted = set(runs)
        effects: list[Effect] = []
        for lease_id, record in list(held.records.items()):
            if record.peer == peer and doubted.intersection(record.accepted):
                effects.append(self.board.withdrawn(held, lease_id, doubted))
        return [*effects, Send(JOBS, Doubted(held.job.id, runs, "their peer was found lying in other runs"))]


def _overstated(price: Price, reported: Reported) -> int:
    """Work units that its receipts name, where the cost model says less; 0 where they are right or nobody knows.

    Nothing is proved by it and nothing more is paid, so it is noted and shown, and has no verdict.
    """
    named = sum(run.receipt.work_units for run in reported.runs if isinstance(run.outcome, Done))
    is_known = price.here and price.engine is not None and price.method is not None
    return named if is_known and overstated(named, float(price.work_units), False) else 0


def _said_too_much(record: LeaseRecord) -> list[Effect]:
    if not record.overstated:
        return []
    return [note("work_overstated", lease=record.lease.hex(), peer=record.node_id, named=record.overstated,
                 predicted=record.work_units)]  # fmt: skip


def _replica_why(lease: OpenLease) -> str:
    """Of one whose answers were not those that were handed back."""
    found_wrong = "wrong" in lease.record.found
    return "its answer was found wrong" if found_wrong else "it was a replica of the answers used"


def _is_disputed(judged: Judgement) -> bool:
    """Two answers contradict each other, and no third decided."""
    return judged.chosen is None and any(seen.outcome == "differs" for seen, _ in judged.seen.values())
