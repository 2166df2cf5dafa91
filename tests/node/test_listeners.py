"""Listeners: each event once and in order, from memory or from disk, only one's own."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from tests.node.small_world import Disk

from qcommons.base.effects import Store
from qcommons.base.errors import UsageError
from qcommons.node import listeners
from qcommons.node.keys import event_key
from qcommons.node.listeners import Listeners
from qcommons.node.records import NodeEvent


def event(seq: int) -> NodeEvent:
    return NodeEvent(seq=seq, at_ns=seq, kind="job", facts={"principal": "alice" if seq % 2 else "home"})


def put(disk: Disk, one: NodeEvent) -> None:
    disk.apply([Store(event_key(one.seq), msgspec.msgpack.encode(one))])


async def follow(many: Listeners, since: int, count: int, who: str = "home") -> list[int]:
    seen: list[int] = []
    async for one in many.follow(since, who, "home"):
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


def test_a_guest_sees_only_its_own_events() -> None:
    async def scene() -> None:
        disk = Disk()
        many = Listeners(disk, 0)
        for seq in range(10):
            put(disk, event(seq))
            many.tell(event(seq))
        assert await follow(many, 0, 5, who="alice") == [1, 3, 5, 7, 9]

    asyncio.run(scene())


def test_silence_is_broken_by_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "HEARTBEAT_S", 0.01)

    async def scene() -> None:
        async for one in Listeners(Disk(), 0).follow(0, "home", "home"):
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
