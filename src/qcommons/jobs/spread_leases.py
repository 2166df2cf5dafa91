"""A lease from its offer to its report: asked, granted, collected, and what goes wrong on the way.

Flow: spread places -> *Leases.issue* -> Store, offer => Granted -> collect, held open => Committed, Ready -> parts ->
Run(ReadReport) -> spread_checks. The peer may be slow, silent, gone, or send anything.

    state      event                            then
    offered    Granted                          leased: collect; alarms for hedge and deadline
               Declined                         nothing is kept; the peer rests as it asked; placed elsewhere
               cannot be asked, or Over         dropped, in case it took it; the peer rests; placed elsewhere
    leased     Running                          collect again, once a second at most
               Ready                            its parts, then read -> reported
               Committed (replica)              committed; opened when enough others are
               Over                             it gave up: placed elsewhere
               cannot be asked                  again, after a wait that doubles; from the second time on hedged
               hedge alarm                      one more lease for the parcel, where a place is free
               deadline                         verdict "late" if it answered lately, else "silent"; placed elsewhere
    committed  Opened                           its parts, then read -> reported
               deadline of opening              verdict "silent"; judged without it
    any        what cannot be read              verdict "malformed"; placed elsewhere
    any        its runs are not wanted any more dropped
"""

from __future__ import annotations

from typing import Any

import msgspec

from qcommons.base.clock import seconds_text
from qcommons.base.effects import Effect, Run, Send, WakeAt, note
from qcommons.base.errors import PeerError, UsageError
from qcommons.base.units import NS_PER_S
from qcommons.jobs.asks import ask_hash, check_lease
from qcommons.jobs.checking import by_clock, malformed
from qcommons.jobs.fetching import Fetch
from qcommons.jobs.issuing import HeldJob, Parcel
from qcommons.jobs.leases import LeaseRecord, audit_commitment, derived, lease_id, moved, piece_for, stored
from qcommons.jobs.offer import PART_BYTES, Offer, offer_bytes, parts_of, task_of, work_bytes
from qcommons.jobs.outcomes import Refused
from qcommons.jobs.place import Candidate, Pick, hedge_after_s
from qcommons.jobs.spread_board import REPORTS_BYTES_MAX, Board, OpenLease
from qcommons.jobs.spread_checks import Checks
from qcommons.jobs.work import (
    COLLECT,
    OFFER,
    OPEN,
    PART,
    Committed,
    Declined,
    Granted,
    LeaseRef,
    Opened,
    Ready,
    Running,
    WantPart,
    part_count,
    read,
    said,
)
from qcommons.jobs.work_events import HIRED, MESH, Came, Heard, ReadReport, ReportRead, ToMesh
from qcommons.mesh import events as mesh
from qcommons.mesh.records import PeerId
from qcommons.pqc.commit import COMMITMENT_BYTES
from qcommons.verify.replicate import nonce_of

__all__ = ["Leases"]

OFFER_NS = 30 * NS_PER_S  # the peer first fetches the work, 16 MiB at most, and writes it down
COLLECT_NS = 30 * NS_PER_S  # held open; of the 600 s that a request may wait, so that a dead link shows
COLLECT_AGAIN_NS = 1 * NS_PER_S  # whoever answers "running" at once is not asked in a circle
WAIT_NS, WAIT_NS_MAX = NS_PER_S // 2, 30 * NS_PER_S  # after a failure, doubled with each
HEDGE_FAILURES = 2
HEDGE_S_MIN = 1.0  # the first work of a worker loads its engines: 0.4 s
OPEN_NS = 60 * NS_PER_S  # to open what was committed to
OPEN_ASK_NS = 10 * NS_PER_S  # of one question: what it asks for is there, and one that was lost is no silence
TERM_S_MIN = 60.0  # of a lease: an hour's cable trouble is the job's matter, a minute's is the lease's
TERM_FACTOR = 20.0  # times the prediction: a machine twenty times slower than this one is still in time
GRACE_NS = 2 * NS_PER_S  # beyond the term that was told: the answer travels
LATELY_NS = COLLECT_NS + GRACE_NS  # who answered so shortly before the deadline is late, not silent
REST_NS = {"owner": 60 * NS_PER_S, "purpose": 0, "busy": NS_PER_S, "terms": 10 * NS_PER_S, "work": 0}
REST_MIN_NS = NS_PER_S // 10
ANSWER_NS = 5 * NS_PER_S  # an offer that is not answered by then is hedged: most are in a few milliseconds
UNREACHED_NS = 5 * NS_PER_S
DONE_MAX = 4  # leases of a peer that are done by its word, and not checked here yet, for which it gets new ones


class Leases:
    """All leases that are out."""

    def __init__(self, board: Board, checks: Checks) -> None:
        self.board, self.checks = board, checks

    # given out

    def issue(self, held: HeldJob, parcel: Parcel, one: Candidate, pick: Pick, now_ns: int) -> list[Effect]:
        """Offer the parcel to this peer: on disk first."""
        board, job = self.board, held.job
        engine, method = parcel.price.engine or job.engine, parcel.price.method or job.method
        if job.assurance == "replicate" and not parcel.nonce:
            parcel.nonce = nonce_of(job.seed)
        piece = piece_for(job, parcel.runs, parcel.pieces[0], engine, method)
        try:
            work = work_bytes(piece)
        except UsageError as error:
            return self._too_long(held, parcel, error, now_ns)
        record, offer = self._record(held, parcel, one, pick, work, (engine, method), now_ns)
        held.serials += 1
        lease = self.out(held, parcel, record, piece, now_ns + offer.within_ns + one.round_trip_ns + GRACE_NS)
        lease.ask = one.ask
        return [
            stored(lease.record),
            board.send(lease, "offer", OFFER, offer_bytes(offer), OFFER_NS),
            WakeAt(lease.until_ns, ("spread", "due", lease.id)),
            WakeAt(now_ns + ANSWER_NS, ("spread", "unanswered", lease.id)),
        ]

    def out(self, held: HeldJob, parcel: Parcel, record: LeaseRecord, piece: Any, until_ns: int) -> OpenLease:
        """It is out from now on; also one that was kept."""
        board = self.board
        lease = OpenLease(held, parcel, record, piece, until_ns)
        board.leases[lease.id] = lease
        held.records[lease.id] = record
        parcel.leases[lease.id] = lease.peer
        board.peers.open[lease.peer] = board.peers.open.get(lease.peer, 0) + 1
        held.used[lease.peer] = held.used.get(lease.peer, 0) + 1
        held.speak(lease.id, record.offer.price_max, record.work_units)
        return lease

    def offer_again(self, lease: OpenLease, now_ns: int) -> list[Effect]:
        """After a restart: the same offer, to the byte, has the same answer."""
        work = work_bytes(lease.piece)
        offer = msgspec.structs.replace(lease.record.offer, first=work[:PART_BYTES])
        return [self.board.send(lease, "offer", OFFER, offer_bytes(offer), OFFER_NS)]

    def _record(
        self, held: HeldJob, parcel: Parcel, one: Candidate, pick: Pick, work: bytes,
        named: tuple[str | None, str | None], now_ns: int,
    ) -> tuple[LeaseRecord, Offer]:  # fmt: skip
        board, job = self.board, held.job
        task = task_of(work)
        lease = lease_id(board.secret, job.id, held.serials, task)
        is_audit = job.assurance == "audit"  # of a helper's lease as well: nobody tells an audit from work by its offer
        secret, salt = (derived(board.secret, name, lease) if is_audit else b"" for name in ("audit", "salt"))
        left_ns = max(1, held.until_ns - now_ns)
        term_ns = int(max(TERM_S_MIN, TERM_FACTOR * parcel.price.seconds) * NS_PER_S)
        has_windows = one.ask is not None and bool(one.ask.windows)  # work is then fetched in another window
        offer = Offer(
            lease=lease, job=job.id, piece=parcel.pieces[0], task=task, work_bytes=len(work), first=work[:PART_BYTES],
            within_ns=left_ns if has_windows else min(left_ns, term_ns),
            memory_bytes=max(1, parcel.price.memory_bytes), commits=bool(parcel.nonce),
            price_max=one.ask.price_per_giga if one.ask else 0, ask=ask_hash(one.ask) if one.ask else None,
            audit=audit_commitment(board.me, secret, salt) if is_audit else None, purpose=job.purpose or "",
        )  # fmt: skip
        record = LeaseRecord(
            lease=lease, job=job.id, serial=held.serials, peer=one.peer, node_id=one.node_id, holder=board.me,
            offer=msgspec.structs.replace(offer, first=b""), engine=named[0], method=named[1], pieces=parcel.pieces,
            runs=parcel.runs, helps=parcel.helps, nonce=parcel.nonce,
            is_hedge=parcel.hedge_due and len(parcel.leases) >= parcel.need, pick=pick,
            expected_s=parcel.price.seconds, work_units=parcel.price.work_units, audit_secret=secret, audit_salt=salt,
        )  # fmt: skip
        return moved(record, "offered", board.peers.wall_ns(now_ns)), offer

    def _too_long(self, held: HeldJob, parcel: Parcel, error: UsageError, now_ns: int) -> list[Effect]:
        """More bytes than a lease holds: halves of it, or the run cannot travel at all."""
        if len(parcel.runs) == 1:
            ends = {parcel.runs[0]: Refused(error.what, error.where, error.limit)}
            return self.board.settled(held, parcel, dict(ends), now_ns)
        half = len(parcel.runs) // 2
        held.parcels.pop(parcel.number, None)
        for runs in (parcel.runs[:half], parcel.runs[half:]):
            held.keep(held.again(parcel, runs))
        return self.board.place(now_ns)

    # answers

    def heard(self, lease: OpenLease, event: Heard, now_ns: int) -> list[Effect]:
        what, number = lease.tickets.pop(event.ticket)
        if event.failed is not None:
            return self._unheard(lease, what, event.failed, now_ns, number)
        if what == "part" and lease.fetch is None:
            return [note("part_ignored", lease=lease.id.hex(), peer=lease.peer.hex(), why="its report is here already")]
        lease.failures = 0
        try:
            if what == "part":
                assert lease.fetch is not None
                lease.fetch.came(number, event.body)
                return self._fetch(lease, now_ns)
            told = read({"offer": OFFER, "collect": COLLECT, "open": OPEN}[what], event.body)
            return self._told(lease, what, told, now_ns)
        except PeerError as error:
            return self.broken(lease, error.what, error.where or what, now_ns)

    def _told(self, lease: OpenLease, what: str, told: Any, now_ns: int) -> list[Effect]:
        """Raises PeerError: the peer breaks the protocol."""
        match told:
            case Granted(agreed):
                self._check_granted(lease, agreed)
                return self._granted(lease, now_ns, agreed)
            case Declined(kind, text, again_ns):
                return self._declined(lease, kind, text, again_ns, now_ns)
            case Running(answered, _):
                lease.answered = min(answered, len(lease.record.runs))
                return [WakeAt(max(now_ns, lease.asked_ns + COLLECT_AGAIN_NS), ("spread", "ask", lease.id))]
            case Committed(commitments):
                return self._committed(lease, commitments, now_ns)
            case Ready() | Opened():
                if isinstance(told, Ready) == lease.record.offer.commits:
                    raise PeerError("a replica commits to its answer before it shows it, and nobody else does")
                lease.salt = told.salt if isinstance(told, Opened) else b""
                fetching = self._begin_fetch(lease, told, now_ns)
                return [*fetching, *self._done(lease, now_ns)]
            case _:  # Over
                why = f"it gave up the lease ({told.kind}): {told.what}"
                until_ns = self.board.peers.rest(lease.peer, now_ns + UNREACHED_NS, why, now_ns)
                effects = self.failed(lease, why, now_ns, avoid=False)
                return [*effects, *self.board.place_at(until_ns, now_ns)]

    def _unheard(self, lease: OpenLease, what: str, failed: mesh.Failed, now_ns: int, number: int = 0) -> list[Effect]:
        """number: of the part that did not come."""
        if what == "offer":
            board = self.board
            until_ns = board.peers.rest(
                lease.peer, now_ns + UNREACHED_NS, f"it could not be asked ({failed.what})", now_ns, True
            )
            board.chooser.reported(lease.record.pick, None)
            told = board.drop(lease, "the answer to the offer did not come")
            why = f"it could not be asked: {failed.what}"
            ended = board.nothing(lease, why, now_ns, avoid=False)
            return [*ended, told, *board.place_at(until_ns, now_ns)]
        lease.failures += 1
        if what == "part" and lease.fetch is not None:
            lease.fetch.lost(number)
        wait_ns = min(WAIT_NS << min(lease.failures - 1, 16), WAIT_NS_MAX)
        effects: list[Effect] = [WakeAt(now_ns + wait_ns, ("spread", "ask", lease.id))]
        if lease.failures >= HEDGE_FAILURES:
            effects += self.hedge(lease, now_ns, f"it could not be asked {lease.failures} times: {failed.what}")
        return effects

    def _check_granted(self, lease: OpenLease, agreed: Any) -> None:
        offer = lease.record.offer
        for where, found, wanted in (
            ("id", agreed.id, lease.id), ("node", agreed.node, lease.record.peer),
            ("holder", agreed.holder, self.board.me), ("resource", agreed.resource, "work"),
            ("price_per_giga", agreed.price_per_giga, offer.price_max), ("ask", agreed.ask, offer.ask),
        ):  # fmt: skip
            if found != wanted:
                raise PeerError("the lease granted is not the one that was offered", where=where)
        if lease.ask is not None or agreed.ask is None:
            check_lease(agreed, lease.ask)

    def _granted(self, lease: OpenLease, now_ns: int, agreed: Any) -> list[Effect]:
        lease.granted_ns = now_ns
        kept = self.board.moved(lease, "leased", now_ns, agreed=agreed)
        before = [one for one in self.board.leases.values() if one.peer == lease.peer and one.has_place]
        lease.ahead_s = sum(one.record.expected_s for one in before if one.granted_ns and one is not lease)
        return [kept, *self.ask(lease, now_ns), self._hedge_alarm(lease)]

    def _hedge_alarm(self, lease: OpenLease) -> WakeAt:
        """When it has taken longer than is usual, by what is known of the job now: leases end meanwhile."""
        peers, held = self.board.peers, lease.held
        one = peers.rows.get(lease.peer)
        left_s = max(0, held.until_ns - lease.granted_ns) / NS_PER_S
        after_s = hedge_after_s(
            max(lease.record.expected_s + lease.ahead_s, 1e-3), one.round_trip_ns / NS_PER_S if one else 0.0,
            tuple(held.ratios), tuple(peers.own.get(lease.peer, ())), left_s,
        )  # fmt: skip
        usual_s = max(held.latencies_s, default=0.0)  # on a busy machine small leases take as long as large ones
        after_s = max(after_s, min(max(HEDGE_S_MIN, usual_s), left_s / 2))
        return WakeAt(lease.granted_ns + int(after_s * NS_PER_S), ("spread", "hedge", lease.id))

    def _declined(self, lease: OpenLease, kind: str, text: str, again_ns: int | None, now_ns: int) -> list[Effect]:
        board, why = self.board, f"it declined ({kind}): {text}"
        until_ns = now_ns + max(REST_MIN_NS, again_ns if again_ns is not None else REST_NS[kind])
        effects = board.nothing(lease, why, now_ns, forget=True, avoid=False)
        if kind == "purpose":
            board.peers.refused(lease.peer, lease.record.offer.purpose, now_ns)
        elif kind == "work":
            lease.parcel.avoid[lease.peer] = why
        elif kind == "busy":
            until_ns = board.peers.full(lease.peer, until_ns, why, now_ns)
        else:
            until_ns = board.peers.rest(lease.peer, until_ns, why, now_ns, True)
        return [*effects, *board.place_at(until_ns, now_ns)]

    def _committed(self, lease: OpenLease, commitments: bytes, now_ns: int) -> list[Effect]:
        needed = COMMITMENT_BYTES * len(lease.record.runs)
        if not lease.record.offer.commits or len(commitments) != needed:
            raise PeerError(f"{len(commitments)} bytes of commitments; {needed} needed", where="commitments")
        if lease.record.commitments and lease.record.commitments != commitments:
            raise PeerError("it commits to another answer than before", where="commitments")
        kept = self.board.moved(lease, "committed", now_ns, commitments=commitments)
        return [kept, *self._done(lease, now_ns), *self.open_all(lease.held, lease.parcel, now_ns)]

    def _done(self, lease: OpenLease, now_ns: int) -> list[Effect]:
        """It says that it has computed all of it: its next lease travels while this one's report does. Whoever says so
        and does not deliver gets no more."""
        undelivered = sum(one.peer == lease.peer and not one.has_place for one in self.board.leases.values())
        if undelivered < DONE_MAX:
            self.board.free_place(lease)
        return self.board.place(now_ns)

    def open_all(self, held: HeldJob, parcel: Parcel, now_ns: int) -> list[Effect]:
        """When enough replicas have committed they are asked to open, and who has not is not needed any more."""
        board = self.board
        leases = [board.leases[one] for one in parcel.leases]
        ready = [one for one in leases if one.record.state == "committed"]
        if parcel.opened or len(ready) < parcel.need:
            return []
        parcel.opened = True
        effects: list[Effect] = [WakeAt(now_ns + OPEN_NS, ("spread", "open", held.job.id, parcel.number))]
        for lease in leases:
            if lease in ready:
                effects.append(board.send(lease, "open", OPEN, said(LeaseRef(lease.id)), OPEN_ASK_NS))
            else:
                effects += [board.drop(lease, "others answered first"), *board.nothing(lease, "others answered first",
                            now_ns, avoid=False)]  # fmt: skip
        return effects

    # reports

    def ask(self, lease: OpenLease, now_ns: int) -> list[Effect]:
        """Ask for what is next: its parts, the opening, or whether it is done."""
        if lease.tickets or lease.party is not None:
            return []
        if lease.fetch is not None:
            return self._fetch(lease, now_ns)
        lease.asked_ns = now_ns
        is_open = lease.parcel.opened and lease.record.state == "committed"
        what, protocol, within_ns = ("open", OPEN, OPEN_ASK_NS) if is_open else ("collect", COLLECT, COLLECT_NS)
        return [self.board.send(lease, what, protocol, said(LeaseRef(lease.id)), within_ns)]

    def _begin_fetch(self, lease: OpenLease, told: Ready | Opened, now_ns: int) -> list[Effect]:
        others = sum(one.fetch.size_bytes for one in self.board.leases.values() if one.fetch is not None)
        if others and others + told.size_bytes > REPORTS_BYTES_MAX:
            waits = note("report_waits", lease=lease.id.hex(), peer=lease.peer.hex(), why="too many reports are held")
            return [waits, WakeAt(now_ns + COLLECT_AGAIN_NS, ("spread", "ask", lease.id))]
        lease.fetch = Fetch(told)
        return self._fetch(lease, now_ns)

    def _fetch(self, lease: OpenLease, now_ns: int) -> list[Effect]:
        """Raises PeerError: the parts are not what was told."""
        assert lease.fetch is not None
        data = lease.fetch.whole()
        if data is None:
            return [
                self.board.send(lease, "part", PART, said(WantPart(lease.id, "report", number)), COLLECT_NS, number)
                for number in lease.fetch.ask()
            ]
        is_checked = lease.held.job.assurance != "none"
        return [Run(f"report.{lease.id.hex()}", ReadReport(lease.id, data, lease.piece, lease.peer, is_checked))]

    def report_read(self, lease: OpenLease, event: ReportRead, now_ns: int) -> list[Effect]:
        if event.fault is not None:
            what, where = event.fault
            if where == "node":
                return self.failed(lease, f"this node could not read its report: {what}", now_ns, avoid=False)
            if where == "fault":
                return self.failed(lease, f"a fault of this node met what it sent: {what}", now_ns)
            return self.broken(lease, what, where, now_ns)
        assert event.reported is not None
        if lease.granted_ns:
            board, latency_s = self.board, (now_ns - lease.granted_ns) / NS_PER_S
            board.chooser.reported(lease.record.pick, latency_s)
            ratio = latency_s / max(lease.record.expected_s, 1e-3)
            lease.held.ratios.append(ratio)
            lease.held.latencies_s.append(latency_s)
            took_s = sum(run.receipt.duration_ns for run in event.reported.runs) / NS_PER_S
            lease.held.paces.append(took_s / max(lease.record.expected_s, 1e-3))
            board.peers.learnt(lease.peer, ratio)
        try:
            return self.checks.reported(lease, event.reported, event.public_key, now_ns)
        except PeerError as error:
            return self.broken(lease, error.what, error.where or "report", now_ns)

    def came(self, event: Came) -> list[Effect]:
        """A worker asks for a part of the work that it was offered."""
        asked = event.asked
        try:
            want = read(WantPart, asked.body)
        except PeerError as error:
            failed = mesh.Failed("peer", error.what, error.where or "")
            return [self._answer(mesh.Answer(asked.peer, asked.id, failed=failed), HIRED, asked.peer)]
        lease = self.board.leases.get(want.lease)
        if lease is None or lease.peer != asked.peer or want.of != "work":
            failed = mesh.Failed("usage", "there is no such lease")
            said_ = note("part_refused", peer=asked.peer.hex(), lease=want.lease.hex(), why="no lease of that peer")
            return [said_, self._answer(mesh.Answer(asked.peer, asked.id, failed=failed), HIRED, asked.peer)]
        if want.number >= part_count(lease.record.offer.work_bytes):
            failed = mesh.Failed("usage", f"the work has {part_count(lease.record.offer.work_bytes)} parts")
            answer = mesh.Answer(asked.peer, asked.id, failed=failed)
        else:
            answer = mesh.Answer(asked.peer, asked.id, parts_of(work_bytes(lease.piece))[want.number])
        return [self._answer(answer, lease.held.job.egress)]

    @staticmethod
    def _answer(answer: mesh.Answer, egress: str, peer: PeerId | None = None) -> Effect:
        return Send(MESH, ToMesh(answer, egress, peer))

    # what goes wrong

    def hedge(self, lease: OpenLease, now_ns: int, why: str) -> list[Effect]:
        """Another peer gets the parcel as well, where a place is free."""
        parcel = lease.parcel
        if parcel.hedge_due or parcel.opened or lease.party is not None:
            return []
        parcel.hedge_due = True
        said_ = note("lease_hedged", lease=lease.id.hex(), peer=lease.peer.hex(), why=why)
        return [said_, *self.board.place(now_ns)]

    def hedge_due(self, lease: OpenLease, now_ns: int) -> list[Effect]:
        alarm = self._hedge_alarm(lease)
        if alarm.at_ns > now_ns:
            return [alarm]
        took = seconds_text((now_ns - lease.granted_ns) / NS_PER_S)
        return self.hedge(lease, now_ns, f"no answer after {took}; {seconds_text(lease.record.expected_s)} predicted")

    def unanswered(self, lease: OpenLease, now_ns: int) -> list[Effect]:
        """The offer is out for ANSWER_NS."""
        return [] if lease.granted_ns else self.hedge(lease, now_ns, "the offer is not answered")

    def due(self, lease: OpenLease, now_ns: int) -> list[Effect]:
        """The deadline of the lease."""
        if lease.party is not None or now_ns < lease.until_ns:
            return []
        if not lease.granted_ns and lease.record.state == "offered":
            return self.failed(lease, "the offer was not answered in time", now_ns)
        is_late = lease.answered > 0 or (not lease.failures and now_ns - lease.asked_ns <= LATELY_NS)
        return self.by_clock(lease, "late" if is_late else "silent", now_ns)

    def by_clock(self, lease: OpenLease, kind: Any, now_ns: int) -> list[Effect]:
        verdict = by_clock(lease.record, kind, self.board.peers.wall_ns(now_ns))
        said_ = self.board.judged(lease.held, lease.id, verdict, now_ns)
        why = "its answer did not come before the deadline of the lease" if kind == "late" else "it fell silent"
        return [*said_, *self.failed(lease, why, now_ns, avoid=False)]  # its quarantine says for how long

    def broken(self, lease: OpenLease, what: str, where: str, now_ns: int) -> list[Effect]:
        """It sent what no honest node sends."""
        verdict = malformed(lease.record, what, where, self.board.peers.wall_ns(now_ns))
        said_ = note("peer_broke_the_protocol", peer=lease.peer.hex(), lease=lease.id.hex(), where=where, why=what)
        judged = self.board.judged(lease.held, lease.id, verdict, now_ns)
        return [said_, *judged, *self.failed(lease, f"it sent what no honest node sends ({where}): {what}", now_ns)]

    def failed(self, lease: OpenLease, why: str, now_ns: int, avoid: bool = True) -> list[Effect]:
        """It came to nothing. avoid: its peer does not get this work again."""
        board = self.board
        board.chooser.reported(lease.record.pick, None)
        effects = [board.drop(lease, why), *board.stop_own(lease), *board.nothing(lease, why, now_ns, avoid=avoid)]
        return [*effects, *self.checks.lost(lease.held, lease.parcel, now_ns)]
