"""Sixty qubits where Aer's automatic choice gives up: Clifford + 8 T, and an Ising chain.

Each answer is held against a tightly converged matrix product state (Aer, truncation 1e-16): every
<Z_i> and <Z_i Z_{i+1}> from the samples must lie within 5 standard errors, and the fidelity of the
state must reach 0.999. The overlap is the mean of ours(x) / reference(x) over bitstrings x that Aer
draws from the reference; its standard error is told with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from bench import circuits, sides
from bench.harness import Claim

CLAIMS = [
    Claim("Clifford + 8 T on 60 qubits (Aer automatic fails)", "clifford_ours", "clifford_aer", "seconds", 5, 3),
    Claim("Ising chain of 60, 20 steps (Aer automatic fails)", "ising_ours", "ising_aer", "seconds", 5, 3),
]  # fmt: skip
SIGMAS = 5.0  # with 119 values a right answer misses once in 15,000 runs
FIDELITY = 0.999
STRINGS = 400  # for the overlap


def _clifford(small: bool) -> str:
    return circuits.clifford_t(12 if small else 60, 6 if small else 20, 8, seed=1)


def _ising(small: bool) -> str:
    return circuits.ising(12 if small else 60, 5 if small else 20)


def clifford_ours(small: bool) -> sides.Thunk:
    return _checked(_clifford(small))


def ising_ours(small: bool) -> sides.Thunk:
    return _checked(_ising(small))


def clifford_aer(small: bool) -> sides.Thunk:
    return sides.aer(_clifford(small), "automatic")


def ising_aer(small: bool) -> sides.Thunk:
    return sides.aer(_ising(small), "automatic")


def _checked(text: str) -> sides.Thunk:
    """Our run; the comparison is made once, at the warm-up, and its outcome told with each run."""
    from qcommons import run

    program = sides.program(text)
    known = _reference(text)
    judged: dict[str, Any] = {}

    def thunk() -> dict[str, Any]:
        result = run(program, shots=sides.SHOTS, seed=1)
        if not judged:
            judged.update(_judge(result.counts, known))
            fidelity, stderr = _fidelity(text)
            judged["fidelity"] = f"1 - {1 - fidelity:.1e} +- {stderr:.0e}"
            judged["right"] = judged["right"] and fidelity - SIGMAS * stderr >= FIDELITY
        return {"engine": result.engine, "method": result.method} | judged

    return thunk


@cache
def _reference(text: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """<Z_i> and <Z_i Z_{i+1}> of the final state from Aer's matrix product state."""
    from qiskit import QuantumCircuit
    from qiskit.quantum_info import SparsePauliOp

    simulator = _converged()
    circuit = QuantumCircuit.from_qasm_str(text)
    circuit.remove_final_measurements()
    n = circuit.num_qubits
    places = [*((i,) for i in range(n)), *((i, i + 1) for i in range(n - 1))]
    for where in places:
        observable = SparsePauliOp("Z" * len(where))
        circuit.save_expectation_value(observable, list(where), label="-".join(map(str, where)))
    data = simulator.run(circuit).result().data(0)
    values = [float(data["-".join(map(str, where))]) for where in places]
    return tuple(values[:n]), tuple(values[n:])


def _converged() -> Any:
    """The reference's simulator; importing it also gives QuantumCircuit its `save_` methods."""
    from qiskit_aer import AerSimulator

    return AerSimulator(method="matrix_product_state", matrix_product_state_truncation_threshold=1e-16)


def _fidelity(text: str) -> tuple[float, float]:
    """|<reference|ours>|^2 and its standard error."""
    from qiskit import QuantumCircuit

    from qcommons import run

    simulator = _converged()
    circuit = QuantumCircuit.from_qasm_str(text)
    counts = simulator.run(circuit, shots=STRINGS, seed_simulator=5).result().get_counts()
    circuit.remove_final_measurements()
    circuit.save_matrix_product_state()
    gammas, schmidt = simulator.run(circuit).result().data(0)["matrix_product_state"]
    ours = run(sides.program(text), amplitudes=list(counts)).amplitudes
    ratios = np.array([ours[bits] / _amplitude(gammas, schmidt, bits) for bits in counts])
    weights = np.array(list(counts.values())) / STRINGS
    overlap = complex(weights @ ratios)
    variance = float(weights @ np.abs(ratios - overlap) ** 2) / STRINGS
    return abs(overlap) ** 2, 2 * abs(overlap) * math.sqrt(variance)


def _amplitude(gammas: Any, schmidt: Any, bits: str) -> complex:
    """One amplitude of Aer's Vidal form: the matrices of the bits, with Schmidt values between them."""
    row = np.asarray(gammas[0][int(bits[-1])])
    for site, bit in enumerate(reversed(bits[:-1]), start=1):
        row = (row * np.asarray(schmidt[site - 1])) @ np.asarray(gammas[site][int(bit)])
    return complex(row[0, 0])


def _judge(counts: Mapping[str, int], known: tuple[tuple[float, ...], tuple[float, ...]]) -> dict[str, Any]:
    bits = np.array([[1 - 2 * int(bit) for bit in reversed(key)] for key in counts])
    weights = np.array(list(counts.values()), dtype=float) / sum(counts.values())
    found = [*(weights @ bits), *(weights @ (bits[:, 1:] * bits[:, :-1]))]
    worst = 0.0
    for value, exact in zip(found, [*known[0], *known[1]], strict=True):
        stderr = math.sqrt(max(1 - exact**2, 1 / sides.SHOTS) / sides.SHOTS)
        worst = max(worst, abs(value - exact) / stderr)
    return {"right": bool(worst <= SIGMAS), "worst": f"{worst:.2f} sigma of {len(found)} values"}
