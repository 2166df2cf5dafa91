"""The node's key as the mesh uses it: what was verified once is not verified again, what was refused is."""

from __future__ import annotations

import pytest
from tests.mesh.making import key

from qcommons.base.errors import Corrupt, PeerError
from qcommons.mesh import crypto
from qcommons.mesh.crypto import NodeCrypto
from qcommons.pqc import signing

TYPE = "qcommons/peer.1"


def made(name: str = "a", network: str = "home") -> NodeCrypto:
    return NodeCrypto(key(name), network, lambda count: bytes(count))


def test_what_it_signs_is_a_signed_object_of_its_network() -> None:
    signed = made().sign(TYPE, b"payload")
    assert signing.verify(key("a").public_key, TYPE, "home", signed) == b"payload"
    with pytest.raises(PeerError, match="network"):
        made("b", "other").verify(key("a").public_key, TYPE, signed)


def test_the_same_bytes_are_verified_once() -> None:
    mine, signed = made("b"), made().sign(TYPE, b"payload")
    for _ in range(3):
        assert mine.verify(key("a").public_key, TYPE, signed) == b"payload"
    assert (mine.misses, mine.hits) == (1, 2)


def test_a_kept_result_counts_for_its_key_and_type_alone() -> None:
    mine, signed = made("b"), made().sign(TYPE, b"payload")
    mine.verify(key("a").public_key, TYPE, signed)
    for public_key, object_type in ((key("b").public_key, TYPE), (key("a").public_key, "qcommons/vote.1")):
        with pytest.raises(PeerError):
            mine.verify(public_key, object_type, signed)


def test_a_refusal_is_not_kept() -> None:
    mine = made("b")
    forged = bytearray(made().sign(TYPE, b"payload"))
    forged[-1] ^= 1
    for _ in range(2):
        with pytest.raises(PeerError, match="signature"):
            mine.verify(key("a").public_key, TYPE, bytes(forged))
    assert (mine.misses, mine.hits) == (2, 0)


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crypto, "KEPT", 2)
    mine = made("b")
    signed = [made().sign(TYPE, bytes([number])) for number in range(3)]
    for each in signed:
        mine.verify(key("a").public_key, TYPE, each)
    mine.verify(key("a").public_key, TYPE, signed[0])  # the oldest is gone
    assert (mine.misses, mine.hits) == (4, 0)


def test_a_chain_comes_from_the_entropy_it_is_given() -> None:
    secrets = iter([bytes(32), bytes([1]) * 32])
    mine = NodeCrypto(key("a"), "home", lambda count: next(secrets)[:count])
    first = mine.new_chain(5)
    assert mine.follows(mine.beat(3), 3, first)
    assert mine.new_chain(5) != first
    assert not mine.follows(mine.beat(3), 3, first)


def test_a_beat_before_the_first_chain_is_our_own_mistake() -> None:
    with pytest.raises(Corrupt):
        made().beat(1)
