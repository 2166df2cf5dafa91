"""Programs of the conformance suite, as rows: what is run, and where fixed the expected answer.

Flow: *programs* -> engine and reference -> compare. At most 5 qubits, so that the reference is quick.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec

from qcommons.base.seeds import stream
from qcommons.circuits.gates import ROWS, Gate
from qcommons.circuits.noise import Channel, Noise, Rule
from qcommons.circuits.observables import PauliSum, Term
from qcommons.circuits.program import Branch, Condition, Op, Operation, Program

__all__ = [
    "bit_programs", "control_programs", "dynamic_programs", "gate_programs", "measured", "noise_programs",
    "observables", "scrambled", "unmeasured",
]  # fmt: skip

QUBITS = 5  # c4x is the widest row
CLIFFORD_PREPARE = ("h", "s", "sx", "h")
NOISE_VALUES: dict[str, tuple[float, ...]] = {
    "depolarizing": (0.15,),
    "bit_flip": (0.12,),
    "phase_flip": (0.2,),
    "pauli": (0.05, 0.1, 0.15),
    "relaxation": (50e-6, 60e-6, 12e-6),
    "amplitude_damping": (0.2,),
    "readout": (0.05, 0.15),
}


def measured(program: Program, qubits: tuple[int, ...] | None = None) -> Program:
    """The program with a register holding the given qubits (default all), first in its bit 0."""
    chosen = tuple(range(program.n_qubits)) if qubits is None else qubits
    tail = tuple(Op("measure", (q,), clbits=(c,)) for c, q in enumerate(chosen))
    return Program(program.n_qubits, (("c", len(chosen)),), (*program.ops, *tail))


def unmeasured(program: Program) -> Program:
    """The program without its measurements at the end."""
    ops = list(program.ops)
    while ops and isinstance(ops[-1], Op) and ops[-1].gate == "measure":
        ops.pop()
    return msgspec.structs.replace(program, ops=tuple(ops))


def scrambled(n: int, clifford: bool, seed: int) -> Program:
    """A random circuit of n qubits whose amplitudes are all different (or stabiliser states)."""
    rng = stream(seed, "conformance", "scrambled")
    ops: list[Op] = []
    for _ in range(3):
        for qubit in range(n):
            if clifford:
                ops.append(Op(("h", "s", "sxdg", "y", "sdg")[int(rng.integers(5))], (qubit,)))
            else:
                ops.append(Op("u", (qubit,), tuple(rng.uniform(0, 3, 3).tolist())))
        a, b = (int(q) for q in rng.permutation(n)[:2])
        ops.append(Op(("cx", "cz", "swap")[int(rng.integers(3))], (a, b)))
        ops.append(Op("cx", (b, a)))
    if not clifford:
        ops.append(Op("gphase", (), (0.7,)))
    return Program(n, (), tuple(ops))


def _prepare(clifford: bool, n: int) -> list[Op]:
    ops = []
    for qubit in range(n):
        if clifford:
            ops += [Op(CLIFFORD_PREPARE[qubit % 4], (qubit,)), Op("h", (qubit,)), Op("s", (qubit,))]
        else:
            ops.append(Op("u", (qubit,), (0.6 + 0.3 * qubit, 0.4 * qubit - 0.5, 0.9)))
    return [*ops, *(Op("cx", (q, q + 1)) for q in range(n - 1))]


def _params(row: Gate, clifford: bool, turn: int) -> tuple[float, ...]:
    if clifford:
        return tuple(math.pi / 2 * ((turn + i) % 3 + 1) for i in range(row.n_params))
    return tuple(0.37 + 0.61 * i - 1.1 * turn for i in range(row.n_params))


def _spread(row_qubits: int, turn: int) -> tuple[int, ...]:
    order = ((3, 0, 4, 1, 2), (1, 2, 0, 4, 3))[turn % 2]
    return order[:row_qubits]


def gate_programs(clifford: bool) -> Iterator[tuple[str, Program]]:
    """Each row twice, on different qubits and parameters, between entangling layers.

    Clifford methods get the rows with a stabiliser action and the Pauli rotations at multiples of pi/2.
    """
    for row in ROWS:
        if clifford and row.stim is None and row.pauli is None:
            continue
        for turn in (0, 1):
            op = Op(row.name, _spread(row.n_qubits, turn), _params(row, clifford, turn))
            label = f"{row.name}{op.params or ''} on {op.qubits}"
            after = (
                [Op("h", (q,)) for q in range(QUBITS)] if clifford else [Op("ry", (q,), (0.8,)) for q in range(QUBITS)]
            )
            yield label, Program(QUBITS, (), (*_prepare(clifford, QUBITS), op, *after))


def control_programs(clifford: bool) -> Iterator[tuple[str, Program]]:
    """Explicit controls."""
    rows: list[Op] = [Op("x", (4, 1), controls=1), Op("z", (0, 3), controls=1), Op("y", (2, 0), controls=1)]
    if not clifford:
        rows += [
            Op("x", (3, 0, 4, 1), controls=3), Op("ry", (2, 4, 0), (0.7,), controls=2), Op("h", (1, 3), controls=1),
            Op("swap", (4, 2, 0), controls=1), Op("gphase", (1, 3), (0.9,), controls=2),
            Op("u", (2, 3), (0.3, 0.5, -0.8), controls=1), Op("rz", (4, 0, 1, 2), (1.1,), controls=3),
            Op("rzz", (0, 2, 4), (0.6,), controls=1), Op("x", (4, 3, 2, 1, 0), controls=4),
            Op("cp", (0, 1, 3), (0.6,), controls=1), Op("iswap", (1, 0, 4), controls=1),
        ]  # fmt: skip
    for op in rows:
        after = [Op("h", (q,)) for q in range(QUBITS)]
        yield (
            f"{op.controls}-controlled {op.gate} on {op.qubits}",
            Program(QUBITS, (), (*_prepare(clifford, QUBITS), op, *after)),
        )


def _read(qubit: int, clbit: int) -> Op:
    return Op("measure", (qubit,), clbits=(clbit,))


def _x(qubit: int) -> Op:
    return Op("x", (qubit,))


def _when(
    bits: tuple[int, ...], relation: str, value: int, then: tuple[Op, ...], orelse: tuple[Op, ...] = ()
) -> Branch:
    return Branch(Condition(bits, relation, value), then, orelse)


def bit_programs() -> Iterator[tuple[str, Program, str]]:
    """Deterministic programs and the one bitstring they give."""
    yield "x on qubit 1 of 3", Program(3, (("c", 3),), (_x(1), _read(0, 0), _read(1, 1), _read(2, 2))), "010"
    yield "crossed wires", Program(3, (("c", 3),), (_x(0), _read(0, 2), _read(1, 0), _read(2, 1))), "100"
    yield "two registers", Program(2, (("a", 2), ("b", 3)), (_x(0), _read(0, 3), _read(1, 0))), "01000"
    yield "no gates", Program(2, (("c", 2),), (_read(0, 0), _read(1, 1))), "00"
    yield "a bit written twice", Program(2, (("c", 1),), (_x(1), _read(0, 0), _read(1, 0))), "1"
    yield "a qubit read twice", Program(1, (("c", 2),), (_x(0), _read(0, 0), _read(0, 1))), "11"
    yield (
        "barriers",
        Program(2, (("c", 2),), (_x(0), Op("barrier", (0, 1)), _read(0, 0), Op("barrier", (0,)), _read(1, 1))),
        "01",
    )
    wide = Program(3, (("a", 40), ("b", 40)), (_x(0), _x(2), _read(0, 79), _read(1, 5), _read(2, 0)))
    yield "80 classical bits", wide, "1" + "0" * 78 + "1"


def dynamic_programs() -> Iterator[tuple[str, Program]]:
    """Clifford programs (so that every dynamic method runs them) with feedback of each sort."""
    h, x, z, s, cx = ("h", "x", "z", "s", "cx")
    yield (
        "measured, then used again",
        _dynamic(2, 3, Op(h, (0,)), _read(0, 0), Op(h, (0,)), Op(cx, (0, 1)), _read(0, 1), _read(1, 2)),
    )
    yield (
        "reset of half a Bell pair",
        _dynamic(2, 2, Op(h, (0,)), Op(cx, (0, 1)), Op("reset", (0,)), Op(h, (0,)), _read(0, 0), _read(1, 1)),
    )
    yield "teleportation", _dynamic(
        3, 3, Op(h, (0,)), Op(s, (0,)), Op(h, (0,)), Op(h, (1,)), Op(cx, (1, 2)), Op(cx, (0, 1)), Op(h, (0,)),
        _read(0, 0), _read(1, 1), _when((1,), "==", 1, (Op(x, (2,)),)), _when((0,), "==", 1, (Op(z, (2,)),)),
        Op(h, (2,)), Op("sdg", (2,)), Op(h, (2,)), _read(2, 2),
    )  # fmt: skip
    yield (
        "if and else",
        _dynamic(
            3,
            3,
            Op(h, (0,)),
            _read(0, 0),
            _when((0,), "==", 1, (Op(x, (1,)), Op(h, (2,))), (Op(h, (1,)),)),
            _read(1, 1),
            _read(2, 2),
        ),
    )
    for relation in ("!=", "<", "<=", ">", ">="):
        yield (
            f"register {relation} 2",
            _dynamic(
                3,
                3,
                Op(h, (0,)),
                Op(h, (1,)),
                _read(0, 0),
                _read(1, 1),
                _when((0, 1), relation, 2, (Op(x, (2,)),)),
                _read(2, 2),
            ),
        )
    yield (
        "measured and reset in a branch",
        _dynamic(
            2,
            3,
            Op(h, (0,)),
            _read(0, 0),
            _when((0,), "==", 1, (Op(h, (1,)), _read(1, 1), Op("reset", (1,)), Op(x, (1,)))),
            _read(1, 2),
        ),
    )
    yield (
        "a bit read before it is overwritten",
        _dynamic(
            2, 2, Op(h, (0,)), _read(0, 0), _when((0,), "==", 1, (Op(x, (1,)),)), Op(h, (0,)), _read(0, 0), _read(1, 1)
        ),
    )


def _dynamic(n: int, bits: int, *ops: Operation) -> Program:
    return Program(n, (("c", bits),), ops)


def noise_programs(kind: str) -> Iterator[tuple[str, Program, Noise]]:
    """Clifford circuits under one channel kind: on every gate, and by filtered rules."""
    channel = Channel(kind, NOISE_VALUES[kind])
    base = (
        Op("h", (0,)),
        Op("cx", (0, 1)),
        Op("s", (1,)),
        Op("x", (2,)),
        Op("h", (1,)),
        Op("cx", (2, 1)),
        Op("h", (2,)),
    )
    program = measured(Program(3, (), base))
    yield f"{kind} everywhere", program, Noise((Rule((channel,)),))
    if kind == "readout":
        yield "readout of qubits 0 and 2", program, Noise((Rule((channel,), qubits=(0, 2)),))
    else:
        yield f"{kind} after cx", program, Noise((Rule((channel,), gates=("cx",)),))
        yield (
            f"{kind} on single qubits 1 and 2, twice",
            program,
            Noise((Rule((channel, channel), qubits=(1, 2), arity=1),)),
        )


def observables(n: int) -> tuple[PauliSum, ...]:
    """Pauli sums over n qubits: single letters, mixed strings, sums with a constant."""
    rows: list[tuple[Term, ...]] = [(Term(1.0, ((q, letter),)),) for q in range(n) for letter in "XYZ"]
    if n > 1:
        rows.append((Term(0.5, ((0, "X"), (1, "Y"))), Term(-1.5, ((0, "Z"), (n - 1, "Z"))), Term(0.25, ())))
    rows.append((Term(2.0, tuple((q, "XYZ"[q % 3]) for q in range(n))),))
    rows.append((Term(-3.0, ()),))
    return tuple(PauliSum(terms, f"observable {i}") for i, terms in enumerate(rows))
