"""Quarantine: doubled each time, worn off by checked work alone, deaf to what others say, and it says why."""

from __future__ import annotations

import pytest
from tests.jobs.bazaar import ME, verdict

from qcommons.base.canonical import encode_record
from qcommons.base.effects import Note, Store
from qcommons.base.errors import Corrupt
from qcommons.jobs import quarantine
from qcommons.jobs.quarantine import BASE_S, KEY, Quarantine
from qcommons.verify.records import Ground, Kind

PEER, OTHER = b"p" * 32, b"o" * 32
T = 1_800_000_000


@pytest.fixture
def ward() -> Quarantine:
    return Quarantine(ME)


def spans(ward: Quarantine, kind: Kind, ground: Ground, count: int) -> list[int]:
    """Seconds of each of so many quarantines in a row; each lease is granted after the last one ended."""
    now_s, found = T, []
    for _ in range(count):
        ward.judged(verdict(PEER, kind, ground), ME, now_s, now_s + 5)
        barred = ward.barred(PEER, now_s + 5)
        until_s = barred.until_s if barred else now_s + 5
        found.append(until_s - now_s - 5)
        now_s = until_s + 1
    return found


@pytest.mark.parametrize(
    ("kind", "ground", "seconds"),
    [
        ("silent", "clock", [60, 120, 240, 480]),
        ("late", "clock", [0, 60, 84, 120]),  # half a level each: 60 s * 2^(level - 1)
        ("malformed", "record", [240, 1_920, 15_360]),
        ("wrong", "recomputed", [1_920, 122_880, 491_520, 491_520]),  # 32 min, 34 h, then the longest: 5.7 days
        ("wrong", "record", [1_920, 122_880]),
    ],
)
def test_each_strike_of_a_kind_lasts_longer_than_the_one_before(
    ward: Quarantine, kind: Kind, ground: Ground, seconds: list[int]
) -> None:
    assert spans(ward, kind, ground, len(seconds)) == seconds


@pytest.mark.parametrize(
    ("kind", "ground"),
    [("unproven", "recomputed"), ("wrong", "majority"), ("malformed", "majority"), ("right", "recomputed")],
)
def test_which_verdicts_never_bar(ward: Quarantine, kind: Kind, ground: Ground) -> None:
    """A majority can be liars; what no check decided is no lie, and a failure for a stated reason has no verdict."""
    for _ in range(20):
        ward.judged(verdict(PEER, kind, ground), ME, T, T)
    assert ward.barred(PEER, T) is None
    assert ward.standing(PEER).lies == 0


def test_the_word_of_another_judge_changes_nothing(ward: Quarantine) -> None:
    """Neither an accusation nor praise: else whoever signs verdicts could steer this node's work."""
    for kind in ("wrong", "malformed", "right"):
        effects = ward.judged(verdict(PEER, kind), OTHER, T, T)
        assert [effect.name for effect in effects if isinstance(effect, Note)] == ["verdict_of_another_ignored"]
        assert not any(isinstance(effect, Store) for effect in effects)
    assert ward.barred(PEER, T) is None
    assert ward.standing(PEER) == Quarantine(ME).standing(PEER)
    assert len(ward) == 0


def test_leases_of_one_occasion_strike_once(ward: Quarantine) -> None:
    """A cable is pulled while eight leases are out."""
    for k in range(8):
        ward.judged(verdict(PEER, "silent", "clock"), ME, T + k, T + 30 + k)
    barred = ward.barred(PEER, T + 40)
    assert barred is not None
    assert barred.until_s == T + 30 + BASE_S


def test_a_lie_found_in_the_same_occasion_strikes_as_a_lie(ward: Quarantine) -> None:
    """Falling silent first must not be a way to make a lie cheap."""
    ward.judged(verdict(PEER, "silent", "clock"), ME, T, T + 30)
    ward.judged(verdict(PEER, "wrong"), ME, T, T + 31)
    barred = ward.barred(PEER, T + 31)
    assert barred is not None
    assert barred.until_s == T + 30 + 60 * 2**5
    assert "proved wrong" in barred.why
    assert ward.standing(PEER).lies == 1


def test_only_checked_work_wears_strikes_off(ward: Quarantine) -> None:
    ward.judged(verdict(PEER, "wrong"), ME, T, T)
    year_s = T + 365 * 86_400
    ward.judged(verdict(PEER, "right", runs=96), ME, year_s, year_s)  # 96 runs at 1/16 level: 6 levels
    ward.judged(verdict(PEER, "silent", "clock"), ME, year_s, year_s + 1)
    barred = ward.barred(PEER, year_s + 1)
    assert barred is not None and barred.until_s == year_s + 1 + BASE_S

    idle = Quarantine(ME)
    idle.judged(verdict(PEER, "wrong"), ME, T, T)
    idle.judged(verdict(PEER, "silent", "clock"), ME, year_s, year_s + 1)
    waiting = idle.barred(PEER, year_s + 1)
    assert waiting is not None and waiting.until_s == year_s + 1 + BASE_S * 2**6


def test_a_verdict_gives_credit_for_the_runs_that_were_looked_at(ward: Quarantine) -> None:
    ward.judged(verdict(PEER, "right", runs=5), ME, T, T)
    assert ward.standing(PEER).right == 5
    ward.judged(verdict(PEER, "wrong"), ME, T, T)
    assert (ward.standing(PEER).right, ward.standing(PEER).lies) == (0, 1)


def test_peers_that_agree_with_each_other_earn_nothing(ward: Quarantine) -> None:
    ward.judged(verdict(PEER, "wrong"), ME, T, T)
    before = ward.barred(PEER, T)
    for _ in range(50):
        ward.judged(verdict(PEER, "right", "majority", runs=5), ME, T, T)
    assert ward.standing(PEER).right == 0
    assert ward.barred(PEER, T) == before


def test_a_barred_peer_is_shown_with_reason_time_left_and_verdict(ward: Quarantine) -> None:
    import hashlib

    found = verdict(PEER, "wrong")
    ward.judged(found, ME, T, T)
    barred = ward.barred(PEER, T + 60)
    assert barred is not None
    assert barred.why == "an answer of it was proved wrong; for another 31 min"
    assert barred.verdict == hashlib.sha3_256(encode_record(found)).digest()
    assert ward.barred(PEER, T + 1_920) is None


def test_everything_survives_a_restart(ward: Quarantine) -> None:
    stored: dict[bytes, bytes] = {}
    for peer, kind in ((PEER, "wrong"), (OTHER, "right")):
        for effect in ward.judged(verdict(peer, kind), ME, T, T):
            if isinstance(effect, Store) and effect.value is not None:
                stored[bytes.fromhex(effect.key.removeprefix(KEY))] = effect.value
    again = Quarantine(ME, stored)
    assert again.barred(PEER, T + 1) == ward.barred(PEER, T + 1)
    assert again.standing(OTHER) == ward.standing(OTHER)


@pytest.mark.parametrize("row", [b"", b"\x80", encode_record(verdict(PEER, "right"))])
def test_a_row_that_is_not_what_was_written_is_corrupt(row: bytes) -> None:
    with pytest.raises(Corrupt, match="cannot be read"):
        Quarantine(ME, {PEER: row})


def test_rows_are_bounded_and_liars_are_remembered_longest(monkeypatch: pytest.MonkeyPatch, ward: Quarantine) -> None:
    monkeypatch.setattr(quarantine, "ROWS_MAX", 3)
    ward.judged(verdict(PEER, "wrong"), ME, T, T)
    for k in range(9):
        effects = ward.judged(verdict(bytes([k]) * 32, "right"), ME, T, T)
    assert len(ward) == 3
    assert any(isinstance(effect, Store) and effect.value is None for effect in effects)
    assert ward.barred(PEER, T + 1) is not None


def test_the_owner_can_forgive(ward: Quarantine) -> None:
    ward.judged(verdict(PEER, "wrong"), ME, T, T)
    assert ward.forgive(PEER) == [Store(KEY + PEER.hex(), None)]
    assert ward.barred(PEER, T + 1) is None
    assert ward.forgive(PEER) == []
