"""Memories: what the disks hold when a world begins, where its nodes have been a mesh before.

Flow: stage -> *remember* -> host.disk -> Begin -> core. Ten thousand nodes cannot join one by one in a minute, and
need not: each begins with records of some others, drawn at random, as if all had been switched off and on again. The
addresses still hold; the chains of beats of those records are gone with the lives that made them, so each is replaced
as soon as its owner is met.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qcommons.base.seeds import stream
from qcommons.mesh import own, peer_record, peerbook
from qcommons.mesh.records import PEER_TYPE, PeerRecord
from qcommons.world.host import EPOCH_NS, Host

if TYPE_CHECKING:
    from qcommons.world.stage import Stage

__all__ = ["remember"]

AGO_S = 60  # when the records were made, before the world began


def remember(stage: Stage, count: int) -> None:
    """Each host's disk gets its own last record, and those of `count` others (or of all there are)."""
    hosts = stage.world.hosts
    made = [_record(stage, host) for host in hosts]
    names = [peerbook.KEY + host.peer.hex() for host in hosts]
    rng = stream(stage.seed, "world", "memories")
    for host in hosts:
        host.disk[own.KEY] = made[host.index]
        for index in _others(rng, len(hosts), host.index, count):
            host.disk[names[index]] = made[index]


def _record(stage: Stage, host: Host) -> bytes:
    made_s = EPOCH_NS // 10**9 - AGO_S
    record = PeerRecord(
        key=host.key,
        seq=made_s * 1_000,
        expires_s=made_s + peer_record.LIFE_S,
        addresses=(host.address,),
        version="world",
        offers=host.offers,
        away=(),
        anchor=bytes(16),
        owner=b"",
    )
    return stage.sign(host, PEER_TYPE, peer_record.write(record))


def _others(rng: np.random.Generator, nodes: int, me: int, count: int) -> list[int]:
    """At most `count` different nodes but `me`."""
    if count >= nodes - 1:
        return [index for index in range(nodes) if index != me]
    drawn = rng.choice(nodes - 1, size=count, replace=False)
    return [int(index) + (index >= me) for index in drawn]
