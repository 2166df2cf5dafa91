"""The parts of a node as `assembly` puts them together: every message and every wish has one that takes it."""

from __future__ import annotations

from typing import get_args

from tests.mesh.making import NOW_NS, Author, peer, rng

from qcommons.base.effects import Note
from qcommons.mesh import events as e
from qcommons.mesh.arrivals import Arrivals
from qcommons.mesh.core import MeshCore
from qcommons.mesh.messages import ROWS, Bye, Hello, Ping, Pong


def core() -> MeshCore:
    made = MeshCore(Author("me").crypto, "test", "0.1", rng("assembly"))
    made.handle(e.Begin(()), NOW_NS)
    return made


def test_every_message_of_the_wire_has_a_part_or_is_a_greeting() -> None:
    """A frame that no part takes would be dropped with a note, on every node."""
    taken = set(core().routes) | {Hello, Bye, Ping, Pong}
    assert {row.kind for row in ROWS} == taken


def test_every_event_of_the_contract_is_taken() -> None:
    takers = core()._takers
    assert set(get_args(e.Event)) <= set(takers)


def test_what_arrives_on_a_connection_that_is_not_there_does_nothing() -> None:
    made = core()
    for event in (e.Came(7, 0, Ping(), 13), e.Unlinked(7, "gone"), e.DialFailed(8, "refused")):
        Arrivals(made)
        assert [effect for effect in made.handle(event, NOW_NS) if not isinstance(effect, Note)] == []
    assert made.peers_view(NOW_NS) == [] and not made.is_linked(peer(1))
