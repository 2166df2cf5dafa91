"""Probe: everybody says once that it heard, to who asked and to nobody else."""

from __future__ import annotations

from tests.mesh.parts_world import MS, T0, Node, PartsWorld, S, peer, signed

from qcommons.base.errors import PeerError
from qcommons.base.seeds import stream
from qcommons.mesh import messages as m
from qcommons.mesh.events import Failed, ProbeHeard, ProbeNews
from qcommons.mesh.exchange import Exchange
from qcommons.mesh.gossip import Gossip
from qcommons.mesh.parts import PartBase
from qcommons.mesh.probe import RUNNING_MAX, Probe


class FakeCrypto:
    """Signed is: the key, the object type and the payload, in a row."""

    def __init__(self, number: int) -> None:
        self.peer, self.public_key = peer(number), b"key %d" % number

    def sign(self, object_type: str, payload: bytes) -> bytes:
        return b"|".join((self.public_key, object_type.encode(), payload))

    def verify(self, public_key: bytes, object_type: str, signed: bytes) -> bytes:
        key, kind, payload = signed.split(b"|", 2)
        if key != public_key or kind.decode() != object_type:
            raise PeerError("another's signature")
        return payload


def make(world: PartsWorld, node: Node) -> list[PartBase]:
    exchange, gossip = Exchange(node.peers), Gossip(node.peers, stream(1, "gossip", node.number))
    crypto = FakeCrypto(node.number)
    return [exchange, gossip, Probe(node.peers, gossip, exchange, crypto)]  # type: ignore[arg-type]


def meshed(count: int = 12) -> PartsWorld:
    world = PartsWorld(count, make)
    for a in range(count):
        for b in range(a + 1, count):
            near = (b - a) % count in (1, 2, count - 1, count - 2)
            world.link(a, b, neighbours=near)
    for node in world.nodes:
        node.peers.book = {peer(i): signed(i) for i in range(count)}
    return world


def test_a_probe_says_who_heard_and_after_how_long() -> None:
    world = meshed()
    world.wish(0, ProbeNews("t", 2 * S))
    world.run(3 * S)
    (heard,) = world.nodes[0].door("t")
    assert isinstance(heard, ProbeHeard)
    after_ns = dict(heard.heard)
    assert set(after_ns) == {peer(i) for i in range(1, 12)}
    # a hop takes 1 ms and reaches two nodes further; the answer takes 1 ms more
    assert [after_ns[peer(i)] // MS for i in (1, 2, 3, 4, 5, 6)] == [2, 2, 3, 3, 4, 4]


def test_who_did_not_hear_is_missing() -> None:
    world = meshed()
    for other in range(11):
        world.unlink(11, other)
    world.wish(0, ProbeNews("t", S))
    world.run(3 * S)
    assert {who for who, _ in world.nodes[0].door("t")[0].heard} == {peer(i) for i in range(1, 11)}


def test_a_question_in_anothers_name_makes_nobody_answer_and_is_blamed() -> None:
    """Else one message would make the whole network knock at a victim's door."""
    world = meshed()
    forged = FakeCrypto(5).sign("qcommons/probe.1", T0.to_bytes(8, "big"))
    world.give(1, 0, m.Gossip("probe", peer(7), T0 // MS, forged, 0))
    world.run(S)
    assert [blame.peer for blame in world.nodes[1].blames] == [peer(0)]
    assert not any(node.sent["Request"] for node in world.nodes)


def test_an_old_question_put_again_is_not_answered() -> None:
    world = meshed()
    old = FakeCrypto(7).sign("qcommons/probe.1", (T0 - 60 * S).to_bytes(8, "big"))
    world.give(1, 0, m.Gossip("probe", peer(7), T0 // MS, old, 0))
    world.run(S)
    assert not any(node.sent["Request"] for node in world.nodes)


def test_many_questions_of_one_origin_are_answered_a_few_times_a_second() -> None:
    world = PartsWorld(2, make)
    world.link(0, 1)
    world.nodes[1].peers.book = {peer(0): signed(0)}
    for number in range(50):
        asked = FakeCrypto(0).sign("qcommons/probe.1", (T0 + number * MS).to_bytes(8, "big"))
        world.give(1, 0, m.Gossip("probe", peer(0), T0 // MS + number, asked, 0))
    world.run(100 * MS)
    assert world.nodes[1].sent["Request"] == 3


def test_no_more_probes_at_once_than_are_counted() -> None:
    world = meshed()
    for number in range(RUNNING_MAX + 1):
        world.wish(0, ProbeNews(str(number), 5 * S))
        world.run(400 * MS)
    (failed,) = world.nodes[0].door(str(RUNNING_MAX))
    assert isinstance(failed, Failed) and failed.who == "unavailable"
