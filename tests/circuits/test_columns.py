"""Opcodes and columns: the byte's meaning, and what the columns say without building a program."""

from __future__ import annotations

import numpy as np
import pytest
from tests.vectors.regenerate import PROGRAMS

from qcommons.circuits.columns import CODE_OF, CONTROLLED, KNOWN, OPCODES, PARAMS, QUBITS, op_widths
from qcommons.circuits.gates import CODES, GATES, unitary
from qcommons.circuits.wire import decode_columns, encode


@pytest.mark.parametrize("name", GATES)
def test_a_gate_and_its_controlled_form_share_a_code(name: str) -> None:
    code = CODE_OF[name]
    assert code == CODES[name] < CONTROLLED
    for opcode in (code, code + CONTROLLED):
        assert OPCODES[opcode] == name
        assert (QUBITS[opcode], PARAMS[opcode]) == (GATES[name].n_qubits, GATES[name].n_params)
        assert opcode in KNOWN


def test_directives_sit_at_the_top_end() -> None:
    """docs/protocol/program.md, the table of opcodes."""
    assert OPCODES[0xFC:] == ["", "barrier", "reset", "measure"]
    assert [QUBITS[code] for code in range(0xFC, 0x100)] == [0, 0, 1, 1]
    assert len(KNOWN) == 2 * len(GATES) + 4


@pytest.mark.parametrize("name", [name for name, row in GATES.items() if row.n_params])
def test_the_sign_of_zero_means_nothing_to_any_gate(name: str) -> None:
    """Zero travels without its sign: that may not change a matrix."""
    n_params = GATES[name].n_params
    assert np.array_equal(unitary(name, (0.0,) * n_params), unitary(name, (-0.0,) * n_params))


def test_columns_answer_whoever_only_counts() -> None:
    columns = decode_columns(encode(PROGRAMS["teleport with feed-forward"]))
    widths = op_widths(columns.opcodes, columns.spans)
    assert len(columns.opcodes) == len(widths) == 16  # 12 at the top, 4 in blocks
    assert widths.sum() == 1 + 1 + 2 + 2 + 1 + 1 + 1 + 1 + 1 + 2 + 1 + 1  # by hand, markers without qubits
    assert columns.creg_sizes.tolist() == [2, 1]
    assert [OPCODES[code] for code in columns.opcodes].count("measure") == len(columns.clbits) == 3
