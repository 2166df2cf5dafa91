"""Canonical bytes: one value, one byte string (deterministic CBOR, RFC 8949 section 4.2.1).

Flow: records -> *encode* -> signatures, ids, frames, files -> *decode* -> records. Everything that is
hashed, signed or sent passes here. The subset is small on purpose (docs/protocol/canonical.md):

    integers of 64 bits (wider ones only where tags 2 and 3 are allowed), floats in the shortest form
    that keeps the value, byte strings, UTF-8 text, arrays, maps, false, true, null;
    a map's keys are all unsigned integers or all text of at most 64 bytes;
    no indefinite lengths, no duplicate or unsorted keys, no NaN but f97e00, no other simple values.

Bytes from strangers are read twice: `_scan` refuses whatever is outside the subset, in one pass
without recursion and without building anything, then cbor2 builds the value. So any bytes either
decode or raise PeerError, and exactly the bytes that `encode` writes are accepted.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

import cbor2
import msgspec

from qcommons.base.errors import Corrupt, PeerError, UsageError
from qcommons.base.typed import described

__all__ = ["BIGNUM", "TAGS", "decode", "decode_record", "decode_signed", "encode", "encode_record", "to_record"]

# Every tag that a caller of decode may allow. cbor2 builds objects from many more (dates, regular
# expressions, shared references): a new row needs a look at what it builds.
TAGS: dict[int, str] = {2: "unsigned bignum", 3: "negative bignum", 18: "COSE_Sign1 (RFC 9052)"}
BIGNUM = frozenset({2, 3})
DEPTH_MAX = 16  # arrays, maps and tags around an item; our deepest message nests 6
KEY_BYTES_MAX = 64
NAN = 0x7E00  # the only NaN: half precision, quiet, no payload (RFC 8949 section 4.2.2)
FALSE, TRUE, NULL = 20, 21, 22  # RFC 8949 section 3.3
UINT, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE = range(8)  # major types, RFC 8949 section 3.1
# argument width code -> smallest argument that needs it (RFC 8949 section 4.2.1: shortest form)
SMALLEST = {24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}
# width code -> its own format, the next shorter one, mantissa bits that the shorter one lacks, exponent bits
FLOATS = {26: (">f", ">e", 0x1FFF, 0x7F80_0000), 27: (">d", ">f", 0x1FFF_FFFF, 0x7FF0_0000_0000_0000)}

PLAIN = frozenset({str, bytes, float, bool, type(None)})
# Most items of our messages, by the byte that they begin with, to their whole size where that byte says it: small
# integers, short byte strings, false, true and null are in shortest form whatever follows.
SIZES = bytes(
    1 if head < 0x18 or 0x20 <= head < 0x38 or head in (0xF4, 0xF5, 0xF6)
    else head - 0x3F if 0x40 <= head < 0x58
    else 0
    for head in range(256)
)  # fmt: skip
NARROW = bytes(4)  # the first half of an integer of 8 bytes that would fit into 4

RecordT = TypeVar("RecordT")


def encode(value: Any, *, tags: frozenset[int] = frozenset()) -> bytes:
    """The canonical bytes of `value`.

    Args:
        value: None, bool, int, float, bytes, str, list, tuple (written as list), dict or cbor2.CBORTag,
            of exactly these types.
        tags: tags that may be written, of `TAGS`; with `BIGNUM`, integers of any size.

    Raises:
        UsageError: anything else, or nested deeper than 16.
    """
    _check_writable(value, 0, _allowed(tags))
    try:
        # "canonical" sorts keys length first (RFC 7049); among unsigned integers alone, or text alone,
        # that is the bytewise order too, because the head of a longer key is greater.
        return cbor2.dumps(value, canonical=True)
    except UnicodeEncodeError as error:
        raise UsageError(f"text with a lone surrogate cannot be UTF-8: {error.object[:40]!r}") from error


def decode(
    data: bytes, *, bytes_max: int, depth_max: int = DEPTH_MAX, items_max: int, tags: frozenset[int] = frozenset()
) -> Any:
    """The value of canonical bytes from anybody; arrays become lists.

    Args:
        data: at most `bytes_max` bytes, holding at most `items_max` data items (each array, map, tag,
            key and scalar counts as one), nested at most `depth_max` deep (0: a scalar).
        tags: tags that may occur, of `TAGS`; 2 and 3 become int, others cbor2.CBORTag.

    Raises:
        PeerError: the bytes are not what `encode` writes, or pass a limit; `where` names the byte.
    """
    allowed = _allowed(tags)
    if len(data) > bytes_max:
        limit = f"{bytes_max} bytes"
        raise PeerError(f"{len(data)} bytes; allowed {bytes_max}", where="length", limit=limit, evidence=data)
    _scan(data, depth_max, items_max, allowed)
    try:
        value = cbor2.loads(data)
        return _thawed(value) if tags - BIGNUM else value
    except (cbor2.CBORDecodeError, ValueError, OverflowError) as error:
        raise Corrupt(f"bytes passed the scan but not the decoder: {error}") from error


def decode_signed(
    data: bytes, *, bytes_max: int, depth_max: int = DEPTH_MAX, items_max: int, tags: frozenset[int] = frozenset()
) -> Any:
    """As `decode`, and encoding the value again must give the very bytes: what was signed is what was read.

    The scan promises that already; a signature is worth the second, independent look.
    """
    value = decode(data, bytes_max=bytes_max, depth_max=depth_max, items_max=items_max, tags=tags)
    _same_bytes(encode(value, tags=tags), data)
    return value


def encode_record(record: msgspec.Struct) -> bytes:
    """Canonical bytes of a msgspec Struct (use `array_like=True`: fields by place, not by name)."""
    return encode(msgspec.to_builtins(record, builtin_types=(bytes,), order="deterministic"))


def to_record(value: Any, kind: type[RecordT]) -> RecordT:
    """A decoded value as a typed record, strictly: no text for numbers, no unknown fields that `kind` forbids.

    Raises:
        PeerError: the value does not fit; `where` is the path to the field.
    """
    try:
        return msgspec.convert(value, described(kind), strict=True)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at ")
        raise PeerError(f"{kind.__name__}: {what}", where=path.strip("`") or None) from error


def decode_record(data: bytes, kind: type[RecordT], *, bytes_max: int, items_max: int) -> RecordT:
    """The record whose `encode_record` bytes are exactly `data`.

    Raises:
        PeerError: not canonical, not a `kind`, past a limit, or one of several spellings of the record
            (an integer where the record has a float, a default left out).
    """
    record = to_record(decode(data, bytes_max=bytes_max, items_max=items_max), kind)
    plain = msgspec.to_builtins(record, builtin_types=(bytes,), order="deterministic")
    _same_bytes(encode(plain), data)
    return record


def _same_bytes(again: bytes, data: bytes) -> None:
    if again != data:
        at = next((i for i, (a, b) in enumerate(zip(again, data, strict=False)) if a != b), min(len(again), len(data)))
        raise PeerError("encoding the value again gives other bytes", where=f"byte {at}", evidence=data)


def _thawed(value: Any) -> Any:
    """cbor2 builds what stands inside a tag from tuples and frozen maps; outside, from lists and dicts."""
    if isinstance(value, cbor2.CBORTag):
        return cbor2.CBORTag(value.tag, _thawed(value.value))
    if isinstance(value, Mapping):
        return {key: _thawed(item) for key, item in value.items()}
    return [_thawed(item) for item in value] if isinstance(value, list | tuple) else value


def _allowed(tags: frozenset[int]) -> frozenset[int]:
    if not tags <= TAGS.keys():
        raise UsageError(f"tags {sorted(tags - TAGS.keys())} cannot be allowed; known: {sorted(TAGS)}", where="tags")
    return tags


def _check_writable(value: Any, depth: int, tags: frozenset[int]) -> None:
    kind = type(value)
    if kind is int:
        if not -(1 << 64) <= value < 1 << 64 and not tags >= BIGNUM:
            raise UsageError(f"integer of {value.bit_length()} bits; allowed -2^64 to 2^64-1", limit="64 bits")
        return
    if kind in (str, bytes, float, bool) or value is None:
        return
    if depth >= DEPTH_MAX:
        raise UsageError(f"nested deeper than {DEPTH_MAX}", limit=f"depth {DEPTH_MAX}")
    if kind in (list, tuple):
        for item in value:
            inner = type(item)
            if inner in PLAIN or (inner is int and -(1 << 63) <= item < 1 << 63):
                continue
            _check_writable(item, depth + 1, tags)
    elif kind is dict:
        _check_keys(value)
        for item in value.values():
            _check_writable(item, depth + 1, tags)
    elif kind is cbor2.CBORTag and value.tag in tags - BIGNUM:
        _check_writable(value.value, depth + 1, tags)
    else:
        name = f"tag {value.tag}" if kind is cbor2.CBORTag else f"{kind.__module__}.{kind.__name__}"
        raise UsageError(f"{name} has no canonical form; use None, bool, int, float, bytes, str, list, tuple, dict")


def _check_keys(value: dict[Any, Any]) -> None:
    kinds = {type(key) for key in value}
    if kinds <= {int}:
        good = all(0 <= key < 1 << 64 for key in value)
    else:
        good = kinds <= {str} and all(
            4 * len(key) <= KEY_BYTES_MAX or len(key.encode(errors="replace")) <= KEY_BYTES_MAX for key in value
        )
    if not good:
        raise UsageError(
            f"map keys are all unsigned integers or all text of at most {KEY_BYTES_MAX} bytes; "
            f"got {', '.join(repr(key)[:40] for key in list(value)[:4])}",
            where="map key",
        )


def _scan(data: bytes, depth_max: int, items_max: int, tags: frozenset[int]) -> None:
    """One pass over the heads; raises PeerError at the first byte outside the subset.

    A frame is (items left, last key); last key is None outside maps. In a map, keys are the items
    that leave an odd number behind them.
    """

    def refuse(what: str, at: int, limit: str | None = None) -> NoReturn:
        raise PeerError(what, where=f"byte {at}", limit=limit, evidence=data)

    size, at, items, sizes = len(data), 0, 0, SIZES
    left, last_key = 1, None
    frames: list[tuple[int, bytes | None]] = []
    while True:
        while not left:
            if not frames:
                if at != size:
                    refuse(f"{size - at} bytes after the end of the item", at)
                return
            left, last_key = frames.pop()
        left -= 1
        items += 1
        start = at
        if items > items_max:
            refuse(f"more than {items_max} items", start, f"{items_max} items")
        if at >= size:
            refuse("truncated: an item is missing", start)
        head = data[at]
        if last_key is None:  # outside maps most items need no closer look; whatever passes `size` gets one
            after = at + sizes[head]
            if after == at:
                if 0x60 <= head < 0x78:  # short text
                    after = at + head - 0x5F
                    if not data[at + 1 : after].isascii():
                        after = at
                elif head in (0x58, 0x78) and at + 1 < size and data[at + 1] >= 24:  # bytes, text
                    after = at + 2 + data[at + 1]
                    if head == 0x78 and not data[at + 2 : after].isascii():
                        after = at
                elif head == 0x1B and data[at + 1 : at + 5] != NARROW:  # an integer
                    after = at + 9
            if at < after <= size:
                at = after
                continue
        major, low = head >> 5, head & 31
        at += 1
        argument = low
        if low >= 24:
            if low > 27:
                refuse("indefinite or reserved length", start)
            end = at + (1 << (low - 24))
            if end > size:
                refuse("truncated: a head is cut", start)
            argument = int.from_bytes(data[at:end], "big")
            at = end
            if major != SIMPLE and argument < SMALLEST[low]:
                refuse(f"{argument} is not in its shortest form", start)

        if major in (BYTES, TEXT):
            if argument > size - at:
                refuse(f"string of {argument} bytes; {size - at} are left", start)
            if major == TEXT:
                try:
                    data[at : at + argument].decode()
                except UnicodeDecodeError as error:
                    refuse(f"text is not UTF-8: {error.reason}", at + error.start)
            at += argument
        elif major == SIMPLE:
            _check_simple(low, argument, start, refuse)

        if last_key is not None and left & 1:
            if major != UINT and (major != TEXT or argument > KEY_BYTES_MAX):
                refuse(f"map key is neither an unsigned integer nor text of at most {KEY_BYTES_MAX} bytes", start)
            key = data[start:at]
            if last_key and (key <= last_key or key[0] >> 5 != last_key[0] >> 5):
                refuse("map keys repeat, are not sorted, or mix integers and text", start)
            last_key = key

        if major >= ARRAY and major != SIMPLE:
            if len(frames) >= depth_max:
                refuse(f"nested deeper than {depth_max}", start, f"depth {depth_max}")
            frames.append((left, last_key))
            if major == TAG:
                _check_tag(argument, data, start, at, tags, refuse)
                left, last_key = 1, None
            else:
                left, last_key = (argument, None) if major == ARRAY else (2 * argument, b"")
                if left > size - at:  # an item takes at least a byte
                    refuse(f"{argument} entries declared; {size - at} bytes are left", start)


def _check_simple(low: int, bits: int, start: int, refuse: Any) -> None:
    """false, true, null, or a float in its shortest form."""
    if low < 25:
        if low not in (FALSE, TRUE, NULL):
            refuse(f"simple value {bits} has no meaning here", start)
        return
    if low == 25:
        if bits & 0x7C00 == 0x7C00 and bits & 0x03FF and bits != NAN:
            refuse("a NaN other than f97e00", start)
        return
    own, shorter, lacking, exponent = FLOATS[low]
    if bits & lacking and bits & exponent != exponent:  # needs its mantissa: most floats end here
        return
    (value,) = struct.unpack(own, bits.to_bytes(1 << (low - 24), "big"))
    if value != value:
        refuse("a NaN other than f97e00", start)
    try:
        (narrowed,) = struct.unpack(shorter, struct.pack(shorter, value))
    except OverflowError:  # beyond the shorter format's range
        return
    if narrowed == value:
        refuse(f"float {value} is not in its shortest form", start)


def _check_tag(tag: int, data: bytes, start: int, at: int, tags: frozenset[int], refuse: Any) -> None:
    if tag not in tags:
        refuse(f"tag {tag} is not allowed here; allowed: {sorted(tags) or 'none'}", start)
    if tag in BIGNUM:
        # Only what does not fit 64 bits, without leading zeros (RFC 8949 section 3.4.3): the head of a
        # byte string of 9 or more bytes, in this form 0x49 to 0x57 or 0x58 and a length byte.
        head = data[at : at + 1]
        body = at + (2 if head == b"\x58" else 1)
        if not (b"\x49" <= head <= b"\x58" and data[body : body + 1] > b"\x00"):
            refuse("a bignum holds 9 to 255 bytes without leading zeros", start)
