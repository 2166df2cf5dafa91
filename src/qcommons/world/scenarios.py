"""Scenarios as rows: how many nodes, what befalls them, and how soon all must be well again afterwards.

Flow: `qcommons world --scenario NAME` -> row -> `play.py`. What must hold is the same for all (`checkers.py`): a
scenario says only how long it may take.
"""

from __future__ import annotations

from typing import NamedTuple

from qcommons.world.liars import LIARS
from qcommons.world.records import Act

__all__ = ["SCENARIOS", "Scenario"]


class Scenario(NamedTuple):
    """nodes, for_s: where the case does not say. acts: faults, up to `for_s`. settle_s: within this time after them
    everything must hold. join_s: the nodes start one after the other within it. unreachable: share of nodes behind a
    router that lets nothing in. contacts: how many of those that came before each node knows; 0: the first one.
    islands: separate meshes in the beginning, told of each other at half time. foreign: nodes of another network that
    know an address of this one. publish_s, ask_s: mean time between two news, two requests. book: the nodes have been a
    mesh before, and each keeps at most so many records and begins with so many; 0: a full peer book, empty at first.
    providers: share of nodes that offer something; seek_s: mean time between two searches for it. fetch_s: between two
    fetches of blobs; 0: none. jobs_s: between two jobs for others; assurance: of them, "": any. lies: share of nodes
    that lie with them.
    """

    name: str
    help: str
    nodes: int
    for_s: float
    acts: tuple[Act, ...]
    settle_s: float = 40.0
    join_s: float = 1.0
    unreachable: float = 0.0
    contacts: int = 0
    islands: int = 1
    foreign: int = 0
    publish_s: float = 1.0
    ask_s: float = 0.5
    book: int = 0
    providers: float = 0.0
    seek_s: float = 0.0
    fetch_s: float = 0.0
    jobs_s: float = 0.0
    assurance: str = ""
    lies: float = 0.0


SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario("join", "nodes join by one address, in a second", 30, 10, ()),
        Scenario("join-slowly", "nodes join one after the other", 30, 20, (), join_s=15),
        Scenario("large", "many nodes join, each by three that came before (for 1,000 nodes and more)", 100, 8, (),
                 join_s=4, contacts=3),
        Scenario("churn", "processes crash and start again all the time", 20, 30,
                 (Act("crash", (("every", 2.0),)), Act("power", (("every", 8.0),)), Act("reset"))),
        Scenario("partition-heal", "one half is cut off from the other until the end", 30, 30,
                 (Act("halves", (("for", 1e4),), at=0.3),), settle_s=3),
        Scenario("partitions", "partitions of all kinds, clogged paths", 12, 60,
                 (Act("partition"), Act("isolate"), Act("ring-cut"), Act("clog"))),
        Scenario("bootstrap-dies", "the node by which all joined ends for ever", 20, 25, (Act("kill-first", at=0.3),)),
        Scenario("kill-third", "a third of the nodes ends at once", 30, 25,
                 (Act("kill", (("share", 0.33),), at=0.3),)),
        Scenario("freeze", "processes stop and go on later", 12, 40, (Act("freeze", (("every", 6.0),)),)),
        Scenario("islands", "two meshes that know nothing of each other meet", 16, 20, (), islands=2),
        Scenario("nat", "a third of the nodes cannot be reached from outside", 15, 30, (), settle_s=60,
                 unreachable=0.33),
        Scenario("foreign", "nodes of another network call", 10, 15, (), foreign=3),
        Scenario("away", "nodes go away as they said, and come back", 12, 60, (Act("away", (("every", 15.0),)),)),
        Scenario("weather", "messages lost, doubled, late and out of order", 10, 30,
                 (Act("loss"), Act("duplicate"), Act("delay"), Act("reorder"), Act("reset"))),
        Scenario("disks", "power fails, bits flip, clocks jump", 10, 60,
                 (Act("power", (("every", 8.0),)), Act("bitflip", (("every", 8.0),)), Act("jump"), Act("skew"))),
        Scenario("liars", "one peer of every lying kind among honest ones", 40, 30,
                 tuple(Act(name, (("share", 0.01),)) for name in LIARS)),
        Scenario("flood", "two peers flood the others", 10, 10, (Act("flood", (("share", 0.2),)),)),
        Scenario("find", "nodes that each know a part of the mesh look for one of few providers (to 10,000 nodes)", 100,
                 10, (), book=64, providers=0.005, seek_s=0.5),
        Scenario("blobs", "nodes fetch blobs from each other while some crash, stand still or give other bytes", 8, 40,
                 (Act("crash"), Act("freeze"), Act("reset"), Act("clog"), Act("spoiled", (("share", 0.1),))),
                 fetch_s=2),
        Scenario("jobs", "nodes give each other work, and all are honest", 6, 20, (), jobs_s=2),
        Scenario("jobs-faults", "the same while processes crash, links break and parts are cut off", 6, 40,
                 (Act("crash"), Act("power"), Act("freeze"), Act("reset"), Act("partition"), Act("clog"),
                  Act("loss", (("p", 0.002),))), jobs_s=4),
        Scenario("jobs-liars", "nodes give each other work, and a third of them lies about it", 9, 30, (), jobs_s=1,
                 lies=0.34),
        Scenario("jobs-all", "liars and faults", 9, 40,
                 (Act("crash"), Act("freeze"), Act("reset"), Act("partition"), Act("delay"),
                  Act("kill", (("share", 0.2),), at=0.5)), jobs_s=2, lies=0.34),
        Scenario("long", "all faults, some liars", 12, 120,
                 (Act("skew"), Act("loss", (("p", 0.002),)), Act("delay"), Act("reset"), Act("crash"), Act("power"),
                  Act("freeze"), Act("partition"), Act("isolate"), Act("clog"), Act("jump"), Act("bitflip"),
                  Act("replayed", (("share", 0.05),)), Act("false-beats", (("share", 0.05),))),
                 settle_s=60, unreachable=0.1),
    )
}  # fmt: skip
