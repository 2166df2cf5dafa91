"""Rates, blame that decays, bans that double, and the owner's word above all."""

from __future__ import annotations

import pytest
from tests.mesh.making import NOW_NS, S, peer

from qcommons.base.effects import Note, Store
from qcommons.mesh import forwarding, gossip, membership, promises, telling, view, wants
from qcommons.mesh import guard as g
from qcommons.mesh import messages as m
from qcommons.mesh.guard import Guard

A, B = peer(1), peer(2)


def test_every_kind_of_message_has_a_rate() -> None:
    assert {row.kind for row in m.ROWS} == set(g.RATES)


@pytest.mark.parametrize("kind", list(g.RATES))
def test_a_burst_passes_and_what_is_over_it_does_not(kind: type[m.Message]) -> None:
    guard, rate = Guard(), g.RATES[kind]
    passed = sum(guard.admits(A, kind, 10, NOW_NS) for _ in range(rate.burst + 50))
    assert passed == rate.burst
    assert guard.admits(A, kind, 10, NOW_NS + int(1.1 * S / rate.per_s) + 1)
    assert guard.admits(B, kind, 10, NOW_NS), "every peer has buckets of its own"


def test_a_steady_sender_at_its_rate_loses_nothing() -> None:
    guard, step_ns = Guard(), int(S / g.RATES[m.Beats].per_s) + 1
    assert all(guard.admits(A, m.Beats, 10, NOW_NS + number * step_ns) for number in range(1_000))


def test_bytes_of_all_kinds_share_a_bucket() -> None:
    guard = Guard()
    blocks = 0
    while guard.admits(A, m.Response, 1 << 20, NOW_NS):
        blocks += 1
    assert blocks == g.BYTES.burst >> 20
    assert not guard.admits(A, m.Chunk, 1 << 18, NOW_NS)
    assert guard.admits(A, m.Ping, 0, NOW_NS + 1)


def test_drops_are_noted_once_a_second_and_a_point_for_ten() -> None:
    guard = Guard()
    while guard.admits(A, m.Ping, 1, NOW_NS):
        pass
    notes, points = guard.drops(A, m.Ping, NOW_NS)
    assert [note.facts["kind"] for note in notes] == ["Ping"]
    total, more = points, []
    for _ in range(99):
        assert not guard.admits(A, m.Ping, 1, NOW_NS)
        notes, points = guard.drops(A, m.Ping, NOW_NS)
        total, more = total + points, more + notes
    assert (total, more) == (10, [])


def test_blame_halves_in_ten_minutes_and_a_hundred_points_ban() -> None:
    guard = Guard()
    assert not guard.blame(A, 60, "lie", NOW_NS)[1]
    later_ns = NOW_NS + 600 * S
    assert guard.points(A, later_ns) == pytest.approx(30)
    assert not guard.blame(A, 60, "lie", later_ns)[1]
    assert not guard.is_banned(A, later_ns)
    effects, is_ban = guard.blame(A, 20, "forged record", later_ns)
    assert is_ban
    assert guard.why_banned(A, later_ns) == "banned: forged record"
    assert any(isinstance(effect, Store) and effect.key == "guard/" + A.hex() for effect in effects)


def test_bans_last_an_hour_then_two() -> None:
    guard, at_ns = Guard(), NOW_NS
    for hours in (1, 2, 4):
        assert guard.blame(A, 100, "lie", at_ns)[1]
        assert guard.is_banned(A, at_ns + (hours * 3600 - 2) * S)
        at_ns += (hours * 3600 + 2) * S
        assert not guard.is_banned(A, at_ns)


def test_a_ban_is_not_banned_again_by_what_was_still_under_way() -> None:
    guard = Guard()
    assert guard.blame(A, 100, "lie", NOW_NS)[1]
    assert not guard.blame(A, 100, "lie", NOW_NS)[1]


def test_the_owner_decides() -> None:
    guard = Guard()
    guard.judge(A, "allow", NOW_NS)
    assert not guard.blame(A, 500, "lie", NOW_NS)[1]
    guard.judge(A, "deny", NOW_NS)
    assert guard.why_banned(A, NOW_NS) == "denied by the owner"
    effects = guard.judge(A, "", NOW_NS)
    assert not guard.is_banned(A, NOW_NS)
    assert effects[0] == Store("guard/" + A.hex(), None)


def test_verdicts_and_bans_survive_a_restart() -> None:
    guard = Guard()
    stored = {}
    for effect in [*guard.judge(A, "deny", NOW_NS), *guard.blame(B, 100, "flood", NOW_NS)[0]]:
        if isinstance(effect, Store) and effect.value is not None:
            stored[effect.key] = effect.value
    again = Guard()
    assert [effect for key, value in stored.items() for effect in again.load(key, value)] == []
    assert again.why_banned(A, NOW_NS) == "denied by the owner"
    assert again.why_banned(B, NOW_NS) == "banned: flood"
    assert not again.is_banned(B, NOW_NS + 3601 * S)


@pytest.mark.parametrize(
    ("key", "value"),
    [("guard/zz", b"\x84\x60\x00\x00\x60"), ("guard/" + A.hex(), b"\xff"), ("guard/" + A.hex(), b"\x80")],
)
def test_a_damaged_row_is_dropped_with_a_note(key: str, value: bytes) -> None:
    effects = Guard().load(key, value)
    assert Store(key, None) in effects
    assert any(isinstance(effect, Note) for effect in effects)


def test_what_is_held_against_strangers_is_bounded_and_the_owner_is_not_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(g, "STANDINGS_MAX", 3)
    guard = Guard()
    guard.judge(peer(0), "deny", NOW_NS)
    guard.blame(peer(1), 100, "lie", NOW_NS)
    deleted = []
    for number in range(2, 50):
        deleted += [effect for effect in guard.blame(peer(number), 1, "lie", NOW_NS)[0] if isinstance(effect, Store)]
    assert guard.is_banned(peer(0), NOW_NS)
    assert guard.is_banned(peer(1), NOW_NS), "who is banned goes last"
    assert len(deleted) == 47, "what is forgotten is forgotten on disk"


# What an honest node sends one neighbour at most in a second, and at once, whatever others pour over it: the limits at
# the sender, from the modules that set them (docs/protocol/blame.md).
PASSED_ON = [
    (m.Gossip, gossip.PUSHED_NEWS.per_s + promises.PULLED_NEWS.per_s,
     gossip.PUSHED_NEWS.burst + promises.PULLED_NEWS.burst),
    (m.Have, S / (0.75 * gossip.FLUSH_NS), 5),
    (m.Want, S / promises.STEP_NS, 5),
    (m.Prune, S / gossip.PRUNE_AGAIN_NS, 1),
    (m.Beats, 512 / 64 * S / membership.PASS_ON_NS + S / telling.PUSH_NS, 8),
    (m.WantRecords, wants.A_TELLER_ASKS_MAX + 2, 2),
    (m.Join, S / view.WALK_EVERY_NS, view.WALKS_AHEAD_NS / view.WALK_EVERY_NS),
    (m.Neighbour, S / view.REFUSED_NS + S / view.AFFIRM_NS, 2),
    (m.RelayOpen, forwarding.OPENINGS.per_s, forwarding.OPENINGS.burst),
    (m.RelayData, 8 * forwarding.CIRCUIT_BYTES.per_s / forwarding.PIECE_COST_BYTES,
     8 * forwarding.CIRCUIT_BYTES.burst / forwarding.PIECE_COST_BYTES),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "per_s", "at_once"), PASSED_ON, ids=[row[0].__name__ for row in PASSED_ON])
def test_no_honest_node_can_be_made_to_send_more_than_its_neighbour_admits(
    kind: type[m.Message], per_s: float, at_once: float
) -> None:
    """Nor to one that was frozen for the 7 s after which the link is given up, and finds all of it at once."""
    assert per_s < g.RATES[kind].per_s
    assert 7 * per_s + at_once <= g.RATES[kind].burst
