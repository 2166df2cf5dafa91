"""Asks on an event loop, with a driver that plays a neighbour: pages until it has no more, liars asked no more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import pytest
from tests.node.mesh.test_bazaar import KEYS, NOW_NS, WISH, made, raw_of

from qcommons.base.canonical import encode
from qcommons.base.effects import Note
from qcommons.base.seeds import stream
from qcommons.mesh.events import Failed, Got
from qcommons.mesh.records import PeerId
from qcommons.node.mesh.asks import Asks
from qcommons.node.mesh.bazaar import Bazaar

PEER = PeerId(b"\7" * 32)


class Book(NamedTuple):
    """Of peers, as far as asks look at it."""

    entries: dict[PeerId, Any]


class Core:
    """Nobody is known and nobody trusted."""

    def __init__(self) -> None:
        self.book = Book(entries={})

    def relation(self, peer: PeerId) -> str:
        return "stranger"


class Neighbour:
    """A driver with one linked peer. answer: its answer to a request for asks."""

    def __init__(self, answer: Callable[[bytes], bytes | Failed]) -> None:
        self.answer, self.asked = answer, 0
        self.core = Core()

    def now_ns(self) -> int:
        return NOW_NS

    async def ask(self, make: Callable[[str], Any], within_s: float) -> Got | Failed:
        self.asked += 1
        said = self.answer(make("ticket").body)
        return said if isinstance(said, Failed) else Got(said)


def synced(answer: Callable[[bytes], bytes | Failed]) -> tuple[Asks, Neighbour, bool, list[Note]]:
    """A node after one look at what the neighbour knows; whether that answered."""
    notes: list[Note] = []

    async def story() -> tuple[Asks, Neighbour, bool]:
        neighbour: Any = Neighbour(answer)
        disk: Any = None
        asks = Asks(KEYS[0], "commons", True, neighbour, disk, stream(1, "test"), notes.append)
        look: Coroutine[Any, Any, bool] = asks._sync(PEER)
        return asks, neighbour, await look

    return *asyncio.run(story()), notes


def market(count: int) -> Bazaar:
    other = made(KEYS[3])
    for key in KEYS[1 : 1 + count]:
        other.learn(raw_of(made(key).set(WISH, NOW_NS)), NOW_NS)
    return other


def test_a_neighbour_is_asked_until_it_has_no_more() -> None:
    there = market(2)
    asks, neighbour, answered, _ = synced(lambda body: there.page(body, NOW_NS, files_max=1))
    assert answered and neighbour.asked == 2 and len(asks.bazaar.book) == 2
    assert asks.of(PeerId(KEYS[1].hash), NOW_NS // 10**9) is not None


def test_one_that_repeats_the_same_page_is_not_asked_for_ever() -> None:
    """The attack: "there is more", always."""
    page = encode([[raw_of(made(KEYS[1]).set(WISH, NOW_NS))], True])
    asks, neighbour, answered, _ = synced(lambda body: page)
    assert answered and neighbour.asked == 2 and len(asks.bazaar.book) == 1


@pytest.mark.parametrize("page", [encode([[b"no ask"], True]), encode([[], 1]), b"\xff"])
def test_who_tells_what_it_could_have_checked_is_barred_and_named(page: bytes) -> None:
    asks, neighbour, answered, notes = synced(lambda body: page)
    assert answered and neighbour.asked == 1 and PEER in asks._barred
    assert notes[-1].name == "asks_teller_barred" and notes[-1].facts["peer"] == PEER.hex()


def test_one_that_refuses_is_asked_again_later() -> None:
    asks, _, answered, _ = synced(lambda body: Failed("unavailable", "busy"))
    assert not answered and not asks._barred
