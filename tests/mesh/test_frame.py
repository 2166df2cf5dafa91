"""Frames: written and read as the table says, however they are cut; queues that hold to their order and bounds."""

from __future__ import annotations

import json
import struct
import tracemalloc
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcommons.base.canonical import encode as canonical
from qcommons.base.errors import PeerError, UsageError
from qcommons.mesh import messages
from qcommons.mesh.frame import (
    CAPS_BYTES,
    HEADER_BYTES,
    TOTAL_CAP_BYTES,
    Decoder,
    MessageIn,
    Outbox,
    encode,
    priority_of,
)
from qcommons.mesh.messages import ROWS, Message
from qcommons.mesh.records import Beat

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "mesh" / "frames.json").read_text())
KINDS = {row.kind.__name__: row for row in ROWS}


def value(field: Any) -> Any:
    """A field of a vector."""
    if isinstance(field, dict):
        return bytes.fromhex(field["hex"])
    return tuple(map(value, field)) if isinstance(field, list) else field


def message(kind: str, fields: list[Any]) -> Message:
    values = [value(field) for field in fields]
    if kind == "Beats":
        values[0] = tuple(Beat(*beat) for beat in values[0])
    return KINDS[kind].kind(*values)


@pytest.mark.parametrize("row", VECTORS["good"], ids=lambda row: row["name"])
def test_a_frame_of_the_vectors_is_written_and_read(row: dict[str, Any]) -> None:
    data, expected = bytes.fromhex(row["frame"]), message(row["kind"], row["fields"])
    assert encode(row["id"], expected) == data
    decoder = Decoder()
    assert decoder.feed(data) == [MessageIn(row["id"], expected, len(data))]
    assert decoder.error is None and decoder.waiting_bytes == 0 and decoder.frames == 1


@pytest.mark.parametrize("row", VECTORS["bad"], ids=lambda row: row["name"])
def test_a_bad_frame_of_the_vectors_is_refused_and_so_is_all_after_it(row: dict[str, Any]) -> None:
    decoder = Decoder()
    assert decoder.feed(PING + bytes.fromhex(row["frame"])) == [MessageIn(0, messages.Ping(), 14)]
    assert isinstance(decoder.error, PeerError)
    if "where" in row:
        assert decoder.error.where == row["where"]
    assert decoder.feed(PING) == [] and decoder.waiting_bytes == 0


PING = bytes.fromhex("00000001 03 0000000000000000 80")


def test_no_two_rows_share_a_number_or_a_kind_and_priorities_have_queues() -> None:
    assert len({row.number for row in ROWS}) == len({row.kind for row in ROWS}) == len(ROWS)
    assert {row.priority for row in ROWS} <= set(range(len(CAPS_BYTES)))
    for row in ROWS:
        assert row.payload_max + HEADER_BYTES <= CAPS_BYTES[row.priority], "one of the largest always fits"
        if row.plain:
            assert [field.type for field in msgspec.structs.fields(row.kind)] == [bytes]
    assert priority_of(messages.Ping()) == 0 and priority_of(messages.Chunk(b"")) == 3


def test_the_page_has_the_rows() -> None:
    page = (Path(__file__).parents[2] / "docs" / "protocol" / "frame.md").read_text()
    written = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| 0x")
    ]
    kib = 1 << 10
    sizes = {"B": 1, "KiB": kib, "MiB": kib * kib}
    for row, cells in zip(ROWS, written, strict=True):
        size, unit, *more = cells[3].replace("+", "").split()
        payload_max = int(size) * sizes[unit] + sum(map(int, more))
        plain = "plain" if row.plain else ""
        items = "" if row.plain else str(row.items_max)
        assert cells[:3] + cells[4:] == [f"0x{row.number:02x}", row.kind.__name__, str(row.priority), items, plain]
        assert payload_max == row.payload_max


def test_a_message_over_its_row_is_the_callers_mistake() -> None:
    limit = KINDS["Request"].payload_max
    assert len(encode(1, messages.Request(bytes(limit)))) == limit + HEADER_BYTES
    with pytest.raises(UsageError, match="allowed 1048576 bytes"):
        encode(1, messages.Request(bytes(limit + 1)))
    with pytest.raises(UsageError, match="allowed 1024 bytes"):
        encode(1, messages.Bye("x", "y" * 2_000))
    for id in (-1, 1 << 64):
        with pytest.raises(UsageError, match="frame id"):
            encode(id, messages.Ping())


# --- any cutting, any bytes


def of_type(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type, small."""
    if kind is bytes:
        return st.binary(max_size=40)
    if kind is str:
        return st.text(max_size=12)
    if kind is bool:
        return st.booleans()
    if kind is int:
        return st.integers(0, (1 << 64) - 1)
    if getattr(kind, "__origin__", None) is tuple:
        return st.lists(of_type(kind.__args__[0]), max_size=3).map(tuple)
    return st.builds(kind, *(of_type(field.type) for field in msgspec.structs.fields(kind)))


MESSAGES = st.one_of(
    [st.builds(row.kind, *(of_type(f.type) for f in msgspec.structs.fields(row.kind))) for row in ROWS]
)
FRAMES = st.lists(st.tuples(st.integers(0, (1 << 64) - 1), MESSAGES), max_size=6)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(edges)]


@settings(max_examples=120, deadline=None)
@given(FRAMES, st.lists(st.integers(0, 5_000), max_size=12), st.binary(max_size=30))
def test_however_bytes_are_cut_the_same_messages_and_the_same_error_come(
    sent: list[tuple[int, Message]], cuts: list[int], tail: bytes
) -> None:
    data = b"".join(encode(id, message) for id, message in sent) + tail
    whole, cut, single = Decoder(), Decoder(), Decoder()
    expected = whole.feed(data)
    assert [(one.id, one.message) for one in expected][: len(sent)] == sent
    assert sum(one.size_bytes for one in expected) <= len(data)
    for decoder, parts in ((cut, pieces(data, cuts)), (single, [bytes([byte]) for byte in data])):
        assert [one for part in parts for one in decoder.feed(part)] == expected
        assert (decoder.error is None) == (whole.error is None) and str(decoder.error) == str(whole.error)
        assert decoder.waiting_bytes == whole.waiting_bytes and decoder.frames == whole.frames


@settings(max_examples=150, deadline=None)
@given(MESSAGES, st.integers(0, (1 << 64) - 1))
def test_a_payload_is_the_canonical_array_of_the_fields(message: Message, id: int) -> None:
    """By `canonical.encode` of plain values, which has the vectors of RFC 8949."""
    row = KINDS[type(message).__name__]
    fields = msgspec.to_builtins(message, builtin_types=(bytes,))
    payload = fields[0] if row.plain else canonical(fields)
    assert encode(id, message) == struct.pack(">IBQ", len(payload), row.number, id) + payload


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(ROWS) | st.none(), st.binary(max_size=80), st.integers(-3, 3),
)  # fmt: skip
def test_any_bytes_parse_or_stop_with_a_reason(row: messages.Row | None, payload: bytes, off: int) -> None:
    """With a right header often, so that payloads are reached."""
    head = struct.pack(">IBQ", max(0, len(payload) + off), row.number, 1) if row else b""
    decoder = Decoder()
    came = decoder.feed(head + payload)
    assert decoder.error is None or str(decoder.error)
    for one in came:
        assert encode(one.id, one.message) == (head + payload)[: one.size_bytes] or len(came) > 1


def test_many_small_pieces_of_a_large_frame_cost_no_more_memory_than_the_frame() -> None:
    """A peer that sends 8 bytes a record must not make 1 MiB of frame into 6 MiB of pieces."""
    frame = encode(1, messages.Request(bytes(1 << 20)))
    decoder = Decoder()
    tracemalloc.start()
    last = len(frame) - 1
    for at in range(0, last, 8):
        decoder.feed(frame[at : min(at + 8, last)])
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1.3 * len(frame) and peak < 3 * len(frame)
    assert len(decoder.feed(frame[last:])) == 1


def test_nothing_is_kept_for_a_length_that_was_only_claimed() -> None:
    tracemalloc.start()
    decoders = [Decoder() for _ in range(200)]
    for decoder in decoders:
        decoder.feed(struct.pack(">IBQ", 1 << 20, KINDS["Request"].number, 0))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 200 * 1_000


# --- the outbox


def test_lower_numbers_go_first_and_each_keeps_its_order() -> None:
    outbox = Outbox()
    for turn in range(3):
        for priority in (3, 1, 0, 2):
            assert outbox.put(priority, b"%d%d" % (priority, turn))
    assert outbox.waiting_bytes == 24
    assert outbox.take(1) == [b"00"]
    assert outbox.put(0, b"03")
    assert outbox.take(1_000) == [b"01", b"02", b"03", b"10", b"11", b"12", b"20", b"21", b"22", b"30", b"31", b"32"]
    assert outbox.waiting_bytes == 0 and outbox.take(10) == []


def test_what_comes_first_waits_for_one_chunk_at_most() -> None:
    """However much bulk waits: a take that wants 64 KiB ends with the frame that reaches them."""
    outbox, chunk = Outbox(), encode(1, messages.Chunk(bytes(256 << 10)))
    while outbox.put(3, chunk):
        pass
    first = outbox.take(64 << 10)
    assert first == [chunk]
    outbox.put(0, PING)
    assert outbox.take(64 << 10)[0] == PING


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 300_000), st.booleans()), max_size=80))
def test_what_waits_stays_within_its_caps_and_nothing_that_was_taken_is_lost(
    steps: list[tuple[int, int, bool]],
) -> None:
    outbox = Outbox()
    inside: dict[int, list[bytes]] = {priority: [] for priority in range(4)}
    for turn, (priority, size, takes) in enumerate(steps):
        frame = turn.to_bytes(4, "big") + bytes(size)
        if outbox.put(priority, frame):
            inside[priority].append(frame)
        held = [sum(map(len, inside[one])) for one in range(4)]
        assert all(have <= cap for have, cap in zip(held, CAPS_BYTES, strict=True))
        assert outbox.waiting_bytes == sum(held) <= TOTAL_CAP_BYTES + CAPS_BYTES[0]
        if takes:
            for frame in outbox.take(200_000):
                first = next(one for one in range(4) if inside[one])
                assert inside[first].pop(0) == frame


def test_a_full_queue_says_when_there_is_room_again_once() -> None:
    outbox, frame = Outbox(), bytes(100_000)
    while outbox.put(2, frame):
        pass
    assert outbox.put(1, frame) and outbox.drained() == ()
    outbox.take(CAPS_BYTES[2] // 4)
    assert outbox.drained() == ()
    outbox.take(CAPS_BYTES[2] // 2)
    assert outbox.drained() == (2,)
    assert outbox.drained() == ()


def test_signs_of_life_find_room_where_all_the_rest_is_full() -> None:
    outbox = Outbox()
    for priority in (3, 1, 2):
        while outbox.put(priority, bytes(10_000)):
            pass
    assert outbox.waiting_bytes > TOTAL_CAP_BYTES - 10_000
    assert outbox.put(0, PING)
