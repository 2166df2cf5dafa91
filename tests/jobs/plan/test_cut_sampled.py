"""Sampling mode: unbiased whatever is cut, joint cuts at the least overhead, honest error bars."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.jobs.plan.cutting_making import (
    Evaluator,
    evaluated,
    n_cuts,
    random_labels,
    random_program,
    reference,
    strings,
)
from tests.jobs.plan.making import random_sums

from qcommons.base.errors import Unavailable
from qcommons.circuits.observables import PauliSum
from qcommons.circuits.program import Op, Program
from qcommons.jobs.plan.cutting.fragments import Fragments, fragments_of
from qcommons.jobs.plan.cutting.links import links_of
from qcommons.jobs.plan.cutting.sampled import sampled_draft
from qcommons.jobs.plan.cutting.wires import wires_of


@pytest.mark.parametrize("seed", range(30))
def test_any_cutting_aims_at_the_uncut_values(seed: int) -> None:
    """With every setting due a shot, the sums at exact parities are the values themselves: no bias is left to shots."""
    program = random_program(3, 4, seed)
    sums = random_sums(3, 2, 3, seed)
    wires = wires_of(program, sums)
    labels = random_labels(wires, seed, most=2)
    assert n_cuts(wires, labels) > 0
    draft = sampled_draft(fragments_of(wires, labels, range(3), split=False), sums, 100_000, seed)
    assert np.allclose(evaluated(draft), reference(program, sums), atol=1e-9, rtol=0)


def rungs(angle: float | None, count: int) -> tuple[Program, Fragments, PauliSum]:
    """Two lines of `count` qubits joined by a cz, or an rzz by `angle`, on each rung, rotations between."""
    n = 2 * count
    ops = [Op("ry", (q,), (0.5 + 0.3 * q,)) for q in range(n)]
    for k in range(count):
        ops.append(Op("cz", (k, count + k)) if angle is None else Op("rzz", (k, count + k), (angle,)))
        ops += [Op("cx", (k, (k + 1) % count)), Op("cx", (count + k, count + (k + 1) % count))] if count > 1 else []
        ops += [Op("rx", (q,), (0.4 + 0.1 * q,)) for q in range(n)]
    program = Program(n, (), tuple(ops))
    (observable,) = strings(n, "Z" * n + " + " + "I" * (n - 1) + "Z")
    wires = wires_of(program, [observable])
    labels = tuple((int(op.qubits[0] >= count), int(op.qubits[1] >= count)) for op in wires.gates)
    return program, fragments_of(wires, labels, range(n), split=False), observable


def test_joint_cuts_have_the_least_overhead() -> None:
    """gamma of k cx cut jointly: 2^(k+1) - 1 (arXiv:2312.11638); one at a time it is 3^k."""
    for count, gamma in ((1, 3.0), (2, 7.0), (3, 15.0)):
        _, parts, observable = rungs(None, count)
        draft = sampled_draft(parts, [observable], 100, 1)
        assert draft.factor == pytest.approx(gamma**2, rel=1e-12)
    _, parts, _ = rungs(0.2, 2)
    (link,) = links_of(parts)
    assert link.gamma == pytest.approx(2 * (1 + math.sin(0.2)) ** 2 - 1)  # (sum |u|)^2 of one is 1 + sin(theta)


def test_a_cut_wire_has_gamma_three() -> None:
    """arXiv:2303.08287: 2^(k+1) - 1 for k = 1, with measure and prepare alone."""
    line = Program(3, (), (Op("h", (0,)), Op("cx", (0, 1)), Op("ry", (1,), (0.7,)), Op("cx", (1, 2))))
    (observable,) = strings(3, "ZZZ")
    parts = fragments_of(wires_of(line, [observable]), ((0, 0), (1, 1)), range(3), split=False)
    draft = sampled_draft(parts, [observable], 200, 1)
    assert draft.factor == pytest.approx(9.0)
    assert evaluated(draft) == pytest.approx(reference(line, [observable]), abs=1e-9)


def test_settings_due_less_than_a_shot_are_drawn_without_bias() -> None:
    """Weak gates leave hundreds of settings that are hardly ever due. Mean of 300 drafts within 5 standard errors (a
    false alarm once in 1.7 million) of the value, and not every draft the same."""
    program, parts, observable = rungs(0.15, 3)
    (want,) = reference(program, [observable])
    evaluator = Evaluator()
    values = [evaluator.of(sampled_draft(parts, [observable], 20, seed))[0] for seed in range(300)]
    assert len(set(values)) > 1
    assert abs(np.mean(values) - want) < 5 * np.std(values) / math.sqrt(len(values))


def test_shots_follow_the_weights_and_no_fragment_runs_for_nothing() -> None:
    """gamma = 7: alike settings weigh 1/4, unlike ones 1/2. An observable on one side alone: the other side's alike
    settings measure nothing and are not run."""
    _, parts, _ = rungs(None, 2)
    (one,) = strings(4, "IIIZ")
    draft = sampled_draft(parts, [one], 1000, 1)
    due = sorted({run.shots for run in draft.runs})
    assert due == [1750, 3500]  # 49,000 shots times (1/4)/7 and (1/2)/7
    assert len(draft.runs) == (4 + 12) + 12


def test_too_many_shots_are_refused_with_their_number() -> None:
    _, parts, observable = rungs(None, 3)
    with pytest.raises(Unavailable, match=r"225 times the shots: .* shots in all; at most 1,000,000,000"):
        sampled_draft(parts, [observable], 10_000_000, 1)
