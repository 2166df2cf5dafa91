"""This node's own record: made when needed, renewed when it must be, never with an older seq."""

from __future__ import annotations

import pytest
from tests.mesh.making import NOW_NS, NOW_S, Author, S, peer

from qcommons.base.effects import Note, Store
from qcommons.base.errors import UsageError
from qcommons.mesh import peer_record
from qcommons.mesh.addresses import relay_address
from qcommons.mesh.beats import CHAIN_BEATS, FAREWELL
from qcommons.mesh.own import KEY, Own
from qcommons.mesh.records import PEER_TYPE


def made(name: str = "me") -> Own:
    own = Own(Author(name).crypto, "0.1.0")
    own.set_addresses(("tcp/192.168.1.2:8741",))
    return own


def test_the_record_says_what_was_set_and_is_stored_first() -> None:
    own = made()
    own.set_offers(("stim:1000",))
    own.set_relays((relay_address(peer(1)),))
    store = own.renew(NOW_NS)[0]
    assert own.signed is not None
    assert store == Store(KEY, own.signed.raw)
    record = own.signed.record
    assert record.seq == NOW_S * 1000
    assert record.expires_s == NOW_S + 86_400
    assert record.addresses[0] == "tcp/192.168.1.2:8741"
    assert len(record.addresses) == 2
    reader = Author("reader").crypto
    assert peer_record.read(reader.verify(record.key, PEER_TYPE, own.signed.raw)) == (own.peer, record)


def test_changes_make_a_new_record_at_most_once_a_second() -> None:
    own = made()
    assert own.is_due(NOW_NS)
    own.renew(NOW_NS)
    assert not own.is_due(NOW_NS + 10 * S)
    own.set_offers(("stim:1000",))
    assert not own.is_due(NOW_NS + S // 2)
    assert own.is_due(NOW_NS + S)
    own.renew(NOW_NS + S)
    own.set_offers(("stim:1000",))
    assert not own.is_due(NOW_NS + 5 * S), "nothing changed"


def test_seq_grows_over_restarts_and_clocks_that_went_back() -> None:
    own = made()
    store = own.renew(NOW_NS)[0]
    assert isinstance(store, Store) and store.value is not None
    again = made()
    assert again.load(store.value) == []
    again.renew(NOW_NS - 3600 * S)
    assert again.signed is not None
    assert again.signed.record.seq == NOW_S * 1000 + 1


def test_a_damaged_record_is_noted_and_the_clock_goes_on() -> None:
    own = made()
    for value in (b"noise", Author("other").record().raw):
        assert [type(effect) for effect in own.load(value)] == [Note]
    own.renew(NOW_NS)
    assert own.signed is not None and own.signed.record.seq == NOW_S * 1000


def test_a_later_record_that_others_hold_is_outbid() -> None:
    own = made()
    own.renew(NOW_NS)
    assert own.outbid(NOW_S * 1000 + 500)
    assert not own.outbid(NOW_S * 1000)
    own.renew(NOW_NS + S // 10)
    assert own.signed is not None and own.signed.record.seq == NOW_S * 1000 + 501


def test_the_chain_is_followed_beat_by_beat_and_renewed_before_its_end() -> None:
    own = made()
    own.renew(NOW_NS)
    assert own.newest() is None
    crypto, anchor = Author("reader").crypto, own.signed.record.anchor if own.signed else b""
    for count in range(1, CHAIN_BEATS):
        beat = own.beat()
        assert beat.count == count
    assert crypto.follows(beat.value, beat.count, anchor)
    assert own.is_due(NOW_NS + S), "the last value is for the farewell"


def test_the_farewell_can_be_given_at_any_time_and_is_the_last() -> None:
    own = made()
    assert own.farewell() is None, "nobody knows it yet"
    own.renew(NOW_NS)
    own.beat()
    beat = own.farewell()
    assert beat is not None and own.signed is not None
    assert beat.count == FAREWELL
    assert Author("reader").crypto.follows(beat.value, FAREWELL, own.signed.record.anchor)
    assert not own.is_due(NOW_NS + 10 * S)


def test_planned_absences_are_checked_sorted_and_dropped_when_over() -> None:
    own = made()
    own.set_away(((NOW_S + 500, NOW_S + 600), (NOW_S + 10, NOW_S + 20)))
    own.renew(NOW_NS)
    assert own.signed is not None
    assert own.signed.record.away == ((NOW_S + 10, NOW_S + 20), (NOW_S + 500, NOW_S + 600))
    own.renew(NOW_NS + 30 * S)
    assert own.signed.record.away == ((NOW_S + 500, NOW_S + 600),)
    for windows in (((5, 5),), ((5, 9), (8, 10)), tuple((n, n + 1) for n in range(0, 40, 2))):
        with pytest.raises(UsageError):
            own.set_away(windows)


def test_a_name_is_not_told_to_others() -> None:
    own = made()
    own.set_addresses(("tcp/node.example.org:8741", "tcp/192.168.1.2:8741"))
    assert own.addresses() == ("tcp/192.168.1.2:8741",)
    with pytest.raises(UsageError):
        own.set_addresses(("192.168.1.2",))
