"""Commitments bind to one value, hide it, and are nobody else's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cbor2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcommons.base.canonical import decode_record, encode_record
from qcommons.base.errors import PeerError, UsageError
from qcommons.pqc.commit import VALUE_BYTES_MAX, Opening, check_opening, commitment

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "pqc" / "commit.json").read_text())["vectors"]
NODE, SALT = b"n" * 32, b"s" * 32
OPENING = Opening("bid", NODE, SALT, b"42")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["purpose"])
def test_published_commitments_stand(vector: dict[str, str]) -> None:
    node, salt, value = (bytes.fromhex(vector[name]) for name in ("node", "salt", "value"))
    opening = Opening(vector["purpose"], node, salt, value)
    assert commitment(opening).hex() == vector["commitment"]
    fields = ["qcommons/commitment.1", vector["purpose"], node, salt, value]  # by hand, with another encoder
    assert hashlib.sha3_256(cbor2.dumps(fields)).hexdigest() == vector["commitment"]


@given(st.binary(max_size=100), st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_what_was_committed_opens(value: bytes, node: bytes, salt: bytes) -> None:
    opening = Opening("bid", node, salt, value)
    travelled = decode_record(encode_record(opening), Opening, bytes_max=1000, items_max=8)
    assert check_opening(commitment(opening), travelled, "bid", node) == value


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"value": b"43"}, "commitment"),
        ({"salt": b"t" * 32}, "commitment"),
        ({"node": b"m" * 32}, "node"),
        ({"purpose": "ballot"}, "purpose"),
        ({"salt": b"s" * 31}, "salt"),
        ({"salt": b""}, "salt"),
        ({"value": bytes(VALUE_BYTES_MAX + 1)}, "value"),
    ],
)
def test_an_opening_of_something_else_is_refused(changed: dict[str, object], where: str) -> None:
    with pytest.raises(PeerError) as caught:
        check_opening(commitment(OPENING), msgspec.structs.replace(OPENING, **changed), "bid", NODE)
    assert caught.value.where == where


def test_a_copied_commitment_opens_for_its_maker_alone() -> None:
    """A replica that repeats what another one committed to cannot open it in its own name."""
    copied = msgspec.structs.replace(OPENING, node=b"m" * 32)
    with pytest.raises(PeerError, match="not what was committed"):
        check_opening(commitment(OPENING), copied, "bid", b"m" * 32)


@pytest.mark.parametrize(
    "changed",
    [{"salt": b"s" * 16}, {"salt": b"s" * 33}, {"node": b""}, {"value": bytes(1 << 17)}, {"purpose": ""},
     {"purpose": "Bid"}, {"purpose": "a" * 65}],
)  # fmt: skip
def test_nobody_commits_to_what_cannot_be_opened(changed: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        commitment(msgspec.structs.replace(OPENING, **changed))


def test_fields_cannot_flow_into_each_other() -> None:
    """Lengths are part of what is hashed: moving a byte from one field to the next changes the digest."""
    one = Opening("bid", NODE, SALT, b"ab")
    digests = {commitment(one), commitment(Opening("bida", NODE, SALT, b"b"))}
    assert len(digests) == 2


def test_a_log_shows_neither_value_nor_salt() -> None:
    assert "42" not in repr(OPENING) and "sss" not in repr(OPENING)
