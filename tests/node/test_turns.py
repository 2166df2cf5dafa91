"""Turns: the owner never waits behind guests, a guest never behind all calls of another one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from qcommons.base.errors import Unavailable
from qcommons.node import turns
from qcommons.node.turns import Turns


class Work:
    """Calls that last until `open` is set; who has begun, in order."""

    def __init__(self, places: int = 2) -> None:
        self.turns = Turns(places, "reading programs")
        self.open = threading.Event()
        self.begun: list[str] = []
        self.tasks: list[asyncio.Task[str]] = []

    def ask(self, *who: str) -> None:
        for one in who:
            self.tasks.append(asyncio.create_task(self.turns.run(one, lambda one=one: self._do(one))))  # type: ignore[misc]

    def _do(self, who: str) -> str:
        self.begun.append(who)
        self.open.wait(10)
        return who

    async def until(self, count: int) -> list[str]:
        async with asyncio.timeout(5):
            while len(self.begun) < count:
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)  # nobody else begins
        return self.begun


def play(scene: Callable[[Work], Awaitable[None]], places: int = 2) -> None:
    async def run() -> None:
        work = Work(places)
        try:
            await scene(work)
        finally:
            work.open.set()
            await asyncio.gather(*work.tasks, return_exceptions=True)
            work.turns.close()

    asyncio.run(run())


@pytest.mark.parametrize("places", [2, 3])
def test_guests_leave_a_place_to_the_owner_however_many_they_are(places: int) -> None:
    async def scene(work: Work) -> None:
        work.ask(*["eve"] * 20, *["mallory"] * 20)
        assert len(await work.until(places - 1)) == places - 1
        work.ask("home")
        assert (await work.until(places))[-1] == "home"

    play(scene, places)


def test_the_owner_goes_before_guests_who_came_first_and_guests_take_turns() -> None:
    async def scene(work: Work) -> None:
        work.ask("eve", "eve", "eve", "home", "home")
        assert await work.until(2) == ["eve", "home"]
        work.ask("mallory", "home")
        await asyncio.sleep(0)
        work.open.set()
        await asyncio.gather(*work.tasks)
        assert work.begun[2:4] == ["home", "home"] or work.begun[2] == "home"
        assert [who for who in work.begun if who != "home"] == ["eve", "mallory", "eve", "eve"]

    play(scene)


def test_a_guest_that_waited_too_long_is_told_and_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "WAIT_S", 0.05)

    async def scene(work: Work) -> None:
        work.ask("eve", "mallory")
        await work.until(1)
        with pytest.raises(Unavailable, match=r"reading programs for 0.05 s"):
            await work.tasks[1]
        work.open.set()
        work.ask("mallory")
        assert await asyncio.wait_for(work.tasks[2], 5) == "mallory"

    play(scene)


def test_who_goes_while_it_waits_takes_no_place() -> None:
    async def scene(work: Work) -> None:
        work.ask("eve", "mallory", "trent")
        await work.until(1)
        work.tasks[1].cancel()
        await asyncio.sleep(0)
        work.open.set()
        assert await asyncio.wait_for(work.tasks[2], 5) == "trent" and "mallory" not in work.begun

    play(scene)


def test_an_error_is_the_callers_and_frees_the_place() -> None:
    async def scene(work: Work) -> None:
        work.open.set()
        for _ in range(5):
            with pytest.raises(ZeroDivisionError):
                await work.turns.run("eve", lambda: 1 // 0)
        assert await work.turns.run("eve", lambda: 7) == 7

    play(scene)


def test_nothing_begins_after_the_end() -> None:
    async def scene(work: Work) -> None:
        work.turns.close()
        with pytest.raises(Unavailable, match="shutting down"):
            await work.turns.run("home", lambda: 7)

    play(scene)
