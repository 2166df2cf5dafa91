"""Gossip: every live node once, over links that lose, repeat, reorder and fall away; and what liars get for it."""

from __future__ import annotations

import hashlib

import pytest
from tests.mesh.parts_world import MS, T0, Node, PartsWorld, S, peer

from qcommons.base.seeds import stream
from qcommons.mesh import messages as m
from qcommons.mesh.events import Arrived, OpenTopic, Publish
from qcommons.mesh.gossip import HOPS_MAX, PUSHED_NEWS, Gossip
from qcommons.mesh.guard import RATES
from qcommons.mesh.news import KEPT_BYTES_MAX, KEPT_MAX, Kept, NewsShelf, news_key
from qcommons.mesh.news_gate import ORIGIN_NEWS, TOLD_NEWS
from qcommons.mesh.parts import PartBase
from qcommons.mesh.promises import PEER_MAX, PULLED_NEWS


def make(world: PartsWorld, node: Node) -> list[PartBase]:
    part = Gossip(node.peers, stream(1, "gossip", node.number))
    part.open_topic(OpenTopic("t"), 0)
    return [part]


def believe(world: PartsWorld) -> None:
    """Everybody finds a signature in whatever comes under "t"."""
    for number in range(len(world.nodes)):
        gossip(world, number).validate("t", lambda news: "")


def gossip(world: PartsWorld, number: int) -> Gossip:
    part = world.nodes[number].parts[0]
    assert isinstance(part, Gossip)
    return part


def meshed(count: int, seed: int = 1, degree: int = 6) -> PartsWorld:
    """A ring, so that it hangs together, and random chords up to `degree` neighbours on average."""
    world = PartsWorld(count, make, seed)
    edges = {(i, (i + 1) % count) for i in range(count)}
    rng = stream(seed, "edges")
    while len(edges) < count * degree // 2:
        a, b = sorted(rng.integers(count, size=2).tolist())
        if a != b and (b, a) not in edges:
            edges.add((a, b))
    for a, b in sorted(edges):
        world.link(a, b)
    return world


def heard(world: PartsWorld, number: int) -> list[bytes]:
    return [message.payload for message in world.nodes[number].door("topic/t")]


def test_news_reach_everybody_once_and_never_come_back() -> None:
    world = meshed(30)
    for number in range(10):
        world.wish(number, Publish("t", b"news %d" % number))
        world.run(200 * MS)
    world.run(60 * S)
    for number in range(30):
        assert sorted(heard(world, number)) == [b"news %d" % i for i in range(10) if i != number]
    assert not any(node.blames for node in world.nodes)


def test_news_say_who_said_it_and_when() -> None:
    world = PartsWorld(2, make)
    world.link(0, 1)
    world.wish(0, Publish("t", b"x"))
    world.wish(0, Publish("t", b"x"))  # said twice is two news
    world.run(S)
    first, second = world.nodes[1].door("topic/t")
    assert first == Arrived(peer(0), T0 // MS, b"x") and second.seq > first.seq


def test_a_topic_that_brings_its_check_is_heard_as_its_origin_signed_it_and_no_other_way() -> None:
    """Who is outside of the mesh core (asks) opens a topic with a check, and says the seq that its signature covers."""
    world = PartsWorld(2, make)
    world.link(0, 1)
    seq = T0 // MS + 5
    for number in (0, 1):
        gossip(world, number).open_topic(OpenTopic("signed.1", lambda news: "" if news.seq == seq else "forged"), T0)
    world.wish(0, Publish("signed.1", b"as signed", seq))
    world.wish(0, Publish("signed.1", b"of another seq", seq + 1))
    world.run(S)
    assert world.nodes[1].door("topic/signed.1") == [Arrived(peer(0), seq, b"as signed")]
    assert [blame.why for blame in world.nodes[1].blames] == ["news of topic signed.1: forged"]


def test_once_the_tree_has_grown_a_node_sends_as_much_in_a_small_network_as_in_a_large() -> None:
    """Plumtree's promise: whole news travel along a tree, so about one for each node; the rest are keys."""
    news, all_messages = [], []
    for count in (30, 120, 300):
        world = meshed(count, degree=7)
        for _ in range(4):  # the tree grows
            world.wish(0, Publish("t", b"grow"))
            world.run(40 * S)
        before = sum(node.sent["Gossip"] for node in world.nodes), sum(sum(node.sent.values()) for node in world.nodes)
        for _ in range(5):
            world.wish(0, Publish("t", b"measure"))
            world.run(40 * S)
        news.append((sum(node.sent["Gossip"] for node in world.nodes) - before[0]) / 5 / count)
        all_messages.append((sum(sum(node.sent.values()) for node in world.nodes) - before[1]) / 5 / count)
    assert all(0.9 <= rate <= 1.1 for rate in news), news
    assert max(all_messages) < 1.3 * min(all_messages) and max(all_messages) < 12, all_messages


@pytest.mark.parametrize("seed", range(4))
def test_loss_repetition_and_reordering_lose_nothing_and_repeat_nothing(seed: int) -> None:
    """Every message is lost with probability 0.2. A node misses a news for good only if all that tell it of it, about
    twice by each of 6 neighbours in 30 s, are lost: 0.2^12 = 4e-9 a node and news, 1e-6 for the whole test."""
    world = meshed(20, seed)
    world.loss, world.twice, world.jitter_ns = 0.2, 0.2, 20 * MS
    for number in range(10):
        world.wish(number, Publish("t", b"news %d" % number))
        world.run(300 * MS)
    world.run(60 * S)
    for number in range(20):
        assert sorted(heard(world, number)) == [b"news %d" % i for i in range(10) if i != number]
    assert not any(node.blames for node in world.nodes)


def test_what_was_said_on_either_side_of_a_gap_arrives_once_it_closes() -> None:
    world = PartsWorld(20, make)
    for a in range(20):
        for b in range(a + 1, 20):
            if (a < 10) == (b < 10) and (b - a) % 3 == 1:
                world.link(a, b)
    for number in (0, 12):
        for i in range(100):
            world.wish(number, Publish("t", b"%d said %d" % (number, i)))
            world.run(100 * MS)
    assert len(heard(world, 5)) == 100 and len(heard(world, 15)) == 100
    world.run(60 * S)
    world.link(5, 15)
    world.run(3 * S)
    for number in range(20):
        said = sorted(heard(world, number))
        expected = [b"%d said %d" % (who, i) for who in (0, 12) for i in range(100) if who != number]
        assert said == sorted(expected)


def test_a_killed_limb_of_the_tree_is_replaced() -> None:
    world = meshed(30)
    for _ in range(3):
        world.wish(0, Publish("t", b"grow"))
        world.run(S)
    for dead in (5, 11, 17, 23):
        for other in range(30):
            world.unlink(dead, other)
        world.link((dead - 1) % 30, (dead + 1) % 30)
    world.wish(0, Publish("t", b"after"))
    world.run(2 * S)
    for number in range(1, 30):
        assert heard(world, number).count(b"after") == (number not in (5, 11, 17, 23)), number


def test_news_are_named_by_all_that_they_say() -> None:
    news = m.Gossip("topic", peer(3), 258, b"payload", 7)
    by_hand = b"\x05topic" + peer(3) + b"\x00\x00\x00\x00\x00\x00\x01\x02" + b"payload"
    assert news_key(news) == hashlib.sha3_256(by_hand).digest()[:16]
    others = [
        m.Gossip("topi", peer(3), 258, b"cpayload", 7), m.Gossip("topic", peer(4), 258, b"payload", 7),
        m.Gossip("topic", peer(3), 259, b"payload", 7), m.Gossip("topic", peer(3), 258, b"payloae", 7),
    ]  # fmt: skip
    assert len({news_key(other) for other in [news, *others]}) == 5


def test_what_no_honest_node_passes_on_is_stopped_and_blamed_on_who_did() -> None:
    world = PartsWorld(3, make)
    world.link(0, 1)
    world.link(1, 2)
    gossip(world, 1).validate("t", lambda news: "" if news.payload.startswith(b"good") else "no signature")
    world.give(1, 0, m.Gossip("t", peer(9), T0 // MS, b"bad", 0))
    world.give(1, 0, m.Gossip("t", peer(9), T0 // MS, b"good", 0))
    world.run(S)
    assert heard(world, 2) == [b"good"] and heard(world, 1) == [b"good"]
    assert [(blame.peer, blame.points) for blame in world.nodes[1].blames] == [(peer(0), 5)]
    assert "no signature" in world.nodes[1].blames[0].why


@pytest.mark.parametrize(
    "news",
    [
        m.Gossip("Bad topic", peer(9), T0 // MS, b"", 0),
        m.Gossip("t", b"short", T0 // MS, b"", 0),
        m.Gossip("t", peer(9), -1, b"", 0),
        m.Gossip("t", peer(9), T0 // MS, b"", HOPS_MAX + 1),
        m.Gossip("t", peer(9), T0 // MS, bytes(65537), 0),
        m.Have((b"short",)),
        m.Have(tuple(i.to_bytes(16, "big") for i in range(1025))),
        m.Want(tuple(i.to_bytes(16, "big") for i in range(1025))),
    ],
)
def test_malformed_messages_are_blamed(news: m.Message) -> None:
    world = PartsWorld(2, make)
    world.link(0, 1)
    world.give(1, 0, news)
    world.run(10 * S)
    assert len(world.nodes[1].blames) == 1 and not heard(world, 1)


@pytest.mark.parametrize("away_ms", [-601_000, 601_000])
def test_news_from_another_time_are_not_heard_again(away_ms: int) -> None:
    """Old ones may have been heard and forgotten; nobody is blamed, since it may be the clock here."""
    world = PartsWorld(2, make)
    world.link(0, 1)
    world.give(1, 0, m.Gossip("t", peer(9), T0 // MS + away_ms, b"x", 0))
    assert not heard(world, 1) and not world.nodes[1].blames
    assert [note.name for note in world.nodes[1].notes] == ["mesh_news_refused"]


def test_a_replay_at_any_later_time_is_heard_once() -> None:
    world = PartsWorld(2, make)
    world.link(0, 1)
    news = m.Gossip("t", peer(9), T0 // MS + 500_000, b"x", 0)
    for _ in range(140):
        world.give(1, 0, news)
        world.run(10 * S)
    assert heard(world, 1) == [b"x"]


def test_one_loud_origin_is_cut_to_its_rate_and_others_are_heard() -> None:
    world = PartsWorld(3, make)
    believe(world)
    world.link(0, 1)
    world.link(1, 2)
    for i in range(3000):
        world.give(1, 0, m.Gossip("t", peer(9), T0 // MS + i, b"loud", 0))
    world.wish(1, Publish("t", b"calm"))
    world.run(S)
    assert heard(world, 1).count(b"loud") == ORIGIN_NEWS.burst and heard(world, 2).count(b"calm") == 1


def test_many_names_without_proof_are_paid_by_who_tells_them_and_not_by_the_names() -> None:
    world = PartsWorld(3, make)
    world.link(0, 1)
    world.link(1, 2)
    for i in range(2, 6002):
        world.give(1, 0, m.Gossip("t", peer(i), T0 // MS, b"%d" % i, 0))
    assert len(heard(world, 1)) == TOLD_NEWS.burst
    refused = [note for note in world.nodes[1].notes if note.name == "mesh_news_refused"]
    assert len(refused) == 1  # noted at most once a second
    world.give(1, 2, m.Gossip("t", peer(6001), T0 // MS + 1, b"by another", 0))
    assert heard(world, 1)[-1] == b"by another"


def test_news_of_a_topic_that_is_not_open_go_no_further_and_are_paid_by_who_told_them() -> None:
    world = PartsWorld(3, make)
    world.link(0, 1)
    world.link(1, 2)
    for i in range(3_000):
        world.give(1, 0, m.Gossip("x", peer(2), T0 // MS + i, b"%d" % i, 0))
    assert not world.nodes[1].door("topic/x") and not world.nodes[1].sent["Gossip"]
    world.give(1, 0, m.Gossip("t", peer(9), T0 // MS, b"t", 0))
    world.wish(2, Publish("t", b"in its own name"))
    world.run(S)
    assert heard(world, 1) == [b"in its own name"]
    assert not world.nodes[1].blames, "an honest node of a later version may know more topics"


def test_what_one_peer_is_pushed_stays_below_its_guard_whoever_caused_it() -> None:
    """Four strangers pour news over one node: its neighbour would else take it for a flooder."""
    world = PartsWorld(6, make)
    believe(world)
    for number in range(1, 6):
        world.link(0, number, neighbours=number == 1)
    for i in range(2_400):  # 2,048 are kept for who is told later
        world.give(0, 2 + i % 4, m.Gossip("t", peer(10 + i), T0 // MS, b"%d" % i, 0))
    world.run(50 * MS)
    assert world.nodes[0].sent["Gossip"] <= PUSHED_NEWS.burst + PUSHED_NEWS.per_s
    world.run(40 * S)
    assert len(heard(world, 0)) == len(heard(world, 1)) == 2_400, "the rest is told of, and asked for"
    guarded, per_s = RATES[m.Gossip].burst, PUSHED_NEWS.per_s + PULLED_NEWS.per_s
    assert PUSHED_NEWS.burst + PULLED_NEWS.burst + 7 * per_s <= guarded, "a reader frozen for 7 s finds no flood"


def test_a_burst_that_crosses_on_the_way_is_answered_with_one_prune() -> None:
    """A stranger gives the same news to two neighbours: each pushes them to the other, who has them."""
    world = PartsWorld(3, make)
    believe(world)
    world.link(0, 1)
    world.link(0, 2, neighbours=False)
    world.link(1, 2, neighbours=False)
    for i in range(500):
        for victim in (0, 1):
            world.give(victim, 2, m.Gossip("t", peer(9), T0 // MS + i, b"%d" % i, 0))
    world.run(S // 2)
    assert world.nodes[0].sent["Prune"] == world.nodes[1].sent["Prune"] == 1


def test_endless_keys_cost_bounded_memory_and_who_told_them_its_say() -> None:
    """Keys of news that do not exist. Nobody is blamed: an honest node may have had to drop what it told of."""
    world = PartsWorld(3, make)
    world.link(0, 1)
    world.link(0, 2)
    keys = [tuple(i.to_bytes(16, "big") for i in range(start, start + 1024)) for start in range(0, 40 * 1024, 1024)]
    for part in keys:
        world.give(0, 1, m.Have(part))
    assert len(gossip(world, 0)._promises) == PEER_MAX
    world.run(120 * S)
    assert not gossip(world, 0)._promises and not world.nodes[0].blames
    for part in keys:
        world.give(0, 1, m.Have(part))
    assert len(gossip(world, 0)._promises) == PEER_MAX >> 6
    world.give(0, 2, m.Have(keys[0]))
    assert len(gossip(world, 0)._promises) > 1_000, "another one's word is as good as before"


def test_what_is_kept_for_repair_is_bounded_in_number_bytes_and_time() -> None:
    shelf = NewsShelf()
    for i in range(3000):
        news = m.Gossip("t", peer(9), T0 // MS + i, bytes(i % 3 * 3000), 0)
        shelf.keep(news_key(news), Kept(news, T0 + i * MS, None, []))
        assert len(shelf) <= KEPT_MAX and shelf.kept_bytes() <= KEPT_BYTES_MAX
    assert len(shelf) > 1000
    shelf.expire(T0 + 303 * S)
    assert len(shelf) == 0 and shelf.kept_bytes() == 0
    assert shelf.has_seen(news_key(m.Gossip("t", peer(9), T0 // MS + 2999, bytes(2999 % 3 * 3000), 0)))
    shelf.expire(T0 + 800 * S)
    assert not shelf._seen and not shelf._minutes


def test_wants_without_end_are_given_so_much_and_no_more() -> None:
    world = PartsWorld(2, make)
    for i in range(60):
        world.wish(0, Publish("t", bytes(60_000) + b"%d" % i))
        world.run(300 * MS)
    world.link(0, 1, neighbours=False)
    keys = tuple(gossip(world, 0)._shelf._kept)
    for _ in range(100):
        world.give(0, 1, m.Want(keys))
    given = world.nodes[0].sent["Gossip"] * 60_000
    assert 6 << 20 <= given <= 9 << 20


def test_far_from_the_origin_news_are_told_instead_of_pushed_and_still_arrive() -> None:
    count = HOPS_MAX + 4
    world = PartsWorld(count, make)
    for i in range(count - 1):
        world.link(i, i + 1)
    world.wish(0, Publish("t", b"far"))
    world.run(5 * S)
    assert heard(world, count - 1) == [b"far"]


def test_the_same_seed_gives_the_same_conversation() -> None:
    def trace() -> list[tuple[int, str, object]]:
        world = meshed(12, 3)
        world.loss, world.jitter_ns = 0.1, 10 * MS
        for number in range(4):
            world.wish(number, Publish("t", b"%d" % number))
        world.run(20 * S)
        return [door for node in world.nodes for door in node.doors]

    assert trace() == trace()
