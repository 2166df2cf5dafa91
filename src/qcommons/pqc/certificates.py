"""Certificates: an owner says which nodes are its own, and which agents may act for it, until when and up to what.

Flow: owner key -> *certify*, *delegate*, *revoke* -> signed objects -> peers -> *check_certificate*, *check_chain*.
The owner's key is not a node's: it stays with the owner (`owner.key`) and is used a few times a year.

    owner id      hash of the owner's key in Bech32m with prefix "qo"
    certificate   owner -> node. Counts only where the node names the owner in its own record too: each says yes
    delegation    owner -> agent -> agent ..., at most 4 links; each within scope, cap and time of the one before
    revocations   one list an issuer, its sequence growing: the newest one counts

A certificate is known by the hash of its content, not of its bytes: whoever holds the key can sign the same content
again, and revoking one signature would leave the others. docs/protocol/certificates.md says it with vectors.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, TypeVar

import msgspec

from qcommons.base.canonical import decode_record, encode, encode_record
from qcommons.base.errors import PeerError, UsageError
from qcommons.pqc import bech32m
from qcommons.pqc.identity import HASH_BYTES, NodeKey, node_hash
from qcommons.pqc.prekeys import CLOCKS_APART_S, Seconds
from qcommons.pqc.signing import sign, verify

__all__ = [
    "CERTIFICATE_TYPE", "CHAIN_LINKS_MAX", "DELEGATION_TYPE", "REVOCATIONS_TYPE", "Certificate", "Delegation", "Link",
    "Revocations", "certificate_id", "certify", "check_certificate", "check_chain", "check_revocations", "decode_link",
    "delegate", "encode_link", "newer", "owner_id", "parse_owner_id", "read_certificate", "revoke",
]  # fmt: skip

CERTIFICATE_TYPE = "qcommons/owner.1"
DELEGATION_TYPE = "qcommons/delegation.1"
REVOCATIONS_TYPE = "qcommons/revocations.1"
OWNER_PREFIX = "qo"
CHAIN_LINKS_MAX = 4  # owner, a service, its agents, their helpers; each link costs a verification
SCOPE_WORDS_MAX = 16
WORD = re.compile(r"[a-z][a-z0-9._-]{0,39}")
CAP_MAX = (1 << 63) - 1
REVOKED_MAX = 1024  # 35 KB of the 64 KiB that a payload may have; expired certificates leave the list
LIFE_S_MAX = 10 * 366 * 86_400
SIGNED_BYTES_MAX = 48 << 10
ITEMS_MAX = REVOKED_MAX + 8
LINK_BYTES_MAX = SIGNED_BYTES_MAX + 4096
LINK_ITEMS_MAX = 4


def _exactly(size: int) -> msgspec.Meta:
    return msgspec.Meta(min_length=size, max_length=size)


Digest = Annotated[bytes, _exactly(HASH_BYTES)]


class _Record(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    pass


RecordT = TypeVar("RecordT", bound=_Record)


class Certificate(_Record, frozen=True):
    """`owner` says that `node` is its own, from `from_s` until `until_s`, exclusive. Both are hashes of keys."""

    owner: Digest
    node: Digest
    from_s: Seconds
    until_s: Seconds


class Delegation(_Record, frozen=True):
    """`issuer` lets `agent` do what `scope` names, for at most `cap_units` in all, from `from_s` until `until_s`.

    scope: words, sorted, each once; what a word allows is said by whoever checks it. cap_units: of the resource that
    the scope spends (base units of money, work units); 0 where nothing may be spent. onward: how many links may
    follow. parent: id of the delegation that this one hangs on, empty for the first.
    """

    issuer: Digest
    agent: Digest
    scope: Annotated[tuple[str, ...], msgspec.Meta(max_length=SCOPE_WORDS_MAX)]
    cap_units: Annotated[int, msgspec.Meta(ge=0, le=CAP_MAX)]
    onward: Annotated[int, msgspec.Meta(ge=0, lt=CHAIN_LINKS_MAX)]
    from_s: Seconds
    until_s: Seconds
    parent: Annotated[bytes, msgspec.Meta(max_length=HASH_BYTES)]


class Revocations(_Record, frozen=True):
    """All that `issuer` takes back and that has not expired: ids, sorted. A list of greater `seq` replaces it."""

    issuer: Digest
    seq: Annotated[int, msgspec.Meta(ge=1, le=CAP_MAX)]
    at_s: Seconds
    revoked: Annotated[tuple[Digest, ...], msgspec.Meta(max_length=REVOKED_MAX)]


class Link(_Record, frozen=True):
    """A signed object with the key that signed it: what travels and what is kept."""

    public_key: bytes
    signed: bytes


def encode_link(link: Link) -> bytes:
    """A link as it travels in a file or a message."""
    return encode_record(link)


def decode_link(data: bytes) -> Link:
    """The link in a file or a message, nothing of it verified. Raises PeerError."""
    return decode_record(data, Link, bytes_max=LINK_BYTES_MAX, items_max=LINK_ITEMS_MAX)


def owner_id(digest: bytes) -> str:
    """The id of an owner for people, from the hash of its key."""
    return bech32m.encode(OWNER_PREFIX, digest)


def parse_owner_id(text: str) -> bytes:
    """The hash of an owner's key. Raises UsageError: what is wrong, at which character."""
    try:
        digest = bech32m.decode(OWNER_PREFIX, text.strip())
    except UsageError as error:
        where = f"owner id, {error.where}" if error.where else "owner id"
        raise UsageError(error.what, where=where, limit=error.limit) from error
    if len(digest) != HASH_BYTES:
        raise UsageError(
            f"{text!r} holds {len(digest)} bytes; an owner id holds {HASH_BYTES}", where="owner id, length"
        )
    return digest


def certificate_id(record: Certificate | Delegation) -> bytes:
    """SHA3-256 over object type and content, 32 bytes: what a revocation and a child name."""
    kind = CERTIFICATE_TYPE if isinstance(record, Certificate) else DELEGATION_TYPE
    return hashlib.sha3_256(encode([kind, encode_record(record)])).digest()


# signing


def certify(owner: NodeKey, network: str, node: bytes, from_s: int, until_s: int) -> Link:
    """The owner's word that `node` (its hash) is its own. Raises UsageError for a life of 0 s or above 10 years."""
    _check_life(from_s, until_s)
    record = Certificate(owner.hash, node, from_s, until_s)
    return Link(owner.public_key, sign(owner, CERTIFICATE_TYPE, network, encode_record(record)))


def delegate(
    issuer: NodeKey,
    network: str,
    agent: bytes,
    scope: Sequence[str],
    cap_units: int,
    from_s: int,
    until_s: int,
    *,
    onward: int = 0,
    parent: Delegation | None = None,
) -> Link:
    """The issuer lets `agent` (the hash of its key) act. parent: the delegation that lets the issuer do so, if it is
    no owner. Raises UsageError where no reader would accept it."""
    _check_life(from_s, until_s)
    words = tuple(sorted(set(scope)))
    parent_id = b"" if parent is None else certificate_id(parent)
    record = Delegation(issuer.hash, agent, words, cap_units, onward, from_s, until_s, parent_id)
    fault = _fault(record, parent) or ("", "")
    if not 0 <= cap_units <= CAP_MAX:
        fault = "cap", f"a cap of {cap_units} units; allowed 0 to {CAP_MAX}"
    elif not 0 <= onward < CHAIN_LINKS_MAX:
        fault = "onward", f"{onward} further links; allowed 0 to {CHAIN_LINKS_MAX - 1}"
    if fault[1]:
        raise UsageError(fault[1], where=fault[0])
    return Link(issuer.public_key, sign(issuer, DELEGATION_TYPE, network, encode_record(record)))


def revoke(issuer: NodeKey, network: str, ids: Sequence[bytes], now_s: int, before: Revocations | None = None) -> Link:
    """The issuer's next list: `ids` and those of `before`, out of which the caller has left what has expired.

    Raises:
        UsageError: more than 1,024 ids, or `before` is another issuer's.
    """
    if before is not None and before.issuer != issuer.hash:
        raise UsageError("the list before is of another issuer", where="revocations")
    revoked = tuple(sorted({*ids, *(before.revoked if before else ())}))
    if len(revoked) > REVOKED_MAX:
        limit = f"{REVOKED_MAX}"
        what = f"{len(revoked)} revocations; allowed {limit}: leave out what has expired"
        raise UsageError(what, where="revocations", limit=limit)
    record = Revocations(issuer.hash, 1 if before is None else before.seq + 1, now_s, revoked)
    return Link(issuer.public_key, sign(issuer, REVOCATIONS_TYPE, network, encode_record(record)))


# checking


def read_certificate(link: Link, network: str) -> Certificate:
    """The certificate in `link`, whatever node and time it is for. Raises PeerError, as `check_certificate`."""
    record = _content(link, CERTIFICATE_TYPE, network, Certificate)
    if record.owner != node_hash(link.public_key):
        raise PeerError("the certificate is signed by another owner than it names", where="owner")
    return record


def check_certificate(
    link: Link, network: str, node: bytes, now_s: int, revocations: Revocations | None = None
) -> Certificate:
    """The certificate in `link`, if it certifies `node` at `now_s`; its `owner` is whose key signed.

    revocations: the owner's newest list (`check_revocations`), None where none is known.

    Raises:
        PeerError: `where` is certificate, owner, node, from, until, revoked, or as in `signing.verify`.
    """
    record = read_certificate(link, network)
    if record.node != node:
        raise PeerError("the certificate is for another node", where="node")
    _check_time(record, now_s)
    _check_revoked(record, record.owner, revocations)
    return record


def check_chain(
    links: Sequence[Link],
    network: str,
    principal: bytes,
    agent: bytes,
    now_s: int,
    revocations: Mapping[bytes, Revocations],
) -> Delegation:
    """The last delegation of a chain that leads from `principal` to `agent`: what the agent may do now.

    Args:
        links: 1 to 4, the principal's own first.
        principal, agent: hashes of their keys. Who claims to be the agent has to prove it, by a signature of its own.
        revocations: issuer -> its newest list.

    Raises:
        PeerError: `where` begins with "link N", the first that breaks (from 1), or is chain.
    """
    if not 1 <= len(links) <= CHAIN_LINKS_MAX:
        limit = f"1 to {CHAIN_LINKS_MAX} links"
        raise PeerError(f"a chain of {len(links)} links; allowed {limit}", where="chain", limit=limit)
    issuer, parent = principal, None
    for place, link in enumerate(links, start=1):
        try:
            parent = _checked_link(link, network, issuer, parent, now_s, revocations)
        except PeerError as error:
            where = f"link {place}, {error.where}" if error.where else f"link {place}"
            raise PeerError(error.what, where=where, limit=error.limit, evidence=link.signed) from error
        issuer = parent.agent
    assert parent is not None
    if parent.agent != agent:
        raise PeerError("the chain ends at another agent", where=f"link {len(links)}, agent")
    return parent


def check_revocations(link: Link, network: str) -> Revocations:
    """The list in `link`. Raises PeerError: `where` is issuer or revocations, or as in `signing.verify`."""
    record = _content(link, REVOCATIONS_TYPE, network, Revocations)
    if record.issuer != node_hash(link.public_key):
        raise PeerError("the list is signed by another issuer than it names", where="issuer")
    if list(record.revoked) != sorted(set(record.revoked)):
        raise PeerError("the ids are not sorted, each once", where="revocations")
    return record


def newer(known: Revocations | None, coming: Revocations) -> bool:
    """Whether `coming` replaces `known`, of the same issuer.

    Raises:
        PeerError: two different lists of one sequence: the issuer contradicts itself (where: equivocation).
    """
    if known is None or coming.seq > known.seq:
        return True
    if coming.seq == known.seq and coming != known:
        what = f"two different lists of revocations with sequence {known.seq}"
        raise PeerError(what, where="equivocation", evidence=encode_record(coming))
    return False


def _checked_link(
    link: Link,
    network: str,
    issuer: bytes,
    parent: Delegation | None,
    now_s: int,
    revocations: Mapping[bytes, Revocations],
) -> Delegation:
    record = _content(link, DELEGATION_TYPE, network, Delegation)
    if record.issuer != issuer or node_hash(link.public_key) != issuer:
        raise PeerError("the link is not signed by the agent before it, or by the principal", where="issuer")
    fault = _fault(record, parent)
    if fault is not None:
        raise PeerError(fault[1], where=fault[0])
    _check_time(record, now_s)
    _check_revoked(record, issuer, revocations.get(issuer))
    return record


def _fault(record: Delegation, parent: Delegation | None) -> tuple[str, str] | None:
    """(where, what) of the first thing that a delegation may not have, by itself or under its parent."""
    if not record.scope or list(record.scope) != sorted(set(record.scope)):
        return "scope", "a scope is 1 to 16 words, sorted, each once"
    for word in record.scope:
        if not WORD.fullmatch(word):
            return "scope", f"{word[:60]!r} is no word of a scope: 1 to 40 characters a-z 0-9 . _ -, a letter first"
    if record.parent != (b"" if parent is None else certificate_id(parent)):
        return "parent", "it hangs on another delegation than the one before it"
    if parent is None:
        return None
    beyond = [word for word in record.scope if word not in parent.scope]
    rows = (
        ("scope", bool(beyond), f"{', '.join(beyond)} is beyond what its issuer may do: {', '.join(parent.scope)}"),
        ("cap", record.cap_units > parent.cap_units, f"{record.cap_units} units; its issuer has {parent.cap_units}"),
        (
            "onward",
            record.onward >= parent.onward,
            f"{record.onward} further links; its issuer may give {parent.onward}",
        ),
        ("until", record.until_s > parent.until_s, "it ends after its issuer's own delegation"),
    )
    return next(((where, what) for where, wrong, what in rows if wrong), None)


def _content(link: Link, kind: str, network: str, record: type[RecordT]) -> RecordT:
    if len(link.signed) > SIGNED_BYTES_MAX:
        limit = f"{SIGNED_BYTES_MAX} bytes"
        raise PeerError(f"{len(link.signed)} bytes signed; allowed {limit}", where="length", limit=limit)
    payload = verify(link.public_key, kind, network, link.signed)
    return decode_record(payload, record, bytes_max=SIGNED_BYTES_MAX, items_max=ITEMS_MAX)


def _check_life(from_s: int, until_s: int) -> None:
    if from_s < 0 or not 0 < until_s - from_s <= LIFE_S_MAX:
        limit = f"{LIFE_S_MAX} s"
        raise UsageError(f"a life of {until_s - from_s} s; allowed 1 to {limit}", where="until", limit=limit)


def _check_time(record: Certificate | Delegation, now_s: int) -> None:
    if not 0 < record.until_s - record.from_s <= LIFE_S_MAX:
        raise PeerError(f"it lives {record.until_s - record.from_s} s; allowed 1 to {LIFE_S_MAX} s", where="until")
    if now_s >= record.until_s:
        raise PeerError(f"it expired {now_s - record.until_s} s ago; ask its issuer for another one", where="until")
    if now_s < record.from_s - CLOCKS_APART_S:
        limit = f"{CLOCKS_APART_S} s"
        raise PeerError(
            f"it begins in {record.from_s - now_s} s; clocks may differ by {limit}", where="from", limit=limit
        )


def _check_revoked(record: Certificate | Delegation, issuer: bytes, revocations: Revocations | None) -> None:
    if revocations is None or revocations.issuer != issuer:
        return
    if certificate_id(record) in revocations.revoked:
        what = f"its issuer took it back, at the latest at {revocations.at_s} (seconds since 1970)"
        raise PeerError(what, where="revoked")
