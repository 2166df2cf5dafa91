"""Listeners: each event once and in order, from memory or from disk, only one's own."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.node.small_world import Disk

from qcommons.base.effects import Store
from qcommons.base.errors import UsageError
from qcommons.node import listeners
from qcommons.node.keys import event_key, own_events_of, own_key
from qcommons.node.listeners import Listeners
from qcommons.node.records import NodeEvent


def event(seq: int) -> NodeEvent:
    return NodeEvent(seq=seq, at_ns=seq, kind="job", facts={"principal": "alice" if seq % 2 else "home"})


def put(disk: Disk, one: NodeEvent) -> None:
    disk.apply([Store(event_key(one.seq), msgspec.msgpack.encode(one))])


async def follow(many: Listeners, since: int, count: int, who: str = "home") -> list[int]:
    seen: list[int] = []
    async for one in many.follow(since, who):
        if one is not None:
            seen.append(one.seq)
        if len(seen) == count:
            break
    return seen


def test_fifty_listeners_lose_nothing_whether_they_are_early_or_late() -> None:
    async def scene() -> None:
        disk = Disk()
        for seq in range(100):
            put(disk, event(seq))
        many = Listeners(disk, 100)
        early = [asyncio.create_task(follow(many, start, 5100 - start)) for start in range(50)]
        for seq in range(100, 5100):
            put(disk, event(seq))
            many.tell(event(seq))
            if seq % 500 == 0:
                await asyncio.sleep(0)
        for start, task in enumerate(early):
            assert await asyncio.wait_for(task, 30) == list(range(start, 5100))
        assert await follow(many, 5000, 100) == list(range(5000, 5100))

    asyncio.run(scene())


class CountingDisk(Disk):
    scans = 0

    def scan(self, first: str, past: str, *, limit: int | None = None, reverse: bool = False) -> Any:
        self.scans += 1
        return super().scan(first, past, limit=limit, reverse=reverse)


def put_own(disk: Disk, place: int) -> None:
    one = msgspec.structs.replace(event(2 * place + 1), seq=place)
    disk.apply([Store(own_key(own_events_of("alice"), place), msgspec.msgpack.encode(one))])


def test_a_guest_follows_its_own_events_under_numbers_that_tell_nothing_of_others() -> None:
    async def scene() -> None:
        disk = Disk()
        many = Listeners(disk, 0)
        for seq in range(10):
            put(disk, event(seq))
            if seq % 2:
                put_own(disk, seq // 2)
            many.tell(event(seq))
        assert many.next_seq("home") == 10 and many.next_seq("alice") == 5 and many.next_seq("bob") == 0
        assert await follow(many, 0, 5, who="alice") == [0, 1, 2, 3, 4]

    asyncio.run(scene())


def test_a_guest_is_woken_by_its_own_events_alone() -> None:
    """Else each event of the owner would cost a look at the disk for each stream of each guest."""

    async def scene() -> None:
        disk = CountingDisk()
        many = Listeners(disk, 0)
        listening = asyncio.create_task(follow(many, 0, 1, who="alice"))
        await asyncio.sleep(0)
        looks = disk.scans
        for seq in range(0, 1000, 2):  # the owner's
            put(disk, event(seq))
            many.tell(event(seq))
            await asyncio.sleep(0)
        assert disk.scans == looks and not listening.done()
        put_own(disk, 0)
        many.tell(event(1001))
        assert await asyncio.wait_for(listening, 5) == [0]

    asyncio.run(scene())


def test_silence_is_broken_by_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "HEARTBEAT_S", 0.01)

    async def scene() -> None:
        async for one in Listeners(Disk(), 0).follow(0, "home"):
            assert one is None
            break

    asyncio.run(scene())


def test_a_cursor_older_than_what_is_kept_is_refused_with_the_oldest() -> None:
    async def scene() -> None:
        disk = Disk()
        put(disk, event(7))
        with pytest.raises(UsageError, match="before 7"):
            await follow(Listeners(disk, 8), 3, 1)

    asyncio.run(scene())
