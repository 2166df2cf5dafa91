"""The bazaar: own asks are signed, renewed and taken back; others' are learnt; a neighbour gets what it lacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from qcommons.base.canonical import decode, encode
from qcommons.base.effects import Effect, Note, Send, Store
from qcommons.base.errors import PeerError, UsageError
from qcommons.base.units import NS_PER_S
from qcommons.jobs.asks import LIFE_S_MAX, Ask, check_ask, read_ask, sign_ask, why_closed
from qcommons.jobs.market import EVIDENCE_KEY, Standing
from qcommons.mesh.events import Failed, Publish
from qcommons.mesh.messages import Gossip
from qcommons.node.mesh.bazaar import OWN_KEY, PAGE_FILES_MAX, TOPIC, Bazaar, Wish
from qcommons.pqc.identity import NodeKey

NETWORK = "commons"
NOW_S = 1_800_000_000
NOW_NS = NOW_S * NS_PER_S
DAY_NS = 86_400 * NS_PER_S
KEYS = [NodeKey(bytes([k + 1]) * 32) for k in range(4)]
WISH = Wish(resource="work", price_per_giga=5, capacity_per_s=10**8, places=2)


def made(key: NodeKey = KEYS[0], *, sharing: bool = True, kept: dict[str, bytes] | None = None) -> Bazaar:
    found = Bazaar(
        key, NETWORK, sharing=sharing, standing=lambda peer: Standing.STRANGER, source=lambda peer: "unknown"
    )
    found.begin(kept or {}, NOW_NS)
    return found


def published(effects: list[Effect]) -> list[Ask]:
    """What goes to the mesh; each is behind its store, signed, and carries the seq that its news says."""
    found = []
    for place, effect in enumerate(effects):
        if isinstance(effect, Send):
            news = effect.message
            assert isinstance(news, Publish) and news.topic == TOPIC
            ask = check_ask(news.payload, NETWORK)
            assert ask.seq == news.seq and isinstance(effects[place - 1], Store)
            found.append(ask)
    return found


def kept(effects: list[Effect]) -> dict[str, bytes]:
    return {effect.key: effect.value for effect in effects if isinstance(effect, Store) and effect.value is not None}


def raw_of(effects: list[Effect]) -> bytes:
    (raw,) = [effect.message.payload for effect in effects if isinstance(effect, Send)]
    return bytes(raw)


# this node's own


def test_what_is_wished_is_stored_then_told_and_holds_at_most_eight_days() -> None:
    node = made()
    (ask,) = published(node.set(WISH, NOW_NS))
    assert (ask.node, ask.price_per_giga, ask.capacity_per_s, ask.places) == (KEYS[0].hash, 5, 10**8, 2)
    assert ask.until_s == NOW_S + LIFE_S_MAX and why_closed(ask, NOW_S) == ""
    (own,) = node.own()
    assert node.state(own, NOW_S) == "offered"


def test_an_open_ask_is_renewed_once_a_day_and_a_short_one_never() -> None:
    node = made()
    node.set(WISH, NOW_NS)
    node.set(msgspec.structs.replace(WISH, resource="slots", until_s=NOW_S + 7_200), NOW_NS)
    assert node.looked(NOW_NS + 3_600 * NS_PER_S) == []
    (again,) = published(node.looked(NOW_NS + DAY_NS))
    assert again.resource == "work" and again.until_s == NOW_S + 86_400 + LIFE_S_MAX
    assert {own.resource: node.state(own, NOW_S + 86_400) for own in node.own()} == {"work": "offered", "slots": "over"}


def test_a_later_end_is_reached_by_renewing_and_never_passed() -> None:
    node = made()
    end_s = NOW_S + 10 * 86_400
    node.set(msgspec.structs.replace(WISH, until_s=end_s), NOW_NS)
    for day in range(1, 10):
        for ask in published(node.looked(NOW_NS + day * DAY_NS)):
            assert ask.until_s <= end_s
    (own,) = node.own()
    assert own.signed is not None and own.signed.until_s == end_s
    assert node.looked(NOW_NS + 11 * DAY_NS) == [] and node.state(own, end_s) == "over"


def test_withdrawing_tells_a_newer_ask_without_places_that_outlives_the_one_before() -> None:
    node = made()
    (before,) = published(node.set(WISH, NOW_NS))
    (after,) = published(node.withdraw("work", NOW_NS))
    assert after.seq > before.seq and after.places == 0 and after.until_s >= before.until_s
    assert "offers nothing" in why_closed(after, NOW_S)
    with pytest.raises(UsageError, match="no ask for work"):
        node.withdraw("work", NOW_NS)


def test_the_seq_rises_though_the_clock_was_set_back() -> None:
    node = made()
    (first,) = published(node.set(WISH, NOW_NS))
    (second,) = published(node.set(WISH, NOW_NS - DAY_NS))
    assert second.seq == first.seq + 1


def test_with_sharing_off_nothing_is_told_and_what_was_told_is_taken_back() -> None:
    closed = made(sharing=False)
    effects = closed.set(WISH, NOW_NS)
    assert published(effects) == [] and closed.state(closed.own()[0], NOW_S) == "off"
    opened = Bazaar(KEYS[0], NETWORK, sharing=True, standing=lambda p: Standing.STRANGER, source=lambda p: "")
    told = opened.begin(kept(effects), NOW_NS)
    assert [ask.places for ask in published(told)] == [2]
    again = Bazaar(KEYS[0], NETWORK, sharing=False, standing=lambda p: Standing.STRANGER, source=lambda p: "")
    (ask,) = published(again.begin(kept(told), NOW_NS + NS_PER_S))
    assert ask.places == 0 and again.own()[0].wish == WISH


def test_a_start_signs_anew_and_a_return_of_links_only_after_a_while() -> None:
    """News older than ten minutes do not pass, so the old signature cannot be told again."""
    rows = kept(made().set(WISH, NOW_NS))
    node = Bazaar(KEYS[0], NETWORK, sharing=True, standing=lambda p: Standing.STRANGER, source=lambda p: "")
    (ask,) = published(node.begin(rows, NOW_NS + DAY_NS))
    assert ask.seq == (NOW_S + 86_400) * 1000
    assert node.refreshed(NOW_NS + DAY_NS + 60 * NS_PER_S) == []
    assert len(published(node.refreshed(NOW_NS + DAY_NS + 300 * NS_PER_S))) == 1


def test_a_damaged_row_costs_that_row_and_is_said() -> None:
    node = Bazaar(KEYS[0], NETWORK, sharing=True, standing=lambda p: Standing.STRANGER, source=lambda p: "")
    rows = kept(made().set(WISH, NOW_NS)) | {OWN_KEY + "slots": b"\xc1", OWN_KEY + "ebits": encode([None])}
    effects = node.begin(rows, NOW_NS)
    assert [own.resource for own in node.own()] == ["work"]
    assert sorted(effect.key for effect in effects if isinstance(effect, Store) and effect.value is None) == [
        OWN_KEY + "ebits", OWN_KEY + "slots"
    ]  # fmt: skip
    assert sum(isinstance(effect, Note) for effect in effects) == 2


def test_after_a_change_of_key_the_wish_stays_and_is_signed_with_the_new_one() -> None:
    rows = kept(made(KEYS[1]).set(WISH, NOW_NS))
    node = Bazaar(KEYS[0], NETWORK, sharing=True, standing=lambda p: Standing.STRANGER, source=lambda p: "")
    (ask,) = published(node.begin(rows, NOW_NS))
    assert ask.node == KEYS[0].hash


@pytest.mark.parametrize(
    ("where", "fields"),
    [
        ("price_per_giga", {"price_per_giga": -1}),
        ("capacity_per_s", {"capacity_per_s": 0}),
        ("places", {"places": 65_537}),
        ("fidelity_ppm", {"fidelity_ppm": 1}),
        ("fidelity_ppm", {"resource": "ebits"}),
        ("until_s", {"until_s": NOW_S}),
        ("until_s", {"from_s": NOW_S + 100, "until_s": NOW_S + 100}),
        ("until_s", {"until_s": NOW_S + 400 * 86_400}),
        ("from_s", {"from_s": NOW_S + LIFE_S_MAX}),
        ("windows", {"windows": ((NOW_S, NOW_S + 10),) * 9}),
        ("windows", {"windows": ((NOW_S + 20, NOW_S + 30), (NOW_S, NOW_S + 10))}),
        ("windows", {"windows": ((NOW_S - 20, NOW_S - 10),)}),
        ("windows", {"windows": ((NOW_S, NOW_S + LIFE_S_MAX + 1),)}),
    ],
)
def test_what_cannot_be_wished_is_refused_with_its_range(where: str, fields: dict[str, Any]) -> None:
    node = made()
    with pytest.raises(UsageError) as caught:
        node.set(msgspec.structs.replace(WISH, **fields), NOW_NS)
    assert caught.value.where == where and caught.value.limit and node.own() == []


def test_contact_windows_that_are_over_are_left_out_and_the_last_ends_the_ask() -> None:
    node = made()
    windows = ((NOW_S, NOW_S + 100), (NOW_S + 5_000, NOW_S + 6_000))
    (first,) = published(node.set(msgspec.structs.replace(WISH, windows=windows), NOW_NS))
    assert first.windows == windows and first.until_s == NOW_S + 6_000
    (second,) = published(node.looked(NOW_NS + 200 * NS_PER_S))
    assert second.windows == windows[1:]
    assert node.looked(NOW_NS + 7_000 * NS_PER_S) == []


# others'


def news(raw: bytes, **fields: Any) -> Gossip:
    ask = read_ask(raw)
    return Gossip(TOPIC, fields.get("origin", ask.node), fields.get("seq", ask.seq), raw, 0)


def test_the_check_of_the_topic_takes_what_its_origin_signed_with_this_seq_alone() -> None:
    """The attack: an old ask of another is said again as fresh news, so that its author pays for them and is shown at
    an old price."""
    raw = raw_of(made(KEYS[1]).set(WISH, NOW_NS))
    node = made()
    assert node.accept(news(raw)) == ""
    assert "another seq" in node.accept(news(raw, seq=read_ask(raw).seq + 1))
    assert "another node" in node.accept(news(raw, origin=KEYS[2].hash))
    assert "no ask" in node.accept(Gossip(TOPIC, KEYS[1].hash, 1, raw[:-1] + b"\0", 0))
    assert "no ask" in made(KEYS[0]).accept(Gossip(TOPIC, KEYS[1].hash, 1, b"\xff", 0))


def test_a_neighbour_gets_what_it_lacks_and_nothing_twice() -> None:
    """Two nodes that lead different markets agree after one question each way, and then have nothing more to say."""
    one, two = made(KEYS[0]), made(KEYS[1])
    one.set(WISH, NOW_NS)
    two.learn(raw_of(made(KEYS[2]).set(WISH, NOW_NS)), NOW_NS)
    for asking, asked in ((one, two), (two, one)):
        page = asked.page(asking.request(NOW_NS), NOW_NS)
        assert isinstance(page, bytes)
        files, is_more = asking.files_of(page)
        assert len(files) == 1 and not is_more
        effects, is_false = asking.learn(files[0], NOW_NS)
        assert not effects and not is_false
    assert two.book.of(KEYS[0].hash, "work", NOW_S) is not None
    assert one.book.of(KEYS[2].hash, "work", NOW_S) is not None
    page = two.page(one.request(NOW_NS), NOW_NS)
    assert isinstance(page, bytes) and two.files_of(page) == ((), False)


def test_a_full_answer_says_that_there_is_more() -> None:
    node = made()
    for key in KEYS[1:]:
        node.learn(raw_of(made(key).set(WISH, NOW_NS)), NOW_NS)
    page = node.page(made().request(NOW_NS), NOW_NS, files_max=2)
    assert isinstance(page, bytes)
    files, is_more = node.files_of(page)
    assert len(files) == 2 and is_more


def test_a_withdrawal_reaches_who_asks_a_neighbour() -> None:
    seller, buyer = made(KEYS[1]), made()
    buyer.learn(raw_of(seller.set(WISH, NOW_NS)), NOW_NS)
    seller.withdraw("work", NOW_NS)
    page = seller.page(buyer.request(NOW_NS), NOW_NS)
    assert isinstance(page, bytes)
    for raw in buyer.files_of(page)[0]:
        buyer.learn(raw, NOW_NS)
    ask = buyer.book.of(KEYS[1].hash, "work", NOW_S)
    assert ask is not None and not ask.places


def mixed(raw: bytes) -> bytes:
    """The file with a signature that is none."""
    _, signed, key = decode(raw, bytes_max=8_192, items_max=8)  # type: ignore[misc]
    return encode(["qcommons/ask-file.1", signed[:-1] + bytes([signed[-1] ^ 1]), key])  # type: ignore[index, operator]


@pytest.mark.parametrize("spoil", [lambda raw: b"", lambda raw: raw[:-9], mixed])
def test_who_tells_what_it_could_have_seen_to_be_false_is_at_fault(spoil: Callable[[bytes], bytes]) -> None:
    effects, is_false = made().learn(spoil(raw_of(made(KEYS[1]).set(WISH, NOW_NS))), NOW_NS)
    assert is_false and [effect.name for effect in effects if isinstance(effect, Note)] == ["ask_dropped"]


def test_an_own_ask_from_before_that_comes_back_is_nobodys_fault() -> None:
    node = made()
    old = raw_of(node.set(WISH, NOW_NS))
    node.set(msgspec.structs.replace(WISH, price_per_giga=9), NOW_NS)
    assert node.learn(old, NOW_NS) == ([], False) and len(node.book) == 0


def test_two_asks_of_one_seq_are_kept_as_evidence_and_who_told_them_is_not_blamed() -> None:
    ask = read_ask(raw_of(made(KEYS[1]).set(WISH, NOW_NS)))
    node = made()
    node.learn(sign_ask(KEYS[1], NETWORK, ask), NOW_NS)
    other = sign_ask(KEYS[1], NETWORK, msgspec.structs.replace(ask, price_per_giga=6))
    effects, is_false = node.learn(other, NOW_NS)
    name = EVIDENCE_KEY + KEYS[1].hash.hex() + "/work"
    assert not is_false and name in kept(effects)
    again = made(kept=kept(effects))
    again.learn(sign_ask(KEYS[1], NETWORK, ask), NOW_NS)
    assert not kept(again.learn(other, NOW_NS)[0]), "the proof is on disk already"


@pytest.mark.parametrize("body", [b"", encode([b"\0" * 7]), encode([b"\0" * 20_000]), encode([1]), encode([b"", 1])])
def test_a_request_that_is_none_is_refused(body: bytes) -> None:
    answer = made().page(body, NOW_NS)
    assert isinstance(answer, Failed) and answer.who == "usage"


def test_an_answer_that_is_none_is_refused() -> None:
    for body in (b"", encode([[], 1]), encode([[b""] * (PAGE_FILES_MAX + 1), False]), encode([["text"], False])):
        with pytest.raises(PeerError):
            made().files_of(body)


def test_pages_for_all_together_are_bounded() -> None:
    """At once 32, then four a second, however many neighbours ask."""
    node, body = made(), made(KEYS[1]).request(NOW_NS)
    given = [node.page(body, NOW_NS) for _ in range(40)]
    assert sum(isinstance(page, bytes) for page in given) == 32
    assert isinstance(node.page(body, NOW_NS + NS_PER_S), bytes)
