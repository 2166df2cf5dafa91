"""Receipts: bytes that stand, files that anyone can check, and the step at which a forgery fails. Nouns: `records`."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import cbor2
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.verify.regenerate import ANSWERS, BATCH, DONE, FILE, NETWORK, REFUSED, SIGNED_AT_NS

from qcommons.base.canonical import encode_record
from qcommons.base.errors import PeerError, UsageError
from qcommons.engines.records import Answer
from qcommons.pqc.identity import NodeKey
from qcommons.pqc.signing import OVERHEAD_BYTES_MAX, sign
from qcommons.verify.merkle import levels, path
from qcommons.verify.receipt import (
    OBJECT_TYPE,
    RECEIPT_BYTES_MAX,
    SIGNED_RECEIPT_BYTES_MAX,
    answer_bytes,
    batch,
    check,
    encode,
    result_hash,
    sign_batch,
)  # fmt: skip
from qcommons.verify.records import BATCH_MAX, PATH_MAX, BatchRoot, Receipt, SignedReceipt

VECTORS = json.loads(FILE.read_text())["vectors"]
KEY = NodeKey(bytes(range(32)))
STRANGER = NodeKey(b"\x01" * 32)
SIGNED = sign_batch(KEY, NETWORK, BATCH, SIGNED_AT_NS)
DATA = encode(SIGNED[2])


@pytest.mark.parametrize("vector", VECTORS["answers"], ids=lambda vector: vector["name"])
def test_published_answer_bytes_stand(vector: dict[str, str]) -> None:
    answer = ANSWERS[vector["name"]]
    assert answer_bytes(answer).hex() == vector["bytes"]
    assert result_hash(answer) == hashlib.sha3_256(bytes.fromhex(vector["bytes"])).digest()
    assert result_hash(answer).hex() == vector["hash"]


@pytest.mark.parametrize("index", range(len(BATCH)))
def test_published_files_check(index: int) -> None:
    vector = VECTORS["receipts"][index]
    assert encode_record(BATCH[index]).hex() == vector["receipt"]
    assert check(bytes.fromhex(vector["file"]), VECTORS["node_id"], VECTORS["network"]) == BATCH[index]


def test_counts_hash_alike_in_any_order_and_differ_in_any_number() -> None:
    counts = ANSWERS["counts"].counts or {}
    turned = Answer("other", "other", counts=dict(reversed(counts.items())), facts={"seen": 1.0})
    assert result_hash(turned) == result_hash(ANSWERS["counts"])
    for other in ({"11": 3, "00": 257}, {"11": 2, "01": 258}, {"11": 260}, {}):
        assert result_hash(Answer("stim", "frames", counts=other)) != result_hash(ANSWERS["counts"])
    assert result_hash(msgspec.structs.replace(ANSWERS["counts"], error_bound=0.1)) != result_hash(ANSWERS["counts"])


def test_one_signature_serves_a_whole_batch() -> None:
    assert len({signed.signed_root for signed in SIGNED}) == 1
    assert [check(encode(signed), KEY.id, NETWORK) for signed in SIGNED] == list(BATCH)


def test_the_largest_file_is_within_its_limits() -> None:
    """Longest fields and the deepest tree; the path is not a real one."""
    long, wide = "x" * 128, (1 << 64) - 1
    largest = msgspec.structs.replace(
        DONE, run=wide, want=long, engine=long, engine_version=long, method=long, seed=wide, shots=wide,
        work_units=wide, duration_ns=wide, ended_at_ns=wide,
    )  # fmt: skip
    assert len(encode_record(largest)) <= RECEIPT_BYTES_MAX
    root = sign(KEY, OBJECT_TYPE, "n" * 64, bytes(128))
    assert len(root) <= 128 + OVERHEAD_BYTES_MAX
    file = SignedReceipt(bytes(RECEIPT_BYTES_MAX), BATCH_MAX - 1, (bytes(32),) * PATH_MAX, root, KEY.public_key)
    assert len(encode(file)) <= SIGNED_RECEIPT_BYTES_MAX


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"job_id": "job_1"}, "job_id"),
        ({"job_id": DONE.job_id + "\n"}, "job_id"),
        ({"program_id": "0" * 63}, "program_id"),
        ({"want": "x" * 129}, "want"),
        ({"engine": "a\nb"}, "engine"),
        ({"run": -1}, "run"),
        ({"work_units": 1.5}, "work_units"),
        ({"shots": 1 << 64}, None),
        ({"result_hash": bytes(31)}, "result_hash"),
        ({"physics": "magic"}, "physics"),
        ({"status": "fine"}, "status"),
        ({"status": "failed"}, "result_hash"),
        ({"result_hash": None}, "result_hash"),
    ],
)
def test_a_receipt_that_breaks_a_rule_is_not_signed(change: dict[str, Any], where: str | None) -> None:
    broken = msgspec.structs.replace(DONE, **change)
    with pytest.raises(UsageError) as caught:
        sign_batch(KEY, NETWORK, [DONE, broken], SIGNED_AT_NS)
    if where is not None:
        assert (caught.value.where or "").startswith("receipt 1, ")


def test_batches_have_at_least_one_receipt_and_an_honest_head() -> None:
    with pytest.raises(UsageError, match="0 receipts"):
        sign_batch(KEY, NETWORK, [], SIGNED_AT_NS)
    for node, at_ns in ((bytes(31), 0), (bytes(32), -1)):
        with pytest.raises(UsageError):
            batch([DONE], node, at_ns)


def forged(receipts: tuple[Receipt, ...] = BATCH, index: int = 2, key: NodeKey = KEY, **changes: Any) -> bytes:
    """A file that `key` made with some of its parts replaced."""
    leaves = [encode_record(receipt) for receipt in receipts]
    tree = levels(leaves)
    top = BatchRoot(tree[-1][0], len(leaves), changes.pop("node", key.hash), SIGNED_AT_NS)
    payload = changes.pop("payload", encode_record(top))
    object_type = changes.pop("object_type", OBJECT_TYPE)
    fields = {
        "receipt": leaves[index],
        "index": index,
        "path": path(tree, index),
        "signed_root": sign(key, object_type, changes.pop("network", NETWORK), payload),
        "public_key": key.public_key,
    }
    return encode_record(SignedReceipt(**(fields | changes)))


def test_an_unforged_file_is_accepted() -> None:
    assert check(forged(), KEY.id, NETWORK) == BATCH[2]


@pytest.mark.parametrize(
    ("data", "step"),
    [
        (b"", "file, byte 0"),
        (bytes(SIGNED_RECEIPT_BYTES_MAX + 1), "file, length"),
        (cbor2.dumps(["qcommons/receipt-file.2", b"", 0, [], b"", KEY.public_key]), "file"),
        (forged(path=(b"short",)), "file"),
        (forged(public_key=b"short"), "file"),
        (forged(key=STRANGER), "node"),
        (forged(public_key=STRANGER.public_key), "node"),
        (forged(network="mars"), "signature, network"),
        (forged(object_type="qcommons/votes.1"), "signature, object type"),
        (forged(signed_root=forged()), "signature, envelope"),
        (forged(payload=b"\x80"), "root"),
        (forged(node=STRANGER.hash), "root"),
        (forged(receipt=encode_record(DONE)), "path"),
        (forged(path=()), "path, length"),
        (forged(path=SIGNED[0].path), "path, length"),
        (forged(receipts=(DONE, msgspec.structs.replace(DONE, status="failed")), index=1), "receipt, result_hash"),
        (forged(receipts=(DONE, msgspec.structs.replace(DONE, run=-1)), index=1), "receipt"),
    ],
)
def test_a_forgery_fails_at_a_named_step(data: bytes, step: str) -> None:
    with pytest.raises(PeerError) as caught:
        check(data, KEY.id, NETWORK)
    assert (caught.value.where or "").startswith(step)


def test_who_checks_names_node_and_network_rightly() -> None:
    with pytest.raises(UsageError, match="checksum"):
        check(DATA, KEY.id[:-1] + "q", NETWORK)
    with pytest.raises(UsageError, match="network id"):
        check(DATA, KEY.id, "")
    with pytest.raises(PeerError, match=STRANGER.id):
        check(DATA, STRANGER.id, NETWORK)


def test_a_refused_run_has_a_receipt_without_a_result() -> None:
    receipt = check(encode(SIGNED[1]), KEY.id, NETWORK)
    assert receipt == REFUSED
    assert (receipt.status, receipt.result_hash, receipt.physics) == ("refused", None, "none")


@given(st.integers(0, len(DATA) - 1))
@settings(max_examples=60)
def test_truncated_files_are_the_peers_error(length: int) -> None:
    with pytest.raises(PeerError):
        check(DATA[:length], KEY.id, NETWORK)


@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
@settings(max_examples=200)
def test_any_changed_byte_is_the_peers_error(place: int, change: int) -> None:
    mutated = bytearray(DATA)
    mutated[place] ^= change
    with pytest.raises(PeerError):
        check(bytes(mutated), KEY.id, NETWORK)


counted = st.dictionaries(st.integers(0, 255).map(lambda n: f"{n:08b}"), st.integers(1, 1 << 40), max_size=20)


@given(counted)
def test_answer_bytes_give_the_counts_back(counts: dict[str, int]) -> None:
    """Read as the page says: nothing of the counts is lost."""
    (n_bits, bits, shots), *_ = cbor2.loads(answer_bytes(Answer("e", "m", counts=counts)))
    keys = [bits[at : at + n_bits] for at in range(0, len(bits), n_bits or 1)]
    values = [int.from_bytes(shots[at : at + 8], "little") for at in range(0, len(shots), 8)]
    assert dict(zip(keys, values, strict=True)) == counts
