"""The codec of messages beside `base/canonical.py`, which has RFC 8949's vectors: both accept and write the same."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.mesh.test_frame import MESSAGES

from qcommons.base.canonical import decode_record, encode, encode_record
from qcommons.base.errors import PeerError, UsageError
from qcommons.mesh import codec
from qcommons.mesh.messages import ROWS, Beats, Bye, Credit, Message

ROW_OF = {row.kind: row for row in ROWS}
CODED = [row for row in ROWS if not row.plain]


def slow(kind: Any, data: bytes) -> Any:
    row = ROW_OF[kind]
    try:
        return decode_record(data, kind, bytes_max=1 << 20, items_max=row.items_max)
    except PeerError:
        return PeerError


def quick(kind: Any, data: bytes) -> Any:
    try:
        return codec.reader(kind, ROW_OF[kind].items_max)(data)
    except PeerError as error:
        assert str(error)
        return PeerError


@settings(max_examples=200, deadline=None)
@given(MESSAGES)
def test_every_message_is_written_and_read_as_canonical_does(message: Message) -> None:
    kind = type(message)
    data = codec.writer(kind)(message)
    assert data == encode_record(message)
    assert quick(kind, data) == slow(kind, data) == message


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(CODED), st.data())
def test_spoilt_bytes_are_refused_by_both_or_by_none(row: Any, data: st.DataObject) -> None:
    raw = bytearray(encode_record(data.draw(of(row))))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        match data.draw(st.sampled_from(["change", "drop", "add"])):
            case "change":
                raw[at] = data.draw(st.integers(0, 255))
            case "drop" if len(raw) > 1:
                del raw[at]
            case _:
                raw.insert(at, data.draw(st.integers(0, 255)))
    assert quick(row.kind, bytes(raw)) == slow(row.kind, bytes(raw))


def of(row: Any) -> st.SearchStrategy[Any]:
    from tests.mesh.test_frame import of_type

    return st.builds(row.kind, *(of_type(field.type) for field in msgspec.structs.fields(row.kind)))


# any value of the encoding's subset, so that types that no field has are met too
ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 64), (1 << 64) - 1)
    | st.floats()
    | st.binary(max_size=8)
    | st.text(),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(CODED), st.lists(ANY, max_size=6))
def test_canonical_values_of_any_types_are_taken_by_both_or_by_none(row: Any, values: list[Any]) -> None:
    data = encode(values)
    assert quick(row.kind, data) == slow(row.kind, data)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(CODED), st.binary(max_size=40))
def test_any_bytes_are_taken_by_both_or_by_none(row: Any, data: bytes) -> None:
    for raw in (data, bytes([0x80 + len(msgspec.structs.fields(row.kind))]) + data):
        assert quick(row.kind, raw) == slow(row.kind, raw)


def test_items_are_counted_as_canonical_counts_them() -> None:
    """64 beats of 5 items, their array, two flags and the message: the 324 of the row; one more beat passes it."""
    for count, taken in ((64, True), (65, False)):
        data = encode([[[b"p" * 32, 1, 1, b"v" * 16]] * count, False, False])
        assert (quick(Beats, data) is not PeerError) == (slow(Beats, data) is not PeerError) == taken


def test_a_claimed_count_is_refused_before_anything_is_built() -> None:
    with pytest.raises(PeerError, match="entries"):
        codec.reader(Beats, 324)(bytes.fromhex("83 9b ffffffffffffffff f4 f4"))
    with pytest.raises(PeerError, match="cut after"):
        codec.reader(Bye, 32)(bytes.fromhex("82 7b ffffffffffffffff"))


def test_what_has_no_canonical_form_is_the_callers_mistake() -> None:
    with pytest.raises(UsageError, match="64 bits"):
        codec.writer(Credit)(Credit(1 << 64))
    with pytest.raises(UsageError, match="surrogate"):
        codec.writer(Bye)(Bye("\ud800", ""))
    with pytest.raises(UsageError, match="array_like"):
        codec.reader(type("Named", (msgspec.Struct,), {"__annotations__": {"a": int}}), 3)
