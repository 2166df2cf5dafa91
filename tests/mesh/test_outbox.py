"""What waits for links: in order, until its time, and not without bound."""

from __future__ import annotations

from tests.mesh.making import peer

from qcommons.mesh.messages import Request
from qcommons.mesh.outbox import Outbox, Waiting
from qcommons.mesh.parts import PartBase, ToPeer

PART = PartBase()


def waiting(to: int, id: int, until_ns: int = 100) -> Waiting:
    return Waiting(ToPeer(peer(to), Request(b""), id, True, until_ns), PART)


def test_messages_of_a_peer_are_taken_in_order_and_once() -> None:
    box = Outbox()
    for id in range(3):
        assert box.add(waiting(1, id))
    box.add(waiting(2, 9))
    assert [one.to.id for one in box.take(peer(1))] == [0, 1, 2]
    assert box.take(peer(1)) == []
    assert box.peers() == [peer(2)]


def test_what_is_overdue_leaves_and_the_rest_stays() -> None:
    box = Outbox()
    for id, until_ns in enumerate((50, 100, 200)):
        box.add(waiting(1, id, until_ns))
    assert [one.to.id for one in box.overdue(100)] == [0, 1]
    assert [one.to.id for one in box.take(peer(1))] == [2]


def test_a_peer_and_all_together_are_bounded_and_room_comes_back() -> None:
    box = Outbox()
    assert sum(box.add(waiting(1, id)) for id in range(100)) == 64
    assert sum(box.add(waiting(2 + id // 60, id)) for id in range(2_000)) == 1_024 - 64
    assert not box.add(waiting(500, 0))
    box.take(peer(1))
    assert box.add(waiting(500, 0))
