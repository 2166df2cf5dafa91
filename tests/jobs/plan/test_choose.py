"""The choice: overheads decide, numbers are said, refusals help."""

from __future__ import annotations

import dataclasses
import time

import msgspec
import pytest
from tests.jobs.plan.making import asked_of, brick, job_of, measured, run_all, values_of, z

from qcommons.base.errors import Unavailable, UsageError
from qcommons.circuits.program import Affine, Op, Program
from qcommons.engines.records import Counts, Expectations
from qcommons.jobs.plan.choose import GAIN, WORK_MAX, choose, spread
from qcommons.jobs.plan.combine import combined
from qcommons.jobs.plan.records import Priced
from qcommons.jobs.plan.row import Asked, Made, Row
from qcommons.jobs.plan.rows import load_rows

TINY = job_of([(measured(brick(5, 4)), Counts(1024))])


class Fixed:
    """A row that says what it is told to."""

    help = "a price"

    def __init__(self, name: str, **fields: object) -> None:
        self.name = name
        said = {"applies": True, "why": "told so", "seconds": 10.0, "runs": 1, "work_units": 1.0} | fields
        self.priced = Priced(row=name, **said)  # type: ignore[arg-type]

    def price(self, asked: Asked) -> Priced:
        return self.priced

    def make(self, asked: Asked) -> Made:
        return Made(asked.job)


def chosen(*rows: Row, parallel: int = 4, job: object = None) -> str:
    asked = asked_of(job or TINY, parallel=parallel)  # type: ignore[arg-type]
    return choose(asked, rows={row.name: row for row in rows}).row


def test_our_own_rows_load_and_say_what_they_do() -> None:
    rows, _ = load_rows()
    assert list(rows)[:3] == ["whole", "batch", "lightcone"]
    for name, row in rows.items():
        assert isinstance(row, Row) and row.name == name and row.help


def test_a_tiny_job_is_never_spread_and_no_other_row_is_asked() -> None:
    plan = choose(asked_of(TINY, parallel=100))
    assert plan.row == "whole" and plan.parts == () and plan.job == TINY
    others = [priced for priced in plan.priced if priced.row != "whole"]
    assert others and all(not p.applies and p.why.startswith(("not priced", "could not be")) for p in others)


def test_a_search_is_not_worth_it_where_the_job_takes_less() -> None:
    class Unasked(Fixed):
        def price(self, asked: Asked) -> Priced:
            raise AssertionError("was priced")

    short, long = Fixed("whole", seconds=0.9), Fixed("whole", seconds=1.1)  # a search may take 1 s
    assert chosen(short, Unasked("cut")) == "whole"
    assert chosen(long, Fixed("cut", seconds=0.1)) == "cut"
    rows = {row.name: row for row in (short, Fixed("cut", seconds=0.1))}
    assert choose(asked_of(TINY), rows=rows, every=True).row == "cut"
    unsure = Fixed("whole", seconds=0.9, certain=False)
    assert chosen(unsure, Fixed("cut", seconds=0.1)) == "cut"


def test_choosing_for_a_tiny_job_takes_less_than_a_millisecond() -> None:
    """The best of 20, so that a busy machine does not fail it."""
    choose(asked_of(TINY))
    best_s = 1.0
    for _ in range(20):
        asked = asked_of(TINY)
        start_s = time.perf_counter()
        choose(asked)
        best_s = min(best_s, time.perf_counter() - start_s)
    assert best_s < 1e-3


def test_choosing_for_ten_thousand_points_takes_less_than_a_fifth_of_a_second() -> None:
    body = tuple(Op("rx", (q,), (Affine(0.0, (("a", 1.0 + q),)),)) for q in range(5))
    ends = tuple(Op("measure", (q,), clbits=(q,)) for q in range(5))
    program = Program(5, (("c", 5),), (*body, *brick(5, 4).ops, *ends), ("a",))
    job = job_of([(program, Counts(1000))], [{"a": 1e-3 * k} for k in range(10_000)])
    best_s = 1.0
    for _ in range(3):
        asked = asked_of(job)
        start_s = time.perf_counter()
        plan = choose(asked)
        best_s = min(best_s, time.perf_counter() - start_s)
    assert plan.row == "batch" and plan.parts == ()
    assert best_s < 0.2


def test_many_runs_are_spread_and_why_says_what_that_wins() -> None:
    job = job_of([(measured(brick(18, 20)), Counts(100))] * 40)
    plan = choose(asked_of(job))
    assert plan.row == "batch"
    by_name = {priced.row: priced for priced in plan.priced}
    assert by_name["batch"].places == 4
    assert by_name["batch"].wall_s < by_name["whole"].wall_s / 3
    assert plan.why.startswith("batch: ") and "at 4 places" in plan.why and "whole: " in plan.why


def test_a_row_asked_by_name_answers_and_why_says_so() -> None:
    deep = brick(60, 6)
    job = job_of([(deep, Expectations(tuple(z(q) for q in range(0, 60, 7))))], deadline_s=60.0)
    plan = choose(asked_of(job), plan="lightcone")
    assert plan.row == "lightcone" and plan.why.endswith("as asked")
    outcome = combined(plan, run_all(plan.job))[0]
    assert len(values_of(outcome)) == 9


def test_places_are_only_as_many_as_pay() -> None:
    priced = Priced(row="x", applies=True, why="", seconds=10.0, longest_s=4.0, runs=10)
    assert (spread(priced, 8, 0.05).places, spread(priced, 8, 0.05).wall_s) == (3, 4.05)
    assert spread(priced, 1, 0.05).wall_s == 10.0
    short = msgspec.structs.replace(priced, seconds=0.06, longest_s=0.006)
    assert (spread(short, 8, 0.05).places, spread(short, 8, 0.05).wall_s) == (1, 0.06)
    assert spread(msgspec.structs.replace(priced, places=1), 8, 0.05).wall_s == 10.0
    assert spread(msgspec.structs.replace(priced, longest_s=0.0), 8, 0.05).places == 1


def test_a_later_row_must_win_by_more_than_the_model_may_err() -> None:
    first = Fixed("whole", seconds=10.0)
    assert chosen(first, Fixed("other", seconds=10.0 / GAIN + 0.1)) == "whole"
    assert chosen(first, Fixed("other", seconds=10.0 / GAIN - 0.1)) == "other"
    unsure = Fixed("whole", seconds=10.0, certain=False)
    assert chosen(unsure, Fixed("other", seconds=10.1)) == "whole"
    assert chosen(unsure, Fixed("other", seconds=9.9)) == "other"
    assert chosen(unsure, Fixed("other", seconds=9.9, certain=False)) == "whole"


def test_speed_is_not_bought_with_any_amount_of_work() -> None:
    first = Fixed("whole", seconds=10.0, work_units=100.0)
    assert chosen(first, Fixed("cut", seconds=1.0, work_units=100.0 * WORK_MAX * 1.01)) == "whole"
    assert chosen(first, Fixed("cut", seconds=1.0, work_units=100.0 * WORK_MAX)) == "cut"


def test_fewer_refused_runs_come_before_speed_and_the_deadline_before_order() -> None:
    assert chosen(Fixed("whole", seconds=0.1, refused=1), Fixed("cut", seconds=100.0)) == "cut"
    hurried = msgspec.structs.replace(TINY, deadline_s=9.0)
    assert chosen(Fixed("whole", seconds=10.0), Fixed("cut", seconds=8.9), job=hurried) == "cut"
    late = msgspec.structs.replace(TINY, deadline_s=1.0)
    assert chosen(Fixed("whole", seconds=10.0), Fixed("cut", seconds=8.9), job=late) == "whole"


def test_a_named_row_is_honoured_or_refused_with_its_numbers() -> None:
    rows = {row.name: row for row in (Fixed("whole", seconds=0.001), Fixed("cut", seconds=99.0, shots_factor=9.0))}
    assert choose(asked_of(TINY), "cut", rows).row == "cut"
    rows["cut"] = Fixed("cut", applies=False, why="needs 7 cuts: 4,826,809 times the shots", nearest="24 qubits a peer")
    with pytest.raises(Unavailable, match=r"4,826,809.*Nearest: 24 qubits a peer") as refused:
        choose(asked_of(TINY), "cut", rows)
    assert refused.value.limit == "cut"
    with pytest.raises(UsageError, match="'cat' is not known; known: whole, cut"):
        choose(asked_of(TINY), "cat", rows)


def test_a_refusal_of_all_names_each_reason_and_the_nearest_change() -> None:
    wide = msgspec.structs.replace(job_of([(measured(brick(45, 60)), Counts(100))]), engine="qulacs")
    with pytest.raises(Unavailable, match="Nearest: ") as refused:
        choose(asked_of(wide))
    reasons = {row: why for _, row, why in refused.value.tried}
    assert {"whole", "batch", "lightcone"} <= set(reasons)
    assert "45 qubits" in reasons["whole"]


def test_memory_of_the_largest_candidate_is_held_to() -> None:
    large = Fixed("whole", memory_bytes=1 << 31)
    with pytest.raises(Unavailable, match="a run needs 2 GiB; a candidate has at most 1 GiB"):
        chosen(large)


def test_a_budget_is_base_units_at_the_cheapest_ask_and_nothing_where_no_ask_is_known() -> None:
    poor = msgspec.structs.replace(TINY, budget=5)
    rows = {row.name: row for row in (Fixed("whole", work_units=1e10), Fixed("cut", work_units=5e9))}
    asked = asked_of(poor)
    assert choose(asked, rows={"whole": rows["whole"]}).row == "whole", "nobody's price is known"
    priced = dataclasses.replace(asked, price_per_giga=1)  # 10^10 work units: 10 base units
    with pytest.raises(Unavailable, match=r"1e.10 work units cost 10 base units at the cheapest ask; the budget is 5"):
        choose(priced, rows={"whole": rows["whole"]})
    assert choose(priced, rows=rows).row == "cut"
    twice = dataclasses.replace(priced, job=msgspec.structs.replace(poor, assurance="replicate"))
    with pytest.raises(Unavailable, match="Nearest: whole: a budget of 20 base units; cut: a budget of 10 base units"):
        choose(twice, rows=rows)


class Late(Fixed):
    def make(self, asked: Asked) -> Made:
        raise Unavailable("the path found needs 9 GiB")


def test_a_row_that_fails_when_it_is_made_gives_way_to_the_next() -> None:
    rows = {row.name: row for row in (Fixed("whole", seconds=100.0), Late("slice", seconds=1.0))}
    plan = choose(asked_of(TINY), rows=rows)
    assert plan.row == "whole"
    assert [priced.why for priced in plan.priced] == ["told so", "the path found needs 9 GiB"]
    with pytest.raises(Unavailable, match="9 GiB"):
        choose(asked_of(TINY), "slice", rows)


def test_a_plan_is_data_that_comes_back_from_its_bytes() -> None:
    from qcommons.jobs.plan.records import Plan

    plan = choose(asked_of(job_of([(brick(12, 2), Expectations((z(0), z(6))))])), "lightcone")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(plan), type=Plan) == plan
