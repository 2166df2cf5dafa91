"""Sealed boxes: the recipient reads them, knows who sent them, and can fool nobody with them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcommons.base.canonical import encode, encode_record
from qcommons.base.errors import PeerError, Unavailable, UsageError
from qcommons.pqc import sealed
from qcommons.pqc.identity import NodeKey
from qcommons.pqc.prekeys import Prekey, PrekeyPair, check_prekey, hpke_public
from qcommons.pqc.sealed import BODY_BYTES_MAX, BOX_BYTES_MAX, Letter, box_prekey, seal, unseal
from qcommons.pqc.signing import sign

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "pqc" / "sealed.json").read_text())["vectors"]
SENDER, RECIPIENT, THIRD = NodeKey(bytes(range(32))), NodeKey(b"\xff" * 32), NodeKey(bytes(32))
PAIR, THIRDS = PrekeyPair(bytes(range(96))), PrekeyPair(bytes(96))
NOW_S = 1_800_000_000
PREKEY = Prekey(RECIPIENT.hash, PAIR.id, PAIR.public, NOW_S, NOW_S + 86_400)
BOX = seal(SENDER, PREKEY, "note", "home", b"attack at dawn", NOW_S)


def mine(prekey_id: bytes) -> PrekeyPair:
    if prekey_id != PAIR.id:
        raise Unavailable("unknown here", where="prekey")
    return PAIR


def opened(box: bytes, purpose: str = "note", network: str = "home", recipient: bytes = RECIPIENT.hash) -> Letter:
    return unseal(box, mine, recipient, purpose, network)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["purpose"])
def test_published_boxes_open(vector: dict[str, str | int]) -> None:
    text = {name: str(value) for name, value in vector.items()}
    recipient = NodeKey(bytes.fromhex(text["recipient_seed"]))
    pair = PrekeyPair(bytes.fromhex(text["prekey_seed"]))
    signed = bytes.fromhex(text["prekey_signed"])
    prekey = check_prekey(recipient.public_key, text["network"], signed, int(text["at_s"]))
    box = bytes.fromhex(text["box"])
    assert box_prekey(box) == pair.id == prekey.id
    letter = unseal(box, lambda _: pair, recipient.hash, text["purpose"], text["network"])
    assert letter.body.hex() == text["body"] and letter.at_s == vector["at_s"]
    assert letter.sender == NodeKey(bytes.fromhex(text["sender_seed"])).hash


@given(st.binary(max_size=2000))
@settings(max_examples=20, deadline=None)
def test_what_was_sealed_opens_and_names_its_sender(body: bytes) -> None:
    letter = opened(seal(SENDER, PREKEY, "note", "home", body, NOW_S))
    assert (letter.body, letter.sender, letter.public_key, letter.at_s) == (
        body, SENDER.hash, SENDER.public_key, NOW_S,
    )  # fmt: skip


def test_the_largest_body_fits_a_request_of_the_mesh() -> None:
    body = bytes(BODY_BYTES_MAX)
    box = seal(SENDER, PREKEY, "n" * 64, "a" * 64, body, NOW_S)
    assert len(box) <= BOX_BYTES_MAX
    assert opened(box, "n" * 64, "a" * 64).body == body
    with pytest.raises(UsageError) as caught:
        seal(SENDER, PREKEY, "note", "home", bytes(BODY_BYTES_MAX + 1), NOW_S)
    assert caught.value.where == "body"


def test_a_box_shows_neither_body_nor_sender() -> None:
    assert b"attack" not in BOX and SENDER.public_key[:32] not in BOX and SENDER.hash not in BOX
    assert "attack" not in repr(opened(BOX))


def test_sealing_twice_gives_two_boxes_and_a_repeated_box_is_known_by_its_digest() -> None:
    again = seal(SENDER, PREKEY, "note", "home", b"attack at dawn", NOW_S)
    assert again != BOX
    assert opened(BOX).digest == opened(BOX).digest != opened(again).digest


@pytest.mark.parametrize(
    ("purpose", "network", "recipient"),
    [("ballot", "home", RECIPIENT.hash), ("note", "lab", RECIPIENT.hash), ("note", "home", THIRD.hash)],
)
def test_a_box_opens_for_its_purpose_network_and_recipient_alone(purpose: str, network: str, recipient: bytes) -> None:
    with pytest.raises(PeerError) as caught:
        opened(BOX, purpose, network, recipient)
    assert caught.value.where == "box" and "does not open" in caught.value.what


def test_whoever_has_no_secret_half_is_told_so_before_anything_is_computed() -> None:
    with pytest.raises(Unavailable):
        opened(encode(["qcommons/sealed.1", THIRDS.id, bytes(1200)]))


def resealed(inside: bytes, purpose: str = "note", network: str = "home") -> bytes:
    """A box of any content, as a stranger can make one without any key."""
    info = encode(["qcommons/sealed.1", purpose, network, RECIPIENT.hash, PAIR.id])
    return encode(["qcommons/sealed.1", PAIR.id, sealed._suite().encrypt(inside, hpke_public(PAIR.public), info)])


def inside_of(
    sender: NodeKey, body: bytes, *, recipient: NodeKey = RECIPIENT, prekey: bytes = PAIR.id, purpose: str = "note",
    signed_body: bytes | None = None, network: str = "home",
) -> bytes:  # fmt: skip
    digest = hashlib.sha3_256(body if signed_body is None else signed_body).digest()
    claim = encode([purpose, recipient.hash, prekey, digest, NOW_S])
    return encode(["qcommons/letter.1", sender.public_key, sign(sender, "qcommons/letter.1", network, claim), body])


def test_the_forger_of_these_tests_makes_good_boxes_too() -> None:
    assert opened(resealed(inside_of(SENDER, b"x"))).body == b"x"


def test_a_letter_to_somebody_else_cannot_be_passed_on_as_if_it_were_sent_here() -> None:
    """Surreptitious forwarding: the third node opens a letter to itself and seals it anew for the recipient."""
    for wrong, where in (
        ({"recipient": THIRD}, "recipient"),
        ({"prekey": THIRDS.id}, "prekey"),
        ({"purpose": "ballot"}, "purpose"),
        ({"signed_body": b"defend"}, "body"),
    ):
        with pytest.raises(PeerError) as caught:
            opened(resealed(inside_of(SENDER, b"attack", **wrong)))  # type: ignore[arg-type]
        assert caught.value.where == where
        assert b"attack" not in caught.value.evidence


def test_a_letter_signed_for_another_network_or_by_another_key_is_refused() -> None:
    good = inside_of(SENDER, b"x")
    stolen = good.replace(SENDER.public_key, THIRD.public_key)
    for inside in (inside_of(SENDER, b"x", network="lab"), stolen, good[:-1] + b"y", b"", b"\x80", encode(["a"] * 4)):
        with pytest.raises(PeerError):
            opened(resealed(inside))


def test_errors_quote_nothing_of_what_was_sealed() -> None:
    with pytest.raises(PeerError) as caught:
        opened(resealed(encode(["qcommons/letter.1", b"too short", b"", b"attack at dawn"])))
    assert caught.value.evidence == b"" and "attack" not in str(caught.value)


@given(st.integers(0), st.integers(1, 255), st.sampled_from(["change", "cut", "more"]))
@settings(max_examples=100, deadline=None)
def test_any_changed_byte_is_noticed(place: int, change: int, how: str) -> None:
    data = bytearray(BOX)
    place %= len(data)
    data[place] ^= change
    bad = {"change": bytes(data), "cut": BOX[:place], "more": BOX + bytes([change])}[how]
    with pytest.raises((PeerError, Unavailable)):
        opened(bad)


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_refused_with_a_reason(data: bytes) -> None:
    for box in (data, encode(["qcommons/sealed.1", PAIR.id, data])):
        with pytest.raises(PeerError):
            opened(box)


def test_oversize_is_refused_before_it_is_read() -> None:
    with pytest.raises(PeerError) as caught:
        opened(bytes(BOX_BYTES_MAX + 1))
    assert caught.value.limit is not None and "bytes" in caught.value.limit


def test_nobody_seals_to_an_expired_prekey_or_for_no_purpose() -> None:
    with pytest.raises(UsageError, match="expired 0 s ago"):
        seal(SENDER, PREKEY, "note", "home", b"", NOW_S + 86_400)
    for purpose in ("", "Note", "a b", "a" * 65):
        with pytest.raises(UsageError):
            seal(SENDER, PREKEY, purpose, "home", b"", NOW_S)
    with pytest.raises(UsageError):
        seal(SENDER, PREKEY, "note", "Home!", b"", NOW_S)


def test_a_low_order_point_in_a_prekey_is_refused() -> None:
    """RFC 7748, section 6.1: X25519 with the point 0 gives zeros whatever the secret is."""
    public = PAIR.public[:1184] + bytes(32)
    bad = Prekey(RECIPIENT.hash, PAIR.id, public, NOW_S, NOW_S + 60)
    with pytest.raises(PeerError):
        seal(SENDER, bad, "note", "home", b"", NOW_S)


def test_what_is_signed_holds_no_more_than_it_says() -> None:
    """Five fields, in canonical CBOR: purpose, recipient, prekey, hash of the body, time."""
    claim = sealed._Signed("note", RECIPIENT.hash, PAIR.id, bytes(32), NOW_S)
    assert encode_record(claim) == encode(["note", RECIPIENT.hash, PAIR.id, bytes(32), NOW_S])
