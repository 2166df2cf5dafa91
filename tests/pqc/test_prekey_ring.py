"""The ring of prekeys: made before told, replaced daily, destroyed after their grace, whole after any crash."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.playbook import at, play

from qcommons.base.effects import Effect, Note, Send, Store, WakeAt, Woken
from qcommons.base.errors import Unavailable
from qcommons.pqc.identity import NodeKey
from qcommons.pqc.prekey_ring import EVERY_S, GRACE_S, RING_MAX, VALID_S, Fresh, Kept, PrekeyRing
from qcommons.pqc.prekeys import check_prekey
from qcommons.pqc.sealed import seal, unseal

KEY, SENDER = NodeKey(b"\xff" * 32), NodeKey(bytes(32))
START_S = 1_800_000_000
NS = 10**9
DAY_S = 86_400


def ring(entropy: Callable[[int], bytes] = secrets.token_bytes) -> PrekeyRing:
    return PrekeyRing(KEY, "home", entropy)


class Disk:
    """What survives: the stores of a list of effects, up to where a crash cut it."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def apply(self, effects: list[Effect]) -> list[Effect]:
        for effect in effects:
            if isinstance(effect, Store):
                if effect.value is None:
                    self.kept.pop(effect.key, None)
                else:
                    self.kept[effect.key] = effect.value
        return effects

    def event(self) -> Kept:
        return Kept(tuple(sorted(self.kept.items())))


def fresh(effects: list[Effect]) -> bytes:
    (signed,) = [e.message.signed for e in effects if isinstance(e, Send) and isinstance(e.message, Fresh)]
    return bytes(signed)


def test_the_first_start_makes_one_and_stores_it_before_telling() -> None:
    assert (
        play(ring(), START_S * NS)
        >> Kept(())
        << (lambda effect: isinstance(effect, Store) and effect.value is not None)
        << (lambda effect: isinstance(effect, Send) and effect.to == "prekey")
        << WakeAt((START_S + EVERY_S) * NS, "prekeys")
    )


def test_a_restart_tells_the_same_one() -> None:
    disk = Disk()
    first = fresh(disk.apply(ring().handle(Kept(()), START_S * NS)))
    again = ring().handle(disk.event(), (START_S + 3600) * NS)
    assert fresh(again) == first
    assert not [effect for effect in again if isinstance(effect, Store)]


def test_one_is_replaced_daily_and_destroyed_after_its_grace() -> None:
    disk, machine = Disk(), ring()
    first = fresh(disk.apply(machine.handle(Kept(()), START_S * NS)))
    prekey = check_prekey(KEY.public_key, "home", first, START_S)
    box = seal(SENDER, prekey, "note", "home", b"kept for days", START_S)

    second = fresh(disk.apply(machine.handle(Woken("prekeys"), (START_S + EVERY_S) * NS)))
    assert second != first and machine.signed == second
    assert prekey.until_s == START_S + VALID_S

    end_s = START_S + VALID_S + GRACE_S
    for now_s in range(START_S + 2 * EVERY_S, end_s, EVERY_S):
        disk.apply(machine.handle(Woken("prekeys"), now_s * NS))
    assert unseal(box, lambda i: machine.pair(i, end_s - 1), KEY.hash, "note", "home").body == b"kept for days"
    with pytest.raises(Unavailable, match="grace ended 0 s ago"):  # even where the timer is late
        machine.pair(prekey.id, end_s)
    disk.apply(machine.handle(Woken("prekeys"), end_s * NS))
    with pytest.raises(Unavailable, match="unknown here"):
        machine.pair(prekey.id, end_s)
    assert f"prekey/{prekey.id.hex()}" not in disk.kept
    assert len(disk.kept) == (VALID_S + GRACE_S) // EVERY_S


def test_a_crash_before_any_effect_leaves_a_ring_that_goes_on() -> None:
    """Kill -9 after each effect of each step: nothing that was told is lost, nothing destroyed comes back."""
    steps = [Kept(()), Woken("prekeys"), Woken("prekeys")]
    times = [START_S, START_S + EVERY_S, START_S + VALID_S + GRACE_S]
    counts = [len(e) for e in _conversation(steps, times, None)]
    for step, count in enumerate(counts):
        for cut in range(count + 1):
            disk, told = Disk(), []
            machine = ring()
            for place, (event, now_s) in enumerate(zip(steps, times, strict=True)):
                effects = machine.handle(event, now_s * NS)
                if place == step:
                    effects = effects[:cut]
                disk.apply(effects)
                told += [e.message.signed for e in effects if isinstance(e, Send)]
                if place == step:
                    break
            now_s = times[step] + 1
            after = ring()
            disk.apply(after.handle(disk.event(), now_s * NS))
            for signed in told:
                prekey = check_prekey(KEY.public_key, "home", signed, _begin(signed))
                if now_s < prekey.until_s + GRACE_S:
                    assert after.pair(prekey.id, now_s).public == prekey.public
                else:
                    assert f"prekey/{prekey.id.hex()}" not in disk.kept


def _begin(signed: bytes) -> int:
    """When it began: one of the times of the test at which it is good."""
    for day in range(12):
        try:
            return check_prekey(KEY.public_key, "home", signed, START_S + day * DAY_S).from_s
        except Exception:
            continue
    raise AssertionError("no such prekey")


def _conversation(steps: list[Kept | Woken], times: list[int], _: None) -> list[list[Effect]]:
    machine = ring()
    return [machine.handle(event, now_s * NS) for event, now_s in zip(steps, times, strict=True)]


def test_what_another_key_kept_is_dropped_with_a_note() -> None:
    """After a rotation of the node's key, or a bit that flipped on the disk."""
    disk = Disk()
    disk.apply(PrekeyRing(SENDER, "home", secrets.token_bytes).handle(Kept(()), START_S * NS))
    (name,) = disk.kept
    effects = disk.apply(ring().handle(Kept((*disk.event().items, ("prekey/00", b"\x80"))), START_S * NS))
    lost = [effect for effect in effects if isinstance(effect, Note) and effect.name == "prekey_lost"]
    assert [one.facts["key"] for one in lost] == [name, "prekey/00"]
    assert name not in disk.kept and len(disk.kept) == 1


def test_one_under_another_name_is_dropped() -> None:
    disk = Disk()
    disk.apply(ring().handle(Kept(()), START_S * NS))
    (value,) = disk.kept.values()
    effects = ring().handle(Kept((("prekey/" + "00" * 16, value),)), START_S * NS)
    assert Store("prekey/" + "00" * 16, None) in effects


def test_a_clock_that_was_set_back_gets_a_prekey_that_peers_accept_and_forgets_none() -> None:
    disk, machine = Disk(), ring()
    first = fresh(disk.apply(machine.handle(Kept(()), START_S * NS)))
    early_s = START_S - 30 * DAY_S
    again = ring()
    second = fresh(disk.apply(again.handle(disk.event(), early_s * NS)))
    assert check_prekey(KEY.public_key, "home", second, early_s)
    assert fresh(disk.apply(again.handle(Woken("prekeys"), (START_S + 60) * NS))) == first  # the clock is right again
    assert len(disk.kept) == 1  # the other one is past its grace


def test_a_jumping_clock_makes_a_bounded_number() -> None:
    machine, disk = ring(), Disk()
    disk.apply(machine.handle(Kept(()), START_S * NS))
    for step in range(3 * RING_MAX):
        disk.apply(machine.handle(Woken("prekeys"), (START_S - step * 1000) * NS))
    assert len(disk.kept) <= RING_MAX


def test_a_token_of_others_changes_nothing() -> None:
    machine = ring()
    machine.handle(Kept(()), START_S * NS)
    (only,) = machine.handle(Woken("something"), (START_S + EVERY_S) * NS)
    assert isinstance(only, Note)


def test_wakes_lie_in_the_future() -> None:
    conversation = play(ring(), START_S * NS)
    conversation >> Kept(()) << Store << Send << WakeAt
    for day in range(1, 12):
        wake = [effect for effect in conversation.effects if isinstance(effect, WakeAt)][-1]
        now_ns = (START_S + day * DAY_S) * NS
        assert wake.at_ns == now_ns
        conversation >> at(now_ns) >> Woken("prekeys")
        conversation._waiting.clear()


@given(st.lists(st.integers(0, 40 * DAY_S), max_size=6))
@settings(max_examples=15, deadline=None)
def test_any_gaps_leave_one_present_prekey_that_peers_accept(gaps_s: list[int]) -> None:
    counter = iter(range(1 << 30))
    machine = ring(lambda count: hashlib.shake_256(b"%d" % next(counter)).digest(count))
    now_s = START_S
    machine.handle(Kept(()), now_s * NS)
    for gap_s in gaps_s:
        now_s += gap_s
        effects = machine.handle(Woken("prekeys"), now_s * NS)
        assert check_prekey(KEY.public_key, "home", fresh(effects), now_s)
        assert all(effect.at_ns > now_s * NS for effect in effects if isinstance(effect, WakeAt))
