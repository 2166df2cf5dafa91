"""Spread: the runs of all mesh jobs of this node, given to peers, fetched, checked and handed back.

Flow: JobMachine --Run(piece)--> Wanted -> *Spread* -> leases (spread_leases) -> reports -> checks (spread_checks) ->
Send(JOBS, ItemsEnded, PieceEnded). One Spread a node: all its jobs share its peers. Where a piece runs is not the job's
business: it asks here as it asks the worker pool.

    a run is   until
    waiting    a peer has a free place: it travels with others of its job, about a second of work together
    offered    the peer grants the lease, which is on disk here before the offer goes out (spread_leases: states)
    leased     the report is here, or the lease is lost: then it waits again
    committed  enough replicas have committed (assurance replicate)
    reported   the report is read
    checked    its audit or its judgement is over
    ended      handed back, once

    event                    answer
    Wanted                   waits; what a kept lease holds is collected, not run again
    Unwanted, JobOver        what only they wanted is dropped
    Candidates               places what waits; whoever is gone is hedged
    Offline                  every run ends: nobody can be asked
    Heard                    an answer of the lease's peer; of an unknown question: a note
    ReportRead               checked
    ItemsEnded, PieceEnded   of "audit." pieces: this node's own computations for checks
    Came                     a worker asks for a part of the work
    Woken                    ("spread", what, ...): place, ask, unanswered, hedge, due, open, keep
    anything else            a note

A run that nobody can take for NOBODY_S ends with the reasons counted. Leases that came to nothing TRIES_MAX times end
their runs so. Everything is bounded: leases a peer and in all, bytes of reports held, runs that wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from qcommons.base.effects import Effect, Send, Store, WakeAt, Woken, note
from qcommons.base.errors import QCommonsError
from qcommons.base.units import NS_PER_S
from qcommons.jobs.choosing import Peers
from qcommons.jobs.issuing import HeldJob, Parcel, bundles_of
from qcommons.jobs.leases import KEY as LEASE_KEY
from qcommons.jobs.leases import LeaseRecord, key_of, piece_for, read_kept
from qcommons.jobs.machine import ItemsEnded, PieceEnded
from qcommons.jobs.outcomes import Outcome, Refused, Unserved, outcome_of
from qcommons.jobs.place import Chooser
from qcommons.jobs.plan.records import Price
from qcommons.jobs.quarantine import KEY as QUARANTINE_KEY
from qcommons.jobs.quarantine import Quarantine
from qcommons.jobs.records import Job, Piece
from qcommons.jobs.spread_board import Board, OpenLease, PriceOf, SignVerdict
from qcommons.jobs.spread_checks import Checks
from qcommons.jobs.spread_leases import Leases
from qcommons.jobs.spread_placing import NOBODY_S, Placing
from qcommons.jobs.work_events import JOBS, Came, Candidates, Heard, JobOver, Offline, ReportRead, Unwanted, Wanted
from qcommons.jobs.work_views import ConsideredRow, LeaseRow
from qcommons.mesh.records import PeerId

__all__ = ["KEYS", "NOBODY_S", "Event", "Spread"]

KEYS = (LEASE_KEY, QUARANTINE_KEY, "spread/")
CHOOSER_KEY = "spread/chooser"
KEEP_NS = 60 * NS_PER_S  # what the bandit learnt in the last minute may be lost with a crash
WAITING_MAX = 1_000_000  # runs of all jobs that wait: 100 bytes each
RECORDS_OPEN = ("offered", "leased", "committed", "reported")

Event = (
    Wanted | Unwanted | JobOver | Candidates | Offline | Heard | ReportRead | ItemsEnded | PieceEnded | Came | Woken
)  # fmt: skip


class Spread:
    """One node's submitter.

    Args:
        me: hash of this node. secret: 32 bytes that only it knows and that stay. kept: what was stored under KEYS,
            leases of open jobs at least. price: of a piece whose items' index is the run of the job. sign: the file
            of a verdict.

    Raises:
        Corrupt: what was kept cannot be read.
    """

    def __init__(
        self, me: PeerId, secret: bytes, kept: Mapping[str, bytes], *, price: PriceOf, sign: SignVerdict
    ) -> None:
        rows = {
            bytes.fromhex(key.removeprefix(QUARANTINE_KEY)): raw
            for key, raw in kept.items() if key.startswith(QUARANTINE_KEY)
        }  # fmt: skip
        self.quarantine = Quarantine(me, rows)
        self.chooser = Chooser.restored(kept[CHOOSER_KEY]) if CHOOSER_KEY in kept else Chooser()
        peers = Peers(self.quarantine, self.chooser)
        self._board = board = Board(me, secret, peers, price, sign)
        self._checks = Checks(board)
        self._leases = Leases(board, self._checks)
        self._placing = Placing(board, self._leases, self._checks)
        self._kept: dict[str, list[LeaseRecord]] = {}
        for key in sorted(key for key in kept if key.startswith(LEASE_KEY)):
            record = read_kept(kept[key])
            self._kept.setdefault(record.job, []).append(record)

    def begin(self, now_ns: int) -> list[Effect]:
        """Once, before any event."""
        return [WakeAt(now_ns + KEEP_NS, ("spread", "keep"))]

    def handle(self, event: Event, now_ns: int) -> list[Effect]:
        """Every event is answered in every state. What the job machines are told comes last: they may end the job on
        it, and nothing of it is to be kept after that."""
        effects = self._handle(event, now_ns)
        return sorted(effects, key=lambda effect: isinstance(effect, Send) and effect.to == JOBS)

    def _handle(self, event: Event, now_ns: int) -> list[Effect]:
        match event:
            case Wanted():
                return self._wanted(event, now_ns)
            case Heard(ticket):
                return self._heard(event, ticket, now_ns)
            case Woken(token):
                return self._woken(token, now_ns)
            case Candidates(rows, now_s):
                return self._candidates(rows, now_s, now_ns)
            case ReportRead(lease):
                found = self._board.leases.get(lease)
                is_fault = event.fault is not None and event.fault[1] == "fault"
                if found is None or (found.party is not None and not is_fault):
                    return [note("spread_event_ignored", event="ReportRead", lease=lease.hex())]
                return self._leases.report_read(found, event, now_ns)
            case ItemsEnded(piece_id, ends) if piece_id in self._board.own_runs:
                self._checks.own_ended(piece_id, ends)
                return []
            case PieceEnded(piece_id) if piece_id in self._board.own_runs:
                return self._checks.own_over(piece_id, now_ns)
            case Came():
                return self._leases.came(event)
            case Unwanted(piece_id):
                return self._unwanted(piece_id, now_ns)
            case JobOver(job_id):
                return self._job_over(job_id, now_ns)
            case Offline(why):
                return self._offline(why, now_ns)
            case _:
                return [note("spread_event_ignored", event=type(event).__name__)]

    # views

    def view(self, job_id: str, now_ns: int) -> tuple[LeaseRow, ...]:
        """Every lease of a job, in the order in which they were given; of ended jobs, the last ones."""
        held = self._board.jobs.get(job_id)
        if held is not None:
            return self._board.rows(held)
        return next((rows for job, rows in reversed(self._board.ended) if job == job_id), ())

    def considered(self, job: Job, now_ns: int) -> tuple[ConsideredRow, ...]:
        """Each peer for the work that waits next, or for a job that is not submitted; and why it is left out.

        Raises:
            Unavailable, UsageError: the job has no price.
        """
        board = self._board
        held = board.jobs.get(job.id)
        parcel = held.next_parcel(board.peers.places) if held is not None else None
        if held is None or parcel is None:
            held = held or HeldJob(job, now_ns + int(job.deadline_s * NS_PER_S))
            widest = max(range(len(job.points)), key=lambda run: job.programs[job.points[run].program].n_qubits)
            parcel = Parcel(0, (widest,), (f"{job.id}.0",), board.price(_of_job(job, (widest,), f"{job.id}.0")))
        needs = board.peers.needs(held, parcel, now_ns)
        rows = board.peers.rows_for(held, needs, parcel.avoid, now_ns)
        return tuple(ConsideredRow(one.node_id, one.relation, why) for one, why in rows)

    # the job machines

    def _wanted(self, event: Wanted, now_ns: int) -> list[Effect]:
        board, job, piece = self._board, event.job, event.piece
        effects: list[Effect] = []
        held = board.jobs.get(job.id)
        if held is None:
            held = board.jobs[job.id] = HeldJob(job, event.until_ns)
            effects += self._revive(held, now_ns)
        effects += self._accepted_before(held, piece, now_ns)
        runs = held.want(piece)
        if board.offline:
            return effects + held.handed(dict.fromkeys(runs, self._off()))
        if not runs:
            return effects
        waiting = sum(bundle.load.runs for one in board.jobs.values() for bundle in one.waiting)
        if waiting + len(runs) > WAITING_MAX:
            limit = f"{WAITING_MAX} runs"
            what = f"{waiting} runs wait for peers already; allowed {limit}; submit it again when fewer do"
            said = note("spread_full", job=job.id, piece=piece.id, runs=len(runs), why=what)
            return [*effects, said, *held.handed(dict.fromkeys(runs, Refused(what, "mesh", limit)))]
        try:
            held.wait(bundles_of(job, piece.id, runs, board.price(piece)))
        except QCommonsError as error:
            return effects + held.handed(dict.fromkeys(runs, outcome_of(error, job.limits.memory_bytes)))
        return [*effects, *board.place(now_ns)]

    def _unwanted(self, piece_id: str, now_ns: int) -> list[Effect]:
        held = self._board.jobs.get(piece_id.partition(".")[0])
        if held is None:
            return [note("spread_event_ignored", event="Unwanted", piece=piece_id)]
        effects: list[Effect] = []
        for parcel in held.unwant(piece_id):
            if not parcel.helps:
                effects += self._board.over(held, parcel, "its runs are no longer wanted", now_ns)
        return effects

    def _job_over(self, job_id: str, now_ns: int) -> list[Effect]:
        """What proves something stays: leases whose answers were used, and those with a verdict."""
        board = self._board
        held = board.jobs.get(job_id)
        records = self._kept.pop(job_id, [])
        if held is None:
            return [Store(key_of(one), None) for one in records if not (one.accepted or one.verdicts)]
        effects: list[Effect] = []
        for parcel in list(held.parcels.values()):
            effects += [*board.over(held, parcel, "the job is over", now_ns), *board.stop_own(parcel)]
        del board.jobs[job_id]
        board.ended.append((job_id, board.rows(held)))
        unproven = [one for one in held.records.values() if not (one.accepted or one.verdicts)]
        return [*effects, *(Store(key_of(one), None) for one in unproven), *board.place(now_ns)]

    # what was kept

    def _revive(self, held: HeldJob, now_ns: int) -> list[Effect]:
        """The job is known again: its open leases are out, as before the crash."""
        records = self._kept.pop(held.job.id, [])
        effects: list[Effect] = []
        parcels: dict[tuple[tuple[int, ...], bytes], Parcel] = {}
        for record in records:
            held.records[record.lease] = record
            held.serials = max(held.serials, record.serial + 1)
            if record.accepted:
                held.used[PeerId(record.peer)] = held.used.get(PeerId(record.peer), 0) + 1
                unchecked = set(record.accepted).difference(record.checked)
                held.unaudited.setdefault(PeerId(record.peer), set()).update(unchecked)
                price, units = record.offer.price_max, record.work_units
                held.speak(record.lease, price, units)
                held.settle(record.lease, price, units)
            if record.state in RECORDS_OPEN:
                effects += self._out_again(held, record, parcels, now_ns)
        return effects

    def _out_again(
        self, held: HeldJob, record: LeaseRecord, parcels: dict[tuple[tuple[int, ...], bytes], Parcel], now_ns: int
    ) -> list[Effect]:
        board, job = self._board, held.job
        try:
            price = board.price(_of_job(job, record.runs, record.pieces[0]))
        except QCommonsError:
            price = Price(seconds=record.expected_s, work_units=record.work_units, memory_bytes=0, here=False)
        parcel = parcels.get((record.runs, record.nonce))
        if parcel is None:
            held.numbers += 1
            parcel = Parcel(held.numbers, record.runs, record.pieces, price)
            parcel.nonce, parcel.helps = record.nonce, record.helps
            parcel.need = 2 if record.nonce else 1
            parcels[record.runs, record.nonce] = parcel
            held.keep(parcel)
        piece = piece_for(job, record.runs, record.pieces[0], record.engine, record.method)
        left_ns = record.offer.within_ns
        lease = self._leases.out(held, parcel, record, piece, min(now_ns + left_ns, held.until_ns))
        if record.helps:  # whose audit it was begins anew
            return self._leases.failed(lease, "this node was started anew", now_ns)
        due = WakeAt(lease.until_ns, ("spread", "due", lease.id))
        if record.state == "offered":
            return [*self._leases.offer_again(lease, now_ns), due]
        lease.granted_ns = now_ns
        return [*self._leases.ask(lease, now_ns), due]

    def _accepted_before(self, held: HeldJob, piece: Piece, now_ns: int) -> list[Effect]:
        """Runs whose answers were used, and lost with a crash before the job kept them: the report is fetched again."""
        runs = {item.index for item in piece.items} - held.covered
        effects: list[Effect] = []
        for record in list(held.records.values()) if runs else []:
            if record.lease in self._board.leases or not runs.intersection(record.accepted) or record.nonce:
                continue
            held.forget_due(record.offer.price_max, record.work_units)
            held.unused(PeerId(record.peer))
            effects += self._out_again(held, record, {}, now_ns)
            lease = self._board.leases[record.lease]
            lease.checked_root = record.signed_root
            held.unaudited.get(lease.peer, set()).difference_update(record.accepted)
            runs -= set(record.runs)
        return effects

    # peers

    def _candidates(self, rows: Any, now_s: int, now_ns: int) -> list[Effect]:
        board = self._board
        board.peers.told(rows, now_s, now_ns)
        board.offline = ""
        effects: list[Effect] = []
        for lease in list(board.leases.values()):
            if lease.granted_ns and board.peers.is_away(lease.peer):
                effects += self._leases.hedge(lease, now_ns, "its peer shows no sign of life")
        return [*effects, *board.place(now_ns)] if board.jobs else effects

    def _offline(self, why: str, now_ns: int) -> list[Effect]:
        board = self._board
        board.offline = why
        effects: list[Effect] = []
        for held in board.jobs.values():
            for parcel in list(held.parcels.values()):
                effects += [*board.over(held, parcel, why, now_ns), *board.stop_own(parcel)]
            held.waiting.clear()
            effects += held.handed(dict.fromkeys(sorted(held.wanted), self._off()))
        return effects

    def _off(self) -> Outcome:
        return Unserved(f"the mesh is off: {self._board.offline}; run it with --on here, or start the mesh", "mesh")

    # alarms and answers

    def _heard(self, event: Heard, ticket: str, now_ns: int) -> list[Effect]:
        _, _, rest = ticket.partition("/")
        name, _, _ = rest.partition("/")
        lease = self._lease(name)
        if lease is None or ticket not in lease.tickets:
            return [] if name == "told" else [note("spread_event_ignored", event="Heard", ticket=ticket)]
        return self._leases.heard(lease, event, now_ns)

    def _lease(self, name: str) -> OpenLease | None:
        try:
            return self._board.leases.get(bytes.fromhex(name))
        except ValueError:
            return None

    def _woken(self, token: Any, now_ns: int) -> list[Effect]:
        match token:
            case ("spread", "place"):
                self._board.looks(now_ns)
                return self._placing.place(now_ns)
            case ("spread", "keep"):
                again = WakeAt(now_ns + KEEP_NS, ("spread", "keep"))
                if not self._board.is_learnt:
                    return [again]
                self._board.is_learnt = False
                return [Store(CHOOSER_KEY, self.chooser.kept()), again]
            case ("spread", "open", job, number):
                return self._open_due(job, number, now_ns)
            case ("spread", "ask" | "hedge" | "due" | "unanswered" as what, bytes(lease_id)):
                lease = self._board.leases.get(lease_id)
                if lease is None:
                    return []
                leases = self._leases
                does = {"ask": leases.ask, "hedge": leases.hedge_due, "due": leases.due,
                        "unanswered": leases.unanswered}  # fmt: skip
                return does[what](lease, now_ns)
            case _:
                return [note("spread_event_ignored", event="Woken")]

    def _open_due(self, job: str, number: int, now_ns: int) -> list[Effect]:
        held = self._board.jobs.get(job)
        parcel = held.parcels.get(number) if held is not None else None
        if held is None or parcel is None:
            return []
        effects: list[Effect] = []
        for lease in self._checks.open_due(held, parcel, now_ns):
            if lease.id in self._board.leases:
                effects += self._leases.by_clock(lease, "silent", now_ns)
        return effects


def _of_job(job: Job, runs: tuple[int, ...], name: str) -> Piece:
    """These runs as a job machine would ask for them: items keep the numbers of the job."""
    piece = piece_for(job, runs, name, job.engine, job.method)
    items = tuple(msgspec.structs.replace(item, index=run) for item, run in zip(piece.items, runs, strict=True))
    return msgspec.structs.replace(piece, items=items)
