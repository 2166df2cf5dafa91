"""1,000 five-qubit circuits of 1,024 shots: one batch here, one `run` call a circuit in Aer.

Our side starts from wire bytes: checking and decoding each program is part of the measured work. Aer's
circuits are built beforehand.
"""

from __future__ import annotations

from typing import Any

from bench import circuits, sides
from bench.harness import Claim

CLAIMS = [Claim("1,000 five-qubit circuits, decode included, against Aer run", "ours", "aer_run", "ratio", 8, rounds=3)]


def _texts(small: bool) -> list[str]:
    return [circuits.small_task(index) for index in range(10 if small else 1000)]


def ours(small: bool) -> sides.Thunk:
    from qcommons import run
    from qcommons.circuits import wire
    from qcommons.node.card import card_of_wire

    raw = [wire.encode(sides.program(text)) for text in _texts(small)]

    def thunk() -> dict[str, Any]:
        results = run([card_of_wire(data) for data in raw], shots=sides.SHOTS, seed=1)
        return {"engine": results[0].engine, "circuits": len(results)}

    return thunk


def aer_run(small: bool) -> sides.Thunk:
    from qiskit import QuantumCircuit
    from qiskit_aer import AerSimulator

    ready = [QuantumCircuit.from_qasm_str(text) for text in _texts(small)]
    simulator = AerSimulator(method="statevector")

    def thunk() -> dict[str, Any]:
        for circuit in ready:
            simulator.run(circuit, shots=sides.SHOTS, seed_simulator=1).result().get_counts()
        return {"circuits": len(ready)}

    return thunk
