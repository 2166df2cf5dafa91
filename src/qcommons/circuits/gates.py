"""The gate table: every gate that a program may name is one row of data.

Flow: qasm -> *gates* <- engines. A row says name, aliases, sizes, unitary, inverse, definition in
smaller gates, Pauli axis where the gate is a rotation, and the Clifford action in stim's gate
names. Tests loop over all rows and hold every column against every other.

Matrix convention: little-endian. Bit k of a row or column index is the k-th qubit of the
operation, so the first qubit of `cx` (its control) is the least significant bit.
Global phases are exact: a definition equals its unitary, not only up to phase.
Sources: [OQ3] OpenQASM 3.0 specification and stdgates.inc; [OQ2] arXiv:1707.03429, qelib1.inc;
[Qk] qiskit.circuit.library, whose extra gates appear in exported programs.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ALIASES", "CODES", "GATES", "NAMES", "PAULI", "ROWS", "Gate", "Matrix", "Step", "embed", "gray_phase", "inverse",
    "pauli_matrix", "unitary",
]  # fmt: skip

Matrix = NDArray[np.complex128]
Step = tuple[str, tuple[float, ...], tuple[int, ...]]  # gate, params, positions among own qubits
PI = math.pi
SQ2 = 1 / math.sqrt(2)


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """One row.

    unitary: params -> complex128 of shape (2**n_qubits, 2**n_qubits), little-endian.
    inverse: params -> (gate, params) of the inverse.
    definition: params -> steps in time order over smaller gates; None for the basis
        (gphase, p, rx, ry, rz, rxx, ryy, rzz, rzx and the fixed one-qubit gates, cx).
    pauli: for exp(-i theta/2 P) the letters of P, first letter on the first qubit; `p` is "Z" too,
        with the phase exp(i lambda/2) beside it.
    stim: Clifford action as (stim gate, positions) in time order, up to global phase; None if none.
    """

    name: str
    help: str
    source: str
    n_qubits: int
    unitary: Callable[..., Matrix]
    inverse: Callable[..., tuple[str, tuple[float, ...]]]
    n_params: int = 0
    aliases: tuple[str, ...] = ()
    definition: Callable[..., list[Step]] | None = None
    pauli: str | None = None
    stim: tuple[tuple[str, tuple[int, ...]], ...] | None = None
    diagonal: bool = False


def _m(*rows: Any) -> Matrix:
    return np.array(rows, dtype=np.complex128)


def _controlled(inner: Matrix, controls: int = 1) -> Matrix:
    """Controls are the first qubits, hence the least significant bits of the index."""
    n = inner.shape[0] << controls
    full = np.eye(n, dtype=np.complex128)
    on = (1 << controls) - 1
    index = [(i << controls) | on for i in range(inner.shape[0])]
    full[np.ix_(index, index)] = inner
    return full


PAULI: dict[str, Matrix] = {
    "I": _m([1, 0], [0, 1]),
    "X": _m([0, 1], [1, 0]),
    "Y": _m([0, -1j], [1j, 0]),
    "Z": _m([1, 0], [0, -1]),
}


def pauli_matrix(letters: str) -> Matrix:
    """complex128 (2**k, 2**k): Kronecker product, the first letter on the first (least significant) qubit."""
    full: Matrix = np.eye(1, dtype=np.complex128)
    for letter in letters:
        full = np.asarray(np.kron(PAULI[letter], full), dtype=np.complex128)
    return full


def _rotation(letters: str) -> Callable[[float], Matrix]:
    axis = pauli_matrix(letters)

    def matrix(theta: float) -> Matrix:
        identity = np.eye(axis.shape[0], dtype=np.complex128)
        return math.cos(theta / 2) * identity - 1j * math.sin(theta / 2) * axis

    return matrix


def _u(theta: float, phi: float, lam: float) -> Matrix:
    c, s = math.cos(theta / 2), math.sin(theta / 2)
    return _m([c, -cmath.exp(1j * lam) * s], [cmath.exp(1j * phi) * s, cmath.exp(1j * (phi + lam)) * c])


def _p(lam: float) -> Matrix:
    return _m([1, 0], [0, cmath.exp(1j * lam)])


H = _m([SQ2, SQ2], [SQ2, -SQ2])
SX = _m([0.5 + 0.5j, 0.5 - 0.5j], [0.5 - 0.5j, 0.5 + 0.5j])
SWAP = _m([1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1])
ISWAP = _m([1, 0, 0, 0], [0, 0, 1j, 0], [0, 1j, 0, 0], [0, 0, 0, 1])


def _cu(theta: float, phi: float, lam: float, gamma: float) -> Matrix:
    return _controlled(cmath.exp(1j * gamma) * _u(theta, phi, lam))


def _xx_yy(theta: float, beta: float, plus: bool) -> Matrix:
    """[Qk] XXPlusYYGate and XXMinusYYGate, little-endian."""
    c, s = math.cos(theta / 2), math.sin(theta / 2)
    full = np.eye(4, dtype=np.complex128)
    low, high = (1, 2) if plus else (0, 3)
    phase = cmath.exp(-1j * beta)
    full[low, low] = full[high, high] = c
    full[low, high] = -1j * s * phase
    full[high, low] = -1j * s / phase
    return full


def _from_steps(n_qubits: int, steps: list[Step]) -> Matrix:
    full = np.eye(1 << n_qubits, dtype=np.complex128)
    for name, params, where in steps:
        full = embed(GATES[name].unitary(*params), where, n_qubits) @ full
    return full


def embed(matrix: Matrix, where: tuple[int, ...], n_qubits: int) -> Matrix:
    """`matrix` on the qubits `where` (first is its least significant), identity on the rest."""
    k = len(where)
    tensor = np.eye(1 << n_qubits, dtype=np.complex128).reshape((2,) * n_qubits + (1 << n_qubits,))
    axes = [n_qubits - 1 - q for q in reversed(where)]  # most significant first
    out = np.tensordot(matrix.reshape((2,) * (2 * k)), tensor, axes=(range(k, 2 * k), axes))
    return np.moveaxis(out, range(k), axes).reshape(1 << n_qubits, 1 << n_qubits)


def _crot(letter: str) -> Callable[[float], list[Step]]:
    """Controlled rotation: half the angle always, half conditioned on the control's Z."""
    two = {"X": "rzx", "Y": "rzy", "Z": "rzz"}[letter]

    def steps(theta: float) -> list[Step]:
        one: Step = ("r" + letter.lower(), (theta / 2,), (1,))
        if two == "rzy":  # no such row: rzx between s gates on the target
            return [one, ("sdg", (), (1,)), ("rzx", (-theta / 2,), (0, 1)), ("s", (), (1,))]
        return [one, (two, (-theta / 2,), (0, 1))]

    return steps


def gray_phase(lam: float, k: int) -> list[Step]:
    """Phase exp(i lam) on |1..1> of k qubits, by Z-parities along a Gray code (no ancilla).

    exp(i lam prod b_i): prod b_i = 2^(1-k) sum over non-empty S of (-1)^(|S|+1) parity_S.
    """
    steps: list[Step] = []
    for top in range(k):
        gray_before = 0
        for i in range(1 << top):
            gray = i ^ (i >> 1)
            if i:
                flipped = (gray ^ gray_before).bit_length() - 1
                steps.append(("cx", (), (flipped, top)))
            gray_before = gray
            sign = -1 if gray.bit_count() % 2 else 1
            steps.append(("p", (sign * lam / (1 << (k - 1)),), (top,)))
        if top:
            steps.append(("cx", (), (gray_before.bit_length() - 1, top)))
    return steps


def _controlled_root_x(lam: float, k: int) -> list[Step]:
    """The lam/pi-th power of X on position k under k controls: H p(lam) H."""
    turn: Step = ("h", (), (k,))
    return [turn, *gray_phase(lam, k + 1), turn]


RCCX: list[Step] = [
    ("h", (), (2,)), ("t", (), (2,)), ("cx", (), (1, 2)), ("tdg", (), (2,)), ("cx", (), (0, 2)),
    ("t", (), (2,)), ("cx", (), (1, 2)), ("tdg", (), (2,)), ("h", (), (2,)),
]  # fmt: skip  # [OQ2] qelib1 rccx
RC3X: list[Step] = [
    ("h", (), (3,)), ("t", (), (3,)), ("cx", (), (2, 3)), ("tdg", (), (3,)), ("h", (), (3,)),
    ("cx", (), (0, 3)), ("t", (), (3,)), ("cx", (), (1, 3)), ("tdg", (), (3,)), ("cx", (), (0, 3)),
    ("t", (), (3,)), ("cx", (), (1, 3)), ("tdg", (), (3,)), ("h", (), (3,)), ("t", (), (3,)),
    ("cx", (), (2, 3)), ("tdg", (), (3,)), ("h", (), (3,)),
]  # fmt: skip  # [OQ2] qelib1 rc3x
_INVERSE_NAME = {"t": "tdg", "tdg": "t", "h": "h", "cx": "cx", "s": "sdg", "sdg": "s"}


def _reversed(steps: list[Step]) -> list[Step]:
    return [(_INVERSE_NAME[name], (), where) for name, _, where in reversed(steps)]


def _self(name: str) -> Callable[..., tuple[str, tuple[float, ...]]]:
    return lambda *params: (name, params)


def _negated(name: str) -> Callable[..., tuple[str, tuple[float, ...]]]:
    return lambda *params: (name, tuple(-p for p in params))


def _fixed(name: str, help_: str, matrix: Matrix, inverse_name: str, stim: str | None, **more: Any) -> Gate:
    return Gate(
        name=name, help=help_, source=more.pop("source", "OQ3 stdgates"),
        n_qubits=matrix.shape[0].bit_length() - 1, unitary=lambda: matrix, inverse=_self(inverse_name),
        stim=((stim, tuple(range(matrix.shape[0].bit_length() - 1))),) if stim else None, **more,
    )  # fmt: skip


def _angle(name: str, help_: str, n: int, make: Callable[..., Matrix], **more: Any) -> Gate:
    return Gate(
        name=name, help=help_, source=more.pop("source", "OQ3 stdgates"), n_qubits=n, n_params=1,
        unitary=make, inverse=_negated(name), **more,
    )  # fmt: skip


def _mcx(name: str, k: int, **more: Any) -> Gate:
    return _fixed(
        name, f"NOT with {k} controls", _controlled(PAULI["X"], k), name, None, source="OQ2 qelib1",
        definition=lambda: _controlled_root_x(PI, k), **more,
    )  # fmt: skip


# The order of rows is the wire's gate code: append only, never reorder (docs/protocol/program.md).
ROWS: tuple[Gate, ...] = (
    Gate(name="gphase", help="global phase exp(i gamma)", source="OQ3 4.4", n_qubits=0, n_params=1,
         unitary=lambda g: _m([cmath.exp(1j * g)]), inverse=_negated("gphase"), stim=(), diagonal=True),
    _fixed("id", "identity", PAULI["I"], "id", "I", aliases=("i",), diagonal=True),
    _fixed("x", "Pauli X", PAULI["X"], "x", "X"),
    _fixed("y", "Pauli Y", PAULI["Y"], "y", "Y"),
    _fixed("z", "Pauli Z", PAULI["Z"], "z", "Z", diagonal=True),
    _fixed("h", "Hadamard", H, "h", "H"),
    _fixed("s", "sqrt(Z)", _m([1, 0], [0, 1j]), "sdg", "S", diagonal=True),
    _fixed("sdg", "inverse of s", _m([1, 0], [0, -1j]), "s", "S_DAG", diagonal=True),
    _fixed("t", "fourth root of Z", _p(PI / 4), "tdg", None, diagonal=True),
    _fixed("tdg", "inverse of t", _p(-PI / 4), "t", None, diagonal=True),
    _fixed("sx", "sqrt(X)", SX, "sxdg", "SQRT_X"),
    _fixed("sxdg", "inverse of sx", SX.conj().T, "sx", "SQRT_X_DAG", source="Qk"),
    _angle("p", "phase exp(i lambda) on |1>", 1, _p, aliases=("u1", "phase"), pauli="Z", diagonal=True),
    _angle("rx", "rotation about X", 1, _rotation("X"), pauli="X"),
    _angle("ry", "rotation about Y", 1, _rotation("Y"), pauli="Y"),
    _angle("rz", "rotation about Z", 1, _rotation("Z"), pauli="Z", diagonal=True),
    Gate(name="r", help="rotation by theta about cos(phi) X + sin(phi) Y", source="Qk", n_qubits=1, n_params=2,
         unitary=lambda th, ph: _u(th, ph - PI / 2, PI / 2 - ph), inverse=lambda th, ph: ("r", (-th, ph)),
         definition=lambda th, ph: [("rz", (-ph,), (0,)), ("rx", (th,), (0,)), ("rz", (ph,), (0,))]),
    Gate(name="u2", help="u(pi/2, phi, lambda)", source="OQ2 qelib1", n_qubits=1, n_params=2,
         unitary=lambda ph, la: _u(PI / 2, ph, la), inverse=lambda ph, la: ("u2", (-la - PI, -ph + PI)),
         definition=lambda ph, la: [("u", (PI / 2, ph, la), (0,))]),
    Gate(name="u", help="general one-qubit gate", source="OQ2 U", n_qubits=1, n_params=3, aliases=("u3",),
         unitary=_u, inverse=lambda th, ph, la: ("u", (-th, -la, -ph)),
         definition=lambda th, ph, la: [("gphase", ((ph + la) / 2,), ()), ("rz", (la,), (0,)),
                                        ("ry", (th,), (0,)), ("rz", (ph,), (0,))]),
    _fixed("cx", "controlled NOT", _controlled(PAULI["X"]), "cx", "CX", aliases=("CX", "cnot")),
    _fixed("cy", "controlled Y", _controlled(PAULI["Y"]), "cy", "CY",
           definition=lambda: [("sdg", (), (1,)), ("cx", (), (0, 1)), ("s", (), (1,))]),
    _fixed("cz", "controlled Z", _controlled(PAULI["Z"]), "cz", "CZ", diagonal=True,
           definition=lambda: [("h", (), (1,)), ("cx", (), (0, 1)), ("h", (), (1,))]),
    _fixed("ch", "controlled Hadamard", _controlled(H), "ch", None,
           definition=lambda: [("ry", (-PI / 4,), (1,)), ("cz", (), (0, 1)), ("ry", (PI / 4,), (1,))]),
    _fixed("cs", "controlled s", _controlled(_p(PI / 2)), "csdg", None, source="Qk", diagonal=True,
           definition=lambda: [("cp", (PI / 2,), (0, 1))]),
    _fixed("csdg", "inverse of cs", _controlled(_p(-PI / 2)), "cs", None, source="Qk", diagonal=True,
           definition=lambda: [("cp", (-PI / 2,), (0, 1))]),
    Gate(name="csx", help="controlled sqrt(X)", source="OQ2 qelib1", n_qubits=2, unitary=lambda: _controlled(SX),
         inverse=lambda: ("cu", (-PI / 2, -PI / 2, PI / 2, -PI / 4)),
         definition=lambda: [("h", (), (1,)), ("cp", (PI / 2,), (0, 1)), ("h", (), (1,))]),
    _angle("cp", "controlled phase", 2, lambda la: _controlled(_p(la)), aliases=("cu1", "cphase"), diagonal=True,
           definition=lambda la: [("p", (la / 2,), (0,)), ("rz", (la / 2,), (1,)), ("rzz", (-la / 2,), (0, 1))]),
    _angle("crx", "controlled rx", 2, lambda th: _controlled(_rotation("X")(th)), definition=_crot("X")),
    _angle("cry", "controlled ry", 2, lambda th: _controlled(_rotation("Y")(th)), definition=_crot("Y")),
    _angle("crz", "controlled rz", 2, lambda th: _controlled(_rotation("Z")(th)), definition=_crot("Z"), diagonal=True),
    Gate(name="cu3", help="controlled u (no phase)", source="OQ2 qelib1", n_qubits=2, n_params=3,
         unitary=lambda th, ph, la: _controlled(_u(th, ph, la)), inverse=lambda th, ph, la: ("cu3", (-th, -la, -ph)),
         definition=lambda th, ph, la: [("cu", (th, ph, la, 0.0), (0, 1))]),
    Gate(name="cu", help="controlled exp(i gamma) u", source="OQ3 stdgates", n_qubits=2, n_params=4,
         unitary=_cu, inverse=lambda th, ph, la, ga: ("cu", (-th, -la, -ph, -ga)),
         definition=lambda th, ph, la, ga: [("p", (ga + (ph + la) / 2,), (0,)), ("crz", (la,), (0, 1)),
                                            ("cry", (th,), (0, 1)), ("crz", (ph,), (0, 1))]),
    _fixed("swap", "exchange two qubits", SWAP, "swap", "SWAP",
           definition=lambda: [("cx", (), (0, 1)), ("cx", (), (1, 0)), ("cx", (), (0, 1))]),
    Gate(name="iswap", help="exchange with phase i", source="Qk", n_qubits=2, unitary=lambda: ISWAP,
         inverse=lambda: ("xx_plus_yy", (PI, 0.0)), stim=(("ISWAP", (0, 1)),),
         definition=lambda: [("s", (), (0,)), ("s", (), (1,)), ("h", (), (0,)), ("cx", (), (0, 1)),
                             ("cx", (), (1, 0)), ("h", (), (1,))]),
    Gate(name="dcx", help="cx then cx back", source="Qk", n_qubits=2,
         unitary=lambda: _m([1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0]),
         inverse=lambda: ("dcxdg", ()), stim=(("CX", (0, 1)), ("CX", (1, 0))),
         definition=lambda: [("cx", (), (0, 1)), ("cx", (), (1, 0))]),
    Gate(name="dcxdg", help="inverse of dcx", source="Qk", n_qubits=2,
         unitary=lambda: _m([1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0]),
         inverse=lambda: ("dcx", ()), stim=(("CX", (1, 0)), ("CX", (0, 1))),
         definition=lambda: [("cx", (), (1, 0)), ("cx", (), (0, 1))]),
    Gate(name="ecr", help="echoed cross-resonance, (IX - XY)/sqrt(2)", source="Qk", n_qubits=2,
         unitary=lambda: SQ2 * _m([0, 1, 0, 1j], [1, 0, -1j, 0], [0, 1j, 0, 1], [-1j, 0, 1, 0]),
         inverse=lambda: ("ecr", ()), stim=(("S", (0,)), ("SQRT_X", (1,)), ("CX", (0, 1)), ("X", (0,))),
         definition=lambda: [("gphase", (-PI / 4,), ()), ("s", (), (0,)), ("sx", (), (1,)), ("cx", (), (0, 1)),
                             ("x", (), (0,))]),
    _angle("rxx", "exp(-i theta/2 XX)", 2, _rotation("XX"), pauli="XX", source="Qk"),
    _angle("ryy", "exp(-i theta/2 YY)", 2, _rotation("YY"), pauli="YY", source="Qk"),
    _angle("rzz", "exp(-i theta/2 ZZ)", 2, _rotation("ZZ"), pauli="ZZ", source="Qk", diagonal=True),
    _angle("rzx", "exp(-i theta/2 Z on the first, X on the second)", 2, _rotation("ZX"), pauli="ZX", source="Qk"),
    Gate(name="xx_plus_yy", help="partial exchange with phase beta", source="Qk", n_qubits=2, n_params=2,
         unitary=lambda th, be: _xx_yy(th, be, True), inverse=lambda th, be: ("xx_plus_yy", (-th, be)),
         definition=lambda th, be: [("rz", (be,), (0,)), ("rxx", (th / 2,), (0, 1)), ("ryy", (th / 2,), (0, 1)),
                                    ("rz", (-be,), (0,))]),
    Gate(name="xx_minus_yy", help="partial pair creation with phase beta", source="Qk", n_qubits=2, n_params=2,
         unitary=lambda th, be: _xx_yy(th, be, False), inverse=lambda th, be: ("xx_minus_yy", (-th, be)),
         definition=lambda th, be: [("rz", (-be,), (1,)), ("rxx", (th / 2,), (0, 1)), ("ryy", (-th / 2,), (0, 1)),
                                    ("rz", (be,), (1,))]),
    _mcx("ccx", 2, aliases=("toffoli",)),
    _fixed("ccz", "Z with 2 controls", _controlled(PAULI["Z"], 2), "ccz", None, source="Qk", diagonal=True,
           definition=lambda: gray_phase(PI, 3)),
    _fixed("cswap", "controlled swap", _controlled(SWAP), "cswap", None, aliases=("fredkin",),
           definition=lambda: [("cx", (), (2, 1)), ("ccx", (), (0, 1, 2)), ("cx", (), (2, 1))]),
    Gate(name="rccx", help="ccx up to relative phase (Margolus)", source="OQ2 qelib1", n_qubits=3,
         unitary=lambda: _from_steps(3, RCCX), inverse=lambda: ("rccx", ()), definition=lambda: RCCX),
    _mcx("c3x", 3),
    _fixed("c3sx", "sqrt(X) with 3 controls", _controlled(SX, 3), "c3sxdg", None, source="OQ2 qelib1",
           aliases=("c3sqrtx",),
           definition=lambda: _controlled_root_x(PI / 2, 3)),
    _fixed("c3sxdg", "inverse of c3sx", _controlled(SX.conj().T, 3), "c3sx", None, source="Qk",
           definition=lambda: _controlled_root_x(-PI / 2, 3)),
    Gate(name="rc3x", help="c3x up to relative phase", source="OQ2 qelib1", n_qubits=4,
         unitary=lambda: _from_steps(4, RC3X), inverse=lambda: ("rc3xdg", ()), definition=lambda: RC3X),
    Gate(name="rc3xdg", help="inverse of rc3x", source="Qk", n_qubits=4,
         unitary=lambda: _from_steps(4, RC3X).conj().T, inverse=lambda: ("rc3x", ()),
         definition=lambda: _reversed(RC3X)),
    _mcx("c4x", 4),
)  # fmt: skip

GATES: dict[str, Gate] = {row.name: row for row in ROWS}
NAMES: tuple[str, ...] = tuple(GATES)
CODES: dict[str, int] = {name: code for code, name in enumerate(NAMES)}
ALIASES: dict[str, str] = {alias: row.name for row in ROWS for alias in row.aliases}


def unitary(name: str, params: tuple[float, ...] = (), controls: int = 0) -> Matrix:
    """complex128 of shape (2**k, 2**k), k = controls + the row's qubits, controls least significant."""
    matrix = GATES[name].unitary(*params)
    return _controlled(matrix, controls) if controls else matrix


def inverse(name: str, params: tuple[float, ...] = ()) -> tuple[str, tuple[float, ...]]:
    """Gate and parameters of the inverse, exact in global phase."""
    return GATES[name].inverse(*params)
