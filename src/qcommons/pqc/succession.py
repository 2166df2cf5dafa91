"""Succession: an old key says which new key follows it, and the new one agrees.

Flow: rotation -> *succeed* -> signed by both -> peers -> *check_succession* -> *Successions* -> `newest` of an old id.

    [old key, new key, signed by old, signed by new]

Both sign the same content under two object types, so that nobody can appoint a key that is not his, and nobody can
follow one that did not ask. A key has one successor. Two of them are an equivocation: both records together prove it
to anyone, the chain ends at that key, and its owner has to say by other means (an owner's certificate) who follows.
docs/protocol/succession.md says it with vectors.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from qcommons.base.canonical import decode_record, encode_record
from qcommons.base.errors import PeerError, Unavailable, UsageError
from qcommons.pqc.identity import HASH_BYTES, PUBLIC_KEY_BYTES, NodeKey, node_hash
from qcommons.pqc.prekeys import Seconds
from qcommons.pqc.signing import sign, verify

__all__ = [
    "FOLLOWS_TYPE", "RECORD_BYTES_MAX", "SUCCESSION_TYPE", "Fork", "Succession", "Successions", "check_succession",
    "succeed",
]  # fmt: skip

SUCCESSION_TYPE = "qcommons/succession.1"  # signed by the old key
FOLLOWS_TYPE = "qcommons/follows.1"  # signed by the new one
RECORD_BYTES_MAX = 12 << 10  # ours have 11.0 KB: two keys, two signatures
RECORD_ITEMS_MAX = 8
CONTENT_BYTES_MAX = 128
STEPS_MAX = 64  # a key a month for five years
HELD_MAX = 512  # 5.7 MB with their records; hold those of peers that this node has to do with


def _exactly(size: int) -> msgspec.Meta:
    return msgspec.Meta(min_length=size, max_length=size)


class _Record(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    old_key: Annotated[bytes, _exactly(PUBLIC_KEY_BYTES)]
    new_key: Annotated[bytes, _exactly(PUBLIC_KEY_BYTES)]
    by_old: bytes
    by_new: bytes


class Succession(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """From `at_s` on (the signer's clock, seconds since 1970), `new` stands for `old`; both are hashes of keys."""

    old: Annotated[bytes, _exactly(HASH_BYTES)]
    new: Annotated[bytes, _exactly(HASH_BYTES)]
    at_s: Seconds


class Fork(msgspec.Struct, frozen=True):
    """`old` named two successors; `first` and `second` are the records, which anybody can check."""

    old: bytes
    first: bytes
    second: bytes


def succeed(old: NodeKey, new: NodeKey, network: str, at_s: int) -> bytes:
    """The record, signed by both keys. Raises UsageError where they are one."""
    if old.hash == new.hash:
        raise UsageError("a key cannot follow itself; make a fresh one", where="succession")
    content = encode_record(Succession(old.hash, new.hash, at_s))
    by_old = sign(old, SUCCESSION_TYPE, network, content)
    by_new = sign(new, FOLLOWS_TYPE, network, content)
    return encode_record(_Record(old.public_key, new.public_key, by_old, by_new))


def check_succession(raw: bytes, network: str) -> Succession:
    """What a record says, if both keys signed it.

    Raises:
        PeerError: `where` is length, byte N, succession, old, new, or as in `signing.verify`, after "old, " or "new, ".
    """
    record = decode_record(raw, _Record, bytes_max=RECORD_BYTES_MAX, items_max=RECORD_ITEMS_MAX)
    contents = []
    for who, key, kind, signed in (
        ("old", record.old_key, SUCCESSION_TYPE, record.by_old),
        ("new", record.new_key, FOLLOWS_TYPE, record.by_new),
    ):
        try:
            contents.append(verify(key, kind, network, signed))
        except PeerError as error:
            where = f"{who}, {error.where}" if error.where else who
            raise PeerError(error.what, where=where, limit=error.limit, evidence=raw) from error
    if contents[0] != contents[1]:
        raise PeerError("the two keys signed different successions", where="succession", evidence=raw)
    content = decode_record(contents[0], Succession, bytes_max=CONTENT_BYTES_MAX, items_max=RECORD_ITEMS_MAX)
    for who, said, key in (("old", content.old, record.old_key), ("new", content.new, record.new_key)):
        if said != node_hash(key):
            raise PeerError(f"the succession names another {who} key than the one that signed", where=who, evidence=raw)
    if content.old == content.new:
        raise PeerError("a key cannot follow itself", where="succession", evidence=raw)
    return content


class Successions:
    """The successions that are known, and who follows whom in the end. Bounded: at most `HELD_MAX`."""

    def __init__(self) -> None:
        self._next: dict[bytes, tuple[Succession, bytes]] = {}  # old -> what is known, and the record
        self._forks: dict[bytes, Fork] = {}

    def add(self, raw: bytes, network: str) -> Fork | None:
        """Take a record; the fork that it proves, if its old key had named another successor before.

        Raises:
            PeerError: it does not hold (`check_succession`), or it closes a circle (where: circle).
            Unavailable: too many are held.
        """
        coming = check_succession(raw, network)
        known = self._next.get(coming.old)
        if known is not None:
            if known[0].new == coming.new:  # said again, maybe at another time: no contradiction
                return None
            return self._forks.setdefault(coming.old, Fork(coming.old, known[1], raw))
        if self._walk(coming.new) == coming.old:
            raise PeerError("the old key follows the new one already", where="circle", evidence=raw)
        if len(self._next) >= HELD_MAX:
            limit = f"{HELD_MAX} successions"
            raise Unavailable("too many successions are held", where="successions", limit=limit)
        self._next[coming.old] = (coming, raw)
        return None

    def newest(self, key_hash: bytes) -> bytes:
        """The hash of the key that stands for `key_hash` now: itself where nothing follows.

        Raises:
            PeerError: a key on the way named two successors (where: fork), or the chain is longer than 64.
        """
        end = self._walk(key_hash)
        fork = self._forks.get(end)
        if fork is not None:
            what = "this key named two successors; ask its owner which one is meant"
            raise PeerError(what, where="fork", evidence=fork.second)
        if end in self._next:
            raise PeerError(f"more than {STEPS_MAX} keys followed one another", where="chain", limit=str(STEPS_MAX))
        return end

    def forks(self) -> tuple[Fork, ...]:
        """All equivocations seen."""
        return tuple(self._forks.values())

    def records(self, key_hash: bytes) -> tuple[bytes, ...]:
        """The records that lead from `key_hash` to `newest`, in order: what to show somebody who knows the old id."""
        found: list[bytes] = []
        while (
            (known := self._next.get(key_hash)) is not None and key_hash not in self._forks and len(found) < STEPS_MAX
        ):
            found.append(known[1])
            key_hash = known[0].new
        return tuple(found)

    def _walk(self, key_hash: bytes) -> bytes:
        """Where the chain ends: at a key that nothing follows, at a fork, or after `STEPS_MAX` steps."""
        for _ in range(STEPS_MAX):
            known = self._next.get(key_hash)
            if known is None or key_hash in self._forks:
                break
            key_hash = known[0].new
        return key_hash
