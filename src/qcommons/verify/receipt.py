"""Receipts: one signature over a batch of runs; each of them checkable alone, offline, by anyone.

Flow: Answer -> *result_hash* -> Receipt -> *sign_batch* -> SignedReceipt -> *encode* -> a file -> *check* -> Receipt.

A receipt proves that the node said so, when and about which answer, so that it can be held to it. It does not prove
that the answer is right: that is for the checks that compare receipts.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

import qcommons.base.canonical as canonical
from qcommons.base.canonical import decode_record, encode_record
from qcommons.base.errors import PeerError, UsageError
from qcommons.pqc.identity import NodeKey, node_hash, node_id_of_hash, parse_node_id
from qcommons.pqc.signing import sign, verify
from qcommons.verify.merkle import levels, path, root, root_of_path
from qcommons.verify.records import BATCH_MAX, BatchRoot, Receipt, SignedReceipt

if TYPE_CHECKING:
    from qcommons.engines.records import Answer

__all__ = [
    "OBJECT_TYPE",
    "ROOT_BYTES_MAX",
    "ROOT_ITEMS",
    "SIGNED_RECEIPT_BYTES_MAX",
    "answer_bytes",
    "batch",
    "check",
    "encode",
    "read_receipt",
    "result_hash",
    "sign_batch",
    "signer",
]

OBJECT_TYPE = "qcommons/receipts.1"
RECEIPT_BYTES_MAX = 1024  # the longest fields together take 710
RECEIPT_ITEMS = 16
ROOT_BYTES_MAX = 128
ROOT_ITEMS = 5
SIGNED_RECEIPT_BYTES_MAX = 8192  # public key 1952, signature 3309, path 680, receipt 1024, heads
SIGNED_RECEIPT_ITEMS = 32


def answer_bytes(answer: Answer, packed: bytes | None = None) -> bytes:
    """The canonical bytes of an answer: of its numbers and their error, not of how they were found.

    [counts, estimates, amplitudes, error_bound], null for what was not asked:
    counts = [bits of a key, all keys joined in order of their text, their shots as uint64 little-endian];
    estimates = [[value, stderr, shots or null], ...]; amplitudes = re, im, re, im, ... as binary64 little-endian.
    packed: the amplitudes in that form, where the answer leaves them out.
    """
    counts = estimates = amplitudes = None
    if answer.counts is not None:
        keys = sorted(answer.counts)
        shots = struct.pack(f"<{len(keys)}Q", *map(answer.counts.__getitem__, keys))
        counts = [len(keys[0]) if keys else 0, "".join(keys), shots]
    if answer.estimates is not None:
        estimates = [[float(e.value), float(e.stderr), e.shots] for e in answer.estimates]
    if packed is not None:
        amplitudes = packed
    elif answer.amplitudes is not None:
        parts = [part for amplitude in answer.amplitudes for part in amplitude]
        amplitudes = struct.pack(f"<{len(parts)}d", *parts)
    return canonical.encode([counts, estimates, amplitudes, float(answer.error_bound)])


def result_hash(answer: Answer, packed: bytes | None = None) -> bytes:
    """SHA3-256 of `answer_bytes`."""
    return hashlib.sha3_256(answer_bytes(answer, packed)).digest()


def batch(
    receipts: Sequence[Receipt], node: bytes, signed_at_ns: int
) -> tuple[bytes, tuple[bytes, ...], tuple[tuple[bytes, ...], ...]]:
    """(payload to sign, bytes of each receipt, path of each) of 1 to 2^20 receipts.

    Args:
        node: hash of the node that will sign. signed_at_ns: Unix time.

    Raises:
        UsageError: a receipt breaks a rule of `Receipt`, or there are none or too many.
    """
    if not 1 <= len(receipts) <= BATCH_MAX:
        limit = f"1 to {BATCH_MAX}"
        raise UsageError(f"{len(receipts)} receipts in a batch; allowed {limit}", where="batch", limit=limit)
    leaves = tuple(_receipt_bytes(receipt, place) for place, receipt in enumerate(receipts))
    tree = levels(leaves)
    payload = encode_record(BatchRoot(root(tree), len(leaves), node, signed_at_ns))
    with _usage("batch"):
        _root(payload)
    return payload, leaves, tuple(path(tree, index) for index in range(len(leaves)))


def sign_batch(key: NodeKey, network: str, receipts: Sequence[Receipt], signed_at_ns: int) -> tuple[SignedReceipt, ...]:
    """One signature over all receipts, in their order. Raises as `batch` and `signing.sign`."""
    payload, leaves, paths = batch(receipts, key.hash, signed_at_ns)
    signed_root = sign(key, OBJECT_TYPE, network, payload)
    return tuple(
        SignedReceipt(leaf, index, steps, signed_root, key.public_key)
        for index, (leaf, steps) in enumerate(zip(leaves, paths, strict=True))
    )


def encode(signed: SignedReceipt) -> bytes:
    """The file of a signed receipt: 5.5 to 8 KiB."""
    return encode_record(signed)


def signer(data: bytes) -> str:
    """The id of the node whose key is in a file of `encode`: who it says signed it, which `check` then finds true or
    not. Raises PeerError."""
    with _step("file"):
        signed = decode_record(data, SignedReceipt, bytes_max=SIGNED_RECEIPT_BYTES_MAX, items_max=SIGNED_RECEIPT_ITEMS)
    return node_id_of_hash(node_hash(signed.public_key))


def check(data: bytes, node: str, network: str) -> Receipt:
    """The receipt in a file of `encode`, if the node with id `node` signed it for `network`.

    Raises:
        UsageError: `node` is no node id, or `network` no network id.
        PeerError: the first step that failed is the head of `where`: file, node, signature, root, path, receipt.
    """
    expected = parse_node_id(node)
    with _step("file"):
        signed = decode_record(data, SignedReceipt, bytes_max=SIGNED_RECEIPT_BYTES_MAX, items_max=SIGNED_RECEIPT_ITEMS)
    with _step("node"):
        found = node_hash(signed.public_key)
        if found != expected:
            raise PeerError(f"signed by {node_id_of_hash(found)}; {node} expected")
    with _step("signature"):
        payload = verify(signed.public_key, OBJECT_TYPE, network, signed.signed_root)
    with _step("root"):
        top = _root(payload)
        if top.node != expected:
            raise PeerError(f"it names {node_id_of_hash(top.node)}; {node} expected")
    with _step("path"):
        if root_of_path(signed.receipt, signed.index, top.size, signed.path) != top.root:
            raise PeerError("the path from the receipt leads to another root than the signed one")
    with _step("receipt"):
        return read_receipt(signed.receipt)


def read_receipt(data: bytes) -> Receipt:
    """The receipt of these bytes, whoever wrote them. Raises PeerError."""
    receipt = decode_record(data, Receipt, bytes_max=RECEIPT_BYTES_MAX, items_max=RECEIPT_ITEMS)
    _check(receipt)
    return receipt


def _check(receipt: Receipt) -> None:
    if (receipt.result_hash is not None) != (receipt.status == "done"):
        has = "no" if receipt.result_hash is None else "a"
        raise PeerError(f"{has} result hash with status {receipt.status}", where="result_hash")


def _receipt_bytes(receipt: Receipt, place: int) -> bytes:
    """Held to the rules of a reader; what `encode_record` writes is canonical."""
    plain = msgspec.to_builtins(receipt, builtin_types=(bytes,), order="deterministic")
    try:
        _check(canonical.to_record(plain, Receipt))
    except PeerError as error:
        where = f"receipt {place}, {error.where}" if error.where else f"receipt {place}"
        raise UsageError(error.what, where=where, limit=error.limit) from error
    return canonical.encode(plain)


def _root(payload: bytes) -> BatchRoot:
    return decode_record(payload, BatchRoot, bytes_max=ROOT_BYTES_MAX, items_max=ROOT_ITEMS)


@contextmanager
def _step(name: str) -> Iterator[None]:
    try:
        yield
    except PeerError as error:
        where = f"{name}, {error.where}" if error.where else name
        raise PeerError(error.what, where=where, limit=error.limit, evidence=error.evidence) from error


@contextmanager
def _usage(name: str) -> Iterator[None]:
    """Our own record, held to the rules of a reader: the caller must act, not a peer."""
    try:
        yield
    except PeerError as error:
        where = f"{name}, {error.where}" if error.where else name
        raise UsageError(error.what, where=where, limit=error.limit) from error
