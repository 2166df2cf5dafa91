"""The world simulator: events a second, a thousand nodes in one process, messages a news, bytes a node."""

from __future__ import annotations

import gc
import math
import resource
import time
from typing import Any

from bench import sides
from bench.harness import Claim
from qcommons.mesh.events import Came, Transmit
from qcommons.mesh.messages import Request
from qcommons.world.afterwards import Afterwards, held_bytes
from qcommons.world.checkers import Checkers
from qcommons.world.host import Host, Life
from qcommons.world.play import Case, play
from qcommons.world.scenarios import SCENARIOS
from qcommons.world.searches import Searches
from qcommons.world.simulator import Simulator
from qcommons.world.stage import Stage

CLAIMS = [
    Claim("simulator alone (cores that only answer)", "simulator", None, "least", 100_000, rounds=3, unit="events/s"),
    Claim("50 nodes at work, double of cryptography (and larger ones)", "events", None, "least", 50_000, rounds=3,
          unit="events/s"),
    Claim("20 nodes join and work, real cryptography", "real", None, "least", 1_000, rounds=3, unit="events/s"),
    Claim("1,000 nodes join and gossip", "thousand", None, "seconds", 60, rounds=1, warm=False),
    Claim("messages a node sends a news, 50 to 1,000 nodes: growth against log n", "growth", None, "most", 1.0,
          rounds=1, warm=False, unit="of log(1000) / log(50)"),
    Claim("bytes held by a node, books of 128 records full, 10,000 nodes against 300", "flat", None, "most", 1.25,
          rounds=1, warm=False, unit="times"),
    Claim("searches that find one of 50 providers among 10,000 nodes, 64 of which each knows", "find", None, "least",
          0.95, rounds=1, warm=False, unit="of all"),
]  # fmt: skip
S_NS = 10**9
SEARCHES = 200
BOOK = 128  # a quarter of a node's, so that ten thousand full ones take minutes and not an hour
NEWS = ("Gossip", "Have", "Want", "Graft", "Prune")


class _Echo:
    """A core that sends back what comes."""

    def handle(self, event: Any, now_ns: int) -> list[Any]:
        return [Transmit(event.conn, 0, event.message)] if type(event) is Came else []


def simulator(small: bool) -> sides.Thunk:
    from qcommons.mesh.events import Dial
    from qcommons.mesh.records import PeerId
    from qcommons.world.double import Double, Oracle

    oracle = Oracle(1)
    world = Simulator(1, lambda host: (_Echo(), Double(oracle, host.key, "bench")))
    lives: list[Life] = []
    for index in range(20):
        key = oracle.public_key(str(index))
        host = Host(index, PeerId(Double(oracle, key, "bench").peer), key, "bench", f"tcp/20.0.{index}.7:4747")
        world.hosts.append(host)
        world.network.by_address[host.address] = host
        lives.append(world.start(host))
    for index in range(1, 20):
        world.network.dial(lives[0], Dial(2 * index, world.hosts[index].address, None), 0)
    world.run(5 * S_NS)
    for index in range(1, 20):
        for _ in range(5):
            world.network.transmit(lives[0], Transmit(2 * index, 0, Request(b"x" * 100)), world.now_ns)

    def thunk() -> dict[str, Any]:
        begun, before = time.process_time(), world.events
        world.run(world.now_ns + (S_NS if small else 100 * S_NS))
        return {"value": (world.events - before) / (time.process_time() - begun)}

    return thunk


def _stage(nodes: int, join_s: float, crypto: str = "double") -> tuple[Stage, Checkers]:
    row = SCENARIOS["large"]._replace(nodes=nodes, join_s=join_s)
    stage = Stage(row, 1, nodes, crypto=crypto)
    checkers = Checkers(stage.world)
    stage.open()
    return stage, checkers


def events(small: bool) -> sides.Thunk:
    """Joined, and with news and requests. What a node knows grows with their number, and leaves the processor's caches:
    an event of a larger mesh costs more."""
    stages = [_stage(nodes, 1.0)[0] for nodes in ((10, 20) if small else (50, 200))]
    for stage in stages:
        stage.world.run(20 * S_NS)

    def thunk() -> dict[str, Any]:
        rates = {len(stage.live()): _rate(stage) for stage in stages}
        return {"value": next(iter(rates.values())), "events/s by nodes": {n: round(rate) for n, rate in rates.items()}}

    return thunk


def _rate(stage: Stage) -> float:
    begun, before = time.process_time(), stage.world.events
    stage.world.run(stage.world.now_ns + 20 * S_NS)
    return (stage.world.events - before) / (time.process_time() - begun)


def real(small: bool) -> sides.Thunk:
    def thunk() -> dict[str, Any]:
        begun = time.process_time()
        report = play(Case("join", 1, 4 if small else 20, 10, crypto="real"))
        return {"value": report.events / (time.process_time() - begun), "right": not report.violations}

    return thunk


def thousand(small: bool) -> sides.Thunk:
    """Until neighbours connect all of them and five news have reached everybody."""

    def thunk() -> dict[str, Any]:
        stage, checkers = _stage(30 if small else 1_000, 4.0)
        stage.over = True  # no traffic but ours
        stage.world.run(4 * S_NS)
        after = Afterwards(stage, checkers)
        while after.apart() and stage.world.now_ns < 30 * S_NS:
            stage.world.run(stage.world.now_ns + S_NS // 4)
        whole_s = stage.world.now_ns / S_NS
        for host in stage.live()[:5]:
            stage.publish(host)
        stage.world.run(stage.world.now_ns + 2 * S_NS)
        heard = [len(lives) for lives in checkers.news.heard.values()]
        right = min(heard) == len(stage.live()) - 1
        return {"events": stage.world.events, "connected after (virtual s)": whole_s, "heard": heard, "right": right}

    return thunk


def _publish(stage: Stage, checkers: Checkers, count: int) -> list[bytes]:
    before = set(checkers.news.published)
    live = stage.live()
    for place in range(count):
        stage.publish(live[place * len(live) // count])
        stage.world.run(stage.world.now_ns + S_NS)
    stage.world.run(stage.world.now_ns + 5 * S_NS)
    return [payload for payload in checkers.news.published if payload not in before]


def growth(small: bool) -> sides.Thunk:
    """The table, and how much more a node sends at 1,000 nodes than at 50, over log(1000) / log(50)."""

    def thunk() -> dict[str, Any]:
        sizes = (10, 20) if small else (50, 200, 1_000)
        table = {nodes: _messages(nodes) for nodes in sizes}
        first, last = sizes[0], sizes[-1]
        fit = (table[last] / table[first]) / (math.log(last) / math.log(first))
        return {"value": fit, "messages a node a news": {n: round(cost, 3) for n, cost in table.items()}}

    return thunk


def _messages(nodes: int) -> float:
    stage, checkers = _stage(nodes, max(1.0, nodes / 200))
    stage.over = True
    stage.world.run(15 * S_NS)
    _publish(stage, checkers, 3)  # the tree grows out of the first news
    stage.world.run(stage.world.now_ns + 10 * S_NS)  # and what repairs them has been said
    before = dict(stage.world.network.sent)
    news = 10
    _publish(stage, checkers, news)
    spent = sum(n - before.get(kind, 0) for kind, n in stage.world.network.sent.items() if kind.__name__ in NEWS)
    return spent / news / nodes


def flat(small: bool) -> sides.Thunk:
    """State of a core, sampled, beside what all share; and resident memory of the process a node. The nodes were a mesh
    before, so that their books are as full as they get."""

    def thunk() -> dict[str, Any]:
        sizes = (20, 40) if small else (300, 1_000, 3_000, 10_000)
        table = {nodes: _held(nodes) for nodes in sizes}
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / sizes[-1]
        return {
            "value": table[sizes[-1]] / table[sizes[0]], "KiB a core": {n: round(b / 1024) for n, b in table.items()},
            "resident KiB a node": round(resident / 1024),
        }  # fmt: skip

    return thunk


def _held(nodes: int) -> float:
    """Mean over 20 cores, when all are linked."""
    gc.collect()
    row = SCENARIOS["find"]._replace(nodes=nodes, join_s=2.0, book=BOOK)
    stage = Stage(row, 1, nodes)
    stage.over = True
    stage.open()
    stage.world.run(4 * S_NS)
    live = stage.live()[:: max(1, nodes // 20)]
    return sum(held_bytes(host.life) for host in live if host.life) / len(live)


def find(small: bool) -> sides.Thunk:
    """A mesh that was switched off and on again: each node begins with 64 records, links itself, and some search."""

    def thunk() -> dict[str, Any]:
        nodes = 30 if small else 10_000
        row = SCENARIOS["find"]._replace(nodes=nodes, join_s=2.0)
        stage = Stage(row, 1, nodes)
        checkers = Checkers(stage.world)
        searches = Searches(stage)
        stage.over = True  # no traffic but ours
        stage.open()
        stage.world.run(4 * S_NS)
        apart = bool(Afterwards(stage, checkers).apart())
        live = stage.live()
        for place in range(SEARCHES):
            searches.seek(live[place * len(live) // SEARCHES])
        stage.world.run(stage.world.now_ns + 6 * S_NS)
        told = searches.measures()
        return {"value": told["share of searches that found a provider"], "right": not apart, **told}

    return thunk
