"""The gate reference, written from the gate table: docs/gates.md.

Flow: gates -> *page* -> docs. `python -m qcommons.circuits.gates_page > docs/gates.md` renews the page;
a test holds it against the table.
"""

from __future__ import annotations

import sys

from qcommons.circuits.gates import CODES, ROWS, Gate

__all__ = ["page"]

_HEAD = """\
# Gates

Every gate that a program may name, one row each, written by `python -m qcommons.circuits.gates_page`
from `src/qcommons/circuits/gates.py`. Any of them may carry further controls, before its own qubits.

Bit order: the first qubit of a gate is the least significant bit of its matrix index. Angles are in
radians. Global phases are exact: a definition equals its matrix. The code is the gate's number on the wire.
`rz` and `p` differ by the global phase exp(i lambda/2), which matters under controls.

| code | gate | also | qubits | parameters | what it does | rotation axis | Clifford (stim) | source |
|---:|---|---|---:|---:|---|---|---|---|
"""


def page() -> str:
    """The whole page as Markdown."""
    return _HEAD + "".join(map(_line, ROWS))


def _line(row: Gate) -> str:
    also = ", ".join(f"`{alias}`" for alias in row.aliases)
    steps = " ".join(f"{name}({','.join(map(str, where))})" for name, where in row.stim or ())
    if row.stim == ():
        steps = "phase only"
    kind = f"{row.help} (diagonal)" if row.diagonal and row.n_qubits else row.help
    cells = (
        CODES[row.name], f"`{row.name}`", also, row.n_qubits, row.n_params, kind, row.pauli or "", steps, row.source,
    )  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
