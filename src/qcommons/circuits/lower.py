"""Lowering: a program rewritten over the gates that its reader has, exactly.

Flow: Program -> *lower* -> an engine or device with a small gate set. A gate outside the set is
replaced through its row's definition, or through the exchanges below where its row is of the basis
(h as rz sx rz, cx as h cz h, ...), or, under controls, through `controlled`. The result equals the
program in global phase too, as long as `gphase` may be written.

Which replacement a row takes is planned once for each gate set: fewest levels first, so the plan has
no cycles. Replacements are remembered by gate, parameters and controls.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from functools import lru_cache

from qcommons.base.errors import UsageError
from qcommons.circuits.controlled import (
    ControlledStep,
    controlled_phase,
    controlled_rz,
    controlled_x,
    split_row,
    under_control,
)  # fmt: skip
from qcommons.circuits.gates import GATES, Matrix, Step
from qcommons.circuits.program import DEFAULT_CAPS, Affine, Branch, Caps, Op, Operation, Program
from qcommons.circuits.structure import CONTROLLED

__all__ = ["lower", "lower_op"]

PI = math.pi
DIRECTIVES = frozenset({"measure", "reset", "barrier"})
MEMO_MAX = 65536
ROW_OF = {parts: row for row, parts in CONTROLLED.items()}
SAMPLE = (0.3, 0.5, 0.7, 0.9)  # generic parameters: which gates a replacement needs


def euler(matrix: Matrix) -> tuple[float, float, float, float]:
    """theta, phi, lambda, gamma (radians) with matrix = exp(i gamma) u(theta, phi, lambda); theta in [0, pi]."""
    a, b, c, d = (complex(matrix[i, j]) for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)))
    theta = 2 * math.atan2(abs(c), abs(a))
    if abs(a) < 1e-14:
        gamma = cmath.phase(-b)
        return PI, cmath.phase(c) - gamma, 0.0, gamma
    gamma = cmath.phase(a)
    if abs(c) < 1e-14:
        return 0.0, 0.0, cmath.phase(d) - gamma, gamma
    phi = cmath.phase(c) - gamma
    # the smaller entries' phases are the less certain ones; phi + lambda is the phase of d / a
    return theta, phi, cmath.phase(d / a) - phi if abs(a) > abs(c) else cmath.phase(-b) - gamma, gamma


def _steps(*rows: tuple[str, float | None, tuple[int, ...]]) -> list[Step]:
    """Steps with one angle (None: no parameter); turns by exactly 0 are left out."""
    return [(name, () if angle is None else (angle,), where) for name, angle, where in rows if angle != 0.0]


def _one(*rows: tuple[str, float | None]) -> list[Step]:
    return _steps(*((name, angle, () if name == "gphase" else (0,)) for name, angle in rows))


def _as_u(matrix: Matrix) -> list[Step]:
    theta, phi, lam, gamma = euler(matrix)
    return [*_one(("gphase", gamma)), ("u", (theta, phi, lam), (0,))]


def _as_zyz(matrix: Matrix) -> list[Step]:
    theta, phi, lam, gamma = euler(matrix)
    return _one(("gphase", gamma + (phi + lam) / 2), ("rz", lam), ("ry", theta), ("rz", phi))


def _as_zxz(matrix: Matrix) -> list[Step]:
    theta, phi, lam, gamma = euler(matrix)
    if theta == 0:
        return _one(("gphase", gamma + (phi + lam) / 2), ("rz", phi + lam))
    return _one(("gphase", gamma + (phi + lam) / 2), ("rz", lam - PI / 2), ("rx", theta), ("rz", phi + PI / 2))


def _as_zsx(matrix: Matrix) -> list[Step]:
    """McKay et al., Phys. Rev. A 96, 022330 (2017), with sx = exp(i pi/4) rx(pi/2)."""
    theta, phi, lam, gamma = euler(matrix)
    phase = gamma + (phi + lam) / 2
    if theta == 0:
        return _one(("gphase", phase), ("rz", phi + lam))
    if abs(theta - PI / 2) < 1e-15:
        return _one(("gphase", phase - PI / 4), ("rz", lam - PI / 2), ("sx", None), ("rz", phi + PI / 2))
    return _one(
        ("gphase", phase - PI / 2), ("rz", lam), ("sx", None), ("rz", theta + PI), ("sx", None), ("rz", phi - PI)
    )


def _as_rz(matrix: Matrix) -> list[Step]:
    low, high = cmath.phase(matrix[0, 0]), cmath.phase(matrix[1, 1])
    return _one(("gphase", (low + high) / 2), ("rz", high - low))


def _as_p(matrix: Matrix) -> list[Step]:
    low, high = cmath.phase(matrix[0, 0]), cmath.phase(matrix[1, 1])
    return _one(("gphase", low), ("p", high - low))


def _turned(name: str, by: tuple[tuple[str, int], ...], back: tuple[tuple[str, int], ...]) -> Callable[..., list[Step]]:
    """`name` between one-qubit gates given as (gate, position)."""

    def steps(*params: float) -> list[Step]:
        n = GATES[name].n_qubits
        around = [[(g, (), (q,)) for g, q in side] for side in (by, back)]
        return [*around[0], (name, params, tuple(range(n))), *around[1]]

    return steps


_H0, _H1 = (("h", 0),), (("h", 1),)
_H01 = (*_H0, *_H1)
Replacement = Callable[..., list[Step]]
# What the definitions of the rows leave open: exchanges among the basis rows.
_EXCHANGES: dict[str, tuple[Replacement, ...]] = {
    "z": (lambda: _one(("s", None), ("s", None)),),
    "s": (lambda: _one(("t", None), ("t", None)),),
    "sdg": (lambda: _one(("z", None), ("s", None)),),
    "tdg": (lambda: _one(("sdg", None), ("t", None)),),
    "x": (_turned("z", _H0, _H0), lambda: _one(("sx", None), ("sx", None))),
    "y": (lambda: _one(("gphase", PI / 2), ("z", None), ("x", None)),),
    "sx": (_turned("s", _H0, _H0),),
    "sxdg": (_turned("sdg", _H0, _H0),),
    "h": (lambda: _one(("gphase", -PI / 4), ("s", None), ("sx", None), ("s", None)),),
    "p": (lambda lam: _one(("gphase", lam / 2), ("rz", lam)), lambda lam: [("u", (0.0, 0.0, lam), (0,))]),
    "rz": (lambda th: _one(("gphase", -th / 2), ("p", th)), _turned("rx", _H0, _H0),
           lambda th: [*_one(("gphase", -th / 2)), ("u", (0.0, 0.0, th), (0,))]),
    "rx": (_turned("rz", _H0, _H0), lambda th: [("u", (th, -PI / 2, PI / 2), (0,))]),
    "ry": (_turned("rx", (("sdg", 0),), (("s", 0),)), lambda th: [("u", (th, 0.0, 0.0), (0,))]),
    "cx": (
        _turned("cz", _H1, _H1),
        lambda: [*_steps(("sdg", None, (0,)), ("sxdg", None, (1,))), ("ecr", (), (0, 1)),
                 *_steps(("x", None, (0,)), ("gphase", PI / 4, ()))],
    ),
    "cz": (
        lambda: _steps(("gphase", PI / 4, ()), ("rz", PI / 2, (0,)), ("rz", PI / 2, (1,)), ("rzz", -PI / 2, (0, 1))),
    ),
    "rzz": (lambda th: _steps(("cx", None, (0, 1)), ("rz", th, (1,)), ("cx", None, (0, 1))),
            _turned("rzx", _H1, _H1), _turned("rxx", _H01, _H01)),
    "rzx": (_turned("rzz", _H1, _H1),),
    "rxx": (_turned("rzz", _H01, _H01),),
    "ryy": (_turned("rzz", (("sx", 0), ("sx", 1)), (("sxdg", 0), ("sxdg", 1))),),
}  # fmt: skip


def _replacements(name: str) -> tuple[Replacement, ...]:
    """Ways to write a row, the preferred first."""
    row = GATES[name]
    ways: list[Replacement] = [row.definition] if row.definition else []
    ways += _EXCHANGES.get(name, ())
    if row.n_qubits == 1:
        forms = [_as_rz, _as_p] if row.diagonal else []
        for form in (*forms, _as_u, _as_zyz, _as_zxz, _as_zsx):
            ways.append(lambda *params, form=form: form(row.unitary(*params)))
    return tuple(ways)


def _plan(allowed: frozenset[str]) -> dict[str, Replacement]:
    """For each row that can be written over `allowed`: its replacement, fewest levels first."""
    known = set(allowed) | {"gphase"}
    plan: dict[str, Replacement] = {}
    ways = {name: [(way, {s[0] for s in way(*SAMPLE[: GATES[name].n_params])}) for way in _replacements(name)]
            for name in GATES if name not in known}  # fmt: skip
    while True:
        found = {
            name: next(way for way, needs in options if needs <= known)
            for name, options in ways.items()
            if name not in known and any(needs <= known for _, needs in options)
        }
        if not found:
            return plan
        plan |= found
        known |= found.keys()


class _Lowering:
    """Replacements over one gate set; remembers what it has worked out."""

    def __init__(self, allowed: frozenset[str], controls: bool) -> None:
        self.allowed = allowed
        self.controls = controls
        self.plan = _plan(allowed)
        self.memo: dict[tuple[str, tuple[float, ...], int, int], tuple[ControlledStep, ...]] = {}

    def steps(self, gate: str, params: tuple[float, ...], controls: int, n_spare: int) -> tuple[ControlledStep, ...]:
        """Steps over the gate set in time order; positions past the gate's own are spare qubits."""
        key = (gate, params, controls, n_spare)
        found = self.memo.get(key)
        if found is None:
            if len(self.memo) >= MEMO_MAX:
                self.memo.clear()
            found = self.memo[key] = self._work_out(gate, params, controls, n_spare)
        return found

    def allows(self, gate: str, controls: int) -> bool:
        return gate in self.allowed and (controls == 0 or self.controls)

    def _work_out(
        self, gate: str, params: tuple[float, ...], controls: int, n_spare: int
    ) -> tuple[ControlledStep, ...]:
        own = tuple(range(controls + GATES[gate].n_qubits))
        if self.allows(gate, controls) or (gate == "gphase" and not controls):
            return ((gate, params, own, controls),)
        base, k = split_row(gate, controls)
        row = ROW_OF.get((base, k))
        if row in self.allowed:
            return ((row, params, own, 0),)
        if k and self.allows(base, k):
            return ((base, params, own, k),)
        if row is not None or k == 0:
            return self._flatten(self._replaced(row or base, params), own, 0)
        return self._flatten(self._controlled(base, params, k, n_spare), own, n_spare)

    def _replaced(self, name: str, params: tuple[float, ...]) -> list[ControlledStep]:
        if name not in self.plan:
            raise UsageError(
                f"gate {name!r} cannot be written exactly with {', '.join(sorted(self.allowed)) or 'no gates'}; "
                "allow rotations such as rz and sx, and a two-qubit gate such as cx",
                where="lower",
            )
        return [(gate, angles, where, 0) for gate, angles, where in self.plan[name](*params)]

    def _controlled(self, base: str, params: tuple[float, ...], k: int, n_spare: int) -> list[ControlledStep]:
        """`base` with k leading controls, one level down."""
        controls = tuple(range(k))
        if base == "gphase":
            return [("p", params, controls, k - 1)]
        if base == "x":
            return controlled_x(k, n_spare, "ccx" in self.allowed)
        if base == "p":
            return controlled_phase(params[0], k, n_spare)
        if base == "rz":
            return controlled_rz(params[0], k)
        return [
            (gate, angles, (*(controls if marked else ()), *(k + q for q in where)), inner + (k if marked else 0))
            for marked, (gate, angles, where, inner) in under_control(base, params)
        ]

    def _flatten(self, steps: list[ControlledStep], own: tuple[int, ...], n_spare: int) -> tuple[ControlledStep, ...]:
        """Each step lowered further; whatever it does not touch it may borrow. One gphase in front."""
        everything = range(len(own) + n_spare)
        phase = 0.0
        flat: list[ControlledStep] = []
        for gate, params, where, controls in steps:
            spare = () if controls < 3 else tuple(q for q in everything if q not in where)[: len(where)]
            place = where + spare
            for name, angles, at, inner in self.steps(gate, params, controls, len(spare)):
                if name == "gphase" and not inner:
                    phase += angles[0]
                else:
                    flat.append((name, angles, tuple([place[q] for q in at]), inner))
            if len(flat) > DEFAULT_CAPS.operations_max:
                raise _too_many(DEFAULT_CAPS.operations_max, f"gate {gate} with {controls} controls")
        phase = math.remainder(phase, 2 * PI)
        if abs(phase) > 1e-15:
            flat.insert(0, ("gphase", (phase,), (), 0))
        return tuple(flat)


def _too_many(limit: int, where: str) -> UsageError:
    return UsageError(f"more than {limit} operations after lowering", where=where, limit=f"{limit} operations")


@lru_cache(maxsize=64)
def _lowering(allowed: frozenset[str], controls: bool) -> _Lowering:
    return _Lowering(allowed, controls)


def _spare(op: Op, n_qubits: int) -> tuple[int, ...]:
    """Qubits that `op` may borrow: as many as it could use, the nearest to its target first."""
    if op.controls < 3:
        return ()
    own, target = set(op.qubits), op.qubits[-1]
    spare: list[int] = []
    for distance in range(1, n_qubits):
        for q in (target - distance, target + distance):
            if 0 <= q < n_qubits and q not in own:
                spare.append(q)
        if len(spare) >= len(op.qubits):
            break
    return tuple(spare[: len(op.qubits)])


def lower_op(
    op: Op, allowed: frozenset[str], n_qubits: int, *, controls: bool = False, drop_phase: bool = False
) -> tuple[Op, ...]:
    """One operation of a program of `n_qubits` qubits over `allowed`; see `lower`."""
    if op.gate in DIRECTIVES or (op.gate in allowed and (controls or not op.controls)):
        return (op,)
    if any(isinstance(p, Affine) for p in op.params):
        raise UsageError(f"{op.gate} has unbound inputs; bind them before lowering", where="lower")
    spare = _spare(op, n_qubits)
    place = op.qubits + spare
    steps = _lowering(allowed, controls).steps(op.gate, op.params, op.controls, len(spare))  # type: ignore[arg-type]
    if "gphase" not in allowed and any(step[0] == "gphase" for step in steps):
        if not drop_phase:
            raise UsageError(
                f"{op.gate} needs a global phase and 'gphase' is not allowed; allow it or drop the phase", where="lower"
            )
        steps = tuple(step for step in steps if step[0] != "gphase")
    return tuple([Op(name, tuple([place[q] for q in at]), angles, (), inner) for name, angles, at, inner in steps])


def lower(
    program: Program,
    allowed: frozenset[str],
    *,
    controls: bool = False,
    drop_phase: bool = False,
    caps: Caps = DEFAULT_CAPS,
) -> Program:
    """The program over the rows `allowed`; measurements, resets, barriers and branches stay.

    Args:
        allowed: gate rows that may be written, for instance frozenset({"rz", "sx", "x", "cx", "gphase"}).
        controls: allowed rows may carry any number of controls (`Op.controls`); else none.
        drop_phase: leave global phases out where "gphase" is not allowed; else that is an error.
        caps: `operations_max` bounds the result.

    Gates with many controls may borrow other qubits of the program, and give them back unchanged.

    Raises:
        UsageError: `allowed` cannot express a gate, a phase would be lost, an input is unbound, or
            the result has more operations than a program may have.
    """
    ops: list[Operation] = []
    count = 0
    for index, op in enumerate(program.ops):
        if isinstance(op, Branch):
            then, orelse = (
                tuple(low for inner in arm for low in lower_op(inner, allowed, program.n_qubits,
                                                               controls=controls, drop_phase=drop_phase))
                for arm in (op.then, op.orelse)
            )  # fmt: skip
            ops.append(Branch(op.condition, then, orelse))
            count += 1 + len(then) + len(orelse)
        else:
            low = lower_op(op, allowed, program.n_qubits, controls=controls, drop_phase=drop_phase)
            ops += low
            count += len(low)
        if count > caps.operations_max:
            raise _too_many(caps.operations_max, f"operation {index}")
    return Program(program.n_qubits, program.cregs, tuple(ops), program.inputs)
