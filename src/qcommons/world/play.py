"""Play a case: stage, timeline, faults, what must hold afterwards, report.

Flow: `Case` -> *play* -> `Report`; `qcommons world`, tests, `soak.py` and `shrink.py` all come through here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from qcommons.base.errors import UsageError
from qcommons.mesh.peerbook import CAP
from qcommons.world.afterwards import RULES as LATER_RULES
from qcommons.world.afterwards import Afterwards
from qcommons.world.checkers import RULES, Checkers
from qcommons.world.faults import FAULTS
from qcommons.world.fetches import Fetches
from qcommons.world.records import Case, Moment, Report
from qcommons.world.scenarios import SCENARIOS, Scenario
from qcommons.world.searches import Searches
from qcommons.world.stage import CoreMaker, Stage, mesh_core
from qcommons.world.timeline import acts_of, timeline

__all__ = ["NODES_MAX", "Case", "moments_of", "play", "replay_line", "scenario_of"]

S_NS = 10**9
SLICE_NS = S_NS // 2
NODES_MAX = 10_000
PEERS_A_PERIOD = 64
LOST_S = 15  # until a peer that ended without a word counts as lost, in a mesh of up to 64

Progress = Callable[[float, float], None]  # virtual seconds done, in all
Log = Callable[[int, int, str, Any], None]


def scenario_of(case: Case) -> Scenario:
    """The row of a case. Raises UsageError where there is none."""
    row = SCENARIOS.get(case.scenario)
    if row is None:
        raise UsageError(f"no scenario {case.scenario!r}; there are: {', '.join(SCENARIOS)}", where="--scenario")
    nodes, for_s = case.nodes or row.nodes, case.for_s or row.for_s
    if not 2 <= nodes <= NODES_MAX:
        limit = f"2 to {NODES_MAX}"
        raise UsageError(f"{nodes} nodes; allowed {limit}", where="--nodes", limit=limit)
    return row._replace(nodes=nodes, for_s=for_s, acts=row.acts + acts_of(case.faults))


def moments_of(case: Case) -> tuple[Moment, ...]:
    """The timeline of a case, less what it leaves out."""
    row = scenario_of(case)
    out = frozenset(case.without)
    return tuple(m for m in timeline(row.acts, case.seed, row.nodes, row.for_s) if m.place not in out)


def replay_line(case: Case) -> str:
    """The command that plays the case again."""
    words = [f"qcommons world --scenario {case.scenario} --seed {case.seed}"]
    words += [f"--nodes {case.nodes}"] if case.nodes else []
    words += [f"--for {case.for_s:g}s"] if case.for_s else []
    words += [f"--faults {case.faults}"] if case.faults else []
    words += [f"--without {','.join(map(str, case.without))}"] if case.without else []
    words += [f"--crypto {case.crypto}"] if case.crypto != "double" else []
    return " ".join(words)


def play(
    case: Case, *, core: CoreMaker = mesh_core, progress: Progress | None = None, log: Log | None = None
) -> Report:  # fmt: skip
    """Play it to the end.

    Args:
        core: makes what runs on each node (tests put broken ones there).
        progress: called each half virtual second.
        log: called with every event and effect: (time in ns, node, "event" or "effect", record).

    Raises:
        UsageError: no such scenario or fault, or a value out of its range.
    """
    # how long it took is the one thing that no virtual clock knows
    begun_s = time.perf_counter()
    row, moments = scenario_of(case), moments_of(case)
    stage = Stage(row, case.seed, row.nodes, core, case.crypto)
    world = stage.world
    world.log = log
    checkers = Checkers(world)
    stage.oracle.on_sign = checkers.records.signed
    plays = _plays(stage)
    _schedule(stage, row, moments)
    stage.open()
    for one in plays:
        one.begin()
    _until(stage, int(row.for_s * S_NS), progress, row)
    _end_faults(stage, moments)
    after = Afterwards(stage, checkers)
    after.run(_settle_s(row), [one.calm for one in plays])
    checkers.finish()
    for one in plays:
        one.finish()
    sent = sum(world.network.sent.values())
    return Report(
        scenario=case.scenario,
        seed=case.seed,
        nodes=row.nodes,
        for_s=row.for_s,
        events=world.events,
        trace_hash=world.trace.hexdigest(),
        violations=tuple(world.violations),
        virtual_seconds=world.now_ns / S_NS,
        messages_per_node=round(sent / row.nodes, 2),
        converged_s=after.converged_s,
        measures=after.measures | _measures(stage, checkers, sent) | _joined(one.measures() for one in plays),
        counts=dict(sorted(world.notes.items())),
        timeline=moments,
        checked=(*RULES, *LATER_RULES, *(name for one in plays for name in one.rules())),
        replay=replay_line(case),
        wall_seconds=round(time.perf_counter() - begun_s, 3),
    )


def _schedule(stage: Stage, row: Scenario, moments: tuple[Moment, ...]) -> None:
    """What is always there begins before the first node does."""
    world = stage.world
    for moment in moments:
        fault = FAULTS[moment.fault]
        if fault.kind == "always":
            fault.begin(stage, moment)
            continue
        world.call(moment.at_ns, lambda moment=moment: _begin(stage, moment))  # type: ignore[misc]  # mypy 11886
        if fault.end is not None:
            world.call(moment.at_ns + moment.for_ns, lambda moment=moment: _end(stage, moment))  # type: ignore[misc]
    if row.islands > 1:
        world.call(int(row.for_s * S_NS / 2), stage.meet)


def _begin(stage: Stage, moment: Moment) -> None:
    if not stage.over:
        stage.struck.add(moment.place)
        FAULTS[moment.fault].begin(stage, moment)


def _end(stage: Stage, moment: Moment) -> None:
    end = FAULTS[moment.fault].end
    if moment.place in stage.struck and end is not None:
        stage.struck.discard(moment.place)
        end(stage, moment)


def _until(stage: Stage, until_ns: int, progress: Progress | None, row: Scenario) -> None:
    world = stage.world
    while world.now_ns < until_ns:
        world.run(min(until_ns, world.now_ns + SLICE_NS))
        if progress is not None:
            progress(world.now_ns / S_NS, row.for_s)


def _end_faults(stage: Stage, moments: tuple[Moment, ...]) -> None:
    """All that lasts ends now, and every node that is not gone for ever is started."""
    stage.over = True
    for moment in moments:
        fault = FAULTS[moment.fault]
        if fault.kind == "always" and fault.end is not None:
            fault.end(stage, moment)
        else:
            _end(stage, moment)
    for host in stage.world.hosts:
        host.away_until_ns = 0
        if host.life is not None:
            stage.world.thaw(host.life)
            host.life.cut = -1
        stage.start(host)


class _Play(Protocol):
    """What nodes do beside news and requests, and its rules."""

    def begin(self) -> None: ...
    def calm(self) -> None: ...
    def finish(self) -> None: ...
    def rules(self) -> tuple[str, ...]: ...
    def measures(self) -> dict[str, float]: ...


def _plays(stage: Stage) -> list[_Play]:
    """Those that the scenario asks for."""
    row = stage.scenario
    plays: list[_Play] = [Searches(stage)] if row.providers else []
    plays += [Fetches(stage)] if row.fetch_s else []
    if row.jobs_s:
        from qcommons.world.hirings import Hirings  # engines, for runs that need them

        plays.append(Hirings(stage))
    return plays


def _joined(rows: Iterable[dict[str, float]]) -> dict[str, float]:
    return {name: value for row in rows for name, value in row.items()}


def _settle_s(row: Scenario) -> float:
    """Members of a large mesh beat less often, so those that ended are missed later."""
    return row.settle_s + LOST_S * (-(-min(row.nodes, row.book or CAP) // PEERS_A_PERIOD) - 1)


def _measures(stage: Stage, checkers: Checkers, sent: int) -> dict[str, float]:
    asks = checkers.asks
    network = stage.world.network
    return {
        "news published": len(checkers.news.published),
        "requests": len(asks.asked),
        "requests answered": sum(asks.got.values()),
        "liars banned": checkers.peers.bans,
        "dials that met another node": sum(network.strays.values()),
        "bytes per message": round(network.sent_bytes / max(1, sent), 1),
    }
