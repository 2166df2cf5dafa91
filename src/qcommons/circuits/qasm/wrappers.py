"""OpenQASM 3 text of the gates that stdgates.inc does not have.

Flow: Program -> writer -> *wrappers*; read back by gatebook. Two kinds: `gate iswap ...` for rows
under their own name, which readers recognise by their unitary, and `gate qc_x_c2 ...` for what
OpenQASM 3 says only in a form that readers simplify (two controls on x become ccx): there the name
keeps the exact row and number of controls, and the body keeps it right for every other tool.
"""

from __future__ import annotations

import re

from qcommons.circuits import gates

__all__ = ["DEFINITIONS", "WRAPPED", "wrapper"]

WRAPPED = re.compile(r"qc_(?P<row>[a-z0-9_]+?)(?:_c(?P<controls>[1-9][0-9]{0,5}))?")

# row -> (rows that must be defined before it, body); parameters p0.., qubits q0.. Exact in phase.
DEFINITIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "u": ((), "gphase(-p0 / 2); U(p0, p1, p2) q0;"),
    "sxdg": ((), "inv @ sx q0;"),
    "r": ((), "rz(-p1) q0; rx(p0) q0; rz(p1) q0;"),
    "cs": ((), "ctrl @ s q0, q1;"),
    "csdg": ((), "ctrl @ sdg q0, q1;"),
    "csx": ((), "ctrl @ sx q0, q1;"),
    "cu3": ((), "cu(p0, p1, p2, 0) q0, q1;"),
    "iswap": ((), "s q0; s q1; h q0; cx q0, q1; cx q1, q0; h q1;"),
    "dcx": ((), "cx q0, q1; cx q1, q0;"),
    "dcxdg": ((), "cx q1, q0; cx q0, q1;"),
    "ecr": ((), "gphase(-pi / 4); s q0; sx q1; cx q0, q1; x q0;"),
    "rxx": ((), "h q0; h q1; cx q0, q1; rz(p0) q1; cx q0, q1; h q0; h q1;"),
    "ryy": ((), "sdg q0; sdg q1; h q0; h q1; cx q0, q1; rz(p0) q1; cx q0, q1; h q0; h q1; s q0; s q1;"),
    "rzz": ((), "cx q0, q1; rz(p0) q1; cx q0, q1;"),
    "rzx": ((), "h q1; cx q0, q1; rz(p0) q1; cx q0, q1; h q1;"),
    "xx_plus_yy": (("rxx", "ryy"), "rz(p1) q0; rxx(p0 / 2) q0, q1; ryy(p0 / 2) q0, q1; rz(-p1) q0;"),
    "xx_minus_yy": (("rxx", "ryy"), "rz(-p1) q1; rxx(p0 / 2) q0, q1; ryy(-p0 / 2) q0, q1; rz(p1) q1;"),
    "ccz": ((), "ctrl(2) @ z q0, q1, q2;"),
    "rccx": ((), "h q2; t q2; cx q1, q2; tdg q2; cx q0, q2; t q2; cx q1, q2; tdg q2; h q2;"),
    "c3x": ((), "ctrl(3) @ x q0, q1, q2, q3;"),
    "c3sx": ((), "ctrl(3) @ sx q0, q1, q2, q3;"),
    "c3sxdg": ((), "inv @ ctrl(3) @ sx q0, q1, q2, q3;"),
    "rc3x": ((), "h q3; t q3; cx q2, q3; tdg q3; h q3; cx q0, q3; t q3; cx q1, q3; tdg q3; cx q0, q3; t q3; "
                 "cx q1, q3; tdg q3; h q3; t q3; cx q2, q3; tdg q3; h q3;"),
    "rc3xdg": (("rc3x",), "inv @ rc3x q0, q1, q2, q3;"),
    "c4x": ((), "ctrl(4) @ x q0, q1, q2, q3, q4;"),
}  # fmt: skip
_PHASED = {"u2": "gphase((p0 + p1) / 2); u2(p0, p1) q0;"}  # stdgates' u2 has another global phase


def _head(name: str, n_params: int, n_qubits: int) -> str:
    params = ", ".join(f"p{i}" for i in range(n_params))
    qubits = ", ".join(f"q{i}" for i in range(n_qubits))
    return f"gate {name}({params}) {qubits}" if params else f"gate {name} {qubits}"


def definition(row: str) -> str:
    """The definition of a row under its own name."""
    gate = gates.GATES[row]
    return f"{_head(row, gate.n_params, gate.n_qubits)} {{ {DEFINITIONS[row][1]} }}"


def wrapper(row: str, controls: int) -> tuple[str, str]:
    """(name, definition) of a row with extra controls, kept apart from equal gates."""
    gate = gates.GATES[row]
    if not controls:
        return f"qc_{row}", f"{_head(f'qc_{row}', gate.n_params, gate.n_qubits)} {{ {_PHASED.get(row, '')} }}"
    name = f"qc_{row}_c{controls}"
    n_qubits = gate.n_qubits + controls
    params = ", ".join(f"p{i}" for i in range(gate.n_params))
    qubits = ", ".join(f"q{i}" for i in range(n_qubits))
    inner = "qc_u2" if row == "u2" else row
    body = f"ctrl({controls}) @ {inner}{f'({params})' if params else ''} {qubits};"
    return name, f"{_head(name, gate.n_params, n_qubits)} {{ {body} }}"
