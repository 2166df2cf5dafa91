"""The book of asks: the newest counts, old ones stay away, floods push out themselves, no messenger is blamed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest
from tests.jobs.asks_vectors import HOLDER, NETWORK, NODE, NOW_S, OTHER, WORK

from qcommons.base.canonical import decode, encode_record
from qcommons.base.effects import Store
from qcommons.jobs import market
from qcommons.jobs.asks import LIFE_S_MAX, Ask, SignedAsk, contradiction, sign_ask
from qcommons.jobs.market import EVIDENCE_KEY, Book, Standing
from qcommons.pqc.identity import NodeKey
from qcommons.pqc.signing import sign

ME = b"\x01" * 32
KEYS = [NodeKey(bytes([k + 1]) * 32) for k in range(14)]


def filed(key: NodeKey = NODE, **fields: Any) -> bytes:
    return sign_ask(key, NETWORK, msgspec.structs.replace(WORK, node=key.hash, **fields))


FILE = filed()


@pytest.fixture
def book() -> Book:
    return Book(ME, NETWORK)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Book:
    """With room for four."""
    monkeypatch.setattr(market, "ASKS_MAX", 4)
    return Book(ME, NETWORK)


def nodes(book: Book, now_s: int = NOW_S) -> list[bytes]:
    return [ask.node for ask in book.asks("work", now_s)]


def test_a_newer_ask_takes_the_place_of_an_older_one_in_whatever_order_they_come(book: Book) -> None:
    newer = filed(seq=WORK.seq + 5, price_per_giga=99)
    for raws in ((FILE, newer), (newer, FILE)):
        book = Book(ME, NETWORK)
        for raw in raws:
            assert not book.learn(raw, "a", NOW_S).why
        ask = book.of(NODE.hash, "work", NOW_S)
        assert ask is not None and ask.price_per_giga == 99
        assert len(book) == 1


def test_what_is_the_cheapest_comes_first_and_only_files_that_count_are_passed_on(book: Book) -> None:
    raws = [filed(key, price_per_giga=price) for key, price in zip(KEYS[:3], (30, 10, 20), strict=True)]
    for raw in [*raws, filed(KEYS[3], price_per_giga=1, until_s=NOW_S + 10)]:
        book.learn(raw, "a", NOW_S)
    assert [ask.price_per_giga for ask in book.asks("work", NOW_S + 10)] == [10, 20, 30]
    assert book.beyond((), NOW_S + 10, 2) == [raws[1], raws[2]]
    known = book.known(NOW_S + 10)
    assert len(known) == 3 and book.beyond(known[:1] + known[2:], NOW_S + 10, 9) in ([raws[0]], [raws[1]], [raws[2]])
    assert [why for _, why in book.held("work", NOW_S + 10)] == ["its ask expired 0 ns ago", "", "", ""]
    assert book.asks("slots", NOW_S) == []


def test_an_expired_ask_leaves_no_way_for_an_older_one_that_still_holds(book: Book) -> None:
    """The attack: the price rose for an hour; afterwards somebody shows the old, lower one again."""
    old = filed(price_per_giga=1)
    book.learn(filed(seq=WORK.seq + 5, until_s=NOW_S + 3_600), "a", NOW_S)
    for now_s in (NOW_S + 3_600, NOW_S + 80_000):
        assert book.learn(old, "a", now_s).ask is None
        assert book.of(NODE.hash, "work", now_s) is None
        assert "expired" in book.why_none(NODE.hash, "work", now_s)


def test_expired_asks_of_the_future_and_of_unknown_terms_are_nobodys_fault(book: Book) -> None:
    for raw, now_s, why in (
        (FILE, NOW_S + 86_400, "expired"),
        (FILE, NOW_S - 700, "future"),
        (filed(terms=2), NOW_S, "terms 2"),
    ):
        learnt = book.learn(raw, "10.0.0.0/16", now_s)
        assert why in learnt.why
        assert (learnt.fault, learnt.ask) == ("", None)
        assert "10.0.0.0/16" in str(learnt.effects)
    assert len(book) == 0


def test_bad_bytes_and_bad_signatures_are_the_tellers_fault_alone(book: Book) -> None:
    payload = encode_record(msgspec.structs.replace(WORK, seq=WORK.seq + 1, price_per_giga=1))
    signed = sign(HOLDER, "qcommons/ask.1", NETWORK, payload)
    forged = encode_record(SignedAsk(signed, NODE.public_key))
    book.learn(FILE, "a", NOW_S)
    for raw in (b"", b"\x80", FILE[:-1], forged):
        assert book.learn(raw, "b", NOW_S).fault == "teller"
    assert book.of(NODE.hash, "work", NOW_S) == WORK  # who was named in the forgery lost nothing


def test_two_asks_of_one_seq_count_no_more_and_are_kept_as_proof(book: Book) -> None:
    other = sign_ask(NODE, NETWORK, OTHER)
    book.learn(FILE, "a", NOW_S)
    learnt = book.learn(other, "b", NOW_S)
    assert learnt.fault == "author"  # not who told it: it cannot know what else was signed
    stores = [effect for effect in learnt.effects if isinstance(effect, Store)]
    assert [store.key for store in stores] == [f"{EVIDENCE_KEY}{NODE.hash.hex()}/work"]
    first, second = decode(stores[0].value or b"", bytes_max=1 << 15, items_max=3)
    assert contradiction(first, second, NETWORK) == NODE.hash
    assert book.of(NODE.hash, "work", NOW_S) is None
    assert "two asks" in book.why_none(NODE.hash, "work", NOW_S)
    assert book.learn(filed(seq=WORK.seq + 9), "a", NOW_S).ask is None  # a later one does not mend it
    assert book.learn(filed(resource="slots", seq=WORK.seq + 9), "a", NOW_S).ask is not None


def test_the_same_ask_signed_again_contradicts_nothing(book: Book) -> None:
    book.learn(FILE, "a", NOW_S)
    again = filed()
    assert again != FILE  # ML-DSA is hedged
    assert book.learn(again, "b", NOW_S).ask == WORK


def test_evidence_on_disk_is_bounded_over_restarts() -> None:
    book = Book(ME, NETWORK, evidence=[f"{k:064x}/work" for k in range(market.EVIDENCE_MAX)])
    book.learn(FILE, "a", NOW_S)
    learnt = book.learn(sign_ask(NODE, NETWORK, OTHER), "a", NOW_S)
    assert learnt.fault == "author"
    assert not any(isinstance(effect, Store) for effect in learnt.effects)


def test_an_own_ask_that_comes_back_is_not_held() -> None:
    book = Book(NODE.hash, NETWORK)
    assert "own ask" in book.learn(FILE, "a", NOW_S).why
    assert len(book) == 0


def test_a_flood_from_one_source_pushes_out_only_itself(small: Book) -> None:
    honest = KEYS[:2]
    for key in honest:
        small.learn(filed(key), f"prefix-{key.id}", NOW_S)
    for key in KEYS[2:]:
        small.learn(filed(key), "flood", NOW_S)
    assert len(small) == 4
    assert {key.hash for key in honest} <= set(nodes(small))


def test_a_newcomer_from_elsewhere_finds_room_among_the_flood(small: Book) -> None:
    for key in KEYS[:4]:
        small.learn(filed(key), "flood", NOW_S)
    assert small.learn(filed(KEYS[5]), "elsewhere", NOW_S).ask is not None
    told = Counter("elsewhere" if node == KEYS[5].hash else "flood" for node in nodes(small))
    assert told == {"flood": 3, "elsewhere": 1}


def test_strangers_push_out_nobody_who_is_known_better(small: Book) -> None:
    for key in KEYS[:4]:
        small.learn(filed(key), "a", NOW_S, Standing.PROVEN)
    assert "known better" in small.learn(filed(KEYS[5]), "b", NOW_S).why
    assert small.learn(filed(KEYS[6]), "b", NOW_S, Standing.TRUSTED).ask is not None
    assert KEYS[6].hash in nodes(small)
    assert len(small) == 4


def test_what_has_expired_goes_first(small: Book) -> None:
    small.learn(filed(KEYS[0], until_s=NOW_S + 5), "a", NOW_S, Standing.TRUSTED)
    for key in KEYS[1:4]:
        small.learn(filed(key), "a", NOW_S)
    small.learn(filed(KEYS[5]), "a", NOW_S + 5)
    assert set(nodes(small, NOW_S + 5)) == {key.hash for key in (*KEYS[1:4], KEYS[5])}


def test_a_cited_ask_is_found_by_its_hash_after_it_expired(book: Book) -> None:
    from qcommons.jobs.asks import ask_hash

    book.learn(FILE, "a", NOW_S)
    assert book.cited(ask_hash(WORK)) == FILE
    assert book.cited(bytes(32)) is None


def test_a_contradiction_is_forgotten_when_both_asks_must_have_expired(small: Book) -> None:
    small.learn(FILE, "a", NOW_S)
    small.learn(sign_ask(NODE, NETWORK, OTHER), "a", NOW_S)
    later_s = NOW_S + LIFE_S_MAX
    for k, key in enumerate(KEYS[:4]):
        fresh: dict[str, Any] = {"seq": later_s * 1000 + k, "until_s": later_s + 100}
        small.learn(filed(key, **fresh), "a", later_s)
    assert len(small) == 4
    assert all(isinstance(ask, Ask) and ask.node != NODE.hash for ask in small.asks("work", later_s))
    assert "no ask" in small.why_none(NODE.hash, "work", later_s)
