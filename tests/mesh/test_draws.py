"""Small random choices: repeatable, and of the shape they promise."""

from __future__ import annotations

from tests.mesh.making import rng

from qcommons.mesh.draws import Draws


def test_the_same_generator_makes_the_same_choices() -> None:
    first, again = (Draws(rng("draws")) for _ in range(2))
    assert [first.below(1000) for _ in range(200)] == [again.below(1000) for _ in range(200)]


def test_every_item_is_drawn_and_none_twice_in_one_sample() -> None:
    draws, seen = Draws(rng("draws", 1)), set()
    for _ in range(200):
        some = draws.some(range(10), 3)
        assert len(set(some)) == 3
        seen |= set(some)
    assert seen == set(range(10)), "each is missed with probability 0.7^200 = 1e-31"
    assert sorted(draws.some([1, 2], 5)) == [1, 2]
    assert draws.some([], 3) == []


def test_first_places_of_a_sample_are_uniform() -> None:
    """Chi-squared with 9 degrees of freedom: above 40 with probability 8e-6; the seed is fixed."""
    draws = Draws(rng("draws", 2))
    counts = [0] * 10
    for _ in range(10_000):
        counts[draws.some(range(10), 4)[0]] += 1
    assert sum((count - 1_000) ** 2 / 1_000 for count in counts) < 40


def test_spans_vary_by_a_quarter() -> None:
    spans = [Draws(rng("draws", 3, number)).around(1_000) for number in range(200)]
    assert 750 <= min(spans) < 800 < 1_200 < max(spans) <= 1_250
