"""Asks and leases: signed, of one spelling, checked offline, and no lease beyond what its ask says."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import cbor2
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.jobs.asks_vectors import (
    ASKS,
    EBITS,
    FILE,
    FREE,
    HOLDER,
    LEASES,
    NETWORK,
    NODE,
    NOW_S,
    OTHER,
    SPAN,
    WINDOW,
    WORK,
)  # fmt: skip

from qcommons.base.canonical import encode_record
from qcommons.base.errors import PeerError, UsageError
from qcommons.jobs.asks import (
    ASK_BYTES_MAX,
    ASK_FILE_BYTES_MAX,
    LIFE_S_MAX,
    OBJECT_TYPE,
    Ask,
    Lease,
    SignedAsk,
    ask_hash,
    check_ask,
    check_lease,
    contradiction,
    due_units,
    read_ask,
    sign_ask,
    why_closed,
    why_untimely,
)  # fmt: skip
from qcommons.pqc.signing import sign

VECTORS = json.loads(FILE.read_text())["vectors"]
FILES = [bytes.fromhex(vector["file"]) for vector in VECTORS["asks"]]


def changed(record: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(record, **fields)


@pytest.mark.parametrize("vector", VECTORS["asks"], ids=lambda vector: vector["name"])
def test_published_asks_stand(vector: dict[str, str]) -> None:
    ask = ASKS[vector["name"]]
    assert encode_record(ask).hex() == vector["ask"]
    assert ask_hash(ask).hex() == vector["hash"]
    assert check_ask(bytes.fromhex(vector["file"]), VECTORS["network"]) == ask
    assert read_ask(bytes.fromhex(vector["file"])) == ask


@pytest.mark.parametrize("vector", VECTORS["leases"], ids=lambda vector: vector["name"])
def test_published_leases_stand(vector: dict[str, str]) -> None:
    lease, ask = LEASES[vector["name"]]
    assert encode_record(lease).hex() == vector["lease"]
    check_lease(lease, ask)


def test_an_ask_is_the_array_that_its_page_says() -> None:
    """Written by hand after the CDDL, encoded by cbor2 alone."""
    windows = [[1_800_000_600, 1_800_001_200], [1_800_007_200, 1_800_007_800]]
    fields = [
        NODE.hash, "ebits", (1 << 63) - 1, 40, 1, 930_000, 1_800_000_000, 1_800_086_400, windows, True, 1,
        1_800_000_000_000,
    ]  # fmt: skip
    data = cbor2.dumps(fields)
    assert encode_record(EBITS) == data
    assert ask_hash(EBITS) == hashlib.sha3_256(data).digest()


def test_the_largest_ask_fits() -> None:
    until_s = (1 << 40) - 1
    ask = changed(
        EBITS, capacity_per_s=(1 << 63) - 1, places=1 << 16, fidelity_ppm=10**6, not_before_s=until_s - 16,
        until_s=until_s, windows=tuple((until_s - 16 + 2 * k, until_s - 15 + 2 * k) for k in range(8)), terms=65_535,
        seq=(1 << 53) - 1,
    )  # fmt: skip
    assert len(encode_record(ask)) <= ASK_BYTES_MAX
    data = sign_ask(NODE, "n" * 64, ask)
    assert len(data) <= ASK_FILE_BYTES_MAX
    assert check_ask(data, "n" * 64) == ask


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"node": HOLDER.hash}, "node"),
        ({"node": b"short"}, ""),
        ({"resource": "gold"}, ""),
        ({"price_per_giga": -1}, ""),
        ({"price_per_giga": 1 << 63}, ""),
        ({"price_per_giga": 1.5}, ""),
        ({"places": 0}, "places"),
        ({"capacity_per_s": 0}, "places"),
        ({"places": (1 << 16) + 1}, ""),
        ({"fidelity_ppm": 900_000}, "fidelity_ppm"),
        ({"resource": "ebits"}, "fidelity_ppm"),
        ({"until_s": NOW_S}, "until_s"),
        ({"until_s": NOW_S + LIFE_S_MAX + 1}, "until_s"),
        ({"windows": ((NOW_S + 9, NOW_S + 9),)}, "windows"),
        ({"windows": ((NOW_S - 1, NOW_S + 9),)}, "windows"),
        ({"windows": ((NOW_S, NOW_S + 86_401),)}, "windows"),
        ({"windows": ((NOW_S, NOW_S + 9), (NOW_S + 8, NOW_S + 20))}, "windows"),
        ({"windows": tuple((NOW_S + k, NOW_S + k + 1) for k in range(9))}, ""),
        ({"terms": 0}, ""),
        ({"seq": 0}, ""),
    ],
)
def test_an_ask_that_breaks_a_rule_is_neither_signed_nor_read(change: dict[str, Any], where: str) -> None:
    bad = changed(WORK, **change)
    with pytest.raises(UsageError) as caught:
        sign_ask(NODE, NETWORK, bad)
    assert (caught.value.where or "").startswith(where)
    data = encode_record(SignedAsk(sign(NODE, OBJECT_TYPE, NETWORK, encode_record(bad)), NODE.public_key))
    for read in (read_ask, lambda data: check_ask(data, NETWORK)):
        with pytest.raises(PeerError):
            read(data)


def test_a_file_of_another_network_type_or_key_is_refused() -> None:
    with pytest.raises(PeerError, match="'home'"):
        check_ask(FILES[0], "elsewhere")
    payload = encode_record(WORK)
    vote = encode_record(SignedAsk(sign(NODE, "qcommons/vote.1", NETWORK, payload), NODE.public_key))
    with pytest.raises(PeerError) as caught:
        check_ask(vote, NETWORK)
    assert caught.value.where == "object type"
    stolen = encode_record(SignedAsk(sign(NODE, OBJECT_TYPE, NETWORK, payload), HOLDER.public_key))
    with pytest.raises(PeerError):
        check_ask(stolen, NETWORK)


@given(at=st.integers(0, len(FILES[0]) - 1), flip=st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_no_byte_of_a_file_can_be_changed(at: int, flip: int) -> None:
    data = bytearray(FILES[0])
    data[at] ^= flip
    with pytest.raises(PeerError):
        check_ask(bytes(data), NETWORK)


@given(data=st.binary(max_size=400))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_an_ask_or_a_peer_error(data: bytes) -> None:
    with pytest.raises(PeerError):
        read_ask(data)


def test_two_asks_of_one_seq_prove_their_author_false_and_nothing_else_does() -> None:
    other = bytes.fromhex(VECTORS["contradicts the first"])
    assert contradiction(FILES[0], other, NETWORK) == NODE.hash
    assert contradiction(FILES[0], sign_ask(NODE, NETWORK, WORK), NETWORK) is None  # the same, signed again
    assert contradiction(FILES[0], FILES[1], NETWORK) is None  # another resource
    assert contradiction(FILES[0], FILES[2], NETWORK) is None  # a later one
    other_node = sign_ask(HOLDER, NETWORK, changed(OTHER, node=HOLDER.hash))
    assert contradiction(FILES[0], other_node, NETWORK) is None


@pytest.mark.parametrize(
    ("now_s", "why"),
    [
        (NOW_S - 601, "in the future"),
        (NOW_S - 600, ""),
        (NOW_S + 86_399, ""),
        (NOW_S + 86_400, "expired"),
    ],
)
def test_an_ask_counts_from_its_making_less_the_skew_until_it_expires(now_s: int, why: str) -> None:
    found = why_untimely(WORK, now_s)
    assert why in found
    assert bool(found) == bool(why)


@pytest.mark.parametrize(
    ("ask", "now_s", "why"),
    [
        (WORK, NOW_S, ""),
        (WORK, NOW_S - 60, "begins in 1 min"),
        (ASKS["nothing any more"], NOW_S, "offers nothing"),
        (EBITS, NOW_S, "next contact window opens in 10 min"),
        (EBITS, NOW_S + 600, ""),
        (EBITS, NOW_S + 1_200, "next contact window opens in 1 h 40 min"),
        (EBITS, NOW_S + 7_800, "windows are over"),
        (EBITS, NOW_S + 86_400, "expired"),
    ],
)
def test_a_closed_ask_says_why_and_until_when(ask: Ask, now_s: int, why: str) -> None:
    found = why_closed(ask, now_s)
    assert why in found
    assert bool(found) == bool(why)


@pytest.mark.parametrize(
    ("price", "units", "due"), [(0, 10**9, 0), (1, 1, 1), (250, 4 * 10**9, 1_000), (250, 10**6, 1), (3, 10**9 + 1, 4)]
)
def test_what_is_due_is_rounded_up(price: int, units: int, due: int) -> None:
    assert due_units(price, units) == due


@pytest.mark.parametrize(
    ("lease", "ask", "where"),
    [
        (changed(SPAN, until_s=SPAN.from_s), WORK, "until_s"),
        (changed(SPAN, holder=NODE.hash), WORK, "holder"),
        (changed(SPAN, ask=ask_hash(OTHER)), WORK, "ask"),
        (changed(SPAN, node=HOLDER.hash, holder=NODE.hash), WORK, "node"),
        (changed(SPAN, resource="slots"), WORK, "resource"),
        (changed(SPAN, price_per_giga=249), WORK, "price_per_giga"),
        (changed(SPAN, transferable=True), WORK, "transferable"),
        (changed(SPAN, from_s=NOW_S - 1), WORK, "from_s"),
        (changed(SPAN, until_s=NOW_S + 86_401), WORK, "from_s"),
        (changed(SPAN, during="window"), WORK, "from_s"),
        (changed(WINDOW, from_s=NOW_S + 601), EBITS, "from_s"),
        (changed(WINDOW, during="span", until_s=NOW_S + 7_800), EBITS, "from_s"),
        (SPAN, None, "ask"),
        (FREE, WORK, "ask"),
        (changed(FREE, price_per_giga=1), None, "ask"),
        (changed(FREE, transferable=True), None, "ask"),
        (changed(FREE, during="window"), None, "ask"),
    ],
)
def test_a_lease_beyond_its_ask_is_refused(lease: Lease, ask: Ask | None, where: str) -> None:
    with pytest.raises(PeerError) as caught:
        check_lease(lease, ask)
    assert caught.value.where == where


def test_a_span_inside_of_a_contact_window_is_fine() -> None:
    check_lease(changed(WINDOW, during="span", from_s=NOW_S + 700, until_s=NOW_S + 800), EBITS)


def test_no_ask_or_lease_holds_a_float() -> None:
    def floats(value: Any) -> bool:
        return any(map(floats, value)) if isinstance(value, (list, tuple)) else isinstance(value, float)

    assert not any(floats(msgspec.to_builtins(record)) for record in (*ASKS.values(), SPAN, WINDOW, FREE))
