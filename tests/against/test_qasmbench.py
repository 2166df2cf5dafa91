"""Every valid QASMBench circuit runs with the default install and agrees with a second method.

The witness is another engine on the program as parsed, without the reductions (`bench.qasmbench`): all
one-body and up to 2,000 two-body Z parities and a chi-square, 4,096 shots each, below 6 sigma; by chance
4e-6 a circuit, and seeds are fixed. Known answers are asserted besides.
"""

from __future__ import annotations

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
