"""Gates under extra controls: what has to be controlled, and how to do it with few gates.

Flow: gates -> *controlled* -> lower, clifford. A gate that is written A^-1 B A needs controls on B
alone: `under_control` lists the steps of every row with that mark. It ends at three primitives,
X, the phase `p` and `rz` with k controls, which this file writes out exactly, in global phase too,
with a polynomial number of gates and no clean ancilla.

Sources: Barenco et al., Phys. Rev. A 52, 3457 (1995): Lemma 7.2 (k - 2 borrowed qubits), 7.3 (one
borrowed qubit). Maslov, Phys. Rev. A 93, 022311 (2016): Toffoli gates up to relative phase inside.
Vale et al., arXiv:2302.06377: linear multi-controlled SU(2). A borrowed qubit may be in any state and
is given back unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from qcommons.circuits.gates import GATES, gray_phase
from qcommons.circuits.structure import CONTROLLED

__all__ = ["ControlledStep", "controlled_phase", "controlled_rz", "controlled_x", "split_row", "under_control"]

ControlledStep = tuple[str, tuple[float, ...], tuple[int, ...], int]
"""gate, params, positions (controls first), number of controls."""
Marked = tuple[bool, ControlledStep]
PI = math.pi
GRAY_QUBITS_MAX = 6  # 2**n - 2 cx; beyond, the chain of controlled_phase has fewer


def split_row(gate: str, controls: int = 0) -> tuple[str, int]:
    """(target row, number of leading controls), the row's own controls counted in."""
    base, inside = CONTROLLED.get(gate, (gate, 0))
    return base, inside + controls


def _on(gate: str, *positions: int, params: tuple[float, ...] = (), controls: int = 0) -> Marked:
    return True, (gate, params, positions, controls)


def _off(gate: str, *positions: int, params: tuple[float, ...] = ()) -> Marked:
    return False, (gate, params, positions, 0)


def _between(before: list[Marked], middle: list[Marked], after: list[Marked]) -> list[Marked]:
    return [*before, *middle, *after]


_MARGOLUS = [_off("h", 2), _off("t", 2), _off("cx", 1, 2), _off("tdg", 2)]
_MARGOLUS_BACK = [_off("t", 2), _off("cx", 1, 2), _off("tdg", 2), _off("h", 2)]
_RC3X_SIDE = [_off("h", 3), _off("t", 3), _off("cx", 2, 3), _off("tdg", 3), _off("h", 3)]
_RC3X_PART = [_off("t", 3), _off("cx", 1, 3), _off("tdg", 3)]  # its own inverse
_CX03 = [_on("x", 0, 3, controls=1)]
_TWO_H = [_off("h", 0), _off("h", 1)]

# row -> steps, True: needs the control. Rows that are not here are controlled step by step.
_FORMS: dict[str, Callable[..., list[Marked]]] = {
    "id": lambda: [],
    "y": lambda: [_off("sdg", 0), _on("x", 0), _off("s", 0)],
    "z": lambda: [_on("p", 0, params=(PI,))],
    "s": lambda: [_on("p", 0, params=(PI / 2,))],
    "sdg": lambda: [_on("p", 0, params=(-PI / 2,))],
    "t": lambda: [_on("p", 0, params=(PI / 4,))],
    "tdg": lambda: [_on("p", 0, params=(-PI / 4,))],
    "h": lambda: [_off("ry", 0, params=(-PI / 4,)), _on("z", 0), _off("ry", 0, params=(PI / 4,))],
    "sx": lambda: [_off("h", 0), _on("p", 0, params=(PI / 2,)), _off("h", 0)],
    "sxdg": lambda: [_off("h", 0), _on("p", 0, params=(-PI / 2,)), _off("h", 0)],
    "rx": lambda th: [_off("h", 0), _on("rz", 0, params=(th,)), _off("h", 0)],
    "ry": lambda th: [_off("sdg", 0), _on("rx", 0, params=(th,)), _off("s", 0)],
    "r": lambda th, ph: [_off("rz", 0, params=(-ph,)), _on("rx", 0, params=(th,)), _off("rz", 0, params=(ph,))],
    "cu": lambda th, ph, la, ga: [
        _on("gphase", 0, params=(ga,), controls=1), _on("u", 0, 1, params=(th, ph, la), controls=1),
    ],
    "swap": lambda: [_off("cx", 1, 0), _on("x", 0, 1, controls=1), _off("cx", 1, 0)],
    "iswap": lambda: [_on("rxx", 0, 1, params=(-PI / 2,)), _on("ryy", 0, 1, params=(-PI / 2,))],
    "ecr": lambda: [_off("rzx", 0, 1, params=(PI / 4,)), _on("x", 0), _off("rzx", 0, 1, params=(-PI / 4,))],
    "rxx": lambda th: _between(_TWO_H, [_on("rzz", 0, 1, params=(th,))], _TWO_H),
    "ryy": lambda th: [
        _off("sx", 0), _off("sx", 1), _on("rzz", 0, 1, params=(th,)), _off("sxdg", 0), _off("sxdg", 1),
    ],
    "rzz": lambda th: [_off("cx", 0, 1), _on("rz", 1, params=(th,)), _off("cx", 0, 1)],
    "rzx": lambda th: [_off("h", 1), _on("rzz", 0, 1, params=(th,)), _off("h", 1)],
    "xx_plus_yy": lambda th, be: [
        _off("rz", 0, params=(be,)), _on("rxx", 0, 1, params=(th / 2,)), _on("ryy", 0, 1, params=(th / 2,)),
        _off("rz", 0, params=(-be,)),
    ],
    "xx_minus_yy": lambda th, be: [
        _off("rz", 1, params=(-be,)), _on("rxx", 0, 1, params=(th / 2,)), _on("ryy", 0, 1, params=(-th / 2,)),
        _off("rz", 1, params=(be,)),
    ],
    "rccx": lambda: _between(_MARGOLUS, [_on("x", 0, 2, controls=1)], _MARGOLUS_BACK),
    "rc3x": lambda: _between(_RC3X_SIDE, [*_CX03, *_RC3X_PART, *_CX03, *_RC3X_PART], _RC3X_SIDE),
    "rc3xdg": lambda: _between(_RC3X_SIDE, [*_RC3X_PART, *_CX03, *_RC3X_PART, *_CX03], _RC3X_SIDE),
}  # fmt: skip


def under_control(base: str, params: tuple[float, ...]) -> list[Marked]:
    """Steps of a row in time order; True where the step must carry the extra controls.

    With the controls on, all steps act; off, the unmarked ones cancel. `base` is none of `x`, `p`,
    `rz`, `gphase`, which are primitives.
    """
    form = _FORMS.get(base)
    if form is not None:
        return form(*params)
    definition = GATES[base].definition
    assert definition is not None, base  # every row of the basis has its form above
    return [(True, (name, angles, where, 0)) for name, angles, where in definition(*params)]


def controlled_x(k: int, n_spare: int, toffoli: bool) -> list[ControlledStep]:
    """X on position k with controls 0 .. k-1, k >= 5; spare qubits are positions k+1 ... .

    12 k - 18 cx with k - 2 spare qubits, about twice that with one; with none it is left to
    `controlled_phase`. toffoli: the inner gates are ccx (as a gate of the target set) and not rccx.
    """
    if n_spare >= k - 2:
        return _borrowed_chain(k, "ccx" if toffoli else "rccx")
    if n_spare:
        half, spare = (k + 1) // 2, k + 1
        first: ControlledStep = ("x", (), (*range(half), spare), half)
        second: ControlledStep = ("x", (), (*range(half, k), spare, k), k - half + 1)
        return [first, second, first, second]
    return [("h", (), (k,), 0), ("p", (PI,), tuple(range(k + 1)), k), ("h", (), (k,), 0)]


def _borrowed_chain(k: int, inner: str) -> list[ControlledStep]:
    """Barenco Lemma 7.2. The ladder acts as permutation times diagonal and commutes with what `ccx` reads."""
    ancilla = range(k + 1, 2 * k - 1)
    rungs: list[ControlledStep] = [(inner, (), (i + 1, ancilla[i - 1], ancilla[i]), 0) for i in range(k - 3, 0, -1)]
    ladder = [*rungs, (inner, (), (0, 1, ancilla[0]), 0), *reversed(rungs)]
    outer: ControlledStep = ("ccx", (), (k - 1, ancilla[k - 3], k), 0)
    return [outer, *ladder, outer, *ladder]


def controlled_rz(theta: float, k: int) -> list[ControlledStep]:
    """rz(theta) on position k with controls 0 .. k-1, k >= 2: four X gates of k/2 controls (Vale et al.).

    rz(b) X2 rz(-b) X1 rz(b) X2 rz(-b) X1 is rz(4b) if both halves of the controls are on, else 1.
    """
    half = (k + 1) // 2
    first: ControlledStep = ("x", (), (*range(half), k), half)
    second: ControlledStep = ("x", (), (*range(half, k), k), k - half)
    plus: ControlledStep = ("rz", (theta / 4,), (k,), 0)
    minus: ControlledStep = ("rz", (-theta / 4,), (k,), 0)
    return [plus, second, minus, first, plus, second, minus, first]


def controlled_phase(lam: float, k: int, n_spare: int) -> list[ControlledStep]:
    """exp(i lam) where positions 0 .. k all read 1, k >= 2.

    Up to 6 qubits along a Gray code; above as controlled rz and half the phase on the controls,
    which is exact because p(lam) = exp(i lam/2) rz(lam): quadratic in k. A full sign flip is H X H where
    a qubit can be borrowed: linear.
    """
    if n_spare and k >= 5 and abs(lam) == PI:
        return [("h", (), (k,), 0), ("x", (), tuple(range(k + 1)), k), ("h", (), (k,), 0)]
    if k + 1 <= GRAY_QUBITS_MAX:
        return [(name, params, where, 0) for name, params, where in gray_phase(lam, k + 1)]
    chain: list[ControlledStep] = []
    while k + 1 > GRAY_QUBITS_MAX:
        chain.append(("rz", (lam,), tuple(range(k + 1)), k))
        k, lam = k - 1, lam / 2
    return [*chain, ("p", (lam,), tuple(range(k + 1)), k)]
