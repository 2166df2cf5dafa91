"""What a quote says of liars: the check that applies, the weakest way to cheat, what would make it rarer.

Expected rates are those of the red team (`verify/detection.json`), put through the formulas of docs/verify.md by hand.
"""

from __future__ import annotations

import pytest
from tests.jobs.plan.making import brick, job_of, measured, z

from qcommons.engines.records import Amplitudes, Counts, Expectations, Want
from qcommons.jobs.plan.records import Price
from qcommons.node.quoted_checks import AIM, Asked, better, checks_of, kinds_of
from qcommons.verify.soundness import clopper_pearson

NAMED = Price(seconds=1.0, work_units=1, memory_bytes=1, engine="qulacs", method="statevector")
MPS = Price(seconds=1.0, work_units=1, memory_bytes=1, engine="aer", method="mps")
FREE = Price(seconds=1.0, work_units=1, memory_bytes=1)
REPEATED = (("repeat", 1024),)


def asked(
    assurance: str = "audit", rate_ppm: int = 250_000, runs: int = 100, nodes: int = 4, **fields: object
) -> Asked:
    return Asked(assurance, fields.pop("kinds", REPEATED), rate_ppm, runs, nodes, nodes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("want", "price", "kind"),
    [
        (Counts(2000), NAMED, ("repeat", 2000)),
        (Counts(2000), MPS, ("samples", 2000)),  # its numbers are not promised to repeat
        (Counts(2000), FREE, ("samples", 2000)),  # a liar free to choose takes an engine that does not repeat
        (Expectations((z(0),)), FREE, ("computed", 0)),
        (Expectations((z(0),), 500), NAMED, ("estimates", 500)),
        (Amplitudes(("00000",)), NAMED, ("computed", 0)),
    ],
)
def test_the_engine_and_the_want_say_how_answers_are_compared(want: Want, price: Price, kind: tuple[str, int]) -> None:
    program = measured(brick(5, 2)) if isinstance(want, Counts) else brick(5, 2)
    assert kinds_of(job_of([(program, want)]), [price]) == (kind,)


def test_the_fewest_shots_of_a_kind_count() -> None:
    job = job_of([(measured(brick(5, 2)), Counts(8192)), (measured(brick(5, 2)), Counts(1024))])
    assert kinds_of(job, [NAMED, NAMED]) == (("repeat", 1024),)


def test_an_audited_faker_passes_as_the_formula_says() -> None:
    """Of 100 runs 30 faked altogether, each looked at with 1/4 and then noticed with at least the lower end of 1,000 of
    1,000: (1 - d/4)^30."""
    first = checks_of(asked())[0]
    low, _ = clopper_pearson(1000, 1000)
    assert first.high == pytest.approx((1 - 0.25 * low) ** 30) and first.high < AIM
    assert (first.check, first.cheat, first.share) == ("repeat", "alone", 0.3)
    assert better(asked(), checks_of(asked())) == ""


def test_a_job_of_several_kinds_is_as_sound_as_its_weakest() -> None:
    mixed = checks_of(asked(kinds=(("computed", 0), ("samples", 1024))))
    alone = checks_of(asked(kinds=(("samples", 1024),)))
    assert [row.high for row in mixed] == [row.high for row in alone]


def test_what_was_not_measured_counts_as_never_noticed() -> None:
    few = asked(kinds=(("repeat", 50),))
    assert checks_of(few)[0].high == 1.0 and "nothing was measured" in better(few, checks_of(few))
    estimates = asked(kinds=(("estimates", 4096),))
    assert checks_of(estimates)[0].high == 1.0 and better(estimates, checks_of(estimates)) == ""


def test_advice_names_the_runs_that_are_needed_and_fewer_peers_where_that_does_it() -> None:
    """0.75^k <= 0.2 % from k = 22 on, and 30 % of 71 runs are 22."""
    few = asked(runs=20, nodes=4)
    said = better(few, checks_of(few))
    assert said.startswith("71 runs at each peer (now 20: --peers 1 does that)") and "--assurance replicate" in said
    none = asked("none", runs=2)
    assert checks_of(none)[0].high == 1.0
    assert better(none, checks_of(none)).startswith("--assurance audit and 71 runs at each peer (now 2)")
    trusted = asked(runs=100, rate_ppm=50_000)
    assert "404 runs at each peer" in better(trusted, checks_of(trusted)), "0.95^k from k = 121 on"


def test_replicas_are_quoted_alone_and_with_two_who_work_together() -> None:
    rows = {(row.cheat, row.share): row for row in checks_of(asked("replicate", nodes=5))}
    assert rows["alone", 0.3].high < 1e-9
    assert rows["two together", 0.3].high == pytest.approx(1 / 10), "both of five: one draw of ten"
    assert checks_of(asked("replicate", nodes=1)) == ()
