"""Soundness: intervals that are exact, claims that never exceed what was measured."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from scipy import stats

from qcommons.base.errors import UsageError
from qcommons.verify import soundness
from qcommons.verify.soundness import (
    Detected,
    audited,
    clopper_pearson,
    colluders,
    detected,
    forfeit_needed,
    replicated,
    unchecked,
)  # fmt: skip


@pytest.mark.parametrize(("caught", "tried"), [(0, 10), (10, 10), (3, 10), (999, 1000)])
def test_intervals_are_those_of_scipy(caught: int, tried: int) -> None:
    exact = stats.binomtest(caught, tried).proportion_ci(0.95, method="exact")
    assert clopper_pearson(caught, tried) == pytest.approx((exact.low, exact.high))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("30 % noise", 1024, 1000, 1000), ("10 % noise", 1024, 1000, 0), ("uniform bits", 1024, 1000, 1000)]
    found = tuple(Detected(name, "repeat", shots, n, k, *clopper_pearson(k, n)) for name, shots, n, k in rows)
    monkeypatch.setattr(soundness, "_measured", lambda: found)


@pytest.mark.usefixtures("measured")
def test_an_audit_misses_a_lie_as_often_as_no_faked_run_is_chosen_and_noticed() -> None:
    """Of 100 runs at 25 %, the better cheat fakes 30 of them altogether: 0.75^30 = 1.8e-4, a little more."""
    found = audited(250_000, 100, 0.3, "repeat", 1024)
    low, _ = clopper_pearson(1000, 1000)
    assert found.passes == pytest.approx(0.75**30)
    assert found.high == pytest.approx((1 - 0.25 * low) ** 30)
    assert found.low <= found.passes <= found.high
    assert "fakes 30 % of its shots passes with probability <= 0.019 %" in found.says
    assert "25 % of 100 runs computed again" in found.says


@pytest.mark.usefixtures("measured")
def test_what_was_not_measured_counts_as_never_noticed() -> None:
    assert detected("30 % noise", "repeat", 512).tried == 0
    assert audited(1_000_000, 50, 0.3, "repeat", 512).high == 1.0
    assert audited(1_000_000, 50, 0.3, "statistics of tomorrow", 1024).high == 1.0
    assert audited(1_000_000, 50, 0.1, "repeat", 1024).high > 0.98
    assert unchecked(0.3).high == 1.0
    assert detected("30 % noise", "repeat", 8192).shots == 1024


@pytest.mark.usefixtures("measured")
def test_more_audits_or_runs_never_make_it_worse() -> None:
    for share in (0.3, 0.1):
        by_rate = [audited(rate, 40, share, "repeat", 1024).high for rate in (50_000, 100_000, 500_000, 1_000_000)]
        by_runs = [audited(100_000, runs, share, "repeat", 1024).high for runs in (1, 10, 100, 1000)]
        assert by_rate == sorted(by_rate, reverse=True)
        assert by_runs == sorted(by_runs, reverse=True)


def test_colluders_are_counted() -> None:
    """All draws of two of six nodes, and of a third of the rest, listed."""
    pairs = list(itertools.combinations(range(6), 2))
    both = sum(a < 2 and b < 2 for a, b in pairs)
    assert colluders(6, 2, 2) == pytest.approx(both / len(pairs))
    triples = [(pair, c) for pair in pairs for c in range(6) if c not in pair]
    for liars in (2, 3):
        decided = sum(sum(n < liars for n in pair) + (c < liars and min(pair) < liars) >= 2 for pair, c in triples)
        assert colluders(6, liars, 2, third=True) == pytest.approx(decided / len(triples))
    assert colluders(20, 1, 2, third=True) == 0.0


@pytest.mark.usefixtures("measured")
def test_replicas_are_as_good_as_the_peers_are_independent() -> None:
    alone = replicated(2, 1, 0.3, "repeat", 1024, 20, 0)
    together = replicated(2, 1, 0.3, "repeat", 1024, 20, 2)
    assert alone.passes == 0.0
    assert together.passes == pytest.approx(1 / 190)
    assert together.high > 1 / 190
    assert "if at most 2 of 20 peers work together" in together.says


@pytest.mark.parametrize("rate", [0.05, 0.25, 0.9])
def test_the_forfeit_makes_no_lie_pay(rate: float) -> None:
    """Expected gain of faking n runs of a batch: n (1 - p)^n - F (1 - (1 - p)^n)."""
    forfeit = forfeit_needed(round(rate * 1e6))
    gains = [n * (1 - rate) ** n - forfeit * (1 - (1 - rate) ** n) for n in range(1, 400)]
    assert max(gains) < 1e-9
    less = [n * (1 - rate) ** n - 0.9 * forfeit * (1 - (1 - rate) ** n) for n in range(1, 400)]
    assert max(less) > 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: clopper_pearson(3, 2),
        lambda: audited(250_000, 0, 0.3, "repeat", 1),
        lambda: audited(250_000, 1, 0.2, "repeat", 1),
        lambda: replicated(1, 1, 0.3, "repeat", 1, 20, 0),
        lambda: colluders(3, 4, 2),
        lambda: forfeit_needed(0),
    ],
)
def test_nonsense_is_refused(call: Any) -> None:
    with pytest.raises(UsageError):
        call()


def test_the_measured_rates_that_ship_cover_what_quotes_ask_for() -> None:
    for liar in ("30 % noise", "10 % noise", "uniform bits"):
        for check, shots in (("repeat", 1024), ("known", 1024), ("samples", 8192)):
            assert detected(liar, check, shots).tried >= 200
    assert detected("30 % noise", "repeat", 1024).low > 0.98


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0 %"), (0.00018, "0.018 %"), (0.0020001, "0.21 %"), (0.5, "50 %"), (1.0, "100 %"), (0.123, "13 %")],
)
def test_percentages_are_rounded_up(value: float, text: str) -> None:
    assert soundness.percent(value) == text
