"""The peers as the submitter sees them now: what each could take, who rests after a refusal, who gets the next lease.

Flow: Candidates (from the node), leases, refusals, verdicts -> *Peers* -> `considered` (a reason for each that is left
out) -> *choose* -> Pick. What the node tells of a peer is laid over with what only Spread knows: leases there,
standing, quarantine, refusals.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import msgspec
import numpy as np

from qcommons.base.clock import duration_text
from qcommons.base.units import NS_PER_S
from qcommons.jobs.issuing import HeldJob, Parcel
from qcommons.jobs.place import Candidate, Chooser, Needs, Pick, considered
from qcommons.jobs.quarantine import Quarantine
from qcommons.mesh.records import PeerId

__all__ = ["LEASES_PEER_MAX", "Peers", "Row"]

AHEAD = 2  # leases a place: the second waits there while the report of the first travels
LEASES_PEER_MAX = 64
OWN_KEPT = 32  # ratios of a peer's last reports
REST_NS_MAX = 600 * NS_PER_S  # whoever asks for more is asked again then
ROOM_NS = 60 * NS_PER_S  # so long it is believed to have no more room than it had; others of its guests come and go
REFUSED_S = 3_600  # a purpose that was refused is not offered again for so long
STOPPED = frozenset({"suspect", "lost", "stopped", "away", "banned"})

Row = tuple[Candidate, str | None]


class _Rest(msgspec.Struct, frozen=True):
    """Nothing is offered to a peer before `until_ns`. is_lasting: waiting is not likely to help. is_full: it had no
    room for one more lease; it has when one of ours ends there."""

    until_ns: int
    why: str
    is_lasting: bool
    is_full: bool = False


class Peers:
    """State: the candidates as told last, leases at each, and who rests."""

    def __init__(self, quarantine: Quarantine, chooser: Chooser) -> None:
        self.quarantine, self.chooser = quarantine, chooser
        self.rows: dict[PeerId, Candidate] = {}
        self.now_s = self._told_ns = 0
        self.open: dict[PeerId, int] = {}
        self.own: dict[PeerId, deque[float]] = {}
        self._rests: dict[PeerId, _Rest] = {}
        self._refuses: dict[PeerId, dict[str, int]] = {}
        self._room: dict[PeerId, tuple[int, int]] = {}  # leases of ours that it had when it had no room; until when

    def told(self, rows: tuple[Candidate, ...], now_s: int, now_ns: int) -> None:
        self.rows = {one.peer: one for one in rows}
        self.now_s, self._told_ns = now_s, now_ns
        for kept in (self._rests, self._refuses, self.own, self._room):  # who left the mesh leaves here too
            for peer in [peer for peer in kept if peer not in self.rows]:
                del kept[peer]

    def wall_ns(self, now_ns: int) -> int:
        """Unix time, by what the node said last."""
        return self.now_s * NS_PER_S + now_ns - self._told_ns

    def wall_s(self, now_ns: int) -> int:
        return self.wall_ns(now_ns) // NS_PER_S

    @property
    def places(self) -> int:
        """Of all peers that can be reached, to cut the rest of a job by."""
        return sum(one.places for one in self.rows.values() if one.state not in STOPPED)

    def is_away(self, peer: PeerId) -> bool:
        return peer not in self.rows or self.rows[peer].state in STOPPED

    # who rests

    def rest(self, peer: PeerId, until_ns: int, why: str, now_ns: int, is_lasting: bool = False) -> int:
        """Until when it rests in fact."""
        until_ns = min(until_ns, now_ns + REST_NS_MAX)
        self._rests[peer] = _Rest(until_ns, why, is_lasting)
        return until_ns

    def full(self, peer: PeerId, until_ns: int, why: str, now_ns: int) -> int:
        """It has no room for one more lease. Until when it rests, if none of ours ends there before."""
        until_ns = min(until_ns, now_ns + REST_NS_MAX)
        held = self.open.get(peer, 0)
        self._rests[peer] = _Rest(until_ns, why, False, held > 0)
        if held:
            self._room[peer] = held, now_ns + ROOM_NS
        return until_ns

    def freed(self, peer: PeerId) -> None:
        """A lease of ours ended there."""
        rest = self._rests.get(peer)
        if rest is not None and rest.is_full:
            del self._rests[peer]

    def refused(self, peer: PeerId, purpose: str, now_ns: int) -> None:
        self._refuses.setdefault(peer, {})[purpose] = self.wall_s(now_ns) + REFUSED_S

    def learnt(self, peer: PeerId, ratio: float) -> None:
        self.own.setdefault(peer, deque(maxlen=OWN_KEPT)).append(ratio)

    # who is chosen

    def needs(self, held: HeldJob, parcel: Parcel, now_ns: int) -> Needs:
        job, price = held.job, parcel.price
        programs = {job.points[run].program for run in parcel.runs}
        return Needs(
            engines=(price.engine,) if price.engine else price.engines,
            qubits=max(job.programs[number].n_qubits for number in programs),
            memory_bytes=price.memory_bytes, egress=job.egress, expected_s=price.seconds,
            work_units=price.work_units, budget=held.budget_left,
            deadline_s=max(0, held.until_ns - now_ns) / NS_PER_S, purpose=job.purpose or "",
            taken=frozenset(parcel.leases.values()),
        )  # fmt: skip

    def rows_for(
        self, held: HeldJob, needs: Needs, avoid: Mapping[PeerId, str], now_ns: int, ahead: int = 1
    ) -> list[Row]:
        """Each candidate and the reason why it is left out. ahead: leases a place; 0: as if nothing were out there."""
        now_s = self.wall_s(now_ns)
        return [
            (one, self._why_not(held, one, avoid, now_ns, ahead) or why)
            for one, why in considered(needs, [self._laid_over(one, now_s, ahead) for one in self.rows.values()], now_s)
        ]

    def choose(
        self, held: HeldJob, parcel: Parcel, rng: np.random.Generator, now_ns: int
    ) -> tuple[Candidate, Pick] | None:
        """Who gets the parcel: whoever has an idle place; if nobody has, who may take one more ahead."""
        needs = self.needs(held, parcel, now_ns)
        for ahead in (1, AHEAD):
            free = [one for one, why in self.rows_for(held, needs, parcel.avoid, now_ns, ahead) if why is None]
            pick = self.chooser.choose(needs, free, rng)
            if pick is not None:
                return self.rows[pick.peer], pick
        return None

    def could(self, held: HeldJob, parcel: Parcel, now_ns: int) -> list[Row]:
        """As `rows_for`, as if nothing were out and nobody rested for a passing reason: who could take it, later."""
        return self.rows_for(held, self.needs(held, parcel, now_ns), parcel.avoid, now_ns, 0)

    def _laid_over(self, one: Candidate, now_s: int, ahead: int) -> Candidate:
        barred = self.quarantine.barred(one.peer, now_s)
        refuses = self._refuses.get(one.peer, {})
        return msgspec.structs.replace(
            one, in_flight=self.open.get(one.peer, 0) // ahead if ahead else 0,
            right=self.quarantine.standing(one.peer).right,
            barred_until_s=barred.until_s if barred else 0, barred_why=barred.why if barred else "",
            refuses=one.refuses | {purpose for purpose, until_s in refuses.items() if until_s > now_s},
        )  # fmt: skip

    def _why_not(
        self, held: HeldJob, one: Candidate, avoid: Mapping[PeerId, str], now_ns: int, ahead: int
    ) -> str | None:
        peers = held.job.peers
        if one.peer in avoid:
            return f"it failed this work before: {avoid[one.peer]}"
        if one.peer in held.outvoted:
            return held.outvoted[one.peer]
        if peers is not None and one.peer not in held.used and len(held.used) >= peers:
            return f"the job may run at {peers} peers, and others have it; raise --peers"
        if ahead and self.open.get(one.peer, 0) >= LEASES_PEER_MAX:
            return f"{LEASES_PEER_MAX} leases of ours are out there, as many as may be"
        room, until_ns = self._room.get(one.peer, (0, 0))
        if ahead and now_ns < until_ns and self.open.get(one.peer, 0) >= room:
            return f"it had no room for more than {room} of our leases a moment ago"
        rest = self._rests.get(one.peer)
        if rest is None or rest.until_ns <= now_ns or not (ahead or rest.is_lasting):
            return None
        return f"{rest.why}; asked again in {duration_text(rest.until_ns - now_ns)}"
