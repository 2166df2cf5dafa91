"""Which engine and method: a ladder of attempts with its reasons, or a refusal with numbers.

Flow: features -> *select* -> execute, which climbs the ladder until an attempt answers.
Methods whose cost is certain from the features (dense states, tableaux, active width) are ranked by
predicted seconds. Methods whose cost depends on the state (sparse, mps, contraction) are tried first
where they may win, each under a cap that costs a small fraction of the best certain method, so a
failed trial never costs much; where no certain method fits, the caps grow until the limits end them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from qcommons.base.clock import seconds_text
from qcommons.base.errors import Unavailable, UsageError
from qcommons.circuits.features import Features
from qcommons.engines.answer_size import with_answer
from qcommons.engines.engine import Engine
from qcommons.engines.records import (
    Amplitudes,
    Cost,
    Counts,
    Expectations,
    Limits,
    Method,
    Slices,
    Statevector,
    Unsuited,
    Want,
)

__all__ = ["Choice", "Ladder", "check_named", "plural", "select", "size", "want_kind"]

_KIND = {
    Counts: "counts", Expectations: "expectations", Amplitudes: "amplitudes", Statevector: "statevector",
    Slices: "slices",
}  # fmt: skip
CHEAP_S = 0.005  # below this no trial is worth its overhead
WIDTH_S = 0.02  # below this not even the search of the active width is
WIDTH_GATE_S = 2e-5  # what the search costs a gate: it saves no more than the best method takes
AWAY_S = 0.05  # below this a run is sent to nobody: the way there takes 10 ms, and is as long for all
SPARSE_FLOOR_S = 0.005  # a first sparse trial may cost this much whatever the best certain method takes
WIDTH_CAP = 26  # active qubits looked for: 2**26 amplitudes are 1 GiB
SPARSE_CAPS = (1 << 12, 1 << 16, 1 << 20)  # 2**20 terms take about 100 MB
SPARSE_SHARE = 0.25  # of a trial at its cap throughout: terms grow to it late, or never (0.13 to 0.9 were measured)
BOND_CAPS = (8, 16, 64, 256, 512, 1024)  # 1024 takes about 10 minutes at 60 qubits
STOP_FACTOR, STOP_GROWTH = 4.0, 8.0  # a first attempt capped by time, in its predicted seconds; each further one
HISTORIES_METHOD = ("qulacs", "statevector")  # stops where its histories would take longer than its limit
HISTORIES_SHARE = 0.25
TRIAL_SHARE = {"sparse": 0.1, "mps": 0.25, "contract": 0.5}  # of the best certain method's seconds


def want_kind(want: Want) -> str:
    """The name under which methods declare this want."""
    return _KIND[type(want)]


@dataclass(frozen=True, slots=True)
class Choice:
    """One rung: run `method` of `engine` under `limits`; `why` is for the user."""

    engine: str
    method: str
    cost: Cost
    limits: Limits
    why: str


@dataclass(frozen=True, slots=True)
class Ladder:
    """Rungs in order; `refused` tells for every other method why not. fastest_s: predicted seconds of the fastest
    method whose memory and cost are certain to fit, were there time enough; infinite where there is none."""

    rungs: tuple[Choice, ...]
    refused: tuple[str, ...]
    fastest_s: float = math.inf


@dataclass(frozen=True, slots=True)
class _Row:
    engine: Engine
    method: Method
    cost: Cost


def select(
    features: Features,
    want: Want,
    engines: Mapping[str, Engine],
    constants: Mapping[str, Mapping[str, float]],
    limits: Limits,
    *,
    engine: str | None = None,
    method: str | None = None,
    width: Callable[[int], int | None] | None = None,
) -> Ladder:
    """The ladder for one (reduced) program.

    Args:
        width: cap -> active width of the program, or None above the cap; asked only where it matters.
        engine, method: the user's choice (they passed `check_named`); then no other is tried.
    """
    forced = engine is not None or method is not None
    refused: list[str] = []
    rows = _rows(features, want, engines, constants, refused, engine, method)
    best = _best_seconds(rows, limits)
    if width is not None and not features.clifford and (forced or best > WIDTH_S + WIDTH_GATE_S * features.n_gates):
        cap = min(WIDTH_CAP, limits.width_max)
        found = width(cap)
        if found is not None:
            features = msgspec.structs.replace(features, active_width=found, width_cap=cap)
            refused.clear()
            rows = _rows(features, want, engines, constants, refused, engine, method)
    certain = _certain(rows, want, limits, refused, forced)
    fastest_s, best = _best_seconds(rows, limits), certain[0].cost.seconds if certain else float("inf")
    trials = _trials(rows, features, want, constants, limits, best, forced, refused)
    rungs = [_choice(row, features, limits, trials) for row in certain]
    if certain and _is_first(certain[0]) and not forced:
        return Ladder((rungs[0], *trials, *rungs[1:]), tuple(refused))
    if not certain or certain[0].cost.seconds > CHEAP_S or forced:
        rungs = [*trials, *rungs]
    return Ladder(tuple(rungs), tuple(refused), fastest_s)


def check_named(engine: str | None, method: str | None, engines: Mapping[str, Engine]) -> None:
    """Raises UsageError unless the named engine and method exist, Unavailable where its library is missing."""
    if engine is not None and engine not in engines:
        raise UsageError(f"engine {engine!r} is not known; known: {', '.join(sorted(engines))}", where="engine")
    if engine is not None and engines[engine].installed() is None:
        raise Unavailable(
            f"engine {engine!r} is not installed; install it with: {engines[engine].install}", where="engine"
        )
    if method is not None:
        pool = [engines[engine]] if engine is not None else list(engines.values())
        known = sorted({m.name for e in pool for m in e.methods})
        if method not in known:
            raise UsageError(f"method {method!r} is not known; known: {', '.join(known)}", where="method")


def _rows(
    features: Features,
    want: Want,
    engines: Mapping[str, Engine],
    constants: Mapping[str, Mapping[str, float]],
    refused: list[str],
    engine: str | None,
    method: str | None,
) -> list[_Row]:
    rows: list[_Row] = []
    for name, candidate in engines.items():
        if (engine is not None and name != engine) or candidate.installed() is None:
            continue
        if engine is None and _use(candidate) == "named":
            continue
        for declared in candidate.methods:
            if method is not None and declared.name != method:
                continue
            gap = _gap(declared, features, want)
            if gap is None:
                merged = {**candidate.constants, **constants.get(name, {})}
                cost = candidate.cost(declared.name, features, want, merged)
                if isinstance(cost, Unsuited):
                    gap = cost.reason
                else:
                    rows.append(_Row(candidate, declared, with_answer(cost, features, want)))
            if gap is not None:
                refused.append(f"{name}/{declared.name}: {gap}")
    return rows


def _use(engine: Engine) -> str:
    """How an engine wants to be chosen (`Engine`): "named", "first", or "" for by its cost."""
    return str(getattr(engine, "use", ""))


def _is_first(row: _Row) -> bool:
    """Whether the owner wants it before all others, and the way to it is worth it."""
    return _use(row.engine) == "first" and row.cost.seconds > AWAY_S


def _gap(method: Method, features: Features, want: Want) -> str | None:
    """What the method's declaration lacks for this program and want."""
    if want_kind(want) not in method.wants:
        return f"gives no {want_kind(want)}"
    missing = sorted(features.noise_kinds - method.noise)
    if missing:
        return f"has no {', '.join(missing)} noise"
    if features.dynamic and not method.dynamic:
        return "has no mid-circuit measurement, reset or branches"
    if method.gates == "clifford" and not features.clifford:
        return f"runs Clifford gates only; {plural(features.n_non_clifford, 'non-Clifford gate')} here"
    return None


def _best_seconds(rows: list[_Row], limits: Limits) -> float:
    fitting = [r.cost.seconds for r in rows if r.cost.certain and r.cost.memory_bytes <= limits.memory_bytes]
    return min(fitting, default=float("inf"))


def _over(cost: Cost, limits: Limits) -> str | None:
    if cost.memory_bytes > limits.memory_bytes:
        return f"needs {size(cost.memory_bytes)}; limit {size(limits.memory_bytes)}"
    if cost.seconds > limits.seconds:
        return f"needs about {seconds_text(cost.seconds)}; limit {seconds_text(limits.seconds)}"
    return None


def _certain(rows: list[_Row], want: Want, limits: Limits, refused: list[str], forced: bool) -> list[_Row]:
    fitting: list[_Row] = []
    for row in rows:
        if not row.cost.certain:
            continue
        over = _over(row.cost, limits)
        if over is None:
            fitting.append(row)
        else:
            refused.append(f"{row.engine.name}/{row.method.name}: {over}")
    fitting.sort(key=lambda row: (not _is_first(row), row.cost.seconds, row.engine.name))
    if forced or isinstance(want, Counts):
        return fitting
    # exact values are asked: single precision only where double precision would take long
    double = [row for row in fitting if row.method.precision != "f32"]
    single = [row for row in fitting if row.method.precision == "f32"]
    if double and double[0].cost.seconds <= 5.0:
        return [*double, *single]
    return fitting


def _trials(
    rows: list[_Row],
    features: Features,
    want: Want,
    constants: Mapping[str, Mapping[str, float]],
    limits: Limits,
    best: float,
    forced: bool,
    refused: list[str],
) -> list[Choice]:
    """Capped attempts of the methods whose cost depends on the state, cheapest first."""
    choices: list[Choice] = []
    for row in rows:
        if row.cost.certain:
            continue
        merged = {**row.engine.constants, **constants.get(row.engine.name, {})}
        budget = limits.seconds if forced or best == float("inf") else TRIAL_SHARE.get(row.method.name, 0.1) * best
        if row.method.name == "sparse":
            budget = max(budget, min(SPARSE_FLOOR_S, limits.seconds))
        steps = _steps(row, features, want, merged, limits, budget, forced)
        if not steps:
            over = _over(row.cost, limits)
            refused.append(f"{row.engine.name}/{row.method.name}: {over or 'a trial would cost more than it can save'}")
        if best < float("inf") and not forced:
            # one trial, the largest that the budget allows; before it a small sparse one, which ends in 2 ms
            steps = [*steps[:1], *steps[1:][-1:]] if row.method.name == "sparse" else steps[-1:]
        choices.extend(steps)
    if features.dynamic and best < float("inf") and not forced:
        choices.extend(_few_histories(rows, limits, best))
    choices.sort(key=lambda c: (c.cost.seconds, c.engine))
    return choices


def _few_histories(rows: list[_Row], limits: Limits, best: float) -> list[Choice]:
    """A short attempt of a dense method whose price is a bound: a program may follow far fewer histories.

    Phase estimation of an exact phase measures dozens of bits and has one history.
    """
    seconds = HISTORIES_SHARE * best
    return [
        Choice(
            row.engine.name, row.method.name, msgspec.structs.replace(row.cost, seconds=seconds),
            msgspec.structs.replace(limits, seconds=seconds), f"{row.method.help}; tried for few measured histories",
        )
        for row in rows
        if (row.engine.name, row.method.name) == HISTORIES_METHOD
        and row.cost.seconds > best and row.cost.memory_bytes <= limits.memory_bytes
    ]  # fmt: skip


def _steps(
    row: _Row, features: Features, want: Want, constants: Mapping[str, float], limits: Limits, budget: float,
    forced: bool,
) -> list[Choice]:  # fmt: skip
    """The caps of one method that fit the budget, growing."""
    caps: list[tuple[int, dict[str, float], dict[str, int]]]
    if row.method.name == "sparse":
        caps = [(cap, {"n_branching": cap.bit_length() - 1}, {"terms_max": cap}) for cap in SPARSE_CAPS]
        label = "at most {:,} non-zero amplitudes"
    elif row.method.name == "mps":
        top = 2.0 ** min(features.bond_log2, 60)
        caps = [(cap, {"bond_log2": float(cap.bit_length() - 1)}, {"bond_max": cap}) for cap in BOND_CAPS]
        caps = [c for c in caps if c[0] < 2 * top] or caps[:1]
        label = "bond dimension up to {:,}"
    else:
        return _timed_steps(row, limits, budget, forced)
    steps: list[Choice] = []
    for cap, feature, limit in caps:
        capped = msgspec.structs.replace(features, **feature)
        cost = row.engine.cost(row.method.name, capped, want, constants)
        if isinstance(cost, Unsuited):
            break
        share = SPARSE_SHARE if row.method.name == "sparse" else 1.0
        cost = with_answer(msgspec.structs.replace(cost, seconds=cost.seconds * share), capped, want)
        if _over(cost, limits) or cost.seconds > budget:
            break
        why = f"{row.method.help}; tried with {label.format(cap)}"
        steps.append(Choice(row.engine.name, row.method.name, cost, msgspec.structs.replace(limits, **limit), why))
    return steps


def _timed_steps(row: _Row, limits: Limits, budget: float, forced: bool) -> list[Choice]:
    """Attempts of a method that is capped by time alone: a few times its prediction, then eight times more, ...

    A prediction that is far off then costs no more than a share of what comes after it.
    """
    top = min(budget, limits.seconds)
    if _over(row.cost, limits) or row.cost.seconds > top:
        return []
    steps: list[Choice] = []
    cost, allowed = row.cost, top if forced else min(STOP_FACTOR * row.cost.seconds, top)
    while True:
        capped = msgspec.structs.replace(limits, seconds=allowed)
        why = f"{row.method.help}; tried for at most {seconds_text(allowed)}"
        steps.append(Choice(row.engine.name, row.method.name, cost, capped, why))
        if allowed >= top:
            return steps
        cost, allowed = msgspec.structs.replace(cost, seconds=allowed), min(STOP_GROWTH * allowed, top)


def _choice(row: _Row, features: Features, limits: Limits, trials: list[Choice]) -> Choice:
    qubits, help_text = plural(features.n_qubits, "qubit"), row.method.help
    gates = plural(features.n_gates, "gate")
    near_clifford = row.method.name == "frames" or row.engine.name == "clifft"
    if row.method.gates == "clifford":
        why = f"Clifford gates only ({gates}): a tableau of {qubits} is exact"
    elif near_clifford and features.clifford:
        why = f"Clifford gates only ({gates} on {qubits}): {help_text}"
    elif near_clifford and features.active_width is not None:
        active = plural(features.active_width, "active qubit")
        why = f"{features.n_non_clifford} of {gates} not Clifford, on {active} of {features.n_qubits}: {help_text}"
    elif features.noise_kinds:
        noise = plural(features.n_noise, "noise channel") if features.n_noise else "readout errors"
        why = f"{qubits} with {noise}: {help_text}"
    else:
        why = f"{qubits}: {help_text}; {size(row.cost.memory_bytes)}"
    return Choice(row.engine.name, row.method.name, row.cost, limits, why)


def plural(count: int, noun: str) -> str:
    """ "1 gate", "3 gates"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def size(count: float) -> str:
    """Bytes for people, binary units."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"):
        if count < 1024 or unit == "EiB":
            return f"{count:.3g} {unit}" if count < 1e6 else f"{count:.1e} {unit}"
        count /= 1024
    raise AssertionError("unreachable")
