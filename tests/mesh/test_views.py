"""Peers as people see them: a state's time is when it began, or unknown, never the moment somebody looks."""

from __future__ import annotations

import pytest
from tests.mesh.small_net import EPOCH_NS, S, SmallNet

from qcommons.mesh import events as e
from qcommons.mesh.parts import Blame
from qcommons.mesh.views import PeerView


def pair() -> SmallNet:
    net = SmallNet(2)
    net.start_all()
    net.run(3)
    return net


def seen(net: SmallNet) -> PeerView:
    core = net.nodes[0].core
    assert core is not None
    (view,) = core.peers_view(EPOCH_NS + net.now_ns)
    return view


@pytest.mark.parametrize("later_s", [1, 60])
def test_a_ban_has_its_own_beginning(later_s: int) -> None:
    net = pair()
    core = net.nodes[0].core
    assert core is not None
    at_ns = EPOCH_NS + net.now_ns
    core.blame(Blame(net.nodes[1].peer, 100, "it lied"), at_ns)
    net.run(later_s)
    view = seen(net)
    assert view.state == "banned" and abs(view.since_ns - at_ns) <= S, "stored in whole seconds"


def test_when_the_owner_spoke_is_not_kept_and_not_made_up() -> None:
    net = pair()
    net.tell(net.nodes[0], e.PeerBanned("t", net.nodes[1].peer, "deny"))
    net.run(1)
    assert (seen(net).state, seen(net).since_ns) == ("banned", 0)
