"""Circuits: what a job says, and everything that can be read off it without running it.

Flow: user text -> qasm -> *Program* -> propagate, cone, components (exact reductions) -> features
-> engines. Observables and noise are data beside the program. `wire` gives the canonical bytes.
Nothing here allocates a quantum state. Import the module that defines a thing:

    from qcommons.circuits.qasm import parse
    program = parse("OPENQASM 3; qubit[2] q; h q[0]; ctrl @ x q[0], q[1];").program
"""

__all__ = [
    "clifford", "components", "cone", "features", "gates", "lower", "noise", "observables", "program", "propagate",
    "qasm", "wire",
]  # fmt: skip
