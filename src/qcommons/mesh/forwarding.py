"""Forwarding: a circuit as its relay sees it: bytes it cannot read, from one link to another, within limits.

Flow: RelayOpen, RelayData => *Forwarding* => the other end. Relays are neighbours who do a favour, so everything has a
bound: 32 circuits, 4 by one opener and 8 to one target, 2 MiB/s each and 16 MiB/s together (what is above waits:
256 KiB a direction at most, by the ends' credit), 30 s without a byte (sessions inside ping every 3 s).
No relay over relay: both ends are linked directly, and the target has a reservation. What a target gets by all openers
together stays below what its guard admits of this relay: 4 circuits a second, 512 pieces a second in each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

import msgspec

from qcommons.base.effects import note
from qcommons.base.units import NS_PER_S
from qcommons.mesh.bucket import Bucket, Rate
from qcommons.mesh.circuit_ends import OPENING_NS, WINDOW_BYTES, new_id
from qcommons.mesh.messages import Message, RelayClose, RelayCredit, RelayData, RelayOpen, RelayOpened
from qcommons.mesh.parts import Blame, Effects, Peers, ToPeer
from qcommons.mesh.records import PeerId
from qcommons.mesh.timers import Deadlines

__all__ = ["Forwarding"]

CIRCUITS_MAX, OPENER_MAX, TARGET_MAX = 32, 4, 8  # 32 circuits may hold 16 MiB
CIRCUIT_BYTES = Rate(2 << 20, 512 << 10)
ALL_BYTES = Rate(16 << 20, 4 << 20)
PIECE_COST_BYTES = 4 << 10  # what a smaller piece is counted as
WAITING_MAX = 4_096  # pieces: 256 KiB of them one byte each would take a hundred times that
OPENINGS = Rate(4, 16)  # of circuits to one target
CREDIT_STEP_BYTES = 16 << 10  # ends give credit in steps of 64 KiB
IDLE_NS = 30 * NS_PER_S
WHY_MAX = 200
CHEAT_POINTS = 5


class _Way(msgspec.Struct):
    """One direction: bytes in all that came from this side, and of these, how many the other says it took."""

    peer: PeerId
    id: int
    waiting: deque[RelayData]
    came_bytes: int = 0
    credited_bytes: int = 0


class _Circuit(msgspec.Struct):
    """sides: the opener's and the target's; what comes from one goes to the other."""

    number: int
    sides: tuple[_Way, _Way]
    bucket: Bucket
    last_ns: int
    opened: bool = False
    draining: bool = False


class Forwarding:
    """State: the circuits through this node, by number, and by peer and frame id of either side."""

    def __init__(self, peers: Peers, drain_token: Hashable, idle_token: Hashable) -> None:
        self._peers = peers
        self._last_id = 0
        self._last_number = 0
        self._circuits: dict[int, _Circuit] = {}
        self._by_frame: dict[tuple[PeerId, int], tuple[_Circuit, int]] = {}
        self._all = Bucket()
        self._openings: dict[PeerId, Bucket] = {}  # to peers that are linked
        self.drains: Deadlines[int] = Deadlines(drain_token, lambda number: number in self._circuits)
        self.idle: Deadlines[int] = Deadlines(idle_token, lambda number: number in self._circuits)

    def has(self, peer: PeerId, id: int) -> bool:
        return (peer, id) in self._by_frame

    def open(self, opener: PeerId, id: int, target: PeerId, now_ns: int) -> Effects:
        """The caller has seen that `target` has a reservation."""
        why = self._refusal(opener, id, target)
        if why is None and not self._openings.setdefault(target, Bucket()).take(OPENINGS, now_ns):
            why = f"circuits to one target: {OPENINGS.per_s:g} a second"
        if why:
            return [ToPeer(opener, RelayClose(why), id), note("mesh_relay_refused", peer=opener.hex(), why=why)]
        own = self._last_id = new_id(self._peers.me, target, self._last_id, now_ns)
        self._last_number += 1
        sides = (_Way(opener, id, deque()), _Way(target, own, deque()))
        circuit = _Circuit(self._last_number, sides, Bucket(), now_ns)
        self._circuits[circuit.number] = circuit
        for index, side in enumerate(sides):
            self._by_frame[side.peer, side.id] = (circuit, index)
        out: Effects = [ToPeer(target, RelayOpen(opener), own)]
        return out + self.idle.add(now_ns + OPENING_NS, circuit.number)

    def _refusal(self, opener: PeerId, id: int, target: PeerId) -> str | None:
        if id & 1 != (opener > self._peers.me):
            return "a frame id from the other end's half"
        if not self._peers.is_direct(target) or not self._peers.is_direct(opener):
            return "both ends of a circuit must be linked directly"
        openers = sum(circuit.sides[0].peer == opener for circuit in self._circuits.values())
        targets = sum(circuit.sides[1].peer == target for circuit in self._circuits.values())
        if openers >= OPENER_MAX or targets >= TARGET_MAX or len(self._circuits) >= CIRCUITS_MAX:
            all_ = len(self._circuits)
            return f"circuits: {openers} of {OPENER_MAX}, {targets} of {TARGET_MAX}, {all_} of {CIRCUITS_MAX}"
        return None

    def came(self, peer: PeerId, id: int, message: Message, now_ns: int) -> Effects:
        circuit, index = self._by_frame[peer, id]
        here, there = circuit.sides[index], circuit.sides[1 - index]
        circuit.last_ns = now_ns
        match message:
            case RelayData(payload):
                here.came_bytes += len(payload)
                if here.came_bytes - here.credited_bytes > WINDOW_BYTES:
                    blame = Blame(peer, CHEAT_POINTS, f"more than {WINDOW_BYTES} bytes under way in a circuit")
                    return [blame, *self._close(circuit, "an end sent more than it had credit for")]
                if len(here.waiting) >= WAITING_MAX:
                    return self._close(circuit, f"{WAITING_MAX} pieces wait: send larger ones")
                here.waiting.append(message)
                return [] if circuit.draining else self._forward(circuit, now_ns)
            case RelayCredit(taken):
                if taken <= 0:
                    return [Blame(peer, CHEAT_POINTS, f"credit for {taken} bytes in a circuit")]
                credited = min(taken, there.came_bytes)  # an end cannot widen the other's window
                step_bytes = credited - there.credited_bytes
                if step_bytes <= 0 or (step_bytes < CREDIT_STEP_BYTES and credited < there.came_bytes):
                    return []
                there.credited_bytes = credited
                return [ToPeer(there.peer, RelayCredit(credited), there.id)]
            case RelayOpened():
                if index == 0 or circuit.opened:
                    return []
                circuit.opened = True
                return [ToPeer(there.peer, message, there.id)]
            case RelayClose(why):
                return self._close(circuit, why, but=index)
        return []

    def _forward(self, circuit: _Circuit, now_ns: int) -> Effects:
        """As much as the buckets let pass; the rest when they do."""
        out: Effects = []
        circuit.draining = False
        for index in (0, 1):
            here, there = circuit.sides[index], circuit.sides[1 - index]
            while here.waiting:
                size = max(len(here.waiting[0].payload), PIECE_COST_BYTES)
                wait_ns = max(
                    circuit.bucket.when_ns(CIRCUIT_BYTES, now_ns, size), self._all.when_ns(ALL_BYTES, now_ns, size)
                )
                if wait_ns > now_ns:
                    circuit.draining = True
                    out += self.drains.add(wait_ns, circuit.number)
                    break
                circuit.bucket.take(CIRCUIT_BYTES, now_ns, size)
                self._all.take(ALL_BYTES, now_ns, size)
                out.append(ToPeer(there.peer, here.waiting.popleft(), there.id))
        return out

    def _close(self, circuit: _Circuit, why: str, but: int | None = None) -> Effects:
        """Tell both ends, or the one that did not say so itself."""
        del self._circuits[circuit.number]
        out: Effects = []
        for index, side in enumerate(circuit.sides):
            del self._by_frame[side.peer, side.id]
            if index != but:
                other = circuit.sides[1 - index]
                # what was taken goes out before: the last words of a session are in it
                out += [ToPeer(side.peer, data, side.id) for data in other.waiting]
                out.append(ToPeer(side.peer, RelayClose(why[:WHY_MAX]), side.id))
        return out

    def down(self, peer: PeerId) -> Effects:
        self._openings.pop(peer, None)
        out: Effects = []
        for circuit in list(self._circuits.values()):
            for index, side in enumerate(circuit.sides):
                if side.peer == peer and circuit.number in self._circuits:
                    out += self._close(circuit, "the other end lost its link to the relay", but=index)
        return out

    def drain(self, now_ns: int) -> Effects:
        out: Effects = []
        for number in self.drains.due(now_ns):
            out += self._forward(self._circuits[number], now_ns)
        return out + self.drains.again()

    def expire(self, now_ns: int) -> Effects:
        out: Effects = []
        for number in self.idle.due(now_ns):
            circuit = self._circuits[number]
            idle_ns = IDLE_NS if circuit.opened else OPENING_NS
            if circuit.last_ns + idle_ns > now_ns:
                out += self.idle.add(circuit.last_ns + idle_ns, number)
            else:
                out += self._close(circuit, "nothing came in time")
        return out + self.idle.again()
