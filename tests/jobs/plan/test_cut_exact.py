"""Exact mode: whatever is cut, the sums of products are the uncut values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.jobs.plan.cutting_making import evaluated, n_cuts, random_labels, random_program, reference, strings, widest
from tests.jobs.plan.making import random_sums

from qcommons.base.errors import Unavailable
from qcommons.base.seeds import stream
from qcommons.circuits.observables import PauliSum, Term
from qcommons.circuits.program import Op, Program
from qcommons.jobs.plan.cutting.exact import exact_draft
from qcommons.jobs.plan.cutting.fragments import fragments_of
from qcommons.jobs.plan.cutting.wires import wires_of


@pytest.mark.parametrize("seed", range(24))
def test_any_cutting_gives_the_uncut_values(seed: int) -> None:
    """Labels at random: gates and wires cut in any mixture, wires that come back, fragments without observables."""
    program = random_program(4, 6, seed)
    sums = random_sums(4, 2, 4, seed)
    wires = wires_of(program, sums)
    labels = random_labels(wires, seed, most=3)
    parts = fragments_of(wires, labels, range(4), split=bool(seed % 2))
    for width_max in (1, 12):  # wires go on from states, or from pairs
        draft = exact_draft(parts, sums, width_max)
        assert np.allclose(evaluated(draft), reference(program, sums), atol=1e-9, rtol=0)
    assert n_cuts(wires, labels) == len(parts.wires) + sum(1 + (len(c.interaction.terms) > 2) for c in parts.cuts) > 0


def test_a_chain_of_cnots_has_the_closed_form() -> None:
    """RY(t_k) on each qubit, then CNOTs down the line: <Z_k> = cos t_0 ... cos t_k, uncut, gate-cut and wire-cut."""
    angles = stream(1, "cutting tests", "chain").uniform(0, math.pi, 4)
    chain = Program(
        4, (), (*(Op("ry", (q,), (float(t),)) for q, t in enumerate(angles)), *(Op("cx", (q, q + 1)) for q in range(3)))
    )  # fmt: skip
    total = PauliSum(tuple(Term(1.0, ((q, "Z"),)) for q in range(4)), "sum of Z")
    closed = float(np.cumprod(np.cos(angles)).sum())
    wires = wires_of(chain, [total])
    gate_cut = ((0, 0), (0, 1), (1, 1))
    wire_cut = ((0, 0), (0, 0), (1, 1))
    for labels, gates, cut_wires in ((gate_cut, 1, 0), (wire_cut, 0, 1)):
        parts = fragments_of(wires, labels, range(4), split=True)
        assert (len(parts.cuts), len(parts.wires)) == (gates, cut_wires)
        draft = exact_draft(parts, [total], 3)
        assert widest(draft.runs) == 3
        assert evaluated(draft) == pytest.approx([closed], abs=1e-12)


def test_one_run_holds_all_of_a_cut() -> None:
    """Two fragments, however many gates are cut between them: two runs, 4^cuts products."""
    ladder = Program(4, (), (*(Op("ry", (q,), (0.3 + q,)) for q in range(4)), Op("cz", (0, 1)), Op("cz", (2, 3)),
                             Op("cz", (1, 2)), Op("ry", (1,), (0.4,)), Op("cx", (2, 1))))  # fmt: skip
    (observable,) = strings(4, "XZXZ")
    wires = wires_of(ladder, [observable])
    draft = exact_draft(fragments_of(wires, ((0, 0), (1, 1), (0, 1), (1, 0)), range(4), split=True), [observable], 4)
    assert len(draft.runs) == 2 and draft.products <= 16
    assert evaluated(draft) == pytest.approx(reference(ladder, [observable]), abs=1e-12)


def test_terms_that_differ_in_one_fragment_are_one_product() -> None:
    bell = Program(2, (), (Op("h", (0,)), Op("cx", (0, 1))))
    many = PauliSum((Term(0.5, ((0, "Z"),)), Term(0.25, ((0, "X"),)), Term(-1.0, ((1, "Z"),)), Term(2.0, ())), "")
    wires = wires_of(bell, [many])
    draft = exact_draft(fragments_of(wires, ((0, 1),), (0, 1), split=True), [many], 2)
    assert draft.products <= 2 * 4 + 1
    assert evaluated(draft) == pytest.approx(reference(bell, [many]), abs=1e-12)


def test_too_many_cuts_are_refused_with_their_number() -> None:
    dense = Program(
        2, (), tuple(Op("rzz", (0, 1), (0.1 + k,)) if k % 2 else Op("rxx", (0, 1), (0.2,)) for k in range(20))
    )
    (observable,) = strings(2, "XZ")
    wires = wires_of(dense, [observable])
    parts = fragments_of(wires, ((0, 1),) * len(wires.gates), (0, 1), split=True)
    with pytest.raises(Unavailable, match=r"20 cut gates .* 1,099,511,627,776 products; at most 65,536"):
        exact_draft(parts, [observable], 24)
