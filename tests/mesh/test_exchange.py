"""Exchange: every request ends once, whatever the link, the peer or the clock does."""

from __future__ import annotations

from typing import Any

import pytest
from tests.mesh.parts_world import MS, T0, Node, PartsWorld, S, peer

from qcommons.mesh import messages as m
from qcommons.mesh.events import Answer, Ask, Asked, Failed, Got, NotSent, OpenDoor, Unask, Withdrawn
from qcommons.mesh.exchange import ASKING_PEER_MAX, BODY_BYTES_MAX, RECENT_MAX, SERVING_PEER_MAX, Exchange
from qcommons.mesh.parts import PartBase, ToPeer


def make(world: PartsWorld, node: Node) -> list[PartBase]:
    return [Exchange(node.peers, doors=("door/1",))]


def exchange(world: PartsWorld, number: int) -> Exchange:
    part = world.nodes[number].parts[0]
    assert isinstance(part, Exchange)
    return part


def two(*, linked: bool = True) -> PartsWorld:
    world = PartsWorld(2, make)
    if linked:
        world.link(0, 1)
    return world


def ask(protocol: str = "door/1", body: bytes = b"q", within_ns: int = S, ticket: str = "t") -> Ask:
    return Ask(ticket, peer(1), protocol, body, within_ns)


def ended(world: PartsWorld, ticket: str = "t") -> list[Any]:
    return world.nodes[0].door(ticket)


def failed(world: PartsWorld, ticket: str = "t") -> Failed:
    (what,) = ended(world, ticket)
    assert isinstance(what, Failed)
    return what


def asked(world: PartsWorld) -> list[Any]:
    return world.nodes[1].door("door/door/1")


def test_an_echo_comes_back_as_it_was() -> None:
    world = two()
    world.wish(0, ask("echo/1", bytes(range(256)) * 4))
    world.run(2 * MS)
    assert ended(world) == [Got(bytes(range(256)) * 4)]


def test_the_request_on_the_wire_is_what_the_page_says() -> None:
    out = exchange(two(), 0).ask(ask("echo/1", b"body", 5), T0)
    (sent,) = [effect for effect in out if isinstance(effect, ToPeer)]
    assert sent.message == m.Request(b"\x06echo/1" + b"\0\0\0\0\0\0\0\x05" + b"body") and sent.until_ns == T0 + 5


def test_a_door_answers_later_and_knows_how_long_it_may_take() -> None:
    world = two()
    world.wish(0, ask())
    world.run(2 * MS)
    (question,) = asked(world)
    assert question == Asked(peer(0), question.id, b"q", T0 + MS + S)  # the span begins when it comes
    world.wish(1, Answer(peer(0), question.id, b"a"))
    world.wish(1, Answer(peer(0), question.id, b"again"))
    world.run(2 * S)
    assert ended(world) == [Got(b"a")]
    assert [note.name for note in world.nodes[1].notes] == ["mesh_answer_unwanted"]


def test_a_door_that_opens_later_is_heard_of_by_an_event() -> None:
    world = two()
    world.wish(0, ask("late/1", ticket="before"))
    world.run(5 * MS)
    world.wish(1, OpenDoor("late/1"))
    world.wish(0, ask("late/1"))
    world.run(5 * MS)
    assert failed(world, "before").who == "usage" and world.nodes[1].door("door/late/1")


def test_a_failure_keeps_its_kind_and_its_words() -> None:
    world = two()
    world.wish(0, ask())
    world.run(2 * MS)
    world.wish(1, Answer(peer(0), asked(world)[0].id, failed=Failed("unavailable", "full", "queue", "3 jobs")))
    world.run(2 * MS)
    assert ended(world) == [Failed("unavailable", "full", "queue", "3 jobs")]


def test_long_words_of_a_failure_are_cut_to_what_the_wire_takes() -> None:
    world = two()
    exchange(world, 1).register("long/1", lambda who, body, now_ns: Failed("usage", "é" * 9000, "é" * 900, "é" * 900))
    world.wish(0, ask("long/1"))
    world.run(5 * MS)
    what = failed(world)
    assert sum(len(text.encode()) for text in (what.who, what.what, what.where, what.limit)) < 4000


def test_silence_ends_at_the_deadline_and_both_sides_stop() -> None:
    world = two()
    world.wish(0, ask(within_ns=300 * MS))
    world.run(S)
    assert failed(world).who == "unavailable" and "300 ms" in failed(world).what
    question, withdrawn = asked(world)
    assert withdrawn == Withdrawn(peer(0), question.id, withdrawn.why)
    world.wish(1, Answer(peer(0), question.id, b"late"))
    world.run(S)
    assert len(ended(world)) == 1 and not world.nodes[0].blames


def test_a_cancelled_request_tells_the_door_and_says_nothing_more() -> None:
    world = two()
    world.wish(0, ask())
    world.run(2 * MS)
    world.wish(0, Unask("t"))
    world.run(5 * S)
    question, withdrawn = asked(world)
    assert isinstance(withdrawn, Withdrawn) and withdrawn.id == question.id and "cancelled" in withdrawn.why
    assert not ended(world)


def test_a_lost_link_ends_what_was_sent_at_once() -> None:
    world = two()
    world.wish(0, ask(within_ns=60 * S))
    world.run(2 * MS)
    world.unlink(0, 1)
    assert "link was lost" in failed(world).what
    assert isinstance(asked(world)[1], Withdrawn)
    world.run(100 * S)
    assert len(ended(world)) == 1


def test_who_cannot_be_dialled_cannot_be_asked() -> None:
    world = two(linked=False)
    world.wish(0, ask())
    world.run(S)
    assert failed(world).who == "unavailable" and "nobody answers" in failed(world).what


def test_a_request_that_waits_for_its_dial_outlives_the_link_before() -> None:
    """Down of an old link says nothing of what is still queued for the next."""
    world = two(linked=False)
    part = exchange(world, 0)
    part.ask(ask(), T0)
    assert part.down(peer(1), "old", T0) == []
    part.up(peer(1), T0)
    assert part.down(peer(1), "new", T0) != []


def test_a_repeated_request_is_carried_out_once() -> None:
    world = two()
    world.twice = 1.0
    world.wish(0, ask())
    world.run(5 * MS)
    assert len(asked(world)) == 1
    world.wish(1, Answer(peer(0), asked(world)[0].id, b"a"))
    world.run(5 * MS)
    assert ended(world) == [Got(b"a")] and not world.nodes[0].blames and not world.nodes[1].blames


@pytest.mark.parametrize("seed", range(3))
def test_over_a_bad_link_every_request_ends_exactly_once(seed: int) -> None:
    world = PartsWorld(2, make, seed)
    world.link(0, 1)
    world.loss, world.twice, world.jitter_ns = 0.3, 0.3, 50 * MS
    for number in range(100):
        world.wish(0, ask("echo/1", b"%d" % number, S, str(number)))
    world.run(5 * S)
    for number in range(100):
        (what,) = ended(world, str(number))
        assert what == Got(b"%d" % number) or what.who == "unavailable"
    part = exchange(world, 0)
    assert not part._asking and not part._asked_of and not world.nodes[0].blames


def test_an_unknown_protocol_is_a_typed_failure() -> None:
    world = two()
    world.wish(0, ask("none/1"))
    world.run(5 * MS)
    assert failed(world).who == "usage" and "'none/1'" in failed(world).what


@pytest.mark.parametrize(
    ("event", "who"),
    [
        (ask(body=bytes(BODY_BYTES_MAX + 1)), "usage"),
        (ask(protocol="No Protocol"), "usage"),
        (ask(within_ns=0), "usage"),
        (Ask("t", peer(0), "echo/1", b"", S), "usage"),
    ],
)
def test_what_cannot_be_asked_is_refused_here_and_nothing_is_sent(event: Ask, who: str) -> None:
    world = two()
    world.wish(0, event)
    assert failed(world).who == who and not world.nodes[0].sent


def test_the_longest_request_fits_the_frame() -> None:
    out = exchange(two(), 0).ask(ask("p" * 64, bytes(BODY_BYTES_MAX)), T0)
    (row,) = [row for row in m.ROWS if row.kind is m.Request]
    assert isinstance(out[0], ToPeer) and isinstance(out[0].message, m.Request)
    assert len(out[0].message.payload) == row.payload_max


def test_more_requests_than_may_wait_are_refused_at_once_on_either_side() -> None:
    world = two()
    for number in range(ASKING_PEER_MAX + 5):
        world.wish(0, ask(within_ns=60 * S, ticket=str(number)))
    assert [ended(world, str(number))[0].who for number in range(ASKING_PEER_MAX, ASKING_PEER_MAX + 5)] == [
        "unavailable"
    ] * 5
    world.run(5 * MS)
    assert len(asked(world)) == SERVING_PEER_MAX  # the other node's own bound
    assert (
        sum(len(ended(world, str(number))) for number in range(ASKING_PEER_MAX)) == ASKING_PEER_MAX - SERVING_PEER_MAX
    )


def test_one_who_asks_without_end_does_not_keep_others_from_being_answered() -> None:
    world = PartsWorld(3, make)
    world.link(0, 1)
    world.link(2, 1)
    for number in range(ASKING_PEER_MAX):
        world.wish(0, ask(within_ns=60 * S, ticket=str(number)))
    world.run(5 * MS)
    world.wish(2, ask())
    world.run(5 * MS)
    assert [question.peer for question in asked(world)].count(peer(2)) == 1


def test_answers_that_nobody_asked_for_are_blamed_and_forgotten() -> None:
    world = two()
    world.give(0, 1, m.Response(b"surprise"), id=T0 + 10 * S)
    assert [blame.peer for blame in world.nodes[0].blames] == [peer(1)]


def test_an_answer_from_somebody_else_does_not_end_a_request() -> None:
    world = PartsWorld(3, make)
    world.link(0, 1)
    world.link(0, 2)
    world.wish(0, ask())
    (id,) = exchange(world, 0)._asking
    world.give(0, 2, m.Response(b"forged"), id=id)
    assert not ended(world)


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\x06echo/1", b"\x06echo/1\0\0\0\0\0\0\0", b"\xffecho"])
def test_a_request_without_a_head_is_blamed(payload: bytes) -> None:
    world = two()
    world.give(1, 0, m.Request(payload), id=5)
    assert len(world.nodes[1].blames) == 1


def test_a_failure_of_no_kind_is_blamed_and_still_ends_the_request() -> None:
    world = two()
    world.wish(0, ask())
    (id,) = exchange(world, 0)._asking
    world.give(0, 1, m.Failure("me", "x", "", ""), id=id)
    assert failed(world).who == "peer" and len(world.nodes[0].blames) == 1


def test_ids_rise_with_the_clock_so_a_restart_uses_none_again() -> None:
    first, second = exchange(two(), 0), exchange(two(), 0)
    for _ in range(100):
        first.ask(ask(), T0)
    second.ask(ask(), T0 + MS)
    assert min(second._asking) > max(first._asking)


def test_an_answer_to_a_request_of_before_the_peers_restart_reaches_nobody() -> None:
    """The same frame id again, from a peer that came back: the door's number tells the two apart."""
    world = two()
    world.give(1, 0, m.Request(b"\x06door/1" + S.to_bytes(8, "big") + b"old"), id=7)
    world.unlink(0, 1)
    world.link(0, 1)
    world.give(1, 0, m.Request(b"\x06door/1" + S.to_bytes(8, "big") + b"new"), id=7)
    old, _, new = asked(world)
    assert old.body == b"old" and new.body == b"new"
    world.wish(1, Answer(peer(0), old.id, b"for the old one"))
    assert not world.nodes[1].sent["Response"]
    world.wish(1, Answer(peer(0), new.id, b"for the new one"))
    assert world.nodes[1].sent["Response"] == 1


def test_answered_requests_leave_neither_memory_nor_timers() -> None:
    world = two()
    for number in range(3000):
        world.wish(0, ask("echo/1", within_ns=100 * S, ticket=str(number)))
        world.run(3 * MS)
    part = exchange(world, 0)
    assert not part._asking and len(part._asking_due) <= 600 and len(world._due) <= 2
    assert len(exchange(world, 1)._recent[peer(0)]) == RECENT_MAX


def test_an_id_that_waits_for_its_answer_is_not_taken_again_however_many_came_between() -> None:
    """128 echoes wash an id out of the recent ones; its second request overwrote the first one's place."""
    world = two()
    world.wish(1, OpenDoor("door/1"))
    world.give(1, 0, m.Request(b"\x06door/1" + S.to_bytes(8, "big") + b"first"), id=7)
    for number in range(RECENT_MAX + 1):
        world.give(1, 0, m.Request(b"\x06echo/1" + S.to_bytes(8, "big") + b"x"), id=1000 + number)
    world.give(1, 0, m.Request(b"\x06door/1" + S.to_bytes(8, "big") + b"second"), id=7)
    (only,) = [one for one in asked(world) if isinstance(one, Asked)]
    assert only.body == b"first"
    world.run(2 * S)
    assert not exchange(world, 1)._serving and not exchange(world, 1)._served_to


def test_a_request_that_never_left_says_so_and_others_go_on() -> None:
    world = two()
    world.wish(0, ask(ticket="one", within_ns=60 * S))
    world.wish(0, ask(ticket="two", within_ns=60 * S))
    first, _ = exchange(world, 0)._asking
    world.wish(0, NotSent(peer(1), (first, 12345), "its connection ended before"))
    what = failed(world, "one")
    assert (
        what.who == "unavailable" and what.what.startswith("not sent, so not carried out") and not ended(world, "two")
    )
    world.unlink(0, 1)
    assert "may have been carried out" in failed(world, "two").what and len(ended(world, "one")) == 1


def test_only_who_was_asked_can_be_unreachable() -> None:
    world = two()
    world.wish(0, ask())
    (id,) = exchange(world, 0)._asking
    world.wish(0, NotSent(peer(5), (id,), "why"))
    assert not ended(world)


def test_the_words_of_a_failure_do_nothing_to_a_terminal() -> None:
    """ESC, a bell, an override of direction, C1 and a line of its own."""
    evil = "\x1b]0;pwn\x07\x1b[2J\u202eevil\u0085\nFAKE line"
    world = two()
    world.wish(0, ask())
    (id,) = exchange(world, 0)._asking
    world.give(0, 1, m.Failure("unavailable", evil, evil, evil), id=id)
    what = failed(world)
    for text in (what.what, what.where, what.limit):
        assert text.isprintable() and "FAKE line" in text


def test_a_flood_of_costly_questions_is_refused_and_the_link_serves_on() -> None:
    world = two()
    exchange(world, 1).register("find/1", lambda who, body, now_ns: b"found")
    for number in range(100):
        world.give(1, 0, m.Request(b"\x06find/1" + S.to_bytes(8, "big")), id=1 + number)
    assert world.nodes[1].sent == {"Response": 80, "Failure": 20}
    world.wish(0, ask("echo/1"))
    world.run(5 * MS)
    assert ended(world) == [Got(b"q")] and not world.nodes[1].blames


def test_an_answer_to_what_an_earlier_life_asked_is_nobodys_fault_but_one_from_the_future_is() -> None:
    """After a crash the peer still answers what was asked before; ids begin with the clock, so none is ahead of it."""
    fresh = exchange(two(), 0)
    assert fresh.came(peer(1), T0 - S, m.Response(b"late"), T0) == []
    (blame,) = fresh.came(peer(1), T0 + S, m.Response(b"made up"), T0)
    assert blame.peer == peer(1) and "nobody asked" in blame.why  # type: ignore[union-attr]
