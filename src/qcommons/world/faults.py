"""Faults as rows: name, one line of help, knobs with units and ranges, what begins and what ends.

Flow: scenario and options -> `timeline.py` draws when and whom -> *begin*, *end* -> simulator. The vocabulary is
TigerBeetle's (VOPR: loss, duplicate, delay, partition modes and symmetry, clog, crash, disk faults) and ours.

Knobs that several rows have: `every` (mean seconds between two, at random times), `for` (how long one lasts).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from qcommons.mesh.events import Leave, MyAway
from qcommons.world.draws import Draws
from qcommons.world.host import EPOCH_NS
from qcommons.world.liars import LIARS
from qcommons.world.network import End, Wall
from qcommons.world.records import Moment, Param

if TYPE_CHECKING:
    from qcommons.world.stage import Stage

__all__ = ["FAULTS", "Fault", "Knobs"]

Knobs = dict[str, float]
S_NS = 10**9


class Fault(NamedTuple):
    """kind: "always" (from the begin to the end of the faults), "times" (at random times, or once at a given one).

    pick: whom one of them strikes and what else is drawn: (draws, number of nodes, knobs) -> (nodes, facts).
    begin, end: carry a moment out; `end` only where something lasts.
    """

    name: str
    help: str
    kind: str
    params: tuple[Param, ...]
    pick: Callable[[Draws, int, Knobs], tuple[tuple[int, ...], Knobs]]
    begin: Callable[[Stage, Moment], None]
    end: Callable[[Stage, Moment], None] | None = None

    def knobs(self) -> Knobs:
        return {param.name: float(param.default) for param in self.params}


def _p(default: float) -> Param:
    return Param("p", "1", default, 0, 0.5, "probability, of each message")


def _every(default: float) -> Param:
    return Param("every", "s", default, 0.1, 1e4, "mean time between two")


def _for(default: float) -> Param:
    return Param("for", "s", default, 0.1, 1e4, "how long one lasts, on average")


# whom


def _nobody(draws: Draws, n: int, knobs: Knobs) -> tuple[tuple[int, ...], Knobs]:
    return (), {}


def _one(draws: Draws, n: int, knobs: Knobs) -> tuple[tuple[int, ...], Knobs]:
    return (draws.below(n),), {}


def _one_and_number(draws: Draws, n: int, knobs: Knobs) -> tuple[tuple[int, ...], Knobs]:
    return (draws.below(n),), {"which": draws.unit()}


def _pair(draws: Draws, n: int, knobs: Knobs) -> tuple[tuple[int, ...], Knobs]:
    return tuple(draws.some(range(n), 2)), {}


def _share(draws: Draws, n: int, knobs: Knobs) -> tuple[tuple[int, ...], Knobs]:
    """A share of all but node 0, by which the others joined; at least one."""
    count = max(1, round(knobs["share"] * n))
    return tuple(sorted(draws.some(range(1, n), count))), {}


def _everybody(draws: Draws, n: int, knobs: Knobs) -> tuple[tuple[int, ...], Knobs]:
    return tuple(range(n)), {"which": draws.unit()}


def _first(draws: Draws, n: int, knobs: Knobs) -> tuple[tuple[int, ...], Knobs]:
    return (0,), {}


def _side(draws: Draws, n: int, knobs: Knobs) -> tuple[tuple[int, ...], Knobs]:
    """One side of a partition of uniform size."""
    size = 1 + draws.below(max(1, n - 1))
    return tuple(sorted(draws.some(range(n), size))), {"oneway": float(draws.unit() < knobs["oneway"])}


def _half(draws: Draws, n: int, knobs: Knobs) -> tuple[tuple[int, ...], Knobs]:
    return tuple(sorted(draws.some(range(n), n // 2))), {"oneway": float(draws.unit() < knobs["oneway"])}


def _alone(draws: Draws, n: int, knobs: Knobs) -> tuple[tuple[int, ...], Knobs]:
    return (draws.below(n),), {"oneway": float(draws.unit() < knobs["oneway"])}


def _arc(draws: Draws, n: int, knobs: Knobs) -> tuple[tuple[int, ...], Knobs]:
    """Nodes on a ring by number, cut in two places."""
    start, length = draws.below(n), 1 + draws.below(max(1, n - 1))
    arc = tuple(sorted((start + step) % n for step in range(length)))
    return arc, {"oneway": float(draws.unit() < knobs["oneway"])}


# what


def _harm(stage: Stage, moment: Moment) -> None:
    network = stage.world.network
    network.set_harm(moment.fault, moment.facts["p"])
    if "mean" in moment.facts:
        network.delay_ns = int(moment.facts["mean"] * S_NS)


def _unharm(stage: Stage, moment: Moment) -> None:
    stage.world.network.set_harm(moment.fault, 0.0)


def _wall(stage: Stage, moment: Moment) -> None:
    inside = frozenset(moment.nodes)
    if moment.fault == "clog":
        a, b = moment.nodes

        def wall(source: int, target: int) -> bool:
            return (source == a and target == b) or (source == b and target == a)
    elif moment.facts["oneway"]:

        def wall(source: int, target: int) -> bool:
            return source in inside and target not in inside
    else:

        def wall(source: int, target: int) -> bool:
            return (source in inside) != (target in inside)

    named: Wall = wall
    stage.walls[moment.place] = named
    stage.world.network.raise_wall(named)


def _unwall(stage: Stage, moment: Moment) -> None:
    stage.world.network.fell_wall(stage.walls.pop(moment.place))


def _reset(stage: Stage, moment: Moment) -> None:
    life = stage.world.hosts[moment.nodes[0]].life
    ends = [end for end in life.ends.values() if isinstance(end, End) and not end.closing] if life else []
    if ends:
        stage.world.network.reset(ends[int(moment.facts["which"] * len(ends))], "connection reset")


def _down(stage: Stage, moment: Moment) -> None:
    """Process or power ends; a crash falls between two effects of the next event, which the facts choose."""
    host = stage.world.hosts[moment.nodes[0]]
    if host.life is None:
        return
    cut = int(moment.facts.get("which", 0.0) * 4)
    if moment.fault == "crash" and cut:
        host.life.cut = cut - 1
        stage.world.call(stage.world.now_ns + S_NS, lambda life=host.life: stage.end_life(life))  # type: ignore[misc]
    else:
        stage.world.crash(host, silent=moment.fault in ("power", "bitflip"))


def _up(stage: Stage, moment: Moment) -> None:
    host = stage.world.hosts[moment.nodes[0]]
    if moment.fault == "jump":
        host.skew_ns += int((2 * moment.facts["which"] - 1) * moment.facts["by"] * S_NS)
    if moment.fault == "bitflip" and host.life is None and host.disk:
        key = sorted(host.disk)[int(moment.facts["which"] * len(host.disk))]
        value = bytearray(host.disk[key])
        if value:
            bit = int(moment.facts["which"] * 7919) % (8 * len(value))
            value[bit // 8] ^= 1 << bit % 8
            host.disk[key] = bytes(value)
    stage.start(host)


def _kill(stage: Stage, moment: Moment) -> None:
    for index in moment.nodes:
        stage.world.crash(stage.world.hosts[index], silent=True)
        stage.gone.add(index)


def _freeze(stage: Stage, moment: Moment) -> None:
    life = stage.world.hosts[moment.nodes[0]].life
    if life is not None:
        stage.world.freeze(life, stage.world.now_ns + moment.for_ns)


def _skew(stage: Stage, moment: Moment) -> None:
    """Before the first life: each clock is off by up to `max`."""
    for index in moment.nodes:
        part = (moment.facts["which"] * 7919 * (index + 1)) % 1.0
        stage.world.hosts[index].skew_ns = int((2 * part - 1) * moment.facts["max"] * S_NS)


def _lie(stage: Stage, moment: Moment) -> None:
    for index in moment.nodes:
        stage.world.hosts[index].honest = False
        stage.world.hosts[index].role = moment.fault


def _leave_for_a_time(stage: Stage, moment: Moment) -> None:
    """Says so, goes, and comes back at the end of the window."""
    host = stage.world.hosts[moment.nodes[0]]
    if host.life is None:
        return
    world = stage.world
    until_ns = world.now_ns + moment.for_ns
    begin_s = (EPOCH_NS + world.now_ns) // S_NS
    host.away_until_ns = until_ns
    world.tell(host, MyAway("away", ((begin_s, (EPOCH_NS + until_ns) // S_NS + 1),)))
    life = host.life
    world.call(world.now_ns + S_NS, lambda: world.tell(host, Leave("away")) if host.life is life else None)
    world.call(world.now_ns + 2 * S_NS, lambda: stage.end_life(life))


ONEWAY = Param("oneway", "1", 0.25, 0, 1, "share that lets one direction pass")
SHARE = Param("share", "1", 0.1, 0, 0.9, "of the nodes")
MEAN = Param("mean", "s", 0.2, 0.001, 10, "mean of the delay")
DOWN = Param("for", "s", 3, 0.1, 1e4, "until it starts again, on average")

FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("loss", "a message is lost, and the connection stands", "always", (_p(0.01),), _nobody, _harm, _unharm),
        Fault("duplicate", "a message comes twice", "always", (_p(0.02),), _nobody, _harm, _unharm),
        Fault("delay", "a message and those behind it come late", "always", (_p(0.05), MEAN), _nobody, _harm, _unharm),
        Fault("reorder", "a message is overtaken by later ones", "always", (_p(0.02), MEAN), _nobody, _harm, _unharm),
        Fault("partition", "some nodes are cut off from the others", "times", (_every(20), _for(8), ONEWAY), _side,
              _wall, _unwall),
        Fault("halves", "one half is cut off from the other", "times",
              (_every(20), _for(8), ONEWAY._replace(default=0)), _half, _wall, _unwall),
        Fault("isolate", "one node is cut off from all others", "times", (_every(15), _for(8), ONEWAY), _alone, _wall,
              _unwall),
        Fault("ring-cut", "an arc of a ring of nodes is cut off", "times", (_every(20), _for(8), ONEWAY), _arc, _wall,
              _unwall),
        Fault("clog", "nothing passes between two nodes, later all of it does", "times", (_every(5), _for(4)), _pair,
              _wall, _unwall),
        Fault("reset", "a connection breaks", "times", (_every(3),), _one_and_number, _reset),
        Fault("crash", "a process ends between two effects, and starts again with what it stored", "times",
              (_every(8), DOWN), _one_and_number, _down, _up),
        Fault("power", "a machine loses power, and nobody is told", "times", (_every(15), DOWN), _one_and_number, _down,
              _up),
        Fault("bitflip", "power is lost, and a bit of the disk is another one after it", "times", (_every(20), DOWN),
              _one_and_number, _down, _up),
        Fault("jump", "a node starts again, and its clock shows another time", "times",
              (_every(20), DOWN, Param("by", "s", 60, 0, 500, "at most, to either side")), _one_and_number, _down, _up),
        Fault("kill", "nodes end for ever, without a word", "times", (_every(20), SHARE), _share, _kill),
        Fault("kill-first", "the node by which the others joined ends for ever", "times", (_every(20),), _first, _kill),
        Fault("freeze", "a process stops and goes on later (SIGSTOP)", "times", (_every(10), _for(7)), _one, _freeze),
        Fault("skew", "clocks are off", "always", (Param("max", "s", 60, 0, 280, "at most, to either side"),),
              _everybody, _skew),
        Fault("away", "a node says until when it is away, and goes", "times", (_every(20), _for(20)), _one,
              _leave_for_a_time, _up),
        *(Fault(lie.name, f"liars: {lie.help}", "always", (SHARE,), _share, _lie) for lie in LIARS.values()),
    )
}  # fmt: skip
