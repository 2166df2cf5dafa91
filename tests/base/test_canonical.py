"""Canonical CBOR against RFC 8949's own vectors, an independent rule for each refusal, and limits."""

from __future__ import annotations

import contextlib
import json
import math
import struct
import time
import tracemalloc
from pathlib import Path
from typing import Any

import cbor2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcommons.base.canonical import (
    BIGNUM,
    TAGS,
    decode,
    decode_record,
    decode_signed,
    encode,
    encode_record,
    to_record,
)
from qcommons.base.errors import PeerError, UsageError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "canonical.json").read_text())
MIB = 1 << 20


def read(data: bytes, **limits: Any) -> Any:
    return decode(data, **{"bytes_max": MIB, "items_max": 1 << 15, **limits})


def value_of(noted: Any) -> Any:
    match noted:
        case {"float": text}:
            return float(text)
        case {"bytes": digits}:
            return bytes.fromhex(digits)
        case {"map": pairs}:
            return {key: value_of(item) for key, item in pairs}
        case [*items]:
            return [value_of(item) for item in items]
    return noted


def same(a: Any, b: Any) -> bool:
    """Equal with types, signs of zero and NaN told apart."""
    return repr(a) == repr(b)


@pytest.mark.parametrize("row", VECTORS["accepted"], ids=lambda row: row["hex"][:24])
def test_rfc_8949_appendix_a_value_and_bytes_agree(row: dict[str, Any]) -> None:
    data, value = bytes.fromhex(row["hex"]), value_of(row["value"])
    assert same(read(data), value)
    assert encode(value) == data
    assert same(decode_signed(data, bytes_max=MIB, items_max=99), value)


@pytest.mark.parametrize("row", VECTORS["bignum"], ids=lambda row: row["hex"])
def test_bignums_are_refused_unless_asked_for(row: dict[str, Any]) -> None:
    data = bytes.fromhex(row["hex"])
    assert read(data, tags=BIGNUM) == row["value"]
    assert encode(row["value"], tags=BIGNUM) == data
    with pytest.raises(PeerError, match="tag"):
        read(data)
    with pytest.raises(UsageError, match="bits"):
        encode(row["value"])


@pytest.mark.parametrize(
    "row", VECTORS["not_deterministic"] + VECTORS["refused"], ids=lambda row: f"{row['why']} {row['hex'][:16]}"
)
def test_what_is_not_deterministic_is_refused_with_its_place(row: dict[str, Any]) -> None:
    with pytest.raises(PeerError) as caught:
        read(bytes.fromhex(row["hex"]))
    assert caught.value.where is not None and caught.value.where.startswith("byte ")
    assert caught.value.evidence == bytes.fromhex(row["hex"])


@pytest.mark.parametrize("row", VECTORS["bignum_refused"], ids=lambda row: row["why"])
def test_bignums_have_one_form(row: dict[str, Any]) -> None:
    with pytest.raises(PeerError):
        read(bytes.fromhex(row["hex"]), tags=BIGNUM)


def test_mixed_keys_are_refused_so_both_published_key_orders_agree() -> None:
    """RFC 8949 4.2.1 sorts 10, 100, -1, "z", "aa" bytewise; cbor2 sorts them length first (4.2.3)."""
    mixed = {10: 0, 100: 0, -1: 0, "z": 0, "aa": 0}
    assert list(cbor2.loads(cbor2.dumps(mixed, canonical=True))) == [10, -1, 100, "z", "aa"]
    with pytest.raises(UsageError, match="map keys"):
        encode(mixed)
    with pytest.raises(UsageError, match="map keys"):
        encode({1000: 0, "a": 0})  # length first would put "a" before 1000


KEYS = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 300), unique=True) | st.lists(
    st.text(max_size=16), unique=True
)


@given(KEYS)
def test_keys_come_in_bytewise_order_of_their_encodings(keys: list[Any]) -> None:
    """Against a sort of each key's own encoding, the definition of RFC 8949 section 4.2.1."""
    pieces = sorted(cbor2.dumps(key) for key in keys)
    data = encode(dict.fromkeys(keys, 0))
    assert data == cbor2.dumps(dict.fromkeys(keys))[: -sum(map(len, pieces)) - len(keys) or None] + b"".join(
        piece + b"\x00" for piece in pieces
    )
    assert read(data) == dict.fromkeys(keys, 0)


@given(st.floats())
def test_floats_take_the_shortest_form_that_keeps_the_value(value: float) -> None:
    for code, head in ((">e", b"\xf9"), (">f", b"\xfa"), (">d", b"\xfb")):
        try:
            packed = struct.pack(code, value)
        except OverflowError:
            continue
        if struct.unpack(code, packed)[0] == value:
            expected = head + packed
            break
    else:
        expected = bytes.fromhex("f97e00")
    assert encode(value) == expected
    assert same(read(expected), value if not math.isnan(value) else math.nan)


@given(st.floats(allow_nan=False), st.sampled_from([(">e", b"\xf9"), (">f", b"\xfa"), (">d", b"\xfb")]))
def test_a_float_is_accepted_in_exactly_one_width(value: float, form: tuple[str, bytes]) -> None:
    try:
        data = form[1] + struct.pack(form[0], value)
    except OverflowError:
        return
    held = struct.unpack(form[0], data[1:])[0]
    if encode(held) == data:
        assert read(data) == held
    else:
        with pytest.raises(PeerError, match="shortest"):
            read(data)


SCALARS = st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.binary() | st.text() | st.floats()
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=16), inner, max_size=4)
        | st.dictionaries(st.integers(0, 2**64 - 1), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_every_value_of_the_subset_comes_back(value: Any) -> None:
    def ordered(item: Any) -> Any:  # dicts compare by repr: in the order of the wire
        if isinstance(item, dict):
            return {key: ordered(item[key]) for key in sorted(item, key=cbor2.dumps)}
        return [ordered(each) for each in item] if isinstance(item, list) else item

    data = encode(value)
    assert same(read(data), ordered(value))
    assert same(cbor2.loads(data), ordered(value))  # a plain CBOR reader sees the same


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        Ellipsis,
        1j,
        bytearray(b"a"),
        2**64,
        -(2**64) - 1,
        {b"a": 1},
        {True: 1},
        {1.0: 1},
        {"a" * 65: 1},
        {None: 1},
    ],
    ids=repr,
)
def test_what_has_no_canonical_form_is_the_callers_error(value: Any) -> None:
    with pytest.raises(UsageError):
        encode(value)


def test_lone_surrogates_are_the_callers_error() -> None:
    for value in ("\ud800", {"\ud800": 1}):
        with pytest.raises(UsageError, match="surrogate"):
            encode(value)


def test_depth_bytes_and_items_stop_at_their_limits() -> None:
    nested: Any = 7
    for _ in range(16):
        nested = [nested]
    assert read(encode(nested)) == nested
    with pytest.raises(UsageError, match="deeper than 16"):
        encode([nested])
    with pytest.raises(PeerError) as caught:
        read(encode([1, 2, 3]), items_max=3)
    assert caught.value.limit == "3 items"
    assert read(encode([1, 2, 3]), items_max=4) == [1, 2, 3]
    with pytest.raises(PeerError) as caught:
        read(b"\x41a", bytes_max=1)
    assert caught.value.limit == "1 bytes"
    with pytest.raises(PeerError, match="deeper than 0"):
        read(b"\x80", depth_max=0)
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(UsageError, match="deeper"):
        encode(loop)


def test_every_allowed_tag_comes_back_as_a_tag_and_no_other_can_be_allowed() -> None:
    """cbor2 turns tags into objects (35: a regular expression); none of ours may."""
    for tag in TAGS.keys() - BIGNUM:
        data = encode(cbor2.CBORTag(tag, [b"", {1: 2}]), tags=frozenset({tag}))
        value = read(data, tags=frozenset({tag}))
        assert type(value) is cbor2.CBORTag and (value.tag, value.value) == (tag, [b"", {1: 2}])
        with pytest.raises(PeerError, match=f"tag {tag}"):
            read(data)
        with pytest.raises(UsageError, match=f"tag {tag}"):
            encode(cbor2.CBORTag(tag, 1))
    for tag in (0, 28, 35, 258):
        with pytest.raises(UsageError, match="cannot be allowed"):
            read(b"\x00", tags=frozenset({tag}))


class Quote(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    node: bytes
    price: int
    note: str = ""
    odds: float = 0.5


def test_records_travel_as_arrays_and_come_back_typed() -> None:
    quote = Quote(b"\x01", 12)
    data = encode_record(quote)
    assert data.hex() == "8441010c60f93800"
    assert decode_record(data, Quote, bytes_max=99, items_max=9) == quote


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([b"\x01", "12"], "Expected `int`"),
        ([b"\x01", 12.0, "", 0.5], "Expected `int`"),
        ([b"\x01", 12, "", 0.5, 1], "length"),
        ([b"\x01", 12], "other bytes"),  # the default left out: a second spelling
        ([b"\x01", 12, "", 1], "other bytes"),  # an integer where the record has a float
        ([b"\x01"], "at least length 2"),
        (7, "Expected `array`"),
    ],
)
def test_a_record_has_one_spelling(value: Any, words: str) -> None:
    with pytest.raises(PeerError, match=words):
        decode_record(encode(value), Quote, bytes_max=99, items_max=9)


def test_a_record_that_does_not_fit_names_the_field() -> None:
    with pytest.raises(PeerError) as caught:
        to_record([[b"", 1], [b"", "x"]], list[Quote])  # type: ignore[arg-type]
    assert caught.value.where == "$[1][1]"


def test_one_mebibyte_of_anything_takes_less_than_ten_megabytes_and_no_time() -> None:
    """Bombs: as many items as allowed of the kinds that cost most a byte, and one that is all text."""
    count = (1 << 15) - 1
    head = b"\x99" + count.to_bytes(2, "big")
    bombs = [
        head + b"\x80" * count,
        head + b"\xa0" * count,
        head + b"\xfb\x4c\x70\0\0\0\0\0\0" * count,  # 2^200: short mantissa, exponent too large for 32 bits
        head + b"\x6fabcdefghijklmno" * count,
        b"\x7a" + (MIB - 5).to_bytes(4, "big") + "\U0001f600".encode() + b"a" * (MIB - 9),
        b"\x81" * MIB,
        b"\x9a\x00\x0f\xff\xfb" + b"\x01" * (MIB - 5),
        b"\xbb" + b"\xff" * (MIB - 1),
    ]
    for bomb in bombs:
        start_s = time.process_time()
        with contextlib.suppress(PeerError):
            read(bomb)
        seconds = time.process_time() - start_s
        tracemalloc.start()
        with contextlib.suppress(PeerError):
            read(bomb)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert seconds < 0.5, f"{bomb[:8].hex()}: {seconds}"  # ten times what the worst takes: only a blow-up passes
        assert peak_bytes < 10_000_000, f"{bomb[:8].hex()}: {peak_bytes}"
