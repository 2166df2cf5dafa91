"""Messages of work between nodes: one spelling each, read with bounds, whole across versions."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import cbor2
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.jobs.work_vectors import (
    FILE,
    LEASE,
    LEASE_ID,
    MESSAGES,
    NETWORK,
    OFFERS,
    PIECE,
    PLAIN,
    SALT,
    WORK,
    WORKER,
    WORKS,
    receipts,
)  # fmt: skip

from qcommons.base.canonical import encode, encode_record
from qcommons.base.errors import PeerError
from qcommons.jobs.offer import (
    ITEMS_MAX,
    LEASE_BYTES,
    OFFER_BYTES_MAX,
    PART_BYTES,
    offer_bytes,
    piece_of,
    read_offer,
    task_of,
    work_bytes,
)
from qcommons.jobs.outcomes import Done, Refused
from qcommons.jobs.report import REPORT_BYTES_MAX, read_report
from qcommons.jobs.work import (
    BYTES_MAX,
    COLLECT,
    DECLINED_KINDS,
    OFFER,
    OPEN,
    PART,
    PROTOCOLS,
    TEXT_MAX,
    Committed,
    Declined,
    Drop,
    Granted,
    LeaseRef,
    Message,
    Opened,
    Over,
    Ready,
    Running,
    WantPart,
    job_of,
    part_count,
    read,
    said,
    salt_of,
)
from qcommons.mesh.exchange import BODY_BYTES_MAX
from qcommons.verify.replicate import commit_to

VECTORS = json.loads(FILE.read_text())["vectors"]
CLASSES: tuple[type[Message], ...] = (
    Granted, Declined, LeaseRef, WantPart, Running, Committed, Ready, Opened, Over, Drop,
)  # fmt: skip


# published bytes


@pytest.mark.parametrize("vector", VECTORS["messages"], ids=lambda vector: vector["name"])
def test_published_messages_stand(vector: dict[str, str]) -> None:
    protocol, side, message = MESSAGES[vector["name"]]
    data = bytes.fromhex(vector["bytes"])
    assert (vector["protocol"], vector["is"]) == (protocol, side)
    assert said(message) == data
    assert read(type(message), data) == message
    if side == "answered":
        assert read(protocol, data) == message


def test_every_message_and_protocol_has_a_vector() -> None:
    assert {type(message) for _, _, message in MESSAGES.values()} == set(CLASSES)
    asked = {protocol for protocol, side, _ in MESSAGES.values() if side == "asked"}
    answered = {protocol for protocol, side, _ in MESSAGES.values() if side == "answered"}
    # an offer and a verdict have forms of their own; a part is answered with its bytes
    assert asked | {OFFER, "work.verdict/1"} == answered | {PART} == set(PROTOCOLS)
    assert {message.kind for _, _, message in MESSAGES.values() if isinstance(message, Declined)} == set(DECLINED_KINDS)


@pytest.mark.parametrize("vector", VECTORS["works"], ids=lambda vector: vector["name"])
def test_published_work_stands(vector: dict[str, str]) -> None:
    data = bytes.fromhex(vector["work"])
    assert data == WORKS[vector["name"]]
    assert hashlib.sha3_256(data).hexdigest() == vector["task"]
    assert work_bytes(piece_of(data, task_of(data), "here.0", PIECE.limits)) == data


@pytest.mark.parametrize("vector", VECTORS["offers"], ids=lambda vector: vector["name"])
def test_published_offers_stand(vector: dict[str, str]) -> None:
    offer = OFFERS[vector["name"]]
    assert offer_bytes(offer).hex() == vector["offer"]
    assert read_offer(bytes.fromhex(vector["offer"])) == offer


def test_the_published_report_is_read_as_it_was_meant() -> None:
    data = bytes.fromhex(VECTORS["report"]["report"])
    piece = piece_of(WORK, task_of(WORK), "here.0", PIECE.limits)
    found = read_report(data, piece, bytes.fromhex(VECTORS["worker_key"]), VECTORS["network"])
    assert [run.receipt_bytes.hex() for run in found.runs] == VECTORS["report"]["receipts"]
    assert [encode_record(one).hex() for one in receipts()] == VECTORS["report"]["receipts"]
    *done, refused = (run.outcome for run in found.runs)
    answers = [one.execution.answer for one in done if isinstance(one, Done)]
    assert [one.counts for one in answers] == [{"00": 52, "11": 48}, None, None, None]
    assert [one.estimates[0].value for one in answers if one.estimates] == [-1.5]
    assert [one.amplitudes for one in answers[2:]] == [((0.5**0.5, 0.0),) * 2] * 2
    assert isinstance(refused, Refused) and "needs 3 TiB" in refused.what


def test_published_commitments_stand() -> None:
    """The job id, the salts and the commitments by hand after the page, encoded by cbor2 alone."""
    replica = VECTORS["replica"]
    names = ("lease", "holder", "task", "salt", "node")
    lease, holder, task, salt, node = (bytes.fromhex(replica[name]) for name in names)
    digest = hashlib.sha3_256(b"qcommons job id" + cbor2.dumps(["qcommons/hired.1", lease, holder, task])).digest()
    job = "job_" + base64.b32encode(digest[:10]).decode().lower()
    assert replica["job_id"] == job == job_of(lease, holder, task) and (lease, node) == (LEASE_ID, WORKER.hash)
    others = (bytes(16), holder, task), (lease, bytes(32), task), (lease, holder, bytes(32))
    assert all(job_of(*other) != job for other in others), "two works under one lease are two jobs"
    for run, digest in enumerate(replica["result_hashes"]):
        own = hashlib.sha3_256(cbor2.dumps(["qcommons/salt.1", salt, run])).digest()
        assert own == salt_of(SALT, run) == bytes.fromhex(replica["salts"][run])
        value = cbor2.dumps([replica["job_id"], run, bytes.fromhex(digest)])
        by_hand = hashlib.sha3_256(cbor2.dumps(["qcommons/commitment.1", "replica", node, own, value])).hexdigest()
        assert by_hand == replica["commitments"][run]
        assert commit_to(job, run, node, own, bytes.fromhex(digest))[0].hex() == by_hand


# the form


def test_messages_are_the_arrays_that_their_page_says() -> None:
    """Written by hand after the CDDL, encoded by cbor2 alone."""
    lease = [LEASE.id, LEASE.node, LEASE.holder, "work", 4_096, 0, "span", LEASE.from_s, LEASE.until_s, False, None]
    digest = hashlib.sha3_256(b"report").digest()
    by_hand = {
        "granted": ["granted", lease],
        "declined, come again": ["declined", "busy", "2 leases of yours are open here", 5 * 10**9],
        "declined work": ["declined", "work", "", None],
        "a part of the work": ["part", LEASE_ID, "work", 31],
        "collect": ["lease", LEASE_ID],
        "running": ["running", 0, 5],
        "committed": ["committed", bytes(range(64))],
        "ready": ["report", 6, digest, b"report"],
        "opened": ["opened", SALT, 6, digest, b"report"],
        "given up": ["over", "given up", "cancelled by the owner"],
        "drop": ["drop", LEASE_ID, "another was first"],
    }
    for name, fields in by_hand.items():
        assert said(MESSAGES[name][2]) == cbor2.dumps(fields), name
    offer = [
        LEASE_ID, "job_aaaaaaaaaaaaaaaa", "3", task_of(WORK), len(WORK), WORK, 60 * 10**9, 1 << 30, False, 0, None,
        None, "",
    ]  # fmt: skip
    assert offer_bytes(PLAIN) == cbor2.dumps(offer)


def test_the_longest_messages_fit_into_a_request() -> None:
    text = "\U0001f300" * TEXT_MAX  # 4 bytes each
    first, digest = bytes(PART_BYTES), bytes(32)
    for message in (
        Opened(bytes(32), REPORT_BYTES_MAX, digest, first), Ready(REPORT_BYTES_MAX, digest, first),
        Over("unknown", text), Committed(bytes(32 * ITEMS_MAX)), Declined("terms", text, (1 << 63) - 1),
        Drop(bytes(LEASE_BYTES), text), WantPart(bytes(LEASE_BYTES), "report", REPORT_BYTES_MAX // PART_BYTES - 1),
    ):  # fmt: skip
        data = said(message)
        assert read(type(message), data) == message
        assert len(data) <= BYTES_MAX <= BODY_BYTES_MAX
    long = msgspec.structs.replace(
        PLAIN, job="j" * 128, piece="p" * 128, purpose="c" * 128, work_bytes=PART_BYTES, first=first,
        within_ns=(1 << 63) - 1, memory_bytes=(1 << 63) - 1, price_max=(1 << 63) - 1, ask=digest, audit=digest,
    )  # fmt: skip
    assert read_offer(offer_bytes(long)) == long
    assert len(offer_bytes(long)) <= OFFER_BYTES_MAX <= BODY_BYTES_MAX
    assert part_count(1) == part_count(PART_BYTES) == 1 and part_count(PART_BYTES + 1) == 2


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (LeaseRef, ["lease", bytes(15)]),
        (LeaseRef, ["lease", bytes(17)]),
        (LeaseRef, ["lease", "x" * 16]),
        (LeaseRef, ["lease", LEASE_ID, 1]),
        (LeaseRef, ["lease"]),
        (LeaseRef, ["drop", LEASE_ID]),
        (WantPart, ["part", LEASE_ID, "secrets", 0]),
        (WantPart, ["part", LEASE_ID, "report", -1]),
        (WantPart, ["part", LEASE_ID, "report", 128]),
        (WantPart, ["part", LEASE_ID, "report", 1.0]),
        (Drop, ["drop", LEASE_ID, "x" * 1_001]),
        (OFFER, ["granted", ["too", "short"]]),
        (OFFER, ["declined", "mood", "not today", None]),
        (OFFER, ["declined", "busy", "later", -1]),
        (OFFER, ["declined", "busy", "later", 1 << 63]),
        (OFFER, ["declined", "busy", "later"]),
        (OFFER, ["running", 0, 1]),
        (COLLECT, ["running", -1, 1]),
        (COLLECT, ["running", 0, 10_001]),
        (COLLECT, ["committed", bytes(32 * ITEMS_MAX + 1)]),
        (COLLECT, ["report", 0, bytes(32), b""]),
        (COLLECT, ["report", REPORT_BYTES_MAX + 1, bytes(32), b""]),
        (COLLECT, ["report", 1, bytes(31), b"x"]),
        (COLLECT, ["report", 1, bytes(32), bytes(PART_BYTES + 1)]),
        (COLLECT, ["opened", bytes(32), 1, bytes(32), b"x"]),
        (COLLECT, ["over", "elsewhere", "who knows"]),
        (OPEN, ["opened", bytes(31), 1, bytes(32), b"x"]),
        (OPEN, ["report", 1, bytes(32), b"x"]),
    ],
)
def test_what_breaks_a_rule_of_its_fields_is_refused(kind: Any, fields: list[Any]) -> None:
    with pytest.raises(PeerError):
        read(kind, cbor2.dumps(fields))


# any bytes


def _round(kind: Any) -> Callable[[bytes], bytes]:
    return lambda data: said(read(kind, data))


def _work(data: bytes) -> bytes:
    return work_bytes(piece_of(data, task_of(data), "here.0", PIECE.limits))


READERS: dict[str, Callable[[bytes], bytes]] = {
    "offer": lambda data: offer_bytes(read_offer(data)),
    "work": _work,
    **{kind.__name__: _round(kind) for kind in CLASSES},
    **{f"answer of {protocol}": _round(protocol) for protocol in PROTOCOLS if protocol != PART},
}
GOOD = [bytes.fromhex(one["bytes"]) for one in VECTORS["messages"]]
GOOD += [bytes.fromhex(one["offer"]) for one in VECTORS["offers"]] + list(WORKS.values())


def _comes_back_or_is_refused(data: bytes) -> None:
    for name, comes_back in READERS.items():
        try:
            again = comes_back(data)
        except PeerError:
            continue
        assert again == data, name


@given(st.binary(max_size=120))
@example(b"")
@settings(deadline=None)
def test_any_bytes_come_back_as_they_were_or_are_refused(data: bytes) -> None:
    _comes_back_or_is_refused(data)


@given(good=st.sampled_from(GOOD), data=st.data())
@settings(deadline=None, max_examples=300)
def test_a_changed_message_comes_back_as_it_was_changed_or_is_refused(good: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(good) - 1))
    cut, insert = data.draw(st.integers(0, 3)), data.draw(st.binary(max_size=3))
    _comes_back_or_is_refused(good[:at] + insert + good[at + cut :])


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-1, (1 << 64) - 1), st.binary(max_size=33), st.text(max_size=8),
              st.sampled_from(["granted", "declined", "lease", "part", "report", "qcommons/work.1", LEASE_ID])),
    lambda inner: st.one_of(st.lists(inner, max_size=6), st.dictionaries(st.text(max_size=4), inner, max_size=2)),
    max_leaves=20,
)  # fmt: skip


@given(VALUES)
@settings(deadline=None, max_examples=300)
def test_any_value_comes_back_as_it_was_or_is_refused(value: Any) -> None:
    _comes_back_or_is_refused(encode(value))


@given(at=st.integers(0, len(VECTORS["report"]["report"]) // 2 - 1), flip=st.integers(1, 255))
@settings(deadline=None, max_examples=150)
def test_a_report_with_any_byte_changed_is_refused_or_says_the_same(at: int, flip: int) -> None:
    """Only reasons and notes are not signed for: they are for people."""
    good = bytes.fromhex(VECTORS["report"]["report"])
    data = bytearray(good)
    data[at] ^= flip
    piece = piece_of(WORK, task_of(WORK), "here.0", PIECE.limits)
    read_good = read_report(good, piece, WORKER.public_key, NETWORK)
    try:
        found = read_report(bytes(data), piece, WORKER.public_key, NETWORK)
    except PeerError:
        return
    assert [run.receipt_bytes for run in found.runs] == [run.receipt_bytes for run in read_good.runs]
    for one, other in zip(found.runs, read_good.runs, strict=True):
        if isinstance(one.outcome, Done):
            assert isinstance(other.outcome, Done)
            assert one.outcome.execution.answer == other.outcome.execution.answer
