"""What a worker does for a job on the mesh: choose its plan and price its runs, later put the answers together.

Flow: door -> PlanJob -> worker: *planned* -> Planned (plan, a price a program) -> Submit; core -> Combine -> shell ->
PutTogether -> worker: *put_together* -> outcomes that were asked. Imported by the worker alone: it loads the engines.

A price names engine and method where one surely answers: the lease then names them too, and answers are compared number
by number (docs/verify.md).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from qcommons.base.errors import QCommonsError
from qcommons.circuits.program import bind
from qcommons.engines.records import Slices
from qcommons.engines.registry import load_engines
from qcommons.jobs.outcomes import Outcome, outcome_of
from qcommons.jobs.plan.choose import choose
from qcommons.jobs.plan.combine import combined
from qcommons.jobs.plan.pieces import guess_s
from qcommons.jobs.plan.price import named_run
from qcommons.jobs.plan.records import Price
from qcommons.jobs.plan.row import Asked
from qcommons.jobs.records import Job
from qcommons.node.frames import Constants, PlanJob, Planned, PutTogether

__all__ = ["planned", "put_together"]

PRICE_S = 2.0  # for all programs of a job; what is left then is guessed from those that were priced
LOOKS = 3  # points of a program that must agree before an engine is named for all of them


def planned(call: PlanJob, constants: Constants) -> Iterator[tuple[int, Planned | Outcome]]:
    """The plan of a job, or why there is none."""
    engines = load_engines()
    memory_bytes = call.memory_bytes or call.job.limits.memory_bytes
    try:
        asked = Asked(
            call.job, engines, constants, memory_bytes, max(call.parallel, 1), time.monotonic_ns,
            price_per_giga=call.price_per_giga,
        )  # fmt: skip
        plan = choose(asked, call.plan, every=call.every)
        runs = Asked(plan.job, engines, constants, memory_bytes, asked.parallel, time.monotonic_ns)
        yield 0, Planned(plan, tuple(prices_of(runs)))
    except QCommonsError as error:
        yield 0, outcome_of(error, call.job.limits.memory_bytes)


def put_together(call: PutTogether) -> Iterator[tuple[int, Outcome]]:
    """The outcomes that were asked, by run. Nothing more will come: shots that were shared out count as far as they
    did."""
    yield from combined(call.plan, dict(enumerate(call.outcomes)), partial=True).items()


# prices


def prices_of(asked: Asked) -> Sequence[Price]:
    """Of one run of each program, in their order."""
    job, until_ns = asked.job, time.monotonic_ns() + round(PRICE_S * 1e9)
    places: dict[int, list[int]] = {}
    for index, point in enumerate(job.points):
        places.setdefault(point.program, []).append(index)
    prices: dict[int, Price] = {}
    for program, points in places.items():
        if time.monotonic_ns() > until_ns:
            break
        prices[program] = _price(asked, program, points)
    scale = _scale(job, prices)
    return [prices.get(number) or _guess(job, number, scale) for number in range(len(job.programs))]


def _price(asked: Asked, number: int, points: list[int]) -> Price:
    job = asked.job
    program, want = asked.program(number), job.wants[number]
    looks = {points[0], points[len(points) // 2], points[-1]} if program.inputs else {points[0]}
    costs, names = [], set()
    for index in sorted(looks)[:LOOKS]:
        values = job.points[index].values
        try:
            bound = bind(program, {name: values[name] for name in program.inputs}) if program.inputs else program
            cost, name = named_run(
                bound, want, job.noise, asked.engines, asked.constants, asked.limits, asked.clock_ns, job.engine,
                job.method,
            )  # fmt: skip
        except QCommonsError:  # nothing here runs it; a peer may
            return _guess(job, number, (1.0, 1.0))
        costs.append(cost)
        names.add(name)
    name = names.pop() if len(names) == 1 and not isinstance(want, Slices) else None
    largest = max(costs, key=lambda cost: cost.seconds)
    return Price(
        seconds=largest.seconds, work_units=max(1, round(min(largest.work_units, 2.0**62))),
        memory_bytes=max(cost.memory_bytes for cost in costs), engine=job.engine or (name and name[0]),
        method=job.method or (None if job.engine or not name else name[1]),
    )  # fmt: skip


def _guess(job: Job, number: int, scale: tuple[float, float]) -> Price:
    """By the program's header alone. scale: seconds by guessed seconds, work units a second."""
    seconds = guess_s(job, number) * scale[0]
    return Price(
        seconds=seconds, work_units=max(1, round(seconds * scale[1])), memory_bytes=0, engine=job.engine,
        method=job.method, here=False,
    )  # fmt: skip


def _scale(job: Job, prices: dict[int, Price]) -> tuple[float, float]:
    guessed_s = sum(guess_s(job, number) for number in prices)
    seconds = sum(price.seconds for price in prices.values())
    return seconds / (guessed_s or 1.0), sum(price.work_units for price in prices.values()) / (seconds or 1.0)
