"""Sides that several claims share: our public path, and Aer as a user would call it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Thunk", "aer", "ours", "program"]

Thunk = Callable[[], dict[str, Any]]
SHOTS = 1024


def program(text: str) -> Any:
    """The text as a Program; parsing is not what these claims measure."""
    from qcommons.circuits.qasm import parse

    return parse(text).program


def ours(text: str, **options: Any) -> Thunk:
    """`qcommons.run` of one program, answer in hand at the end."""
    from qcommons import run

    ready = program(text)

    def thunk() -> dict[str, Any]:
        result = run(ready, shots=SHOTS, seed=1, **options)
        return {"engine": result.engine, "method": result.method, "outcomes": len(result.counts)}

    return thunk


def aer(text: str, method: str) -> Thunk:
    """AerSimulator.run of one circuit, counts in hand at the end; threads as the claim sets them."""
    from qiskit import QuantumCircuit
    from qiskit_aer import AerSimulator

    circuit = QuantumCircuit.from_qasm_str(text)
    simulator = AerSimulator(method=method)

    def thunk() -> dict[str, Any]:
        result = simulator.run(circuit, shots=SHOTS, seed_simulator=1).result()
        if not result.success:
            return {"error": str(result.status)[:160]}
        return {"method": result.results[0].metadata["method"], "outcomes": len(result.get_counts())}

    return thunk
