"""Held: bytes that wait in all connections of a node, one sum for all.

Flow: wires count what they hold (queues, pipe, frames that are not whole) -> *Held* -> above its limit `Crowded` ->
node's connections close the one that holds most. The bounds of a single connection alone would let a crowd of peers
that read nothing take gigabytes: 512 connections of 10 MiB.
"""

from __future__ import annotations

__all__ = ["HELD_BYTES_MAX", "Held"]

# Twelve peers that fetch blobs over slow lines hold it (two windows of 2 MiB and a pipe each); an honest node at rest
# holds nothing, and with it one of 150 MiB stays below 256.
HELD_BYTES_MAX = 64 << 20


class Held:
    """used_bytes: now, in all wires that were given this one."""

    __slots__ = ("cap_bytes", "used_bytes")

    def __init__(self, cap_bytes: int = HELD_BYTES_MAX) -> None:
        self.cap_bytes = cap_bytes
        self.used_bytes = 0

    @property
    def is_over(self) -> bool:
        return self.used_bytes > self.cap_bytes
