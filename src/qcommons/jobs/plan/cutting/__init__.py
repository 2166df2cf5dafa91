"""Circuit cutting: a program in fragments, and the sums of products that give its expectation values.

Flow: Program -> `wires` (what can be cut) -> `find` (where) -> `fragments` -> `exact` or `sampled` (runs and terms) ->
`plan/cut.py`, the planner's row. `interaction` says what a two-qubit gate does between its qubits; `pauli` multiplies.
"""

from __future__ import annotations

__all__: list[str] = []
