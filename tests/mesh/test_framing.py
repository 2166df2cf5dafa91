"""What strangers can make honest nodes do to each other: nothing. Whole cores; the attackers' keys cost nothing.

An attacker here is a node whose own core is honest, and which says more on its links.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.mesh.small_net import EPOCH_NS, Node, S, SmallNet

from qcommons.base.effects import Send
from qcommons.mesh import events as e
from qcommons.mesh import messages as m
from qcommons.mesh import news_gate, peer_record
from qcommons.mesh.bucket import Rate
from qcommons.mesh.records import PEER_TYPE, Beat, PeerId, PeerRecord, Signed
from qcommons.pqc.identity import node_hash
from qcommons.world.double import Double


class Stranger:
    """A key that somebody made up: records of any content, and their beats."""

    def __init__(self, net: SmallNet, number: int) -> None:
        self._net = net
        self.key = net.oracle.public_key(f"stranger {number}")
        self.peer = PeerId(node_hash(self.key))

    def record(self, now_ns: int, offer: str = "a:1") -> tuple[Signed, Beat]:
        """One of the seq `now_ns` in milliseconds, and its first beat."""
        crypto = Double(self._net.oracle, self.key, self._net.network)
        seq = now_ns // 1_000_000
        record = PeerRecord(
            self.key, seq, now_ns // S + 86_400, ("tcp/198.51.100.7:9",), "0.1", (offer,), (),
            crypto.new_chain(1_800), b"",
        )  # fmt: skip
        raw = crypto.sign(PEER_TYPE, peer_record.write(record))
        return Signed(self.peer, record, raw), Beat(self.peer, seq, 1, crypto.beat(1))


def grown(count: int, **limits: Any) -> SmallNet:
    net = SmallNet(count, **limits)
    net.start_all()
    net.seconds_until(net.everybody_knows_everybody, 15)
    net.run(5)
    return net


def say(net: SmallNet, attacker: Node, victim: Node, *messages: m.Message) -> None:
    """On the attacker's link to a victim, at once."""
    conn = next(conn for conn, (other, _, _) in victim.ends.items() if other is attacker)
    for message in messages:
        net.post(net.now_ns, victim, e.Came(conn, 0, message, 5_000))


def blamed(honest: list[Node], now_ns: int) -> dict[tuple[int, int], float]:
    """(who, whom) -> points."""
    found = {}
    for one in honest:
        assert one.core is not None
        for other in honest:
            points = one.core.guard.points(other.peer, EPOCH_NS + now_ns)
            if points or one.core.guard.is_banned(other.peer, EPOCH_NS + now_ns):
                found[one.index, other.index] = points
    return found


def test_keys_that_sign_two_records_of_one_seq_make_nobody_blame_who_passed_on_their_beats() -> None:
    """One record to one node, the other to its neighbour, then the beats of each: both pass them on in good faith."""
    net = grown(4)
    honest, attacker = net.nodes[:3], net.nodes[3]
    authors = [Stranger(net, number) for number in range(60)]
    for author in authors:
        for offer, victim in (("a:1", honest[0]), ("b:2", honest[1])):
            signed, beat = author.record(EPOCH_NS + net.now_ns // S * S, offer)
            say(net, attacker, victim, m.Records((signed.raw,)), m.Beats((beat,), False))
        net.run(0.35)
    net.run(5)
    assert blamed(honest, net.now_ns) == {}
    for one in honest:
        assert one.core is not None
        assert {other.peer for other in honest if other is not one} <= set(one.core.membership.alive())
    now_ns = EPOCH_NS + net.now_ns
    for author in authors:
        assert any(one.core and one.core.guard.is_banned(author.peer, now_ns) for one in honest), "who lied"
    assert any(key.startswith("evidence/") for one in honest for key in one.disk)


def heard(net: SmallNet, asker: Node) -> set[PeerId]:
    """Who answers a probe within a second."""
    ticket = f"probe {net.now_ns}"
    net.tell(asker, e.ProbeNews(ticket, S))
    net.run(1.5)
    (found,) = (send.message for send in asker.said if isinstance(send, Send) and send.to == ticket)
    return {peer for peer, _ in found.heard}


@pytest.mark.parametrize("topic", ["x", "probe"])
def test_news_in_somebodys_name_do_not_silence_it(topic: str) -> None:
    """Beyond the rate of the name and of all, at every node; the node itself can publish, too."""
    net = grown(5)
    honest, attacker, victim = net.nodes[:4], net.nodes[4], net.nodes[1]
    seq = (EPOCH_NS + net.now_ns) // 1_000_000
    for one in honest:
        noise = (m.Gossip(topic, victim.peer, seq + i, b"%d" % i, 0) for i in range(1_200))
        say(net, attacker, one, *noise)
    net.run(0.2)
    everybody = {one.peer for one in honest}
    assert everybody - {victim.peer} <= heard(net, victim)
    assert everybody - {honest[0].peer} <= heard(net, honest[0])
    assert blamed(honest, net.now_ns) == {}


def test_origins_without_number_that_sign_all_they_say_do_not_talk_down_a_known_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A key costs nothing, so their proofs are good; who is known and says little is heard all the same."""
    monkeypatch.setattr(news_gate, "ALL_PROVEN", Rate(60, 200))
    net = grown(5)
    honest, attacker, victim = net.nodes[:4], net.nodes[4], net.nodes[1]
    now_ns = EPOCH_NS + net.now_ns
    seq = now_ns // 1_000_000
    noise = []
    for number in range(600):
        stranger = Stranger(net, number)
        head = now_ns.to_bytes(8, "big") + seq.to_bytes(8, "big")
        crypto = Double(net.oracle, stranger.key, net.network)
        noise.append(m.Gossip("probe", stranger.peer, seq, crypto.sign("qcommons/probe.1", head + stranger.key), 0))
    for one in honest:
        say(net, attacker, one, *noise)
    net.run(0.1)
    everybody = {one.peer for one in honest}
    assert everybody - {victim.peer} <= heard(net, victim)
    assert blamed(honest, net.now_ns) == {}


def test_handshakes_of_made_up_keys_push_nobody_out_of_a_full_book() -> None:
    """64 acquaintances from as many networks, none linked; then 300 strangers from one, each with its own session."""
    net = SmallNet(1, book_cap=64)
    net.start(net.nodes[0])
    net.run(1)
    core, now_ns = net.nodes[0].core, EPOCH_NS + net.now_ns
    assert core is not None

    def call(number: int, stranger: Stranger, host: str) -> None:
        signed, beat = stranger.record(now_ns)
        core.handle(e.Linked(number, stranger.peer, stranger.key, f"tcp/{host}:9", True), now_ns)
        core.handle(e.Came(number, 0, m.Hello(net.network, ("/qcommons/mesh/1.0",), signed.raw), 6_000), now_ns)
        core.handle(e.Came(number, 0, m.Beats((beat,), False), 100), now_ns)

    friends = [Stranger(net, number) for number in range(64)]
    for number, friend in enumerate(friends):
        call(2 * number + 1, friend, f"9.9.{number}.1")
    for number in range(64):
        core.handle(e.Unlinked(2 * number + 1, "idle"), now_ns)
    assert {friend.peer for friend in friends} == set(core.book.entries)
    for number in range(300):
        now_ns += 25_000_000
        call(1_001 + 2 * number, Stranger(net, 1_000 + number), "6.6.6.6")
        assert len(core.book.entries) == 65, "while it is linked, it is known"
        core.handle(e.Unlinked(1_001 + 2 * number, "x"), now_ns)
    assert {friend.peer for friend in friends} == set(core.book.entries)


def test_hearsay_from_one_prefix_takes_one_place_of_others_in_a_full_book() -> None:
    """A linked stranger tells of others for ten minutes; but for the first they take each other's place."""
    net = SmallNet(1, book_cap=64)
    net.start(net.nodes[0])
    net.run(1)
    core, now_ns = net.nodes[0].core, EPOCH_NS + net.now_ns
    assert core is not None
    for number, host in ((1, "9.9.9.9"), (3, "6.6.6.6")):
        teller = Stranger(net, number)
        signed, _ = teller.record(now_ns)
        core.handle(e.Linked(number, teller.peer, teller.key, f"tcp/{host}:9", True), now_ns)
        core.handle(e.Came(number, 0, m.Hello(net.network, ("/qcommons/mesh/1.0",), signed.raw), 6_000), now_ns)
    friends = [Stranger(net, 100 + number) for number in range(62)]
    for friend in friends:
        core.handle(e.Came(1, 0, m.Records((friend.record(now_ns)[0].raw,)), 6_000), now_ns)
    assert all(friend.peer in core.book.entries for friend in friends)
    for number in range(300):
        now_ns += 2 * S
        signed, _ = Stranger(net, 1_000 + number).record(now_ns)
        core.handle(e.Came(3, 0, m.Records((signed.raw,)), 6_000), now_ns)
        assert signed.peer in core.book.entries
    assert sum(friend.peer in core.book.entries for friend in friends) == 61
