"""Deferred measurement: a dynamic program as a static one on more qubits.

Flow: Program -> *defer* -> frames. A measured value is copied to a fresh qubit by cx before its own
qubit is touched again; a reset swaps in a fresh qubit; a classically controlled operation becomes a
quantum-controlled one (Nielsen and Chuang, section 4.4). Exact for the joint distribution of all
classical bits and for the final state averaged over histories.

Wires: qubits of the deferred program. A wire that was measured stays as it is (only used as a
control) until something touches it; only then is the copy made, so that terminal measurements
and measure-then-reset cost nothing.
"""

from __future__ import annotations

import msgspec

from qcommons.circuits.program import Branch, Condition, Op, Program
from qcommons.engines.records import CapExceeded

__all__ = ["WIRES_MAX", "Deferred", "defer"]

WIRES_MAX = 16_384  # a tableau of n qubits holds 4 n^2 bits: 128 MiB
Cube = tuple[tuple[int, int], ...]  # (position in the condition's bits, value it must have)


class Deferred(msgspec.Struct, frozen=True):
    """program: static, measurements last. wires: program qubit -> its wire at the end."""

    program: Program
    wires: tuple[int, ...]


def defer(program: Program, *, settle: bool = False) -> Deferred:
    """The static form.

    Args:
        settle: copy also the measured qubits that nothing touches later, so that the state of the
            program's qubits is the one after measurement.

    Raises:
        CapExceeded: more than WIRES_MAX qubits are needed.
    """
    deferral = _Deferral(program)
    deferral.walk()
    if settle:
        for qubit in range(program.n_qubits):
            deferral.touch(qubit)
    return deferral.result()


def cubes(condition: Condition, holds: bool) -> list[Cube]:
    """Disjoint patterns of the condition's bits that together say whether it holds.

    An interval of integers splits into at most 2k dyadic ones, each fixing the high bits.
    """
    k, v = len(condition.clbits), condition.value
    top = 1 << k
    low, high = {"<": (0, v), "<=": (0, v + 1), ">": (v + 1, top), ">=": (v, top)}.get(condition.relation, (v, v + 1))
    inside = _dyadic(min(low, top), min(high, top), k)
    if holds != (condition.relation == "!="):
        return inside
    return _dyadic(0, min(low, top), k) + _dyadic(min(high, top), top, k)


def _dyadic(low: int, high: int, k: int) -> list[Cube]:
    found: list[Cube] = []
    while low < high:
        size = low & -low if low else 1 << k
        while low + size > high:
            size >>= 1
        fixed = range(size.bit_length() - 1, k)
        found.append(tuple((i, low >> i & 1) for i in fixed))
        low += size
    return found


class _Deferral:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.ops: list[Op] = []
        self.n_wires = program.n_qubits
        self.wire = list(range(program.n_qubits))  # program qubit -> wire
        self.touched: set[int] = set()  # wires that may differ from |0>
        self.value: dict[int, int] = {}  # classical bit, or negative key of a condition's bit -> wire
        self.held: dict[int, set[int]] = {}  # measured wire, not copied yet -> bits that it holds

    def walk(self) -> None:
        for op in self.program.ops:
            if isinstance(op, Branch):
                self._branch(op)
            else:
                self._op(op)

    def result(self) -> Deferred:
        self.ops += [Op("measure", (w,), (), (c,)) for c, w in sorted(self.value.items())]
        return Deferred(Program(self.n_wires, self.program.cregs, tuple(self.ops)), tuple(self.wire))

    def _fresh(self) -> int:
        if self.n_wires >= WIRES_MAX:
            raise CapExceeded(f"deferred measurements pass {WIRES_MAX} qubits")
        self.n_wires += 1
        return self.n_wires - 1

    def touch(self, qubit: int) -> int:
        """The qubit's wire, free to change: what it was measured to is copied first."""
        wire = self.wire[qubit]
        bits = self.held.pop(wire, None)
        if bits is not None:
            copy = self._fresh()
            self.ops.append(Op("cx", (wire, copy)))
            self.touched.add(copy)
            for bit in bits:
                self.value[bit] = copy
        self.touched.add(wire)
        return wire

    def _forget(self, bit: int) -> None:
        wire = self.value.pop(bit, None)
        if wire is not None and wire in self.held:
            self.held[wire].discard(bit)

    def _op(self, op: Op) -> None:
        match op.gate:
            case "barrier":
                return
            case "measure":
                wire = self.wire[op.qubits[0]]
                self._forget(op.clbits[0])
                self.held.setdefault(wire, set()).add(op.clbits[0])
                self.value[op.clbits[0]] = wire
            case "reset":
                if self.wire[op.qubits[0]] in self.touched:
                    self.wire[op.qubits[0]] = self._fresh()
            case _:
                qubits = tuple(self.touch(q) for q in op.qubits)
                self.ops.append(msgspec.structs.replace(op, qubits=qubits))

    def _branch(self, branch: Branch) -> None:
        condition = branch.condition
        keys = [-1 - i for i in range(len(condition.clbits))]
        for key, bit in zip(keys, condition.clbits, strict=True):
            if bit in self.value:  # the condition is read once: hold its bits under keys of their own
                self.value[key] = self.value[bit]
                self.held.get(self.value[key], set()).add(key)
        for ops, holds in ((branch.then, True), (branch.orelse, False)):
            for op in ops:
                self._controlled(op, cubes(condition, holds), cubes(condition, not holds))
        for key in keys:
            self._forget(key)

    def _controlled(self, op: Op, when: list[Cube], unless: list[Cube]) -> None:
        match op.gate:
            case "barrier":
                return
            case "measure":
                source, bit, copy = self.wire[op.qubits[0]], op.clbits[0], self._fresh()
                self._emit(Op("x", (copy,)), when, source)
                if bit in self.value:
                    self._emit(Op("x", (copy,)), unless, self.value[bit])
                self.touched.add(copy)
                self._forget(bit)
                self.value[bit] = copy
                self.held[copy] = {bit}
            case "reset":
                wire, empty = self.touch(op.qubits[0]), self._fresh()
                self.touched.add(empty)
                self._emit(Op("swap", (wire, empty)), when)
            case _:
                qubits = tuple(self.touch(q) for q in op.qubits)
                self._emit(msgspec.structs.replace(op, qubits=qubits), when)

    def _emit(self, op: Op, when: list[Cube], control: int | None = None) -> None:
        """The operation under each pattern, and where the wire `control` is 1; bits never written are 0."""
        for cube in when:
            pattern = {(self.value.get(-1 - i), v) for i, v in cube}  # two bits may be held by one wire
            pattern |= {(control, 1)} if control is not None else set()
            live = sorted((wire, v) for wire, v in pattern if wire is not None)
            if (None, 1) in pattern or len({wire for wire, _ in live}) < len(live):
                continue  # a bit that is always 0 would have to be 1, or one wire both
            around = [Op("x", (w,)) for w, v in live if not v]
            self.ops += around
            self.ops.append(_with_controls(op, tuple(w for w, _ in live)))
            self.ops += around


_CONTROLLED_ROW = {"x": "cx", "y": "cy", "z": "cz", "cx": "ccx", "swap": "cswap"}


def _with_controls(op: Op, controls: tuple[int, ...]) -> Op:
    if len(controls) == 1 and not op.controls and op.gate in _CONTROLLED_ROW:
        return Op(_CONTROLLED_ROW[op.gate], controls + op.qubits)
    return msgspec.structs.replace(op, qubits=controls + op.qubits, controls=op.controls + len(controls))
