"""Farewells on disk: whoever said goodbye has stopped, also for a node that was started anew since."""

from __future__ import annotations

import msgspec
import pytest
from tests.mesh.making import NOW_NS, Author
from tests.mesh.small_net import EPOCH_NS, Node, SmallNet

from qcommons.base.canonical import encode
from qcommons.mesh import events as e
from qcommons.mesh import farewells
from qcommons.mesh.addresses import Scope
from qcommons.mesh.beats import FAREWELL
from qcommons.mesh.peerbook import Entry
from qcommons.mesh.views import PeerView


@pytest.fixture
def three() -> SmallNet:
    net = SmallNet(3)
    net.start_all()
    assert net.seconds_until(net.everybody_knows_everybody, 5) < 5
    return net


def seen(net: SmallNet, by: Node, of: Node) -> PeerView:
    assert by.core is not None
    return next(view for view in by.core.peers_view(EPOCH_NS + net.now_ns) if view.peer == of.peer)


def rows(node: Node) -> list[str]:
    return [key for key in node.disk if key.startswith(farewells.KEY)]


def test_who_said_goodbye_is_no_lost_peer_for_a_node_that_starts_anew(three: SmallNet) -> None:
    first, watcher, leaver = three.nodes
    three.tell(leaver, e.Leave("good night"))
    leaver.core = None
    three.run(1)
    since_ns = seen(three, watcher, leaver).since_ns
    three.kill(watcher)
    three.run(5)
    three.start(watcher)
    three.run(60)
    view = seen(three, watcher, leaver)
    assert (view.state, view.cause, view.since_ns) == ("stopped", "said goodbye", since_ns)
    assert rows(watcher) == [farewells.KEY + leaver.peer.hex()]
    three.start(leaver)
    assert three.seconds_until(three.everybody_knows_everybody, 5) < 5
    assert rows(watcher) == rows(first) == [], "it is back"


def test_a_row_is_checked_like_a_beat_that_a_peer_tells() -> None:
    author = Author("a")
    signed = author.record()
    entry = Entry(signed, Scope.PUBLIC, beat=author.beat(FAREWELL), since_ns=NOW_NS)
    kept = farewells.kept(entry)
    entries, follows = {author.peer: entry}, author.crypto.follows
    assert kept.value is not None
    assert farewells.read(kept.key, kept.value, entries, follows) == (entry, entry.beat, NOW_NS)
    forged = encode([signed.record.seq, bytes(16), NOW_NS])
    for key, value in (
        (kept.key, forged), (kept.key, kept.value[:-1]), (kept.key, b""), (farewells.KEY + "zz", kept.value),
    ):  # fmt: skip
        assert farewells.read(key, value, entries, follows) is None
    assert farewells.read(kept.key, kept.value, {}, follows) is None, "its peer is not in the book any more"
    entry.signed = msgspec.structs.replace(signed, record=msgspec.structs.replace(signed.record, seq=1))
    assert farewells.read(kept.key, kept.value, entries, follows) is None, "it has another record by now"


def test_a_peer_that_is_forgotten_leaves_no_row(three: SmallNet) -> None:
    _, watcher, leaver = three.nodes
    three.tell(leaver, e.Leave("good night"))
    leaver.core = None
    three.run(1)
    assert rows(watcher)
    three.tell(watcher, e.PeerForgotten("t", leaver.peer))
    three.run(1)
    assert rows(watcher) == []


def test_a_row_that_is_none_is_dropped_at_the_start(three: SmallNet) -> None:
    watcher = three.nodes[1]
    three.kill(watcher)
    watcher.disk[farewells.KEY + three.nodes[2].peer.hex()] = b"damaged"
    three.start(watcher)
    three.run(1)
    assert rows(watcher) == [] and seen(three, watcher, three.nodes[2]).state == "alive"
