"""Forward pass: qubits and bits whose value is known, swaps as relabelling. Exact.

Flow: Program -> *propagate* -> cone -> components. Every qubit starts in |0>; while its value is
known, gates on it are carried out here: a known control removes the gate or the control, a known
target of a diagonal gate leaves a smaller gate, a known measurement is a constant bit, a branch on
known bits is inlined. (The idea of quantum constant propagation: Chen & Stade, SAS 2023.) Global
phase is not kept: for counts and expectations only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from qcommons.circuits.program import Branch, Condition, Op, Operation, Program
from qcommons.circuits.structure import controlled_op, diagonal_positions, image_of, is_monomial, split_controls

__all__ = ["Propagated", "propagate"]

_SYMMETRIC = {"z", "s", "sdg", "t", "tdg", "p"}  # as targets: diagonal, trivial on |0>
Form = frozenset[int]  # XOR of products, each by its number; the empty XOR is 0
ZERO: Form = frozenset()
ONE: Form = frozenset((0,))  # number 0 is the empty product
TERMS_MAX = 64  # a longer form becomes a variable of its own


@dataclass(frozen=True, slots=True)
class Propagated:
    """The smaller program and what was settled on the way.

    constants: classical bits whose final value is known. The program may still write one earlier, for a
        condition to read: the constant is what it ends with.
    where: logical qubit -> qubit of the new program that holds it at the end.
    """

    program: Program
    constants: dict[int, int]
    where: tuple[int, ...]


class _Forms:
    """Every qubit's value as an XOR of products of earlier values, equal products by equal numbers.

    In the sum over paths each gate that branches starts a new variable, and gates that permute basis
    states act on the values of a path: a form that comes out constant holds on every path, so on the
    state. Forms are compared by their numbers only; a constant that is missed costs nothing.
    """

    def __init__(self, n_qubits: int) -> None:
        self.of: list[Form] = [ZERO] * n_qubits
        self._products: dict[frozenset[Form], int] = {}
        self._next = 1

    def fresh(self, qubit: int) -> None:
        self.of[qubit] = self._variable()

    def _variable(self) -> Form:
        self._next += 1
        return frozenset((self._next - 1,))

    def _product(self, factors: frozenset[Form]) -> Form:
        factors -= {ONE}
        if ZERO in factors:
            return ZERO
        if len(factors) < 2:
            return next(iter(factors), ONE)
        number = self._products.get(factors)
        if number is None:
            number = self._products[factors] = self._next
            self._next += 1
        return frozenset((number,))

    def _add(self, qubit: int, form: Form) -> None:
        total = self.of[qubit] ^ form
        self.of[qubit] = total if len(total) <= TERMS_MAX else self._variable()

    def follow(self, op: Op, qubits: tuple[int, ...]) -> None:
        """A unitary operation on `qubits`."""
        base, controls = split_controls(op)
        targets = qubits[controls:]
        on = frozenset(self.of[q] for q in qubits[:controls])
        if base == "swap":
            a, b = targets
            moved = self._product(on | {self.of[a] ^ self.of[b]})
            self._add(a, moved)
            self._add(b, moved)
            return
        diagonal = diagonal_positions(base, 0)
        if len(targets) == 1 and not diagonal[0] and is_monomial(base, op.params):
            if image_of(base, op.params, 0) == 1:  # rx(0), u(0, a, b), ... permute nothing
                self._add(targets[0], self._product(on))
            return
        for qubit, same in zip(targets, diagonal, strict=True):
            if not same:
                self.fresh(qubit)


@dataclass(slots=True)
class _Walk:
    """State of the pass. `known` is indexed by new (physical) qubit: 0, 1 or None.

    A known 1 is a pending X: the new program's qubit is still |0> until it is emitted.
    forms: of the same qubits; None where the program has no resets to gain by them.
    """

    known: list[int | None]
    where: list[int]
    bits: dict[int, int]
    sticky: frozenset[int]
    forms: _Forms | None = None
    out: list[Operation] = field(default_factory=list)

    def wake(self, qubits: tuple[int, ...]) -> None:
        for q in qubits:
            if self.known[q] == 1:
                self.out.append(Op("x", (q,)))
            self.known[q] = None

    def run(self, ops: tuple[Operation, ...]) -> None:
        for op in ops:
            if isinstance(op, Branch):
                self.branch(op)
            else:
                self.step(op)

    def step(self, op: Op) -> None:
        gate = op.gate
        if gate in ("barrier", "id", "gphase") and not op.controls:
            return
        qubits = tuple(self.where[q] for q in op.qubits)
        if gate == "measure":
            self.measure(qubits[0], op.clbits[0])
        elif gate == "reset":
            if self.known[qubits[0]] is None:
                self.out.append(Op("reset", qubits))
            self.known[qubits[0]] = 0
            if self.forms is not None:
                self.forms.of[qubits[0]] = ZERO
        elif gate == "swap" and not op.controls:
            a, b = op.qubits
            self.where[a], self.where[b] = self.where[b], self.where[a]
        elif all(self.known[q] is None for q in qubits):
            self.out.append(op if qubits == op.qubits else Op(gate, qubits, op.params, (), op.controls))
            self.follow(op, qubits)
        else:
            base, controls = split_controls(op)
            if base == "swap" and all(self.known[q] == 1 for q in qubits[:controls]):
                self.swap_physical(*qubits[controls:])
                return
            self.unitary(op, qubits)
            self.follow(op, qubits)

    def follow(self, op: Op, qubits: tuple[int, ...]) -> None:
        """Carry the forms through `op`; a qubit whose form is constant again is known again."""
        forms = self.forms
        if forms is None:
            return
        forms.follow(op, qubits)
        for q in qubits:
            value = self.known[q]
            if value is not None:
                forms.of[q] = ONE if value else ZERO
            elif forms.of[q] == ZERO:
                self.known[q] = 0
            elif forms.of[q] == ONE:
                self.out.append(Op("x", (q,)))  # back to |0>: a known 1 is pending
                self.known[q] = 1

    def measure(self, qubit: int, clbit: int) -> None:
        value = self.known[qubit]
        if value is None or clbit in self.sticky:
            self.wake((qubit,))
            self.out.append(Op("measure", (qubit,), (), (clbit,)))
            self.bits.pop(clbit, None)
        else:
            self.bits[clbit] = value

    def unitary(self, op: Op, qubits: tuple[int, ...]) -> None:
        base, controls = split_controls(op)
        params = op.params
        active = [q for q in qubits[:controls] if self.known[q] is None]
        if any(self.known[q] == 0 for q in qubits[:controls]):
            return
        targets = qubits[controls:]
        if base in _SYMMETRIC and self.known[targets[0]] is not None:
            if self.known[targets[0]] == 0 or not active:
                return  # phase on |0>, or a global phase
            targets = (active.pop(),)
        elif len(targets) == 1 and not active and self.known[targets[0]] is not None:
            value = self.known[targets[0]]
            image = image_of(base, params, 0 if value is None else value)
            if image is not None:
                self.known[targets[0]] = image
                return
        elif base == "rzz" and not controls:
            values = [self.known[q] for q in targets]
            if None not in values:
                return
            flip = -1.0 if 1 in values else 1.0
            (left,) = (q for q, v in zip(targets, values, strict=True) if v is None)
            (angle,) = params
            if isinstance(angle, float):
                self.out.append(Op("rz", (left,), (flip * angle,)))
                return
        self.wake(targets)
        self.out.append(controlled_op(base, len(active), (*active, *targets), params))

    def swap_physical(self, a: int, b: int) -> None:
        left, right = self.where.index(a), self.where.index(b)
        self.where[left], self.where[right] = b, a

    def branch(self, op: Branch) -> None:
        condition = self.condition(op.condition)
        if isinstance(condition, bool):
            self.run(op.then if condition else op.orelse)
            return
        inner_ops = (*op.then, *op.orelse)
        touched = sorted({self.where[q] for inner in inner_ops for q in inner.qubits})
        self.wake(tuple(touched))
        if self.forms is not None:
            for q in touched:
                self.forms.fresh(q)
        arms = [tuple(self.moved(inner) for inner in arm if inner.gate != "barrier") for arm in (op.then, op.orelse)]
        written = {c for inner in inner_ops for c in inner.clbits}
        for clbit in written:
            self.bits.pop(clbit, None)
        self.out.append(Branch(condition, arms[0], arms[1]))

    def moved(self, op: Op) -> Op:
        return Op(op.gate, tuple(self.where[q] for q in op.qubits), op.params, op.clbits, op.controls)

    def condition(self, condition: Condition) -> Condition | bool:
        """True or False if the known bits decide it; otherwise a condition on unknown bits."""
        if all(c in self.bits for c in condition.clbits):
            return condition.holds(self.bits)
        if condition.relation not in ("==", "!="):
            return condition  # its bits are sticky: written by the new program
        clbits: list[int] = []
        value = 0
        for i, c in enumerate(condition.clbits):
            wanted = condition.value >> i & 1
            if c in self.bits:
                if self.bits[c] != wanted:
                    return condition.relation == "!="
            else:
                value |= wanted << len(clbits)
                clbits.append(c)
        if condition.value >> len(condition.clbits):
            return condition.relation == "!="
        return Condition(tuple(clbits), condition.relation, value)


def _sticky(program: Program) -> frozenset[int]:
    """Bits whose measurement must stay: read by ordered comparisons, or written inside a branch."""
    bits: set[int] = set()
    for op in program.ops:
        if isinstance(op, Branch):
            if op.condition.relation not in ("==", "!="):
                bits.update(op.condition.clbits)
            for inner in (*op.then, *op.orelse):
                bits.update(inner.clbits)
    return frozenset(bits)


def propagate(program: Program, *, settle: bool) -> Propagated:
    """Run the pass.

    Args:
        program: without unbound inputs (angles still unbound only block some reductions).
        settle: emit the pending X of qubits known to be 1 at the end, so that the new program's
            final state is the full one (expectations); counts do not need it.
    """
    n = program.n_qubits
    sticky = _sticky(program)
    bits = {c: 0 for c in range(program.n_clbits) if c not in sticky}
    resets = any(isinstance(op, Op) and op.gate == "reset" for op in program.ops)
    forms = _Forms(n) if resets else None
    walk = _Walk(known=[0] * n, where=list(range(n)), bits=bits, sticky=sticky, forms=forms)
    walk.run(program.ops)
    if settle:
        walk.wake(tuple(range(n)))
    new = Program(n, program.cregs, tuple(walk.out), program.inputs)
    return Propagated(new, walk.bits, tuple(walk.where))
