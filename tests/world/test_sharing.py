"""Disks of many nodes share equal bytes (sharing.py)."""

from __future__ import annotations

from qcommons.world.sharing import Interned


def test_equal_bytes_are_one_object() -> None:
    interned = Interned()
    first, again = bytes(1000), bytearray(1000)
    assert interned.one(first) is first and interned.one(bytes(again)) is first
    assert interned.one(b"x" * 1000) is not first
