"""Stabiliser facts against the exact distribution of random Clifford programs."""

from __future__ import annotations

import numpy as np
import pytest

from qcommons.base.errors import UsageError
from qcommons.base.seeds import stream
from qcommons.circuits.program import Affine, Op, Program
from qcommons.engines.records import Counts, Limits, Task
from qcommons.engines.registry import load_engines
from qcommons.testing.programs import scrambled
from qcommons.testing.reference import distribution
from qcommons.verify.stabiliser import facts


def with_ends(n: int, number: int) -> Program:
    """A random Clifford circuit; some qubits are not measured, one twice, one bit is never written."""
    rng = stream(number, "ends")
    qubits = rng.permutation(n)[: int(rng.integers(1, n + 1))].tolist()
    ends = [Op("measure", (q,), (), (c,)) for c, q in enumerate([*qubits, qubits[0]])]
    return Program(n, (("c", len(qubits) + 2),), (*scrambled(n, True, number).ops, *ends))


@pytest.mark.parametrize("number", range(25))
def test_facts_say_exactly_which_parities_are_certain(number: int) -> None:
    """All 2^n parities, from the density matrix of the reference."""
    program = with_ends(4, number)
    found = facts(program)
    assert found is not None
    exact = distribution(program)
    n = program.n_clbits
    every = np.array([[bool(x >> c & 1) for c in range(n)] for x in range(1 << n)])
    for mask, odd in zip(every, found.odd(every), strict=True):
        true = sum(p for key, p in exact.items() if sum(key[::-1][c] == "1" for c in np.flatnonzero(mask)) % 2)
        assert odd == pytest.approx(true, abs=1e-9)


def test_every_shot_of_stim_keeps_them_and_a_flipped_bit_breaks_one() -> None:
    ops = [
        Op("h", (0,)),
        *(Op("cx", (q, q + 1)) for q in range(59)),
        *(Op("measure", (q,), (), (q,)) for q in range(60)),
    ]
    program = Program(60, (("c", 60),), tuple(ops))
    found = facts(program)
    assert found is not None and len(found.masks) == 59
    limits = Limits(memory_bytes=1 << 28, seconds=60.0)
    counts = load_engines()["stim"].run(Task(program, Counts(500), "tableau", 1, limits)).counts
    assert counts is not None
    assert found.broken(counts) == 0
    assert found.broken({"1" + "0" * 59: 3, "0" * 60: 4}) == 3


def test_what_is_not_clifford_or_not_measured_last_has_none() -> None:
    assert facts(Program(1, (), (Op("t", (0,)),))) is None
    assert facts(Program(1, (), (Op("rz", (0,), (0.3,)),))) is None
    assert facts(Program(1, (("c", 1),), (Op("measure", (0,), (), (0,)), Op("h", (0,))))) is None
    with pytest.raises(UsageError, match="not bound"):
        facts(Program(1, (), (Op("rz", (0,), (Affine(0.0, (("a", 1.0),)),)),), ("a",)))
