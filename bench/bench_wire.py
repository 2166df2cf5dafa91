"""A 1,000-gate program from its wire bytes, against `qiskit.qasm3.loads` of the same program.

qiskit-qasm3-import (Apache-2.0) is needed for the reference alone and no dependency of qcommons:
`pip install qiskit-qasm3-import` before this bench.
"""

from __future__ import annotations

from typing import Any

from bench import circuits, sides
from bench.harness import Claim

CLAIMS = [Claim("1,000-gate program from wire bytes, against qasm3.loads", "ours", "qasm3_loads", "ratio", 40)]
REPEATS = 5  # in one timed run: a single decode of ours is shorter than the noise


def _text(small: bool) -> str:
    return circuits.ghz(50 if small else 500).replace("measure q -> c;", "\n".join(
        f"ry({0.01 * i}) q[{i}];" for i in range(50 if small else 500)
    ) + "\nmeasure q -> c;")  # fmt: skip


def ours(small: bool) -> sides.Thunk:
    from qcommons.circuits import wire

    raw = wire.encode(sides.program(_text(small)))

    def thunk() -> dict[str, Any]:
        for _ in range(REPEATS):
            program = wire.decode(raw)
        return {"operations": len(program.ops), "bytes": len(raw), "decodes": REPEATS}

    return thunk


def qasm3_loads(small: bool) -> sides.Thunk:
    from qiskit import QuantumCircuit, qasm3

    text = qasm3.dumps(QuantumCircuit.from_qasm_str(_text(small)))

    def thunk() -> dict[str, Any]:
        for _ in range(REPEATS):
            circuit = qasm3.loads(text)
        return {"operations": circuit.size(), "bytes": len(text), "loads": REPEATS}

    return thunk
