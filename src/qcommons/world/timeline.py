"""The timeline of a case: which fault strikes whom, when and for how long; drawn from the seed, or told.

Flow: acts of the scenario, `--faults` -> *acts_of*, *timeline* -> moments in the order of time. Each act draws from a
stream of its own, so that adding one leaves the others where they were.
"""

from __future__ import annotations

from collections.abc import Sequence

from qcommons.base.errors import UsageError
from qcommons.base.seeds import stream
from qcommons.world.draws import Draws
from qcommons.world.faults import FAULTS, Fault, Knobs
from qcommons.world.records import Act, Moment

__all__ = ["acts_of", "timeline"]

S_NS = 10**9
MOMENTS_MAX = 10_000  # of one act: a mistyped `every` must not draw for ever


def acts_of(text: str) -> tuple[Act, ...]:
    """Acts of "loss=0.01,crash.every=5,crash.for=2,reset": NAME, NAME=VALUE of its first knob, NAME.KNOB=VALUE.

    Raises:
        UsageError: a name, a knob or a value that does not exist.
    """
    knobs: dict[str, dict[str, float]] = {}
    for part in filter(None, text.split(",")):
        left, equals, value = part.strip().partition("=")
        name, _, knob = left.partition(".")
        fault = FAULTS.get(name)
        if fault is None:
            raise UsageError(f"no fault {name!r}; there are: {', '.join(FAULTS)}", where="--faults")
        mine = knobs.setdefault(name, {})
        if equals:
            mine[knob or fault.params[0].name] = _number(value)
    return tuple(Act(name, tuple(mine.items())) for name, mine in knobs.items())


def timeline(acts: Sequence[Act], seed: int, nodes: int, for_s: float) -> tuple[Moment, ...]:
    """All moments of a case, numbered in the order of time.

    Raises:
        UsageError: a knob out of its range.
    """
    found: list[Moment] = []
    for place, act in enumerate(acts):
        fault = FAULTS[act.fault]
        knobs = _knobs(fault, act)
        draws = Draws(stream(seed, "world", "fault", place, act.fault))
        if fault.kind == "always":
            found.append(_moment(fault, draws, nodes, knobs, 0.0))
        elif act.at is not None:
            found.append(_moment(fault, draws, nodes, knobs, act.at * for_s))
        else:
            at_s = draws.exponential(knobs["every"])
            for _ in range(MOMENTS_MAX):
                if at_s >= for_s:
                    break
                found.append(_moment(fault, draws, nodes, knobs, at_s))
                at_s += draws.exponential(knobs["every"])
    found.sort(key=lambda moment: moment.at_ns)
    return tuple(
        Moment(place, m.at_ns, m.fault, m.nodes, m.for_ns, m.facts) for place, m in enumerate(found)
    )  # fmt: skip


def _moment(fault: Fault, draws: Draws, nodes: int, knobs: Knobs, at_s: float) -> Moment:
    whom, facts = fault.pick(draws, nodes, knobs)
    lasts_s = knobs["for"] * draws.between(0.5, 1.5) if "for" in knobs else 0.0
    told = {name: value for name, value in knobs.items() if name not in ("every", "for")}
    return Moment(0, int(at_s * S_NS), fault.name, whom, int(lasts_s * S_NS), told | facts)


def _knobs(fault: Fault, act: Act) -> Knobs:
    knobs = fault.knobs()
    rows = {param.name: param for param in fault.params}
    for name, value in act.knobs:
        row = rows.get(name)
        if row is None:
            raise UsageError(f"{fault.name} has no {name!r}; it has: {', '.join(rows) or 'none'}", where="--faults")
        if not row.low <= value <= row.high:
            unit = "" if row.unit == "1" else f" {row.unit}"
            limit = f"{row.low:.12g} to {row.high:.12g}{unit}"
            what = f"{fault.name}.{name} = {value:.12g}{unit}; allowed {limit}"
            raise UsageError(what, where="--faults", limit=limit)
        knobs[name] = float(value)
    return knobs


def _number(text: str) -> float:
    try:
        return float(text.removesuffix("s") if text[-2:-1].isdigit() else text)
    except ValueError:
        raise UsageError(f"{text[:40]!r} is no number; write 0.01, 5 or 5s", where="--faults") from None
