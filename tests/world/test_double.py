"""The double of cryptography refuses what the real one refuses, and says what it would have cost (real.py too)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cbor2
import pytest

from qcommons.base.errors import PeerError
from qcommons.mesh.crypto import NodeCrypto
from qcommons.pqc import signing
from qcommons.pqc.identity import PUBLIC_KEY_BYTES
from qcommons.world.double import SIGN_NS, VERIFY_NS, Double, Oracle
from qcommons.world.real import RealCrypto, real_key

TYPE = "qcommons/note.1"


def double(name: str = "a", network: str = "world", seed: int = 1) -> Double:
    oracle = Oracle(seed)
    return Double(oracle, oracle.public_key(name), network)


def real(name: str = "a", network: str = "world", seed: int = 1) -> RealCrypto:
    return RealCrypto(real_key(seed, ord(name)), network, b"secret")


MAKERS = [double, real]


@pytest.mark.parametrize("make", MAKERS)
def test_what_was_signed_is_verified(make: Callable[..., Any]) -> None:
    one, other = make("a"), make("b")
    signed = one.sign(TYPE, b"hello")
    assert one.verify(one.public_key, TYPE, signed) == b"hello"
    assert other.verify(one.public_key, TYPE, signed) == b"hello"
    assert len(one.public_key) == PUBLIC_KEY_BYTES and one.peer != other.peer


@pytest.mark.parametrize("make", MAKERS)
def test_both_refuse_the_same_forgeries_at_the_same_place(make: Callable[..., Any]) -> None:
    """A changed payload, signature or header; another key, type or network; bytes that are no envelope."""
    one, other = make("a"), make("b")
    signed = one.sign(TYPE, b"hello")
    protected, _, payload, signature = cbor2.loads(signed).value
    altered = cbor2.dumps(cbor2.CBORTag(18, [protected, {}, b"hellp", signature]), canonical=True)
    broken = cbor2.dumps(cbor2.CBORTag(18, [protected, {}, payload, bytes(3309)]), canonical=True)
    bad = [
        (one, one.public_key, TYPE, altered), (one, one.public_key, TYPE, broken),
        (one, other.public_key, TYPE, signed), (one, one.public_key, TYPE, b"\x80"),
        (one, one.public_key, "qcommons/vote.1", signed), (make("a", "elsewhere"), one.public_key, TYPE, signed),
        (one, one.public_key, TYPE, b""), (one, one.public_key, TYPE, signed + b"x"),
    ]  # fmt: skip
    for crypto, key, object_type, raw in bad:
        with pytest.raises(PeerError):
            crypto.verify(key, object_type, raw)


def test_the_envelope_of_the_double_is_of_the_real_form_and_size() -> None:
    """A reader that does not check signatures cannot tell them apart: same tag, header and lengths."""
    mine, theirs = double(), real()
    fake, true = mine.sign(TYPE, b"x" * 100), theirs.sign(TYPE, b"x" * 100)
    assert len(fake) == len(true)
    head, other = (cbor2.loads(cbor2.loads(raw).value[0]) for raw in (fake, true))
    assert {**head, 4: b""} == {**other, 4: b""} and head[4] == mine.peer
    with pytest.raises(PeerError, match="signature"):
        signing.verify(mine.public_key, TYPE, "world", fake)


def test_worlds_share_no_signature() -> None:
    signed = double(seed=1).sign(TYPE, b"x")
    other = double(seed=2)
    with pytest.raises(PeerError):
        other.verify(double(seed=1).public_key, TYPE, signed)


@pytest.mark.parametrize("make", MAKERS)
def test_a_chain_is_opened_by_its_owner_alone(make: Callable[..., Any]) -> None:
    one, other = make("a"), make("b")
    anchor = one.new_chain(100)
    third, fifth = one.beat(3), one.beat(5)
    assert other.follows(third, 3, anchor) and other.follows(fifth, 2, third) and len(anchor) == 16
    assert not other.follows(fifth, 4, anchor) and not other.follows(third, 2, fifth)
    assert not other.follows(bytes(16), 3, anchor) and not other.follows(b"", 3, anchor)
    again = one.new_chain(100)
    assert again != anchor and not other.follows(one.beat(3), 3, anchor)
    for count in range(16):
        assert not other.follows(third[:count] + bytes([third[count] ^ 1]) + third[count + 1 :], 3, anchor)


def test_beats_outside_the_chain_are_a_fault() -> None:
    one = double()
    one.new_chain(10)
    with pytest.raises(ValueError, match="beat 11"):
        one.beat(11)


@pytest.mark.parametrize("make", MAKERS)
def test_costs_are_counted_and_what_was_just_verified_is_free(make: Callable[..., Any]) -> None:
    one, other = make("a"), make("b")
    signed = one.sign(TYPE, b"x")
    assert one.spent_ns == SIGN_NS
    other.verify(one.public_key, TYPE, signed)
    other.verify(one.public_key, TYPE, signed)
    assert other.spent_ns == VERIFY_NS
    with pytest.raises(PeerError):
        other.verify(one.public_key, TYPE, signed[:-1] + b"\1")
    assert other.spent_ns == 2 * VERIFY_NS
    assert isinstance(real(), NodeCrypto)
