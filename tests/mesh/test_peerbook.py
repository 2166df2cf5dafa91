"""The book of records: newest of each, verified once, capped, and on disk."""

from __future__ import annotations

from typing import Any

import pytest
from tests.mesh.making import NOW_NS, NOW_S, Author, S, peer

from qcommons.base.effects import Note, Store
from qcommons.mesh.addresses import Scope
from qcommons.mesh.inside import Forgotten, Learned, OwnRecordSeen
from qcommons.mesh.messages import Records, WantRecords
from qcommons.mesh.own import Own
from qcommons.mesh.parts import Blame, ToPeer
from qcommons.mesh.peerbook import PeerBook, Tie
from qcommons.mesh.records import PeerId

TELLER = peer(99)


class Book:
    """A book with what it asks others."""

    def __init__(self, cap: int = 512) -> None:
        self.me = Author("me")
        self.own = Own(self.me.crypto, "0.1")
        self.kept: set[PeerId] = set()
        self.banned: set[PeerId] = set()
        self.prefix = ""
        self.book = PeerBook(
            self.me.crypto, self.own, self.kept.__contains__, lambda p: Scope.PRIVATE,
            lambda p, now_ns: p in self.banned, cap, lambda p: self.prefix,
        )  # fmt: skip

    def greet(self, author: Author, now_ns: int = NOW_NS) -> Any:
        """It comes in by itself, and is linked."""
        self.kept.add(author.peer)
        return self.book.learn(author.record().raw, author.peer, Scope.PUBLIC, now_ns, guest=self.prefix)

    def learn(self, raw: bytes, now_ns: int = NOW_NS, **options: Any) -> Any:
        return self.book.learn(raw, TELLER, Scope.PUBLIC, now_ns, **options)


def kinds(effects: list[Any]) -> list[type]:
    return [type(effect) for effect in effects]


def test_a_record_is_stored_before_anybody_hears_of_it() -> None:
    book, signed = Book(), Author("a").record()
    learnt = book.learn(signed.raw)
    assert learnt.signed == signed
    assert kinds(learnt.effects) == [Store, Learned]
    assert learnt.effects[0] == Store("peer/" + signed.peer.hex(), signed.raw)


def test_the_same_bytes_are_not_verified_again_and_say_nothing_new() -> None:
    book, signed = Book(), Author("a").record()
    book.learn(signed.raw)
    before = book.me.crypto.misses
    assert book.learn(signed.raw).effects == []
    assert book.me.crypto.misses == before


def test_a_newer_record_replaces_an_older_one_and_never_the_other_way() -> None:
    book, author = Book(), Author("a")
    old, new = author.record(NOW_S * 1000), author.record(NOW_S * 1000 + 1)
    book.learn(old.raw)
    assert book.learn(new.raw).effects[1] == Learned(new, False)
    learnt = book.learn(old.raw)
    assert (learnt.signed, learnt.effects) == (new, [])


def test_the_same_record_signed_twice_is_no_equivocation() -> None:
    """ML-DSA signatures are hedged, so two of one record differ."""
    book, author = Book(), Author("a")
    first = author.record()
    again = author.record()
    assert first.raw != again.raw
    book.learn(first.raw)
    assert book.learn(again.raw).effects == []


def test_two_records_of_one_seq_blame_their_author_and_are_kept() -> None:
    book, author = Book(), Author("a")
    one, other = author.record(offers=("a:1",)), author.record(offers=("b:2",))
    book.learn(one.raw)
    evidence, shown, blame = book.learn(other.raw).effects
    assert shown == ToPeer(TELLER, Records((one.raw,))), "who was deceived, too, gets the proof"
    assert isinstance(evidence, Store)
    assert evidence.key == "evidence/" + author.peer.hex()
    assert one.raw in (evidence.value or b"") and other.raw in (evidence.value or b"")
    assert isinstance(blame, Blame)
    assert (blame.peer, blame.points) == (author.peer, 100), "not who passed it on"
    assert kinds(book.learn(author.record(offers=("c:3",)).raw).effects) == [ToPeer, Blame], "evidence is kept once"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"expires_s": NOW_S}, "expired"),
        ({"seq": (NOW_S + 601) * 1000}, "future"),
        ({"expires_s": NOW_S + 30 * 86_400}, "expires in"),
    ],
)
def test_what_the_clock_refuses_is_nobodys_lie(fields: dict[str, int], why: str) -> None:
    learnt = Book().learn(Author("a").record(**fields).raw)
    assert learnt.signed is None
    assert why in learnt.why
    assert kinds(learnt.effects) == [Note]


def test_ten_minutes_of_skew_are_allowed() -> None:
    assert Book().learn(Author("a").record(seq=(NOW_S + 599) * 1000).raw).signed is not None


@pytest.mark.parametrize(
    "fields",
    [
        {"addresses": ("tcp/example.org:1",)},
        {"addresses": ("tcp/93.184.216.34:1",) * 9},
        {"addresses": ("tcp/[::ffff:10.0.0.1]:1",)},
        {"offers": ("x" * 65,)},
        {"offers": ("\x1b[2J",)},
        {"version": ""},
        {"anchor": bytes(15)},
        {"owner": bytes(31)},
        {"away": ((5, 5),)},
        {"away": ((5, 9), (8, 12))},
        {"seq": 0},
    ],
)
def test_a_record_that_breaks_its_form_blames_who_passed_it_on(fields: dict[str, Any]) -> None:
    """An honest node checks what it passes on."""
    (blame,) = Book().learn(Author("a").record(**fields).raw).effects
    assert (blame.peer, blame.points) == (TELLER, 25)


def test_forged_bytes_and_other_networks_blame_the_teller() -> None:
    raw = bytearray(Author("a").record().raw)
    raw[-1] ^= 1
    for forged in (bytes(raw), Author("a", "elsewhere").record().raw):
        (blame,) = Book().learn(forged).effects
        assert (blame.peer, blame.points) == (TELLER, 50)
    (blame,) = Book().learn(b"noise").effects
    assert (blame.peer, blame.points) == (TELLER, 25)


def test_a_later_record_of_this_very_node_is_told_to_it() -> None:
    book = Book()
    mine = Author("me").record(seq=NOW_S * 1000 + 77)
    assert book.learn(mine.raw).effects == [OwnRecordSeen(NOW_S * 1000 + 77)]
    assert mine.peer not in book.book.entries


def test_a_full_book_admits_slowly_and_forgets_the_longest_silent_stranger() -> None:
    book = Book(cap=3)
    authors = [Author(f"a{number}") for number in range(6)]
    for place, author in enumerate(authors[:3]):
        book.learn(author.record().raw)
        entry = book.book.entries[author.peer]
        entry.state, entry.heard_ns = "alive", place
    book.kept.add(authors[0].peer)
    out = book.learn(authors[3].record().raw).effects
    assert Forgotten(authors[1].peer) in out
    assert Store("peer/" + authors[1].peer.hex(), None) in out
    assert book.learn(authors[4].record().raw).why.startswith("the book is full")
    assert book.learn(authors[4].record().raw, NOW_NS + 2 * S).signed is not None
    assert len(book.book.entries) == 3
    assert authors[0].peer in book.book.entries


def full_of(*authors: Author) -> Book:
    book = Book(cap=len(authors))
    for author in authors:
        book.learn(author.record().raw)
    return book


def test_what_an_answer_brings_is_verified_where_there_is_no_room_for_it() -> None:
    """A node that passes an answer on keeps nothing of it, so that strangers' searches change no book."""
    book, far = full_of(Author("a"), Author("b")), Author("far").record()
    book.book.learn(Author("c").record().raw, TELLER, Scope.PUBLIC, NOW_NS)  # the place of these two seconds is taken
    before = set(book.book.entries)
    assert book.book.found(far.raw, TELLER, Scope.PUBLIC, NOW_NS, wanted=False) == (far, "", [])
    assert set(book.book.entries) == before
    forged = far.raw[:-1] + bytes([far.raw[-1] ^ 1])
    (blame,) = book.book.found(forged, TELLER, Scope.PUBLIC, NOW_NS, wanted=False).effects
    assert isinstance(blame, Blame) and blame.peer == TELLER
    old = Author("old").record(expires_s=NOW_S - 3_600)
    assert book.book.found(old.raw, TELLER, Scope.PUBLIC, NOW_NS, wanted=False).signed is None
    book.banned.add(far.peer)
    assert book.book.found(far.raw, TELLER, Scope.PUBLIC, NOW_NS, wanted=False).signed is None


def test_what_this_node_looked_for_comes_in_at_once_and_takes_no_more_places_than_hearsay() -> None:
    book = full_of(Author("a"), Author("b"), Author("c"))
    book.prefix = "9.9.9.0/24"
    for name in ("d", "e", "f"):
        found = book.book.found(Author(name).record().raw, TELLER, Scope.PUBLIC, NOW_NS, wanted=True)
        assert found.signed is not None and found.signed.peer in book.book.entries
    left = {Author(name).peer for name in "abc"} & set(book.book.entries)
    assert len(left) == 2 and Author("f").peer in book.book.entries, "one prefix displaces one that came from elsewhere"


def test_a_guest_stays_as_long_as_its_link_and_pushes_out_nobody() -> None:
    book = Book(cap=2)
    a, b, c = (Author(name) for name in "abc")
    for author in (a, b):
        book.learn(author.record().raw)
    assert book.greet(c).signed is not None
    assert set(book.book.entries) == {a.peer, b.peer, c.peer}
    book.kept.clear()
    assert Forgotten(c.peer) in book.book.down(c.peer, "idle", NOW_NS)
    assert set(book.book.entries) == {a.peer, b.peer}


def test_where_there_is_room_a_guest_stays_and_is_the_first_to_make_room() -> None:
    book = Book(cap=3)
    guests, told, late = [Author("g1"), Author("g2")], Author("told"), Author("late")
    for second, guest in enumerate(guests):
        book.greet(guest, now_ns=NOW_NS + second * S)
    book.learn(told.record().raw)
    book.kept.clear()
    for guest in guests:
        assert book.book.down(guest.peer, "idle", NOW_NS) == []
    assert Forgotten(guests[1].peer) in book.learn(late.record().raw, NOW_NS + 9 * S).effects, "the last one that came"


def test_hearsay_takes_the_place_of_what_came_from_the_same_prefix() -> None:
    book = Book(cap=3)
    book.prefix = "9.9.9.0/24"
    friends = [Author("f1"), Author("f2")]
    for friend in friends:
        book.learn(friend.record().raw)
    book.prefix = "6.6.6.0/24"
    for number in range(20):
        learnt = book.learn(Author(f"s{number}").record().raw, NOW_NS + number * 2 * S)
        assert learnt.signed is not None
    assert {friend.peer for friend in friends} <= set(book.book.entries)


def met(book: Book, number: int, prefix: str) -> bool:
    """A peer that this node dialled at an address of the prefix: whether it counts as met."""
    author = Author(f"m{number}")
    book.learn(author.record().raw)
    book.book.linked(author.peer, prefix, True, NOW_NS)
    return book.book.entries[author.peer].tie == Tie.MET


def test_whom_this_node_dialled_nobody_is_put_in_place_of() -> None:
    book = Book(cap=4)
    assert [met(book, number, f"{number}") for number in range(4)] == [True, True, True, False], "three quarters"
    assert Forgotten(Author("m3").peer) in book.learn(Author("x").record().raw).effects
    for number in range(10):
        book.learn(Author(f"y{number}").record().raw, NOW_NS + (number + 1) * 2 * S)
    assert {Author(f"m{number}").peer for number in range(3)} <= set(book.book.entries)


def test_one_prefix_holds_an_eighth_of_the_book_for_good() -> None:
    book = Book(cap=16)
    assert sum(met(book, number, "6.6.6.0/24") for number in range(10)) == 2
    assert met(book, 10, "9.9.9.0/24")


def test_a_long_link_is_as_good_as_a_dial_and_an_hours_loss_undoes_it() -> None:
    book, a = Book(cap=1), Author("a")
    book.greet(a)
    book.book.linked(a.peer, "9.9.9.0/24", False, NOW_NS)
    book.kept.clear()
    book.book.down(a.peer, "idle", NOW_NS + 599 * S)
    assert book.book.entries[a.peer].tie == Tie.GUEST
    book.book.linked(a.peer, "9.9.9.0/24", False, NOW_NS)
    book.book.down(a.peer, "idle", NOW_NS + 600 * S)
    assert book.book.entries[a.peer].tie == Tie.GUEST, "three quarters of one are none"
    book = Book(cap=2)
    book.greet(a)
    book.book.linked(a.peer, "9.9.9.0/24", False, NOW_NS)
    stored = book.book.down(a.peer, "idle", NOW_NS + 600 * S)
    book.kept.clear()
    assert book.book.entries[a.peer].tie == Tie.MET
    assert stored == [Store("scope/" + a.peer.hex(), bytes((Scope.PUBLIC, 2)))], "it survives a restart"
    book.learn(Author("b").record().raw)
    book.book.entries[Author("b").peer].heard_ns = NOW_NS
    entry = book.book.entries[a.peer]
    entry.state, entry.since_ns = "lost", NOW_NS
    assert Forgotten(Author("b").peer) in book.learn(Author("c").record().raw, NOW_NS + 60 * S).effects
    book.prefix = "6.6.6.0/24"
    assert Forgotten(a.peer) in book.learn(Author("d").record().raw, NOW_NS + 3_601 * S).effects


def test_a_hello_with_somebody_elses_record_brings_nobody_in() -> None:
    book = Book()
    learnt = book.learn(Author("a").record().raw, guest="9.9.9.0/24")
    assert (learnt.signed, learnt.why) == (None, "the record is another node's")
    assert not book.book.entries


def test_the_lost_are_forgotten_before_the_alive() -> None:
    book = Book(cap=2)
    a, b, c = (Author(name) for name in "abc")
    for author, state in ((a, "alive"), (b, "lost")):
        book.learn(author.record().raw)
        book.book.entries[author.peer].state = state
    book.book.entries[b.peer].heard_ns = NOW_NS
    assert Forgotten(b.peer) in book.learn(c.record().raw).effects


def test_a_banned_author_does_not_come_back_by_hearsay() -> None:
    book, author = Book(), Author("a")
    book.banned.add(author.peer)
    assert book.learn(author.record().raw).signed is None


def test_the_book_is_read_back_from_disk() -> None:
    book, author = Book(), Author("a")
    store = book.learn(author.record().raw).effects[0]
    again = Book()
    assert again.book.load(store.key, store.value, NOW_NS) == ([], ())
    assert again.book.entries[author.peer].signed == author.signed


def test_damaged_and_expired_rows_go_but_their_addresses_may_still_be_good() -> None:
    book, author = Book(), Author("a")
    store = book.learn(author.record().raw).effects[0]
    day_later_ns = NOW_NS + 86_401 * S
    effects, addresses = Book().book.load(store.key, store.value, day_later_ns)
    assert (kinds(effects), addresses) == ([Store, Note], ("tcp/93.184.216.34:8741",))
    flipped = bytearray(store.value)
    flipped[-5] ^= 1  # in the signature
    effects, addresses = Book().book.load(store.key, bytes(flipped), NOW_NS)
    assert (effects[0], addresses) == (Store(store.key, None), ("tcp/93.184.216.34:8741",))
    effects, addresses = Book().book.load(store.key, b"", NOW_NS)
    assert (effects[0], addresses) == (Store(store.key, None), ())
    effects, _ = Book().book.load("peer/" + "00" * 32, store.value, NOW_NS)
    assert effects[0] == Store("peer/" + "00" * 32, None)


def test_wanted_records_are_given_eight_a_message_and_expired_ones_not() -> None:
    book = Book()
    authors = [Author(f"a{number}") for number in range(10)]
    for author in authors:
        book.learn(author.record(expires_s=NOW_S + (100 if author is authors[0] else 9_000)).raw)
    want = WantRecords((*(author.peer for author in authors), peer(5), b"odd"))
    out = book.book.came(TELLER, 0, want, NOW_NS + 200 * S)
    assert all(isinstance(effect, ToPeer) and effect.peer == TELLER for effect in out)
    given = [raw for effect in out for raw in effect.message.records]
    assert [len(effect.message.records) for effect in out] == [8, 1]
    assert given == [author.signed.raw for author in authors[1:] if author.signed]


def test_records_that_come_are_learned_with_the_scope_of_who_told() -> None:
    book, author = Book(), Author("a")
    book.book.came(TELLER, 0, Records((author.record().raw,)), NOW_NS)
    assert book.book.entries[author.peer].scope == Scope.PRIVATE
