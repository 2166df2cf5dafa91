"""Find: providers from a partial view, with so many messages and no more; and what a false answer costs."""

from __future__ import annotations

from collections.abc import Callable

import cbor2
import pytest
from tests.mesh.parts_world import KNOWN, MS, FakePeers, Node, PartsWorld, S, peer, signed

from qcommons.base.seeds import stream
from qcommons.mesh import messages as m
from qcommons.mesh.events import Failed, Found, Seek
from qcommons.mesh.exchange import Exchange
from qcommons.mesh.find import COUNT_MAX, HOPS_MAX, WALKS, Find, _Offers
from qcommons.mesh.parts import PartBase
from qcommons.mesh.records import PeerId, Signed


def make(world: PartsWorld, node: Node) -> list[PartBase]:
    exchange = Exchange(node.peers)
    return [exchange, Find(node.peers, exchange, stream(7, "find", node.number))]


def mesh(count: int, providers: dict[int, str], *, seed: int = 1, degree: int = 6, book: int = 20) -> PartsWorld:
    """Random neighbours; every node knows its neighbours and some others, `book` in all."""
    world = PartsWorld(count, make, seed)
    rng = stream(seed, "find mesh")
    everybody = [signed(i, (), (providers[i],) if i in providers else ()) for i in range(count)]
    KNOWN.update({one.raw: one for one in everybody})
    edges = {(min(i, j), max(i, j)) for i, j in zip(range(count), [*range(1, count), 0], strict=True)}
    while len(edges) < min(count * degree, count * (count - 1)) // 2:
        a, b = sorted(rng.integers(count, size=2).tolist())
        if a != b:
            edges.add((a, b))
    for a, b in sorted(edges):
        world.link(a, b)
    for node in world.nodes:
        own = [*node.peers.pushes, *(peer(i) for i in rng.permutation(count)[:book].tolist())]
        node.peers.book = {who: everybody[int.from_bytes(who[:2], "big")] for who in own[:book]}
        node.peers.book[node.peers.me] = everybody[node.number]
    return world


def seek(world: PartsWorld, offer: str = "aer:28", count: int = 1, within_ns: int = 5 * S) -> Found:
    world.wish(0, Seek("t", offer, count, within_ns))
    world.run(within_ns + S)
    (found,) = world.nodes[0].door("t")
    assert isinstance(found, Found)
    return found


def test_what_the_own_book_holds_costs_no_message() -> None:
    world = mesh(10, {})
    world.nodes[0].peers.book[peer(5)] = signed(5, (), ("stim:400", "aer:30"))
    found = seek(world)
    assert [one.peer for one in found.records] == [peer(5)] and found.asked == 1 and not world.nodes[0].sent


@pytest.mark.parametrize(
    ("offer", "matches"),
    [("aer:30", True), ("aer:28", True), ("aer:31", False), ("stim:1", False), ("ae:1", False), ("aer30:1", False)],
)
def test_an_offer_is_met_by_the_same_engine_with_as_many_qubits(offer: str, matches: bool) -> None:
    world = mesh(2, {})
    world.nodes[0].peers.book[peer(1)] = signed(1, (), ("aer:30",))
    assert bool(seek(world, offer).records) == matches


def test_providers_that_hardly_anybody_knows_are_found_along_walks() -> None:
    """400 nodes, books of 20, 8 providers (2 %): a book misses them all with 0.98^20 = 0.67, 25 looks with 4e-5."""
    found_in = 0
    for seed in range(8):
        world = mesh(400, dict.fromkeys(range(50, 400, 45), "aer:28"), seed=seed)
        found = seek(world)
        found_in += bool(found.records)
        assert found.asked <= 1 + WALKS * HOPS_MAX
    assert found_in >= 7  # looks overlap: some nodes are asked twice


def test_a_query_costs_no_more_messages_than_it_says() -> None:
    world = mesh(100, {})
    found = seek(world)
    requests = sum(node.sent["Request"] for node in world.nodes)
    assert not found.records and requests == WALKS * HOPS_MAX and found.asked == 1 + WALKS * HOPS_MAX


def test_a_walk_ends_where_enough_was_found() -> None:
    world = mesh(50, dict.fromkeys(range(1, 50), "aer:28"), book=1)
    for node in world.nodes:
        node.peers.book = {node.peers.me: node.peers.book[node.peers.me]}
    found = seek(world, count=2)
    assert len(found.records) == 2 and sum(node.sent["Request"] for node in world.nodes) <= WALKS * 2


def test_only_who_looks_itself_wants_what_comes() -> None:
    """Of those who pass an answer on, each verifies it and nobody has to make room for it."""
    world = mesh(400, dict.fromkeys(range(50, 400, 45), "aer:28"))
    assert seek(world).records
    passed = [wanted for node in world.nodes[1:] for wanted in node.peers.wanted]
    assert set(world.nodes[0].peers.wanted) == {True} and set(passed) == {False}


def test_silent_nodes_cost_time_and_not_the_answer() -> None:
    """The walks through dead neighbours end at the deadline, with what the others brought."""
    world = mesh(30, dict.fromkeys(range(20, 30), "aer:28"), book=8)
    world.nodes[0].peers.book = {}
    dead = world.nodes[0].peers.pushes[0]
    world._arrive = _deaf(world, dead)  # type: ignore[method-assign]
    found = seek(world, count=16, within_ns=2 * S)
    at_ns = world.nodes[0].doors[0][0]
    assert found.records and at_ns <= world.now_ns - S + 5 * MS


def _deaf(world: PartsWorld, dead: bytes) -> Callable[[Node, PeerId, int, m.Message], None]:
    arrive = world._arrive

    def heard(node: Node, sender: PeerId, id: int, message: m.Message) -> None:
        if node.peers.me != dead:
            arrive(node, sender, id, message)

    return heard


def test_a_forged_record_is_blamed_on_who_passed_it_on_and_not_returned() -> None:
    world = mesh(2, {})
    part = world.nodes[1].parts[0]
    assert isinstance(part, Exchange)
    part._later.clear()
    part.register("find/1", lambda who, body, now_ns: cbor2.dumps([[b"forged"], 1]))
    found = seek(world)
    assert not found.records and [blame.peer for blame in world.nodes[0].blames] == [peer(1)]


def test_a_record_that_offers_something_else_is_not_returned() -> None:
    world = mesh(3, {2: "stim:100"})
    world.nodes[0].peers.book = {}
    part = world.nodes[1].parts[0]
    assert isinstance(part, Exchange)
    part._later.clear()
    part.register("find/1", lambda who, body, now_ns: cbor2.dumps([[b"record 2"], 10**9]))
    found = seek(world)
    assert not found.records and found.asked <= 1 + WALKS * HOPS_MAX  # nor is its boast believed


@pytest.mark.parametrize("answer", [b"", cbor2.dumps([[b"x"] * (COUNT_MAX + 1), 1]), cbor2.dumps([1]), b"\xff" * 99])
def test_answers_of_another_form_are_blamed(answer: bytes) -> None:
    world = mesh(2, {})
    part = world.nodes[1].parts[0]
    assert isinstance(part, Exchange)
    part._later.clear()
    part.register("find/1", lambda who, body, now_ns: answer)
    assert not seek(world).records and len(world.nodes[0].blames) == 1


@pytest.mark.parametrize(
    "body",
    [b"", cbor2.dumps(["aer:28", 0, 1]), cbor2.dumps(["aer:28", 17, 1]), cbor2.dumps(["aer:28", 1, HOPS_MAX]),
     cbor2.dumps(["aer", 1, 1]), cbor2.dumps(["aer:28", 1, -1]), cbor2.dumps(["a" * 300, 1, 1])],
)  # fmt: skip
def test_questions_beyond_the_bounds_are_blamed_and_go_no_further(body: bytes) -> None:
    """Else one question with many hops would have the network busy."""
    world = mesh(10, {})
    other = int.from_bytes(world.nodes[0].peers.pushes[0][:2], "big")
    world.give(other, 0, m.Request(b"\x06find/1" + S.to_bytes(8, "big") + body), id=5)
    world.run(S)
    assert len(world.nodes[other].blames) == 1 and not world.nodes[other].sent["Request"]


def test_what_is_no_offer_is_refused() -> None:
    world = mesh(2, {})
    world.wish(0, Seek("t", "thirty qubits", 1, S))
    (failed,) = world.nodes[0].door("t")
    assert isinstance(failed, Failed) and failed.who == "usage"


class Counted(FakePeers):
    """A book that says when it has changed, and counts how often it is read."""

    def __init__(self) -> None:
        super().__init__(peer(0))
        self.version = 0
        self.reads = 0

    @property
    def book_version(self) -> int:
        return self.version

    def signed(self, peer: PeerId) -> Signed | None:
        self.reads += 1
        return super().signed(peer)


def offered(offers: _Offers, name: str = "aer", qubits: int = 28) -> list[int]:
    return [int.from_bytes(one.peer[:2], "big") for one in offers.of(name, qubits)]


def test_a_question_does_not_walk_over_a_book_that_is_as_before() -> None:
    peers = Counted()
    peers.book = {peer(n): signed(n, (), ("aer:30",) if n == 7 else ("stim:400",)) for n in range(1, 500)}
    offers = _Offers(peers)
    assert offered(offers) == [7]
    before = peers.reads
    assert [offered(offers) for _ in range(10)] == [[7]] * 10
    assert peers.reads - before == 10, "its own record alone"


def test_what_is_offered_follows_the_book() -> None:
    peers = Counted()
    offers = _Offers(peers)
    peers.book = {
        peer(1): signed(1, (), ("aer:20", "aer:30", "stim:9", "nonsense")),
        peer(2): signed(2, (), ("aer:28",)),
    }
    peers.version += 1
    assert offered(offers) == [1, 2] and offered(offers, "aer", 31) == [] and offered(offers, "stim", 9) == [1]
    peers.book[peer(1)] = signed(1, (), ("aer:27",))
    peers.version += 1
    assert offered(offers) == [2] and offered(offers, "stim", 1) == []
    del peers.book[peer(2)]
    peers.version += 1
    assert offered(offers) == [] and offered(offers, "aer", 27) == [1]
    peers.book[peer(0)] = signed(0, (), ("aer:40",))
    assert offered(offers) == [0], "the own record is asked each time"
    peers.version += 1
    assert offered(offers, "aer", 1) == [0, 1]
