"""Every valid QASMBench circuit runs with the default install and agrees with a second method.

The witness is another engine on the program as parsed, without the reductions (`bench.qasmbench`): all
one-body and up to 2,000 two-body Z parities and a chi-square, 4,096 shots each, below 6 sigma; by chance
4e-6 a circuit, and seeds are fixed. Known answers are asserted besides.
"""

from __future__ import annotations

import math
import re

import pytest
from bench.qasmbench import DATA, SIGMAS, run

FILES = sorted(DATA.glob("*.qasm"))
pytestmark = pytest.mark.skipif(not FILES, reason=f"QASMBench is not at {DATA}; set QCOMMONS_DATA")


@pytest.mark.parametrize("path", [p for p in FILES if p.stem != "vqe_uccsd_n4"], ids=lambda p: p.stem)
def test_circuit_agrees_with_a_second_method(path) -> None:  # type: ignore[no-untyped-def]
    row = run(path)
    assert row.execution is not None, row.error
    assert row.sigmas < SIGMAS, row.text()


def test_the_invalid_one_gives_line_and_column() -> None:
    row = run(DATA / "vqe_uccsd_n4.qasm")
    assert row.execution is None and "vqe_uccsd_n4.qasm:225:9" in row.error


@pytest.mark.parametrize("name", ["knn_n31", "knn_n67"])
def test_swap_test_of_product_states_has_its_closed_form(name: str) -> None:
    """P(0) = (1 + prod cos^2((a - b) / 2)) / 2 for ry(a), ry(b) pairs (Buhrman et al., PRL 87, 167902).

    4,096 shots, 5.5 sigma: 4e-8.
    """
    text = (DATA / f"{name}.qasm").read_text()
    angle = {int(q): float(a) for a, q in re.findall(r"ry\(([-\d.e]+)\) q0\[(\d+)\];", text)}
    pairs = [(int(a), int(b)) for a, b in re.findall(r"cswap q0\[0\],q0\[(\d+)\],q0\[(\d+)\];", text)]
    assert len(pairs) == (int(name[5:]) - 1) // 2 and len(angle) == 2 * len(pairs)
    overlap = math.prod(math.cos((angle[a] - angle[b]) / 2) ** 2 for a, b in pairs)
    row = run(DATA / f"{name}.qasm")
    assert row.execution is not None and row.execution.answer.counts is not None
    zero = row.execution.answer.counts.get("0", 0) / 4096
    expected = (1 + overlap) / 2
    assert abs(zero - expected) < 5.5 * math.sqrt(expected * (1 - expected) / 4096) + 1e-3
