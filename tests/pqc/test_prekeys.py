"""Prekeys: published under the node's signature, kept where only its key opens them."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
import secrets
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcommons.base.canonical import encode, encode_record
from qcommons.base.errors import Corrupt, PeerError, UsageError
from qcommons.pqc.identity import NodeKey
from qcommons.pqc.prekeys import (
    PREKEY_TYPE,
    Prekey,
    PrekeyPair,
    check_prekey,
    hpke_public,
    keep,
    kept,
    prekey_id,
    publish,
)
from qcommons.pqc.signing import sign

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "pqc" / "sealed.json").read_text())["vectors"][0]
KEY, OTHER = NodeKey(b"\xff" * 32), NodeKey(bytes(32))
PAIR = PrekeyPair(bytes(range(96)))
NOW_S = 1_800_000_000
DAY_S = 86_400
SIGNED = publish(KEY, "home", PAIR, NOW_S, NOW_S + DAY_S)
GOOD = check_prekey(KEY.public_key, "home", SIGNED, NOW_S)


def test_the_published_prekey_stands() -> None:
    assert PAIR.id.hex() == VECTOR["prekey_id"]
    domain = b"qcommons/prekey-id.1"
    assert hashlib.sha3_256(domain + PAIR.public).hexdigest().startswith(VECTOR["prekey_id"])
    found = check_prekey(KEY.public_key, "home", bytes.fromhex(VECTOR["prekey_signed"]), NOW_S)
    assert found == GOOD == Prekey(KEY.hash, PAIR.id, PAIR.public, NOW_S, NOW_S + DAY_S)


def test_a_prekey_is_good_from_its_begin_to_its_end() -> None:
    """Clocks of honest nodes may differ by 300 s, so one that has just been made is taken."""
    for now_s in (NOW_S - 300, NOW_S, NOW_S + DAY_S - 1):
        assert check_prekey(KEY.public_key, "home", SIGNED, now_s) == GOOD
    for now_s, where in ((NOW_S - 301, "from"), (NOW_S + DAY_S, "until")):
        with pytest.raises(PeerError) as caught:
            check_prekey(KEY.public_key, "home", SIGNED, now_s)
        assert caught.value.where == where


def forged(**changed: object) -> bytes:
    fields = {name: getattr(GOOD, name) for name in Prekey.__struct_fields__} | changed
    return sign(KEY, PREKEY_TYPE, "home", encode([fields[name] for name in Prekey.__struct_fields__]))


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"node": OTHER.hash}, "node"),
        ({"id": bytes(16)}, "prekey"),
        ({"until_s": NOW_S}, "until"),
        ({"until_s": NOW_S + 31 * DAY_S}, "until"),
        ({"public": bytes(1215)}, "$[2]"),
        ({"id": bytes(15)}, "$[1]"),
        ({"from_s": -1}, "$[3]"),
        ({"until_s": 1 << 63}, "$[4]"),
    ],
)
def test_what_its_own_node_signed_wrongly_is_refused(changed: dict[str, object], where: str) -> None:
    with pytest.raises(PeerError) as caught:
        check_prekey(KEY.public_key, "home", forged(**changed), NOW_S)
    assert caught.value.where == where


def test_a_public_half_that_is_no_ml_kem_key_is_refused() -> None:
    """FIPS 203, section 7.2: every coefficient is below q = 3329; 0xfff is not."""
    bad = b"\xff" * 1184 + PAIR.public[1184:]
    with pytest.raises(PeerError) as caught:
        check_prekey(KEY.public_key, "home", forged(public=bad, id=prekey_id(bad)), NOW_S)
    assert caught.value.where == "prekey"
    with pytest.raises(PeerError):
        hpke_public(PAIR.public[:-1])


def test_signatures_of_others_and_for_other_networks_are_refused() -> None:
    stolen = sign(OTHER, PREKEY_TYPE, "home", encode_record(GOOD))
    for public_key, network, signed in (
        (OTHER.public_key, "home", stolen),
        (KEY.public_key, "home", stolen),
        (KEY.public_key, "lab", SIGNED),
        (KEY.public_key, "home", SIGNED + bytes(4096)),
    ):
        with pytest.raises(PeerError):
            check_prekey(public_key, network, signed, NOW_S)


@pytest.mark.parametrize("life_s", [0, -1, 30 * DAY_S + 1])
def test_nobody_publishes_what_peers_refuse(life_s: int) -> None:
    with pytest.raises(UsageError):
        publish(KEY, "home", PAIR, NOW_S, NOW_S + life_s)


def test_a_kept_prekey_opens_with_the_nodes_key_alone() -> None:
    value = keep(KEY, SIGNED, PAIR, secrets.token_bytes)
    signed, prekey, pair = kept(KEY, "home", value)
    assert (signed, prekey, pair.public, pair.secret_seed()) == (SIGNED, GOOD, PAIR.public, PAIR.secret_seed())
    assert PAIR.secret_seed()[:64] not in value and PAIR.secret_seed()[64:] not in value
    for key, network in ((OTHER, "home"), (KEY, "lab")):
        with pytest.raises(Corrupt):
            kept(key, network, value)


@given(st.integers(0), st.integers(1, 255), st.booleans())
@settings(max_examples=50, deadline=None)
def test_a_damaged_one_is_noticed(place: int, change: int, cut: bool) -> None:
    value = bytearray(keep(KEY, SIGNED, PAIR, secrets.token_bytes))
    place %= len(value)
    value[place] ^= change
    with pytest.raises(Corrupt):
        kept(KEY, "home", bytes(value[:place] if cut else value))


def test_secret_halves_do_not_slip_out() -> None:
    assert PAIR.secret_seed().hex()[:16] not in repr(PAIR)
    for leak in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="prekey_ring"):
            leak(PAIR)
    with pytest.raises(UsageError, match="95 secret bytes"):
        PrekeyPair(bytes(95))
