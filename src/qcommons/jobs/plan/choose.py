"""Which row answers a job: all that apply are priced, the best is made, and why is said with numbers.

Flow: Job -> Asked -> *choose* -> Plan -> pieces. A quote is the same without running anything. Fewer refused runs come
first, then the time until all is answered; a later row (`rows.BUILT_IN`) must be faster by `GAIN` to be worth its
moving parts. Once a way is known that takes less than looking for a better one, nothing more is priced: a tiny job is
chosen for in less time than it runs, and is never spread.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from qcommons.base.clock import seconds_text
from qcommons.base.errors import Unavailable, UsageError
from qcommons.engines.select import plural, size
from qcommons.jobs.plan.records import Plan, Priced
from qcommons.jobs.plan.row import Asked, Made, Row
from qcommons.jobs.plan.rows import BrokenRow, load_rows

__all__ = ["GAIN", "WORK_MAX", "choose", "spread"]

GAIN = 1.25  # the cost model is right to about that on a quiet machine
WORK_MAX = 10.0  # times the work of the leanest way: more is bought only where nothing else answers
REPLICAS = 2  # each is paid
FIRST = "whole"
QUICK = ("whole", "batch")  # they price in milliseconds; others may look for cones, paths or cuts for `Asked.search_s`


def choose(
    asked: Asked, plan: str | None = None, rows: Mapping[str, Row] | None = None, *, every: bool = False
) -> Plan:
    """The plan of a job.

    Args:
        plan: name of the row that the user wants, None to let the best be chosen.
        rows: those to choose from, in order of preference; all that load if None.
        every: price every row, also where that takes longer than the job (a quote in full).

    Raises:
        UsageError: no such row.
        Unavailable: the named row, or every row, refuses; `tried` says why each does, with numbers.
    """
    broken: Sequence[BrokenRow] = ()
    if rows is None:
        rows, broken = load_rows()
    _check_named(plan, rows, broken)
    if plan is not None:
        priced = _priced(rows[plan], asked)
        if not priced.applies:
            raise _forced_refusal(plan, priced)
        return _plan(priced, (priced,), rows[plan].make(asked), f"{_named(priced)} ({priced.why}), as asked")
    table = _table(asked, rows, every)
    table += [Priced(row=one.name, applies=False, why=f"could not be loaded: {one.error}") for one in broken]
    while (best := _best(table, asked.job.deadline_s)) is not None:
        try:
            return _plan(best, tuple(table), rows[best.row].make(asked), _why(best, table))
        except Unavailable as refused:  # found out only when it was made
            table[table.index(best)] = msgspec.structs.replace(best, applies=False, why=refused.what)
    raise _refusal(table)


def spread(priced: Priced, parallel: int, place_s: float) -> Priced:
    """`priced` with the number of places that answers soonest, and the seconds that takes.

    n places take the longest run or an n-th of all, whatever is more, and `place_s` if there is more than one.
    """
    most = min(parallel, priced.places or priced.runs, priced.runs) or 1
    longest_s = priced.longest_s or priced.seconds
    walls = [max(longest_s, priced.seconds / n) + (place_s if n > 1 else 0.0) for n in range(1, most + 1)]
    places = min(range(most), key=lambda n: (walls[n] * (GAIN if n else 1.0), n)) + 1
    return msgspec.structs.replace(priced, places=places, wall_s=walls[places - 1])


def _check_named(plan: str | None, rows: Mapping[str, Row], broken: Sequence[BrokenRow]) -> None:
    if plan is None or plan in rows:
        return
    for one in broken:
        if one.name == plan:
            raise Unavailable(f"plan {plan!r} could not be loaded: {one.error}", where="plan")
    raise UsageError(f"plan {plan!r} is not known; known: {', '.join(rows)}", where="plan")


def _table(asked: Asked, rows: Mapping[str, Row], every: bool) -> list[Priced]:
    """Rows priced in order of preference, as long as a better way than the best so far is worth looking for."""
    table: list[Priced] = []
    for name, row in rows.items():
        looking_s = asked.place_s if name in QUICK else asked.search_s
        best = None if every else _best(table, asked.job.deadline_s)
        if best is not None and best.certain and not best.refused and best.wall_s <= looking_s:
            why = f"not priced: {_named(best)}, and looking for better may take {seconds_text(looking_s)}"
            table.append(Priced(row=name, applies=False, why=why))
        else:
            table.append(_priced(row, asked))
    return table


def _priced(row: Row, asked: Asked) -> Priced:
    try:
        priced = row.price(asked)
    except Unavailable as refused:
        return Priced(row=row.name, applies=False, why=refused.what)
    if not priced.applies:
        return priced
    limit, due = asked.limits.memory_bytes, _due(priced, asked)
    no = nearest = ""
    if priced.memory_bytes > limit:
        no = f"a run needs {size(priced.memory_bytes)}; a candidate has at most {size(limit)}"
        nearest = f"a peer with {size(priced.memory_bytes)}"
    elif asked.job.budget is not None and due > asked.job.budget:
        no = f"{priced.work_units:.3g} work units cost {due} base units at the cheapest ask; "
        no += f"the budget is {asked.job.budget}"
        nearest = f"a budget of {due} base units"
    if no:
        return msgspec.structs.replace(priced, applies=False, why=no, nearest=nearest)
    return spread(priced, asked.parallel, asked.place_s)


def _due(priced: Priced, asked: Asked) -> int:
    """Base units for all of it at the cheapest ask; 0 where there is no budget to hold it to, or no ask is known."""
    if asked.job.budget is None or not asked.price_per_giga:
        return 0
    from qcommons.jobs.asks import due_units  # a worker that plans needs none of the signatures behind it otherwise

    replicas = REPLICAS if asked.job.assurance == "replicate" else 1
    return replicas * due_units(asked.price_per_giga, math.ceil(priced.work_units))


def _best(table: Sequence[Priced], deadline_s: float) -> Priced | None:
    """Of the rows that apply, in order of preference."""
    able = [priced for priced in table if priced.applies]
    if not able:
        return None
    fewest = min(priced.refused for priced in able)
    able = [priced for priced in able if priced.refused == fewest]
    leanest = min(priced.work_units for priced in able)
    lean = [priced for priced in able if priced.work_units <= WORK_MAX * leanest]
    able = [priced for priced in lean if priced.wall_s <= deadline_s] or lean
    best = able[0]
    for priced in able[1:]:
        # an uncertain price is that of the widest attempt, which may also stop at its cap: prefer what surely answers
        gain = 1.0 if priced.certain and not best.certain else GAIN
        if priced.wall_s * gain < best.wall_s:
            best = priced
    return best


def _plan(best: Priced, table: tuple[Priced, ...], made: Made, why: str) -> Plan:
    return Plan(row=best.row, why=why, priced=table, job=made.job, parts=made.parts)


def _named(priced: Priced) -> str:
    """ "batch: about 10.2 s at 4 places"."""
    about = "about" if priced.certain else "at most about"
    return f"{priced.row}: {about} {seconds_text(priced.wall_s)} at {plural(priced.places, 'place')}"


def _why(best: Priced, table: Sequence[Priced]) -> str:
    """One or two sentences: what was chosen, and what the next best would take or why there is none."""
    said = f"{_named(best)} ({best.why})"
    if best.shots_factor > 1.0:
        said += f", {best.shots_factor:.3g} times the shots for the same error"
    others = [priced for priced in table if priced is not best]
    able = sorted((p for p in others if p.applies), key=lambda p: (p.refused, p.wall_s))
    if able:
        other = able[0]
        more = f", and refuses {other.refused} of the runs" if other.refused > best.refused else ""
        return f"{said}. Otherwise {_named(other)}{more}."
    first = next((priced for priced in others if priced.row == FIRST), None)
    return f"{said}. {FIRST} cannot: {first.why}." if first is not None else f"{said}."


def _forced_refusal(plan: str, priced: Priced) -> Unavailable:
    nearest = f". Nearest: {priced.nearest}" if priced.nearest else ""
    return Unavailable(
        f"plan {plan!r} cannot answer this job: {priced.why}{nearest}; name no plan to let one be chosen",
        where="plan", limit=plan, tried=[("plan", plan, priced.why)],
    )  # fmt: skip


def _refusal(table: Sequence[Priced]) -> Unavailable:
    first = next((priced for priced in table if priced.row == FIRST), table[0])
    nearest = list(dict.fromkeys(f"{priced.row}: {priced.nearest}" for priced in table if priced.nearest))
    more = f". Nearest: {'; '.join(nearest)}" if nearest else ""
    return Unavailable(
        f"none of {plural(len(table), 'plan')} answers this job; {first.row}: {first.why}{more}",
        where="plan", limit=f"{len(table)} plans", tried=[("plan", priced.row, priced.why) for priced in table],
    )  # fmt: skip
