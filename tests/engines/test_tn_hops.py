"""Trees and slices looked for: the same for a seed, within the elements asked, cheaper the longer.

Modules: tn_search, tn_hops.
"""

from __future__ import annotations

import math

import pytest
from tests.engines.test_tn import grid

from qcommons.engines.numpy_engine import ENGINE as NUMPY
from qcommons.engines.records import Limits, Statevector, Task
from qcommons.engines.tn_closed import amplitude
from qcommons.engines.tn_hops import Aim, sliced
from qcommons.engines.tn_search import SOFT, Finder, _log2_sum, searched
from qcommons.engines.tn_slices import contract
from qcommons.engines.tn_tree import read_tree

PROGRAM = grid(4, 4, 10)
BITS = "0110101101001011"
STEPS = 60_000


@pytest.fixture(scope="module")
def closed():
    return amplitude(PROGRAM.ops, 16, BITS)


def whole_of(closed, seed=1, steps=STEPS):
    finder = searched(closed.legs, closed.owners, seed, steps)[0]
    return read_tree(closed.legs, finder.pairs(), ())


def tree_of(closed, aim, seed=1, steps=STEPS):
    return sliced(searched(closed.legs, closed.owners, seed, steps), aim, steps)


def test_a_search_is_counted_so_that_a_seed_gives_one_tree_and_its_slices(closed):
    one, again, other = (tree_of(closed, Aim(256.0, 3), seed, 20_000) for seed in (3, 3, 4))
    assert one == again != other


def test_steps_are_what_was_asked_within_a_quarter(closed):
    finders = searched(closed.legs, closed.owners, 1, STEPS)
    assert sum(finder.steps for finder in finders) <= 1.25 * STEPS


@pytest.mark.parametrize("eighths", [8, 4, 2, 1])
def test_slices_hold_no_more_than_asked_and_there_are_as_many_as_asked(closed, eighths):
    elements = whole_of(closed).peak_elements() * eighths / 8
    tree = tree_of(closed, Aim(elements, 3))
    assert tree.peak_elements() <= elements
    assert tree.n_slices >= 8


def test_a_tree_that_fits_is_not_sliced_unless_runs_are_asked_for(closed):
    assert tree_of(closed, Aim(1e9)).sliced == ()
    assert len(tree_of(closed, Aim(1e9, 2), steps=20_000).sliced) == 2


def test_slices_after_hops_add_up_to_the_dense_amplitude(closed):
    answer = NUMPY.run(Task(PROGRAM, Statevector(), "dense", 1, Limits(memory_bytes=1 << 30, seconds=30.0)))
    exact = complex(*answer.amplitudes[int(BITS, 2)])
    for seed in (1, 2):
        tree = tree_of(closed, Aim(whole_of(closed).peak_elements() / 2, 2), seed)
        assert 4 <= tree.n_slices <= 4_096
        quarter = tree.n_slices // 4
        runs = [contract(closed, tree, k * quarter, quarter, "f64") for k in range(4)]
        assert sum(runs) == pytest.approx(exact, abs=1e-12)


def test_the_work_of_an_aim_is_that_of_all_its_runs(closed):
    tree = tree_of(closed, Aim(256.0, 3), steps=20_000)
    quarter = tree.n_slices // 4
    assert Aim(0.0, 2).work(tree) == sum(tree.multiplications(k * quarter, quarter) for k in range(4))
    assert Aim(0.0, 0).work(tree) <= Aim(0.0, 2).work(tree) <= tree.n_slices * tree.multiplications()


def test_the_order_of_slices_shares_at_least_as_much_as_its_reverse(closed):
    tree = tree_of(closed, Aim(64.0, 3))
    turned = read_tree(closed.legs, tree.pairs, tree.sliced[::-1])
    assert len(tree.sliced) > 3
    assert Aim(0.0, 3).work(tree) <= Aim(0.0, 3).work(turned)


def test_what_was_put_back_leaves_the_tree_of_the_rest(closed):
    finder = searched(closed.legs, closed.owners, 1, 20_000)[0]
    finder.slice_to(4, 2, 40, 5)
    finder.unslice((0, 2))
    legs = read_tree(closed.legs, finder.pairs(), finder.ordered()).legs
    assert finder.cost() == read_tree(closed.legs, finder.pairs(), finder.ordered()).multiplications()
    assert max(own.bit_count() for own in legs) == finder.width()


def test_a_twin_goes_its_own_way(closed):
    finder = Finder(closed.legs, closed.owners, 1)
    before = finder.state()
    twin = finder.twin(1)
    twin.anneal(5)
    assert finder.state() == before != twin.state()


@pytest.mark.parametrize(("x", "y"), [(0, 0), (3, 5), (63, 0), (0, 63), (64, 0), (2_000, 1), (1, 2_000)])
def test_the_logarithm_of_a_sum_is_right_at_any_distance(x, y):
    low, high = min(x, y), max(x, y)
    assert _log2_sum(x, y) == pytest.approx(high + math.log2(1 + 2.0 ** (low - high)), abs=1e-12)
    assert len(SOFT) == 128
