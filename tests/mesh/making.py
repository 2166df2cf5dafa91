"""Keys, records and stand-ins that the tests of the mesh core share. The cryptography is the real one."""

from __future__ import annotations

import functools
import hashlib
from typing import Any

import numpy as np

from qcommons.base.seeds import stream
from qcommons.mesh import peer_record
from qcommons.mesh.crypto import NodeCrypto
from qcommons.mesh.records import PEER_TYPE, Beat, PeerId, PeerRecord, Signed
from qcommons.pqc.identity import NodeKey

NOW_S = 1_800_000_000
NOW_NS = NOW_S * 10**9
S = 10**9
NETWORK = "test"


def rng(*path: str | int) -> np.random.Generator:
    return stream(7, "tests", *path)


@functools.cache
def key(name: str) -> NodeKey:
    return NodeKey(hashlib.sha3_256(name.encode()).digest())


class Author:
    """A node that makes records and beats of its own."""

    def __init__(self, name: str, network: str = NETWORK) -> None:
        self.crypto = NodeCrypto(key(name), network, lambda count: hashlib.shake_256(name.encode()).digest(count))
        self.peer = self.crypto.peer
        self.signed: Signed | None = None

    def record(self, seq: int = NOW_S * 1000, **fields: Any) -> Signed:
        made = {
            "key": self.crypto.public_key,
            "seq": seq,
            "expires_s": NOW_S + 86_400,
            "addresses": ("tcp/93.184.216.34:8741",),
            "version": "0.1.0",
            "offers": ("stim:1000",),
            "away": (),
            "anchor": self.crypto.new_chain(1_800),
            "owner": b"",
        }
        record = PeerRecord(**(made | fields))
        self.signed = Signed(self.peer, record, self.crypto.sign(PEER_TYPE, peer_record.write(record)))
        return self.signed

    def beat(self, count: int) -> Beat:
        assert self.signed is not None
        return Beat(self.peer, self.signed.record.seq, count, self.crypto.beat(count))


def peer(number: int) -> PeerId:
    """A name without a key."""
    return PeerId(hashlib.sha3_256(b"peer %d" % number).digest())


class SomePeers:
    """`parts.Peers` with what a test puts in."""

    def __init__(self, me: PeerId) -> None:
        self.me = me
        self.links: list[PeerId] = []
        self.near: list[PeerId] = []
        self.book: dict[PeerId, Signed] = {}

    def neighbours(self) -> tuple[PeerId, ...]:
        return tuple(self.near)

    def linked(self) -> tuple[PeerId, ...]:
        return tuple(self.links)

    def is_linked(self, peer: PeerId) -> bool:
        return peer in self.links

    def is_direct(self, peer: PeerId) -> bool:
        return peer in self.links

    def address(self, peer: PeerId) -> str | None:
        return None

    def signed(self, peer: PeerId) -> Signed | None:
        return self.book.get(peer)

    def known(self) -> tuple[PeerId, ...]:
        return tuple(self.book)

    @property
    def book_version(self) -> int:
        return len(self.book)

    def admit(self, raw: bytes, by: PeerId, now_ns: int) -> tuple[Signed | None, list[Any]]:
        return None, []

    def found(self, raw: bytes, by: PeerId, now_ns: int, *, wanted: bool) -> tuple[Signed | None, list[Any]]:
        return self.admit(raw, by, now_ns)
