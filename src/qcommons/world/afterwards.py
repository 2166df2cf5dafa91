"""What must hold once the faults are over, and how soon it does.

Flow: the faults end -> *Afterwards* looks each quarter of a second -> all is well, or violations: who sees whom how.
The graph of neighbours, along which news go, must be connected; and where the mesh fits into one peer book, every node
must see every other alive, and none that is gone. In a larger one nobody can know all.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from qcommons.world.checkers import NEAR, Checkers
from qcommons.world.host import Host, Life
from qcommons.world.stage import ASK_NS, Stage

__all__ = ["RULES", "Afterwards", "held_bytes"]

S_NS = 10**9
LOOK_NS = S_NS // 4
LOOKED_MAX = 24  # nodes whose view is compared, of large worlds
NEWS_NS = 5 * S_NS  # after it everybody has heard: the repair by keys takes one turn of neighbours
PROBES = 3  # news published when all is well
ASKERS = 30
QUIET_NS = 4 * S_NS
MESSAGES_MAX_HZ = 60  # that a node may send in peace: beats, keys and pings of eight neighbours take 20
TIMERS_MAX = 64  # of one node, beside one a dial
JOB_TIMERS_MAX = 512  # of one that has jobs: three for each of its leases of the last minute
STATE_BYTES_MAX = 8 << 20  # of one core beside what all share: 512 records and all buckets full take 4 MB
SPREAD_NS = 10 * S_NS  # a life that was there so long before and after a publication must have heard

RULES: dict[str, str] = {
    "whole": "neighbours connect all; every node sees every other alive, knows a way to it, and sees none that is gone "
    "(up to a full peer book)",
    "news": "what one life of a node heard while it could, all have heard; what is said afterwards, everybody",
    "asks": "requests between any two live nodes are answered",
    "quiet": f"a node sends at most {MESSAGES_MAX_HZ} messages a second in peace",
    "bounded": f"a core holds at most {STATE_BYTES_MAX >> 20} MiB and {TIMERS_MAX} timers",
}


class Afterwards:
    """One look at a stage after another."""

    def __init__(self, stage: Stage, checkers: Checkers) -> None:
        self.stage = stage
        self.checkers = checkers
        self.converged_s: dict[str, float] = {}
        self.measures: dict[str, float] = {}

    def run(self, settle_s: float, also: Iterable[Callable[[], None]] = ()) -> None:
        """Waits until all is well, at most `settle_s`, then asks and publishes, does what else a scenario wants done,
        and looks at what was left behind."""
        world = self.stage.world
        begin_ns = world.now_ns
        trouble = self.trouble()
        while trouble and world.now_ns < begin_ns + settle_s * S_NS:
            world.run(world.now_ns + LOOK_NS)
            trouble = self.trouble()
        if trouble:
            for node, what in trouble[:5]:
                world.violated("whole", node, f"{what}, {settle_s:g} s after the last fault")
            return
        self.converged_s["whole"] = (world.now_ns - begin_ns) / S_NS
        self._quiet()
        self._probe()
        for act in also:
            act()
        self._news()
        self._bounded()

    # whole

    def trouble(self) -> list[tuple[int, str]]:
        """(node, what is not well there); empty when all is."""
        live = self.stage.live()
        return self.apart() + (self._unseen(live) if len(live) <= self.stage.book_cap else [])

    def _unseen(self, live: list[Host]) -> list[tuple[int, str]]:
        gone = [host for host in self.stage.world.hosts if host.life is None and host.lives]
        found = []
        for host in _spread(live, LOOKED_MAX):
            view = self.stage.view(host)
            unseen = [o.index for o in live if o is not host and _state(view, o) not in NEAR]
            ghosts = [o.index for o in gone if _state(view, o) in NEAR]
            closed = [o.index for o in live if o is not host and not o.reachable and not _has_way(view.get(o.peer))]
            if unseen:
                first = self.stage.world.hosts[unseen[0]]
                row = view.get(first.peer)
                how = f"{row.state} ({row.cause})" if row is not None else "unknown"
                found.append((host.index, f"does not see {_some(unseen)} alive; {unseen[0]} is {how}"))
            if closed:
                found.append((host.index, f"knows no way to {_some(closed)} behind a router"))
            if ghosts:
                found.append((host.index, f"sees {_some(ghosts)} alive, which ended"))
        return found

    def apart(self) -> list[tuple[int, str]]:
        """Whom no chain of neighbours joins to the first node."""
        live = self.stage.live()
        by_peer = {host.peer: host for host in self.stage.live(honest=False)}  # liars pass news on as well
        near = {host.index: set(self.stage.neighbours(host)) for host in by_peer.values()}
        edges = {
            # an end that has not noticed that its link is dead would see a neighbour where there is none
            host.index: {
                by_peer[peer].index for peer in near[host.index]
                if peer in by_peer and host.peer in near[by_peer[peer].index]
            }
            for host in by_peer.values()
        }  # fmt: skip
        reached, todo = {live[0].index}, [live[0].index]
        while todo:
            for other in sorted(edges[todo.pop()] - reached):
                reached.add(other)
                todo.append(other)
        lost = [host.index for host in live if host.index not in reached]
        return [(lost[0], f"no chain of neighbours from node {live[0].index} to {_some(lost)}")] if lost else []

    # what works

    def _quiet(self) -> None:
        world = self.stage.world
        before = sum(world.network.sent.values())
        world.run(world.now_ns + QUIET_NS)
        live = self.stage.live(honest=False)
        rate = (sum(world.network.sent.values()) - before) / (QUIET_NS / S_NS) / max(1, len(live))
        self.measures["messages per node per second at rest"] = round(rate, 2)
        if rate > MESSAGES_MAX_HZ and all(host.honest for host in live):
            world.violated("quiet", -1, f"{rate:.0f} messages a second of a node; allowed {MESSAGES_MAX_HZ}")

    def _probe(self) -> None:
        stage, world = self.stage, self.stage.world
        live, before = stage.live(), set(self.checkers.asks.asked)
        sent_before = dict(world.network.sent)
        for host in _spread(live, PROBES):
            stage.publish(host)
        begun_ns = world.now_ns
        payloads = [p for p, (_, at_ns) in self.checkers.news.published.items() if at_ns == begun_ns]
        world.run(begun_ns + NEWS_NS)
        for payload in payloads:
            self._heard_by_all(payload, live)
        self._spent(sent_before, len(payloads), len(live))
        for place, host in enumerate(_spread(live, ASKERS)):
            other = live[(live.index(host) + 1 + place * 7) % len(live)]
            # where the book is full, one that is in it
            if other is not host and (len(live) <= self.stage.book_cap or other.peer in stage.view(host)):
                stage.ask(host, other.peer)
        world.run(world.now_ns + ASK_NS + 2 * S_NS)
        got = self.checkers.asks.got
        tickets = [t for t in self.checkers.asks.asked if t not in before]
        failed = [ticket for ticket in tickets if not got.get(ticket)]
        for ticket in failed[:3]:
            life = self.checkers.asks.asked[ticket][0]
            world.violated("asks", life.host.index, f"{ticket} got no answer though all was well")

    def _spent(self, before: dict[type, int], news: int, nodes: int) -> None:
        """Messages that the probes cost each node, those that carry news and those that repair."""
        sent = self.stage.world.network.sent
        cost = {kind.__name__: count - before.get(kind, 0) for kind, count in sent.items()}
        for name in ("Gossip", "Have", "Want", "Graft", "Prune"):
            self.measures[f"{name} messages per node per news"] = round(cost.get(name, 0) / max(1, news * nodes), 4)

    def _heard_by_all(self, payload: bytes, live: list[Host]) -> None:
        origin, _ = self.checkers.news.published[payload]
        heard = self.checkers.news.heard[payload]
        deaf = [host.index for host in live if host.life not in heard and host.life is not origin]
        if deaf:
            what = f"{_some(deaf)} did not hear {payload!r}, said when all was well"
            self.stage.world.violated("news", deaf[0], what)

    def _news(self) -> None:
        """What was said during the faults: if one life that was there all the time has it, each has."""
        world = self.stage.world
        lives = [life for host in self.stage.live() if (life := host.life) is not None]
        for payload, (origin, at_ns) in self.checkers.news.published.items():
            witnesses = [life for life in lives if life.born_ns < at_ns - SPREAD_NS and life is not origin]
            heard = self.checkers.news.heard[payload]
            if not origin.host.honest or not (any(w in heard for w in witnesses) or not origin.dead):
                continue
            deaf = [life.host.index for life in witnesses if life not in heard]
            if deaf:
                what = f"{_some(deaf)} never heard {payload!r} of {at_ns / S_NS:.1f} s"
                world.violated("news", deaf[0], what)

    # what is left behind

    def _bounded(self) -> None:
        world = self.stage.world
        timers = world.pending()
        timers_max = JOB_TIMERS_MAX if self.stage.scenario.jobs_s else TIMERS_MAX
        held = []
        for host in _spread(self.stage.live(), 3):
            assert host.life is not None
            held.append(held_bytes(host.life))
            if held[-1] > STATE_BYTES_MAX:
                world.violated("bounded", host.index, f"holds {held[-1] >> 10} KiB; allowed {STATE_BYTES_MAX >> 10}")
        for host in self.stage.live():
            count = timers.get(host.life, 0) if host.life else 0
            if count > timers_max:
                world.violated("bounded", host.index, f"{count} timers wait; allowed {timers_max}")
        self.measures["most timers of a node"] = max(timers.values(), default=0)
        self.measures["state of a node, KiB"] = round(max(held, default=0) / 1024, 1)


def held_bytes(life: Life) -> int:
    """Bytes that a core's state takes, found by walking from it. What all nodes share is left out: classes, functions,
    and byte strings of 1 KiB and more (records, news), which travel through this world as one object."""
    seen: set[int] = set()
    skipped = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType)
    total, todo = 0, list(getattr(life.machine, "cores", (life.machine,)))
    while todo:
        item = todo.pop()
        if id(item) in seen or isinstance(item, skipped) or item is life.crypto:
            continue
        seen.add(id(item))
        size = sys.getsizeof(item)
        total += 0 if isinstance(item, bytes) and size >= 1024 else size
        todo += [other for other in _parts(item) if id(other) not in seen]
    return total


def _parts(item: Any) -> Iterable[Any]:
    if isinstance(item, MethodType | FunctionType):
        return ()
    return gc.get_referents(item)


def _has_way(row: Any) -> bool:
    """To a node that takes no calls: a link that stands, or a relay."""
    return row is not None and (row.link != "none" or any(text.startswith("relay/") for text in row.addresses))


def _state(view: dict[Any, Any], host: Host) -> str:
    row = view.get(host.peer)
    return "unknown" if row is None else str(row.state)


def _spread(hosts: list[Host], count: int) -> list[Host]:
    """At most `count` of them, evenly over the list."""
    step = max(1, len(hosts) // count)
    return hosts[::step][:count]


def _some(indices: list[int]) -> str:
    text = ", ".join(map(str, indices[:5]))
    more = f" and {len(indices) - 5} more" if len(indices) > 5 else ""
    return f"node{'s' * (len(indices) > 1)} {text}{more}"
