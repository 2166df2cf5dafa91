"""What the parts of Spread share: jobs, open leases, peers; and the few verbs that all of them use.

Flow: spread (events) -> spread_leases (offer to report) -> spread_checks (report to outcomes) -> *Board* <- all three.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from qcommons.base.effects import Effect, Send, Stop, Store, WakeAt, note
from qcommons.base.errors import UsageError
from qcommons.base.units import NS_PER_S
from qcommons.engines.select import plural
from qcommons.jobs.asks import Ask
from qcommons.jobs.checking import LeaseAudit, Party
from qcommons.jobs.choosing import Peers
from qcommons.jobs.fetching import Fetch
from qcommons.jobs.issuing import HeldJob, Parcel
from qcommons.jobs.leases import LeaseRecord, State, key_of, moved, row_of, stored
from qcommons.jobs.outcomes import Outcome
from qcommons.jobs.place import Chooser
from qcommons.jobs.plan.records import Price
from qcommons.jobs.quarantine import Quarantine
from qcommons.jobs.records import Piece
from qcommons.jobs.work import DROP, VERDICT, Drop, said
from qcommons.jobs.work_events import MESH, ToMesh
from qcommons.jobs.work_views import LeaseRow
from qcommons.mesh import events as mesh
from qcommons.mesh.records import PeerId
from qcommons.verify.records import Verdict

__all__ = ["OPEN_MAX", "Board", "OpenLease", "PriceOf", "SignVerdict"]

OPEN_MAX = 1_024  # leases out at once, in all
REPORTS_BYTES_MAX = 256 << 20  # of all reports that are held; one more waits at its peer
TELL_NS = 10 * NS_PER_S  # a drop or a verdict is told once; whoever cannot hear it needs it least
GATHER_NS = 1_000_000  # what comes together is placed together
# Stopping a run ends its worker process, and the next one is ready after a second: what takes less may end in vain.
SHORT_S, LATELY_NS = 1.0, 5 * NS_PER_S
ENDED_KEPT = 64  # jobs whose leases are still shown after their end
TEXT_MAX = 1_000

PriceOf = Callable[[Piece], Price]
SignVerdict = Callable[[Verdict], bytes]


class OpenLease:
    """A lease that is out. until_ns: its deadline here; granted_ns: 0 before; ahead_s:
    predicted for what its peer had of ours when it was granted; ask: cited, while this process knows it.
    tickets: questions on their way, to what they are. failures: in a row, of asking. checked_root: what was accepted of
    it before a crash. has_place: its peer has still to do with it."""

    def __init__(self, held: HeldJob, parcel: Parcel, record: LeaseRecord, piece: Piece, until_ns: int) -> None:
        self.held, self.parcel, self.record, self.piece, self.until_ns = held, parcel, record, piece, until_ns
        self.id, self.peer = record.lease, PeerId(record.peer)
        self.ask: Ask | None = None
        self.granted_ns = self.asked_ns = 0
        self.ahead_s = 0.0
        self.tickets: dict[str, tuple[str, int]] = {}
        self.count = self.failures = self.answered = 0
        self.fetch: Fetch | None = None
        self.salt = b""
        self.party: Party | None = None
        self.audit: LeaseAudit | None = None
        self.checked_root = b""
        self.has_place = True


class Board:
    """State of one Spread. own_runs: pieces that this node's workers compute for a check, to (lease, piece)."""

    def __init__(self, me: PeerId, secret: bytes, peers: Peers, price: PriceOf, sign: SignVerdict) -> None:
        self.me, self.secret, self.peers, self.price, self.sign = me, secret, peers, price, sign
        self.jobs: dict[str, HeldJob] = {}
        self.leases: dict[bytes, OpenLease] = {}
        self.own_runs: dict[str, tuple[Any, Piece]] = {}
        self.ended: deque[tuple[str, tuple[LeaseRow, ...]]] = deque(maxlen=ENDED_KEPT)
        self.offline = ""
        self.is_learnt = False  # the chooser knows more than the disk
        self._looks_ns: set[int] = set()
        self._told = 0

    @property
    def quarantine(self) -> Quarantine:
        return self.peers.quarantine

    @property
    def chooser(self) -> Chooser:
        return self.peers.chooser

    # words to peers

    def send(self, lease: OpenLease, what: str, protocol: str, body: bytes, within_ns: int, number: int = 0) -> Effect:
        """Ask the lease's peer something; `Heard` with this ticket answers."""
        lease.count += 1
        ticket = f"spread/{lease.id.hex()}/{lease.count}"
        lease.tickets[ticket] = (what, number)
        question = mesh.Ask(ticket, lease.peer, protocol, body, within_ns)
        return Send(MESH, ToMesh(question, lease.held.job.egress))

    def tell(self, peer: PeerId, egress: str, protocol: str, body: bytes) -> Effect:
        """Tell something that needs no answer."""
        self._told += 1
        return Send(MESH, ToMesh(mesh.Ask(f"spread/told/{self._told}", peer, protocol, body, TELL_NS), egress))

    def drop(self, lease: OpenLease, why: str) -> Effect:
        return self.tell(lease.peer, lease.held.job.egress, DROP, said(Drop(lease.id, why[:TEXT_MAX])))

    # leases

    def moved(self, lease: OpenLease, state: State, now_ns: int, why: str = "", **changed: object) -> Effect:
        """The lease's record in another state, kept."""
        lease.record = moved(lease.record, state, self.peers.wall_ns(now_ns), why, **changed)
        lease.held.records[lease.id] = lease.record
        return stored(lease.record)

    def closed(self, lease: OpenLease) -> None:
        """It is out no more: its place, what was set aside for it and its bytes are free."""
        del self.leases[lease.id]
        lease.parcel.leases.pop(lease.id, None)
        self.free_place(lease)

    def free_place(self, lease: OpenLease) -> None:
        """Its peer is done with it; it may be checked here for long."""
        if lease.has_place:
            lease.has_place = False
            self.peers.open[lease.peer] -= 1
            if not self.peers.open[lease.peer]:
                del self.peers.open[lease.peer]
            self.peers.freed(lease.peer)

    def nothing(
        self, lease: OpenLease, why: str, now_ns: int, *, forget: bool = False, avoid: bool = True
    ) -> list[Effect]:
        """The lease came to nothing. forget: nothing was agreed, so nothing is kept. avoid: its peer does not get this
        work again."""
        parcel, held = lease.parcel, lease.held
        self.closed(lease)
        held.settle(lease.id, 0, 0)
        held.unused(lease.peer)
        parcel.tries += not forget
        if avoid:
            parcel.avoid[lease.peer] = why
        effects: list[Effect] = [self.moved(lease, "ended", now_ns, why, accepted=())]
        if forget:
            del held.records[lease.id]
            effects = [Store(key_of(lease.record), None)]
        effects.append(note("lease_ended", lease=lease.id.hex(), peer=lease.peer.hex(), why=why))
        return effects + self.place(now_ns)

    def withdrawn(self, held: HeldJob, lease: bytes, doubted: set[int]) -> Effect:
        """Answers that were used before are not to be used: its record says so."""
        record = held.records[lease]
        left = tuple(run for run in record.accepted if run not in doubted)
        taken = len(record.accepted) - len(left)
        why = f"{plural(taken, 'answer')} of it taken back and run again elsewhere, as its peer was found lying"
        held.records[lease] = msgspec.structs.replace(record, accepted=left, why=why)
        return stored(held.records[lease])

    def place(self, now_ns: int) -> list[Effect]:
        """Something may be placed now: look soon, once for all that comes together."""
        soon_ns = now_ns + GATHER_NS
        return [] if any(at_ns <= soon_ns for at_ns in self._looks_ns) else self.place_at(soon_ns, now_ns)

    def place_at(self, at_ns: int, now_ns: int) -> list[Effect]:
        """Look again then; once for each moment."""
        if at_ns in self._looks_ns:
            return []
        self._looks_ns.add(at_ns)
        return [WakeAt(at_ns, ("spread", "place"))]

    def looks(self, now_ns: int) -> None:
        """It is looked now."""
        self._looks_ns = {at_ns for at_ns in self._looks_ns if at_ns > now_ns}

    # verdicts

    def judged(self, held: HeldJob, lease: bytes, verdict: Verdict, now_ns: int) -> list[Effect]:
        """Sign it, learn from it, keep it, tell its peer."""
        record = held.records[lease]
        try:
            file = self.sign(verdict)
        except UsageError as error:
            return [note("verdict_unsigned", lease=lease.hex(), kind=verdict.kind, why=str(error))]
        record = msgspec.structs.replace(record, verdicts=(*record.verdicts, file), found=(*record.found, verdict.kind))
        held.records[lease] = record
        if lease in self.leases:
            self.leases[lease].record = record
        leased_s = record.times[0][1] // NS_PER_S if record.times else 0
        effects = self.quarantine.judged(verdict, self.me, leased_s, self.peers.wall_s(now_ns))
        self.chooser.judged(record.pick, verdict)
        self.is_learnt = True
        return [stored(record), *effects, self.tell(PeerId(record.peer), held.job.egress, VERDICT, file)]

    # ends

    def settled(self, held: HeldJob, parcel: Parcel, ends: dict[int, Outcome], now_ns: int) -> list[Effect]:
        """Hand these runs back. A parcel that has nothing left is over, and what is still out of it is dropped."""
        effects = held.handed(ends)
        if not any(run in held.wanted for run in parcel.runs):
            effects += self.over(held, parcel, "another lease answered first", now_ns)
        return effects

    def over(self, held: HeldJob, parcel: Parcel, why: str, now_ns: int, *, is_answered: bool = False) -> list[Effect]:
        """Nothing of the parcel is wanted any more. is_answered: by another lease; short work is then left to end."""
        held.parcels.pop(parcel.number, None)
        if not parcel.helps:
            held.covered.difference_update(parcel.runs)
        effects: list[Effect] = []
        for lease_id in list(parcel.leases):
            lease = self.leases[lease_id]
            ends_soon = lease.record.expected_s < SHORT_S and now_ns - lease.granted_ns < LATELY_NS
            if not (is_answered and ends_soon):
                effects.append(self.drop(lease, why))
            self.closed(lease)
            held.unused(lease.peer)
            held.settle(lease_id, 0, 0)
            effects += [self.moved(lease, "ended", now_ns, why, accepted=()), *self.stop_own(lease)]
        return effects + self.place(now_ns)

    def stop_own(self, owner: object) -> list[Effect]:
        """What this node computes for the check of a lease or parcel is not needed any more."""
        mine = [piece for piece, (whose, _) in self.own_runs.items() if whose is owner]
        for piece in mine:
            del self.own_runs[piece]
        return [Stop(piece) for piece in mine]

    def rows(self, held: HeldJob) -> tuple[LeaseRow, ...]:
        """Of all its leases, as they were given out."""
        found = []
        for record in sorted(held.records.values(), key=lambda record: record.serial):
            lease = self.leases.get(record.lease)
            found.append(row_of(record, lease.answered if lease else 0))
        return tuple(found)
