"""Plans of jobs on the mesh, made in a real worker; answers put together there."""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec
import pytest
from tests.jobs.making import done

from qcommons.base.errors import Unavailable, UsageError
from qcommons.base.ids import job_id
from qcommons.circuits.observables import PauliSum, Term
from qcommons.circuits.program import Op, Program
from qcommons.circuits.qasm import parse as read_qasm
from qcommons.engines.records import Counts, Expectations, Limits
from qcommons.jobs.asks import Ask
from qcommons.jobs.outcomes import Unserved
from qcommons.jobs.place import Candidate
from qcommons.jobs.plan.records import CountsSum, Plan
from qcommons.jobs.records import Job, Point
from qcommons.mesh.records import PeerId
from qcommons.node.card import card_of
from qcommons.node.frames import PutTogether
from qcommons.node.plan_call import put_together
from qcommons.node.planner import RUN_BYTES_MIN, Planner
from qcommons.node.records import Form, Spec, plan_of
from qcommons.node.workers import WorkerPool
from qcommons.pqc.identity import node_id_of_hash


@pytest.fixture(scope="module")
def planner() -> Iterator[Planner]:
    pool = WorkerPool(1)
    yield Planner(pool)
    pool.close()


def peers(count: int, relation: str = "own", memory_bytes: int = 0) -> list[Candidate]:
    hashes = [PeerId(bytes([n + 1]) * 32) for n in range(count)]
    return [
        Candidate(peer=one, node_id=node_id_of_hash(one), relation=relation, state="alive", offers={"qulacs": 25},
                  places=2, memory_bytes=memory_bytes)  # type: ignore[arg-type]
        for one in hashes
    ]  # fmt: skip


def a_job(program: Program, want: Counts | Expectations, points: int = 1) -> Job:
    values = [dict.fromkeys(program.inputs, 0.3 + 0.1 * place) for place in range(points)]
    return Job(
        id=job_id(b"0" * 16), programs=(card_of(program),), wants=(want,),
        points=tuple(Point(0, one, 7 + place) for place, one in enumerate(values)), seed=7,
        limits=Limits(memory_bytes=8 << 30, seconds=60.0), deadline_s=60.0, on="mesh", egress="peers",
    )  # fmt: skip


def ring(n: int) -> Program:
    ops = [Op("ry", (q,), (0.1 + 0.01 * q,)) for q in range(n)]
    return Program(n, (), (*ops, *(Op("cx", (q, q + 1)) for q in range(0, n, 2))))


Z = PauliSum((Term(1.0, ((1, "Z"),)),), "Z1")


def test_a_small_job_is_run_as_it_was_asked_with_the_memory_that_it_needs_and_a_named_engine(planner: Planner) -> None:
    job = a_job(measured(), Counts(100))
    asked, kept = planner.chosen(job, None, peers(2), is_fixed=False)
    assert kept.row == "whole" and kept.job is None and "whole" in kept.why
    assert asked.limits.memory_bytes == RUN_BYTES_MIN, "small peers take it too"
    (price,) = kept.prices
    assert price.engine and price.method and price.here and price.seconds < 0.1
    assert plan_of(Spec(asked, Form(), kept)).job is asked


def parse(text: str) -> Program:
    return read_qasm(text.encode()).program


def measured() -> Program:
    return parse(
        'OPENQASM 3.0; include "stdgates.inc"; qubit[2] q; bit[2] c; ry(0.3) q[0]; cx q[0], q[1]; c = measure q;'
    )


def test_memory_that_the_user_named_stays(planner: Planner) -> None:
    asked, _ = planner.chosen(a_job(measured(), Counts(100)), None, peers(2), is_fixed=True)
    assert asked.limits.memory_bytes == 8 << 30


def test_a_named_row_makes_other_runs_and_their_prices(planner: Planner) -> None:
    asked, kept = planner.chosen(a_job(ring(60), Expectations((Z,))), "lightcone", peers(2), is_fixed=False)
    assert kept.row == "lightcone" and kept.job is not None and kept.parts
    assert kept.job.id == asked.id and len(kept.prices) == len(kept.job.programs)
    assert max(card.n_qubits for card in kept.job.programs) <= 2
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(Spec(asked, Form(), kept)), type=Spec)
    assert again.runs == kept.job, "it is kept with the job"


def test_a_row_that_there_is_not_and_one_that_cannot_say_so(planner: Planner) -> None:
    with pytest.raises(UsageError, match="known: whole"):
        planner.chosen(a_job(measured(), Counts(100)), "magic", peers(2), is_fixed=False)
    with pytest.raises(Unavailable, match="lightcone"):
        planner.chosen(a_job(measured(), Counts(100)), "lightcone", peers(2), is_fixed=False)


def test_more_peers_make_more_places(planner: Planner) -> None:
    wide = parse(
        'OPENQASM 3.0; include "stdgates.inc"; input float t; qubit[22] q; bit[22] c;'
        + "".join(f"ry(t + {k}) q[{k}]; cx q[{k}], q[{(k + 5) % 22}];" for _ in range(9) for k in range(22))
        + "c = measure q;"
    )
    job = a_job(wide, Counts(100), points=32)
    few, many = (planner.planned(job, None, peers(count)) for count in (1, 8))
    assert max(one.places for one in few.plan.priced) <= 2 < max(one.places for one in many.plan.priced)


def test_strangers_are_no_places_of_a_job_that_they_may_not_get(planner: Planner) -> None:
    job = a_job(measured(), Counts(100))
    found = planner.planned(job, None, peers(8, relation="stranger"))
    assert max(one.places for one in found.plan.priced if one.applies) == 1


def test_what_no_engine_takes_is_refused_with_the_numbers(planner: Planner) -> None:
    ops = [Op("ry", (q,), (0.1 * (q + 1),)) for q in range(60)]
    ops += [Op("cx", (q, (q + step) % 60)) for step in (1, 7, 13) for q in range(60)]
    ops += [Op("ry", (q,), (0.2 * (q + 1),)) for q in range(60)]
    program = Program(60, (), tuple(ops))
    everywhere = PauliSum((Term(1.0, tuple((q, "X") for q in range(60))),), "X")
    with pytest.raises(Unavailable):
        planner.chosen(a_job(program, Expectations((everywhere,), 100)), "slice", peers(2), is_fixed=False)


def test_shares_of_shots_are_added_and_what_is_missing_is_said() -> None:
    job = a_job(measured(), Counts(500), points=2)
    plan = Plan(row="batch", why="", priced=(), job=job, parts=(CountsSum((0, 1)),))
    call = PutTogether(plan, (done({"00": 400, "11": 100}), done({"00": 100, "11": 400})))
    ((run, outcome),) = put_together(call)
    assert run == 0 and outcome.execution.answer.counts == {"00": 500, "11": 500}  # type: ignore[union-attr]
    ((_, outcome),) = put_together(PutTogether(plan, (done({"00": 500}), Unserved("nobody"))))
    assert "shares gave Unserved" in outcome.execution.notes[0]  # type: ignore[union-attr]
    assert math.isclose(sum(outcome.execution.answer.counts.values()), 500)  # type: ignore[union-attr]


def test_a_budget_is_held_to_the_cheapest_ask_of_those_that_may_get_it(planner: Planner) -> None:
    """10^9 base units for 10^9 work units: one each. Whoever is trusted and asks none may do it for nothing."""
    job = msgspec.structs.replace(a_job(measured(), Counts(100)), budget=0)
    asking = [msgspec.structs.replace(one, ask=ask_of(one, 10**9)) for one in peers(2)]
    with pytest.raises(Unavailable, match="base units at the cheapest ask; the budget is 0"):
        planner.planned(job, None, asking)
    assert planner.planned(job, None, [*asking, *peers(3)[2:]]).plan.row == "whole"
    assert planner.planned(job, None, peers(2, relation="stranger")).plan.row == "whole", "nobody's price is known"


def ask_of(one: Candidate, price_per_giga: int) -> Ask:
    return Ask(
        node=one.peer, resource="work", price_per_giga=price_per_giga, capacity_per_s=1, places=1, not_before_s=0,
        until_s=9, transferable=False, seq=1,
    )  # fmt: skip


def test_a_quote_prices_every_row_and_one_for_this_node_only_the_runs_as_they_are(planner: Planner) -> None:
    job = a_job(measured(), Counts(100))
    _, kept = planner.chosen(job, None, peers(2), is_fixed=False, every=True)
    assert kept.row == "whole" and not any(one.why.startswith("not priced") for one in kept.priced)
    here = planner.here(job, 2)
    assert [one.row for one in here.plan.priced] == ["whole"] and here.prices[0].engine and here.plan.job == job
