"""Commitments: to fix a value now and show it later.

Flow: value, fresh salt -> *Opening* -> *commitment* (32 bytes, told at once) ... -> opening told -> *check_opening*.
SHA3-256 over ["qcommons/commitment.1", purpose, node, salt, value] in canonical CBOR. A salt of 32 random bytes hides
the value, also one of few possible ones (binding rests on SHA3-256's resistance to collisions, hiding on the salt);
the node in it keeps one node from repeating another's commitment as its own; the purpose keeps uses apart.

Example: replicas of a piece of work commit to their results, and open them when all have committed.
"""

from __future__ import annotations

import hashlib
import re

import msgspec

from qcommons.base.canonical import encode
from qcommons.base.errors import PeerError, UsageError
from qcommons.pqc.identity import HASH_BYTES

__all__ = ["COMMITMENT_BYTES", "SALT_BYTES", "VALUE_BYTES_MAX", "Opening", "check_opening", "commitment"]

DOMAIN = "qcommons/commitment.1"
COMMITMENT_BYTES = 32
SALT_BYTES = 32  # as many as the digest: a guess of value and salt together costs 2^256
VALUE_BYTES_MAX = 1 << 16  # larger values are committed to by their hash
PURPOSE = re.compile(r"[a-z][a-z0-9._-]{0,63}")


class Opening(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """All that a commitment hides. node: hash of who commits. salt: 32 fresh random bytes, never used twice."""

    purpose: str
    node: bytes
    salt: bytes
    value: bytes

    def __repr__(self) -> str:  # a log must not open it
        return f"Opening(purpose={self.purpose!r}, node={self.node.hex()})"


def commitment(opening: Opening) -> bytes:
    """The 32 bytes to tell now. Raises UsageError where the opening would not be accepted later."""
    fault = _fault(opening)
    if fault is not None:
        where, what, limit = fault
        raise UsageError(what, where=where, limit=limit)
    return _digest(opening)


def check_opening(committed: bytes, opening: Opening, purpose: str, node: bytes) -> bytes:
    """The value, if `opening` opens what `node` committed to for `purpose`.

    Raises:
        PeerError: `where` is purpose, node, salt, value or commitment.
    """
    fault = _fault(opening)
    if fault is not None:
        where, what, limit = fault
        raise PeerError(what, where=where, limit=limit)
    for where, found, wanted in (("purpose", opening.purpose, purpose), ("node", opening.node, node)):
        if found != wanted:
            raise PeerError(f"the opening is of another {where}", where=where)
    if _digest(opening) != committed:
        raise PeerError("this is not what was committed to", where="commitment", evidence=committed)
    return opening.value


def _digest(opening: Opening) -> bytes:
    fields = [DOMAIN, opening.purpose, opening.node, opening.salt, opening.value]
    return hashlib.sha3_256(encode(fields)).digest()


def _fault(opening: Opening) -> tuple[str, str, str] | None:
    """(where, what, limit) of the first thing that no opening may have."""
    if not PURPOSE.fullmatch(opening.purpose):
        limit = "1 to 64 characters a-z 0-9 . _ -, a letter first"
        return "purpose", f"{opening.purpose[:80]!r} is no purpose: {limit}", limit
    if len(opening.node) != HASH_BYTES:
        return "node", f"a node hash has {HASH_BYTES} bytes; got {len(opening.node)}", f"{HASH_BYTES} bytes"
    if len(opening.salt) != SALT_BYTES:
        limit = f"{SALT_BYTES} bytes"
        return "salt", f"a salt of {len(opening.salt)} bytes; {limit} needed: fewer can be guessed", limit
    if len(opening.value) > VALUE_BYTES_MAX:
        limit = f"{VALUE_BYTES_MAX} bytes"
        return "value", f"a value of {len(opening.value)} bytes; allowed {limit}: commit to its hash", limit
    return None
