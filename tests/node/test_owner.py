"""The owner's verdicts: one rule at a time, in order, with causes, and without flapping."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcommons.base.errors import Unavailable, UsageError
from qcommons.base.quantities import memory_bytes
from qcommons.jobs.outcomes import exception_of
from qcommons.node.api.door import OWNER
from qcommons.node.owner import (
    HOME,
    OwnerLimits,
    Pause,
    Policy,
    Sense,
    Verdict,
    admit,
    may_start,
    must_stop,
    parse_rule,
    unchecked,
)

S = 1_000_000_000
NOW = 1_700_000_000 * S + 500  # 2023-11-14 22:13:20 UTC: 20 s into a minute
NOON = Sense(minute_of_week=12 * 60, idle_s=3600, load_milli=100, on_battery=False)
EVENING = "18:00-08:00"


def sense(**seen: object) -> Sense:
    return msgspec.structs.replace(NOON, **seen)


def test_without_limits_everything_goes_whatever_is_seen() -> None:
    seen = sense(idle_s=0, load_milli=64_000, on_battery=True, battery_percent=1)
    for ask in (may_start, must_stop):
        assert ask(OwnerLimits(), seen, None, NOW) == Verdict(go=True, since_ns=NOW)


def test_what_cannot_be_seen_holds_nothing_back_and_is_named() -> None:
    limits = OwnerLimits(idle_min=5, load_max_milli=500, battery_min_percent=50)
    blind = Sense(minute_of_week=0)
    assert may_start(limits, blind, None, NOW).go
    assert [text.split()[0] for text in unchecked(limits, blind)] == ["limits.idle", "limits.load", "limits.battery"]
    assert unchecked(OwnerLimits(), blind) == ()
    assert unchecked(limits, NOON) == ()
    assert len(unchecked(limits, sense(on_battery=True))) == 1  # its charge is not told
    never = msgspec.structs.replace(limits, battery_min_percent=100)
    assert unchecked(never, sense(on_battery=True)) == ()
    assert not may_start(never, sense(on_battery=True), None, NOW).go


# rule -> (limits, what is seen, whether running work stops as well)
HOLDS = {
    "hours": (OwnerLimits(hours=EVENING), NOON, True),
    "battery": (OwnerLimits(battery_min_percent=40), sense(on_battery=True, battery_percent=40), True),
    "idle": (OwnerLimits(idle_min=10), sense(idle_s=599), True),
    "load": (OwnerLimits(load_max_milli=500), sense(load_milli=501), False),
}


@pytest.mark.parametrize("rule", list(HOLDS))
def test_a_rule_holds_work_back_and_says_so(rule: str) -> None:
    limits, seen, stops = HOLDS[rule]
    start, stop = may_start(limits, seen, None, NOW), must_stop(limits, seen, None, NOW)
    assert (start.go, start.rule) == (False, rule)
    assert start.cause and start.action and start.who in ("owner", "machine")
    assert stop.go is not stops


@pytest.mark.parametrize(
    ("limits", "seen"),
    [
        (OwnerLimits(hours=EVENING), sense(minute_of_week=18 * 60)),
        (OwnerLimits(battery_min_percent=40), sense(on_battery=True, battery_percent=41)),
        (OwnerLimits(battery_min_percent=100), sense(on_battery=False, battery_percent=3)),
        (OwnerLimits(idle_min=10), sense(idle_s=600)),
        (OwnerLimits(load_max_milli=500), sense(load_milli=500)),
    ],
)
def test_at_the_limit_itself_it_goes(limits: OwnerLimits, seen: Sense) -> None:
    assert may_start(limits, seen, None, NOW).go and must_stop(limits, seen, None, NOW).go


def test_a_pause_ends_by_itself_or_by_resume_and_may_let_running_work_finish() -> None:
    pause = Pause(since_ns=NOW - 60 * S, until_ns=NOW + 7200 * S, finish=False, by="home")
    verdict = may_start(OwnerLimits(), NOON, pause, NOW)
    assert verdict == Verdict(
        go=False, rule="pause", cause="paused by home for another 2 h", since_ns=NOW - 60 * S, who="owner",
        action="qcommons resume", until_ns=NOW + 7200 * S,
    )  # fmt: skip
    assert must_stop(OwnerLimits(), NOON, pause, NOW) == verdict
    assert not may_start(OwnerLimits(), NOON, pause, NOW + 7200 * S - 1).go
    assert may_start(OwnerLimits(), NOON, pause, NOW + 7200 * S).go
    gentle = msgspec.structs.replace(pause, finish=True, until_ns=None)
    assert may_start(OwnerLimits(), NOON, gentle, NOW + 10**6 * 86_400 * S).until_ns is None
    assert must_stop(OwnerLimits(), NOON, gentle, NOW).go


def test_a_gentle_pause_does_not_hide_a_rule_that_stops_running_work() -> None:
    gentle = Pause(NOW, None, True, "home")
    assert may_start(OwnerLimits(hours=EVENING), NOON, gentle, NOW).rule == "pause"
    assert must_stop(OwnerLimits(hours=EVENING), NOON, gentle, NOW).rule == "hours"


def test_the_hours_say_since_when_and_until_when_to_the_minute() -> None:
    verdict = may_start(OwnerLimits(hours=EVENING), NOON, None, NOW)
    minute_ns = 1_699_999_980 * S  # 22:13:00
    assert verdict.since_ns == minute_ns - 4 * 3600 * S
    assert verdict.until_ns == minute_ns + 6 * 3600 * S
    assert "Mon 18:00" in verdict.cause and "limits.hours" in verdict.action


def test_since_is_kept_while_the_rule_stays_the_same() -> None:
    limits = OwnerLimits(idle_min=10)
    first = may_start(limits, sense(idle_s=5), None, NOW)
    second = may_start(limits, sense(idle_s=15), None, NOW + 10 * S, first)
    assert (first.since_ns, second.since_ns) == (NOW, NOW)
    free = may_start(limits, sense(idle_s=600), None, NOW + 20 * S, second)
    assert free == Verdict(go=True, since_ns=NOW + 20 * S)
    assert may_start(limits, sense(idle_s=700), None, NOW + 30 * S, free).since_ns == NOW + 20 * S
    set_back = may_start(limits, sense(idle_s=700), None, NOW - 3600 * S, free)
    assert set_back.since_ns == NOW - 3600 * S  # never in the future


def _run(limits: OwnerLimits, seen: list[Sense]) -> list[bool]:
    verdicts: list[Verdict] = []
    for second, look in enumerate(seen):
        verdicts.append(may_start(limits, look, None, NOW + second * S, verdicts[-1] if verdicts else None))
    return [verdict.go for verdict in verdicts]


def test_a_wavering_load_lets_go_only_below_the_margin() -> None:
    loads = [480, 520, 480, 520, 410, 400, 480, 500, 501, 399]
    goes = _run(OwnerLimits(load_max_milli=500), [sense(load_milli=load) for load in loads])
    assert goes == [True, False, False, False, False, True, True, True, False, True]


def test_a_wavering_charge_lets_go_only_above_the_margin_or_on_mains() -> None:
    charges = [41, 40, 41, 45, 46, 41, 40]
    goes = _run(OwnerLimits(battery_min_percent=40), [sense(on_battery=True, battery_percent=c) for c in charges])
    assert goes == [True, False, False, False, True, True, False]
    plugged = [sense(on_battery=True, battery_percent=40), sense(on_battery=False, battery_percent=40)]
    assert _run(OwnerLimits(battery_min_percent=40), plugged) == [False, True]
    full = [sense(on_battery=True, battery_percent=c) for c in (98, 100)]
    assert _run(OwnerLimits(battery_min_percent=98), full) == [False, True]  # the margin leaves a way back


@given(st.lists(st.integers(-15, 15), max_size=60), st.integers(200, 4000))
def test_noise_below_the_margin_changes_the_verdict_at_most_once(noise: list[int], limit: int) -> None:
    """Noise of +-4 % of the limit around it: the margin is 20 %, so once held it stays held."""
    seen = [sense(load_milli=limit + limit * n // 400) for n in noise]
    goes = _run(OwnerLimits(load_max_milli=limit), seen)
    assert sum(a != b for a, b in itertools.pairwise(goes)) <= 1


def test_the_order_of_the_rules_is_the_owners_word_first() -> None:
    limits = OwnerLimits(hours=EVENING, battery_min_percent=50, idle_min=5, load_max_milli=1)
    seen = sense(idle_s=0, on_battery=True, battery_percent=1)
    pause = Pause(NOW, None, False, "home")
    found = []
    for hold in (pause, None):
        found.append(may_start(limits, seen, hold, NOW).rule)
    for off in ({"hours": ""}, {"battery_min_percent": 0}, {"idle_min": 0}, {"load_max_milli": 0}):
        limits = msgspec.structs.replace(limits, **off)
        found.append(may_start(limits, seen, None, NOW).rule)
    assert found == ["pause", "hours", "battery", "idle", "load", ""]


NOUNS = [
    OwnerLimits(hours=EVENING, qubits_max=30),
    NOON,
    Pause(NOW, None, True, "home"),
    Policy(("tag:a",), ("*",)),
    Verdict(go=False, rule="idle", since_ns=NOW),
]


@pytest.mark.parametrize("noun", NOUNS, ids=lambda noun: type(noun).__name__)
def test_the_nouns_can_be_stored(noun: msgspec.Struct) -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(noun), type=type(noun)) == noun


@pytest.mark.parametrize(
    ("name", "limits", "asked", "numbers"),
    [
        ("qubits", OwnerLimits(qubits_max=30), {"qubits": 34}, ("34 qubits", "30 qubits")),
        ("shots", OwnerLimits(shots_max=1000), {"shots": 1001}, ("1001 shots", "1000 shots")),
        ("memory", OwnerLimits(memory_bytes=2 << 30), {"memory_bytes": 3 << 30}, ("3 GiB", "2 GiB")),
    ],
)
def test_too_large_is_refused_with_the_numbers_and_the_remedy(
    name: str, limits: OwnerLimits, asked: dict[str, int], numbers: tuple[str, str]
) -> None:
    refused = admit(limits, Policy(), principal="home", **asked)
    assert refused is not None and refused.where == f"limits.{name}"
    assert all(number in refused.what for number in numbers)
    command, typed = refused.what.rsplit(" ", 1)
    assert command.endswith(f"qcommons config set limits.{name}")
    ((_, need),) = asked.items()
    assert (memory_bytes(typed, "") if name == "memory" else int(typed)) == need  # the remedy is enough
    at_limit = max(limits.qubits_max, limits.shots_max, limits.memory_bytes)
    assert admit(limits, Policy(), principal="home", **dict.fromkeys(asked, at_limit)) is None
    assert admit(OwnerLimits(), Policy(), principal="home", **asked) is None
    error = exception_of(refused)
    assert isinstance(error, Unavailable) and error.exit_code == 3


@pytest.mark.parametrize(
    ("policy", "principal", "tags", "taken"),
    [
        (Policy(), "anybody", (), True),
        (Policy(allow=("principal:ada",)), "ada", (), True),
        (Policy(allow=("principal:ada",)), "adam", (), False),
        (Policy(allow=("principal:ada",)), "Ada", (), False),
        (Policy(allow=("tag:chemistry",)), "bob", ("x", "chemistry"), True),
        (Policy(allow=("tag:ada",)), "ada", (), False),  # a principal's name is no tag
        (Policy(allow=("*",)), "bob", (), True),
        (Policy(allow=("principal:ada",)), "home", (), True),  # whoever lists friends does not lock himself out
        (Policy(allow=("principal:ada",), deny=("principal:home",)), "home", (), False),  # but he may
        (Policy(deny=("*",)), "home", (), False),
        (Policy(allow=("principal:ada",), deny=("tag:mining",)), "ada", ("mining",), False),
        (Policy(allow=("principal:ada",), deny=("principal:ada",)), "ada", (), False),
    ],
)
def test_deny_wins_and_an_empty_allow_lets_everybody_in(
    policy: Policy, principal: str, tags: tuple[str, ...], taken: bool
) -> None:
    refused = admit(OwnerLimits(), policy, principal=principal, tags=tags)
    assert (refused is None) is taken
    if refused is not None:
        assert principal in refused.what and refused.where in ("policy.allow", "policy.deny")


@pytest.mark.parametrize(
    ("policy", "purpose", "taken"),
    [
        (Policy(deny=("purpose:mining",)), "mining", False),
        (Policy(deny=("purpose:mining",)), "folding", True),
        (Policy(deny=("purpose:mining",)), "", True),
        (Policy(allow=("purpose:folding",)), "folding", True),
        (Policy(allow=("purpose:folding",)), "mining", False),
        (Policy(allow=("purpose:folding",)), "", False),
        (Policy(allow=("purpose:folding",), deny=("principal:ada",)), "folding", False),
        (Policy(deny=("tag:mining",)), "mining", True),  # a purpose is no tag
    ],
)
def test_campaigns_are_taken_and_refused_by_name(policy: Policy, purpose: str, taken: bool) -> None:
    refused = admit(OwnerLimits(), policy, principal="ada", purpose=purpose)
    assert (refused is None) is taken
    assert admit(OwnerLimits(), Policy(deny=("purpose:x",)), principal=HOME, purpose="x") is not None


def test_the_owner_is_called_alike_everywhere() -> None:
    assert HOME == OWNER


@pytest.mark.parametrize(
    "text", ["*", "principal:home", "tag:chem/2024", " tag:a ", "principal:qn1abc@x.org", "purpose:folding-2027"]
)
def test_rules_are_read(text: str) -> None:
    assert parse_rule(text) == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "home",
        "user:x",
        "tag:",
        "tag:-x",
        "tag:a b",
        "principal:ä",
        "**",
        "tag:" + "x" * 129,
        "tag:a\nb",
        "purpose:",
    ],
)
def test_what_is_no_rule_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(UsageError, match="principal:NAME, tag:NAME") as caught:
        parse_rule(text, "--allow")
    assert caught.value.where == "--allow"
