"""Stores of the mesh: on disk before what rests on them; bounded while the disk takes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qcommons.node.mesh import keeper as module
from qcommons.node.mesh.keeper import Keeper
from qcommons.node.store import Store


class SlowDisk:
    """Holds every batch until `release`."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[Any], Callable[[], None]]] = []

    def apply(self, changes: Any, done: Callable[[], None]) -> None:
        self.batches.append((list(changes), done))

    def release(self) -> None:
        self.batches[-1][1]()


def test_what_rests_on_a_store_comes_after_it_and_in_order(tmp_path: Path) -> None:
    async def scene() -> list[tuple[int, bytes | None]]:
        with Store(tmp_path / "node.db") as disk:
            keeper = Keeper(disk, lambda _: None)
            told: list[tuple[int, bytes | None]] = []
            done = asyncio.Event()
            for place in range(20):
                changes = [("a", bytes([place])), (f"own{place:02}", b"x")]
                keeper.keep(changes, lambda place=place: told.append((place, disk.get(f"mesh/own{place:02}"))))  # type: ignore[misc]
            keeper.keep([("b", b"x"), ("a", None)], done.set)
            await asyncio.wait_for(done.wait(), 10)
            assert [key for key, _ in keeper.kept()] == ["b", *(f"own{place:02}" for place in range(20))]
            return told

    assert asyncio.run(scene()) == [(place, b"x") for place in range(20)]


def test_while_the_disk_takes_nothing_the_last_value_of_a_key_waits_and_no_more(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "AFTER_MAX", 5)

    async def scene() -> tuple[SlowDisk, list[int], list[int]]:
        disk, dropped, told = SlowDisk(), list[int](), list[int]()
        keeper = Keeper(disk, dropped.append)  # type: ignore[arg-type]
        for place in range(100):
            keeper.keep([("a", bytes([place]))], lambda place=place: told.append(place))  # type: ignore[misc]
        assert len(disk.batches) == 1 and keeper.waiting == 5
        disk.release()
        await asyncio.sleep(0.01)
        disk.release()
        await asyncio.sleep(0.01)
        return disk, dropped, told

    disk, dropped, told = asyncio.run(scene())
    assert [batch for batch, _ in disk.batches] == [[("mesh/a", b"\0")], [("mesh/a", b"\x63")]]
    assert told == [0, 95, 96, 97, 98, 99] and len(dropped) == 94
