"""Succession: who follows whom, and what two successors prove."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcommons.base.canonical import encode, encode_record
from qcommons.base.errors import PeerError, Unavailable, UsageError
from qcommons.pqc import succession
from qcommons.pqc.identity import NodeKey
from qcommons.pqc.signing import sign
from qcommons.pqc.succession import (
    FOLLOWS_TYPE,
    RECORD_BYTES_MAX,
    SUCCESSION_TYPE,
    Succession,
    Successions,
    check_succession,
    succeed,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "pqc" / "succession.json").read_text())["vectors"]
KEYS = [NodeKey(bytes([n]) * 32) for n in range(5)]
NOW_S = 1_800_000_000
RECORDS = [succeed(old, new, "home", NOW_S) for old, new in pairwise(KEYS)]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["old_seed"][:8])
def test_published_records_stand(vector: dict[str, str | int]) -> None:
    old, new = (NodeKey(bytes.fromhex(str(vector[name]))) for name in ("old_seed", "new_seed"))
    raw = bytes.fromhex(str(vector["record"]))
    assert check_succession(raw, str(vector["network"])) == Succession(old.hash, new.hash, int(vector["at_s"]))
    assert len(raw) <= RECORD_BYTES_MAX


def test_an_old_id_leads_to_the_newest_in_any_order_of_arrival() -> None:
    for order in (RECORDS, RECORDS[::-1], RECORDS[2:] + RECORDS[:2]):
        known = Successions()
        assert known.newest(KEYS[0].hash) == KEYS[0].hash
        for raw in order:
            assert known.add(raw, "home") is None
        for place, key in enumerate(KEYS):
            assert known.newest(key.hash) == KEYS[-1].hash
            assert known.records(key.hash) == tuple(RECORDS[place:])


def test_two_successors_are_an_equivocation_that_anybody_can_check() -> None:
    """A thief of the old key names a key of his own: neither counts, and both records prove why."""
    known = Successions()
    thief = NodeKey(b"t" * 32)
    for raw in RECORDS:
        known.add(raw, "home")
    stolen = succeed(KEYS[2], thief, "home", NOW_S - 1)
    fork = known.add(stolen, "home")
    assert fork is not None and fork.old == KEYS[2].hash
    said = [check_succession(raw, "home") for raw in (fork.first, fork.second)]
    assert {one.old for one in said} == {KEYS[2].hash} and len({one.new for one in said}) == 2
    assert known.forks() == (fork,)
    for key in KEYS[:3]:
        with pytest.raises(PeerError) as caught:
            known.newest(key.hash)
        assert caught.value.where == "fork"
    assert known.newest(KEYS[3].hash) == KEYS[4].hash  # what lies behind the fork is untouched
    assert known.records(KEYS[0].hash) == tuple(RECORDS[:2])
    assert known.add(succeed(KEYS[2], KEYS[0], "home", NOW_S), "home") == fork  # the first proof stays


def test_the_same_successor_said_twice_is_no_contradiction() -> None:
    known = Successions()
    known.add(RECORDS[0], "home")
    assert known.add(succeed(KEYS[0], KEYS[1], "home", NOW_S + 5), "home") is None
    assert known.forks() == () and known.newest(KEYS[0].hash) == KEYS[1].hash


def test_keys_do_not_follow_each_other_in_a_circle() -> None:
    known = Successions()
    for raw in RECORDS:
        known.add(raw, "home")
    with pytest.raises(PeerError) as caught:
        known.add(succeed(KEYS[-1], KEYS[0], "home", NOW_S), "home")
    assert caught.value.where == "circle"
    with pytest.raises(UsageError):
        succeed(KEYS[0], KEYS[0], "home", NOW_S)


def test_what_is_held_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(succession, "HELD_MAX", 2)
    monkeypatch.setattr(succession, "STEPS_MAX", 2)
    known = Successions()
    known.add(RECORDS[0], "home")
    known.add(RECORDS[1], "home")
    with pytest.raises(Unavailable):
        known.add(RECORDS[2], "home")
    assert known.newest(KEYS[0].hash) == KEYS[2].hash
    monkeypatch.setattr(succession, "STEPS_MAX", 1)
    with pytest.raises(PeerError) as caught:
        known.newest(KEYS[0].hash)
    assert caught.value.where == "chain"


def record(old: NodeKey, new: NodeKey, content: bytes, *, other: bytes | None = None, network: str = "home") -> bytes:
    by_old = sign(old, SUCCESSION_TYPE, network, content)
    by_new = sign(new, FOLLOWS_TYPE, network, content if other is None else other)
    return encode([old.public_key, new.public_key, by_old, by_new])


def content(old: NodeKey = KEYS[0], new: NodeKey = KEYS[1], at_s: int = NOW_S) -> bytes:
    return encode_record(Succession(old.hash, new.hash, at_s))


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        (record(KEYS[0], KEYS[1], content(), network="lab"), "old, network"),
        (record(KEYS[0], KEYS[1], content(), other=content(at_s=1)), "succession"),
        (record(KEYS[0], KEYS[1], content(new=KEYS[2])), "new"),
        (record(KEYS[0], KEYS[1], content(old=KEYS[2])), "old"),
        (record(KEYS[0], KEYS[0], content(new=KEYS[0])), "succession"),
        (encode([KEYS[0].public_key, KEYS[1].public_key, b"", b""]), "old, byte 0"),
        (record(KEYS[0], KEYS[1], content()) + bytes(2048), "byte"),
    ],
)
def test_what_both_did_not_sign_is_refused(raw: bytes, where: str) -> None:
    assert check_succession(record(KEYS[0], KEYS[1], content()), "home").new == KEYS[1].hash
    with pytest.raises(PeerError) as caught:
        check_succession(raw, "home")
    assert str(caught.value.where).startswith(where) or caught.value.limit is not None


def test_nobody_appoints_a_key_that_is_not_his_nor_follows_one_that_did_not_ask() -> None:
    """Each signature alone, in both places: the object types keep them apart."""
    by_old = sign(KEYS[0], SUCCESSION_TYPE, "home", content())
    by_new = sign(KEYS[1], FOLLOWS_TYPE, "home", content())
    for first, second in ((by_old, by_old), (by_new, by_new), (by_new, by_old)):
        with pytest.raises(PeerError):
            check_succession(encode([KEYS[0].public_key, KEYS[1].public_key, first, second]), "home")


@given(st.integers(0), st.integers(1, 255), st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_changed_or_cut_byte_is_refused(place: int, change: int, cut: bool) -> None:
    data = bytearray(RECORDS[0])
    place %= len(data)
    data[place] ^= change
    with pytest.raises(PeerError):
        check_succession(bytes(data[:place] if cut else data), "home")
