"""Amplitudes of a unitary program: a product over its independent parts. Exact in global phase.

Flow: execute -> *amplitudes* -> components -> climb.
"""

from __future__ import annotations

import cmath

import numpy as np

from qcommons.base.seeds import derive
from qcommons.circuits.components import Component, components
from qcommons.circuits.program import Affine, Op, Program
from qcommons.engines.climb import Climber
from qcommons.engines.records import Amplitudes, Answer, Statevector

__all__ = ["amplitudes"]


def amplitudes(program: Program, want: Amplitudes | Statevector, seed: int, climber: Climber) -> Answer:
    """The answer in the order asked (Statevector: index order)."""
    n = program.n_qubits
    phase = complex(1.0)
    for op in program.ops:
        if isinstance(op, Op) and op.gate == "gphase" and not op.qubits and not isinstance(op.params[0], Affine):
            phase *= cmath.exp(1j * op.params[0])
    if isinstance(want, Statevector):
        # one dense run; parts would only save where the state is small anyway
        answer = climber.run(_without_phase(program), want, None, derive(seed, "part", 0))
        return _phased(answer, phase)
    parts = components(program, keep_qubits=tuple(range(n)))
    values = np.full(len(want.bitstrings), phase, dtype=np.complex128)
    answers: list[Answer] = []
    for i, part in enumerate(parts):
        asked = [_restricted(bits, part, n) for bits in want.bitstrings]
        if part.program.ops:
            unique = tuple(dict.fromkeys(asked))
            answer = climber.run(part.program, Amplitudes(unique), None, derive(seed, "part", i))
            answers.append(answer)
            table = {b: complex(*pair) for b, pair in zip(unique, answer.amplitudes or (), strict=True)}
            values *= np.array([table[b] for b in asked])
        else:
            values *= np.array([0.0 if "1" in b else 1.0 for b in asked])
    pairs = tuple((float(v.real), float(v.imag)) for v in values)
    if not answers:
        climber.reasons.append((0, "no gate acts on any qubit: nothing to simulate"))
        return Answer("numpy", "constant", amplitudes=pairs)
    return Answer(
        "+".join(dict.fromkeys(a.engine for a in answers)),
        "+".join(dict.fromkeys(a.method for a in answers)),
        amplitudes=pairs,
        error_bound=sum(a.error_bound for a in answers),
        facts=answers[0].facts,
    )


def _without_phase(program: Program) -> Program:
    ops = tuple(op for op in program.ops if op.qubits or op.gate != "gphase")  # type: ignore[union-attr]
    return Program(program.n_qubits, (), ops)


def _phased(answer: Answer, phase: complex) -> Answer:
    turned = np.array([complex(*pair) for pair in answer.amplitudes or ()]) * phase
    pairs = tuple((float(v.real), float(v.imag)) for v in turned)
    return Answer(answer.engine, answer.method, amplitudes=pairs, error_bound=answer.error_bound, facts=answer.facts)


def _restricted(bits: str, part: Component, n: int) -> str:
    return "".join(bits[n - 1 - q] for q in reversed(part.qubits))
