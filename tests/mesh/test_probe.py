"""Probe: everybody says once that it heard, to who asked and to nobody else."""

from __future__ import annotations

import msgspec
import pytest
from tests.mesh.parts_world import MS, T0, Node, PartsWorld, S, signed

from qcommons.base.seeds import stream
from qcommons.mesh import messages as m
from qcommons.mesh.events import Failed, ProbeHeard, ProbeNews
from qcommons.mesh.exchange import Exchange
from qcommons.mesh.gossip import Gossip
from qcommons.mesh.parts import PartBase
from qcommons.mesh.probe import RUNNING_MAX, Probe
from qcommons.mesh.records import PeerId
from qcommons.pqc.identity import node_hash
from qcommons.world.double import Double, Oracle

ORACLE = Oracle(1)


def crypto(number: int) -> Double:
    return Double(ORACLE, ORACLE.public_key(str(number)), "test")


def name(number: int) -> PeerId:
    return PeerId(node_hash(ORACLE.public_key(str(number))))


def make(world: PartsWorld, node: Node) -> list[PartBase]:
    exchange, gossip = Exchange(node.peers), Gossip(node.peers, stream(1, "gossip", node.number))
    return [exchange, gossip, Probe(node.peers, gossip, exchange, crypto(node.number))]


def knowing(world: PartsWorld) -> PartsWorld:
    """Everybody has everybody's record."""
    for node in world.nodes:
        node.peers.book = {name(i): msgspec.structs.replace(signed(i), peer=name(i)) for i in range(len(world.nodes))}
    return world


def meshed(count: int = 12) -> PartsWorld:
    world = PartsWorld(count, make, name=name)
    for a in range(count):
        for b in range(a + 1, count):
            near = (b - a) % count in (1, 2, count - 1, count - 2)
            world.link(a, b, neighbours=near)
    return knowing(world)


def asked(number: int, began_ns: int, seq: int = 0) -> m.Gossip:
    """A question of node `number`, as gossip carries it."""
    seq = seq or began_ns // MS
    one = crypto(number)
    payload = began_ns.to_bytes(8, "big") + seq.to_bytes(8, "big") + one.public_key
    return m.Gossip("probe", name(number), seq, one.sign("qcommons/probe.1", payload), 0)


def requests(world: PartsWorld) -> int:
    return sum(node.sent["Request"] for node in world.nodes)


def test_a_probe_says_who_heard_and_after_how_long() -> None:
    world = meshed()
    world.wish(0, ProbeNews("t", 2 * S))
    world.run(3 * S)
    (heard,) = world.nodes[0].door("t")
    assert isinstance(heard, ProbeHeard)
    after_ns = dict(heard.heard)
    assert set(after_ns) == {name(i) for i in range(1, 12)}
    # a hop takes 1 ms and reaches two nodes further; the answer takes 1 ms more
    assert [after_ns[name(i)] // MS for i in (1, 2, 3, 4, 5, 6)] == [2, 2, 3, 3, 4, 4]


def test_who_did_not_hear_is_missing() -> None:
    world = meshed()
    for other in range(11):
        world.unlink(11, other)
    world.wish(0, ProbeNews("t", S))
    world.run(3 * S)
    assert {who for who, _ in world.nodes[0].door("t")[0].heard} == {name(i) for i in range(1, 11)}


@pytest.mark.parametrize(
    "forged",
    [
        msgspec.structs.replace(asked(5, T0), origin=name(7)),
        msgspec.structs.replace(asked(7, T0), seq=T0 // MS + 1),
        msgspec.structs.replace(asked(7, T0), payload=b"noise"),
        msgspec.structs.replace(asked(7, T0), payload=crypto(7).sign("qcommons/probe.1", bytes(8))),
        msgspec.structs.replace(asked(7, T0), payload=crypto(7).sign("qcommons/other.1", asked(7, T0).payload[:2000])),
    ],
    ids=["by another", "for another seq", "noise", "too short", "as something else"],
)
def test_a_question_in_anothers_name_makes_nobody_answer_and_is_blamed(forged: m.Gossip) -> None:
    """Else one message would make the whole network knock at a victim's door. Nobody needs to know the victim to see
    it, so nobody honest passes it on."""
    world = meshed()
    for node in world.nodes:
        node.peers.book.clear()
    world.give(1, 0, forged)
    world.run(S)
    assert [blame.peer for blame in world.nodes[1].blames] == [name(0)]
    assert not requests(world) and not world.nodes[1].sent["Gossip"]


def test_old_questions_put_again_are_not_answered_and_use_up_nothing() -> None:
    """Somebody kept what node 0 asked before, and says it again where it was not heard."""
    world = knowing(PartsWorld(3, make, name=name))
    world.link(0, 1)
    world.link(1, 2, neighbours=False)
    world.give(1, 0, asked(0, T0))
    for number in range(1, 60):
        world.give(1, 2, asked(0, T0 - number * S))
    assert world.nodes[1].sent["Request"] == 1
    world.give(1, 0, asked(0, T0 + 1 * MS))
    world.give(1, 0, asked(0, T0 + 2 * MS))
    assert world.nodes[1].sent["Request"] == 3


def test_many_questions_of_one_origin_are_answered_a_few_times_a_second() -> None:
    world = knowing(PartsWorld(2, make, name=name))
    world.link(0, 1)
    for number in range(50):
        world.give(1, 0, asked(0, T0 + number * MS))
    world.run(100 * MS)
    assert world.nodes[1].sent["Request"] == 3


def test_no_more_probes_at_once_than_are_counted() -> None:
    world = meshed()
    for number in range(RUNNING_MAX + 1):
        world.wish(0, ProbeNews(str(number), 5 * S))
        world.run(400 * MS)
    (failed,) = world.nodes[0].door(str(RUNNING_MAX))
    assert isinstance(failed, Failed) and failed.who == "unavailable"
