"""The owner's control: what the machine may be used for, when, and by whom. Pure.

Flow: settings -> OwnerLimits; sensors -> Sense; pause, allow and deny -> Pause, Policy -> *verdicts* -> core, status.

    rule      holds back the start of work while     running work is then
    pause     the owner said pause                   suspended, or with `finish` left to end
    hours     the schedule is closed                 suspended
    battery   on battery, at or below the limit      suspended
    idle      somebody is at the keyboard            suspended
    load      others use too much of the cores       left to end: taking it away would not lower their load

Suspended work goes on when `may_start` says go. Nothing flaps: what the load or the battery held back stays held
until it is better by a margin (`LOAD_AGAIN`, `BATTERY_MARGIN_PERCENT`), for which the verdict before is handed in.

All `_ns` are nanoseconds since 1970 (UTC): a pause outlives a restart and the hours are those of the wall clock.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from qcommons.base.clock import duration_text, is_past
from qcommons.base.errors import UsageError
from qcommons.base.units import NS_PER_S, bytes_text
from qcommons.jobs.outcomes import Refused
from qcommons.node.hours import MINUTES_A_WEEK, closed_for, minute_text, next_opening

__all__ = [
    "HOME", "OwnerLimits", "Pause", "Policy", "Sense", "Verdict", "admit", "may_start", "must_stop", "parse_rule",
    "unchecked",
]  # fmt: skip

MINUTE_NS = 60 * NS_PER_S
BATTERY_NEVER_PERCENT = 100  # no charge is above it, so on battery nothing ever runs
BATTERY_MARGIN_PERCENT = 5  # a charge reading wavers by a percent or two when the load changes
LOAD_AGAIN = 0.8  # held back above the limit, let go below this share of it
HOME = "home"  # the principal of the owner's own work (`api.door.OWNER`)
RULE = re.compile(r"\*|(?:principal|tag|purpose):[A-Za-z0-9][A-Za-z0-9._@/+-]{0,127}", re.ASCII)


class OwnerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner set; the defaults hold nothing back.

    hours: see `hours.py`, "" = always. idle_min: minutes without input before work starts, 0 = off.
    load_max_milli: thousandths of a core that everybody else may use on average over the cores, 0 = off.
    battery_min_percent: on battery only above this charge; 0 = as on mains, 100 = never.
    cores: worker processes of one thread each. memory_bytes: of one run. qubits_max: of one program.
    shots_max: of one job, all its runs together. 0 = no limit for these four.
    """

    hours: str = ""
    idle_min: int = 0
    load_max_milli: int = 0
    battery_min_percent: int = 0
    cores: int = 0
    memory_bytes: int = 0
    qubits_max: int = 0
    shots_max: int = 0


class Sense(msgspec.Struct, frozen=True, kw_only=True):
    """What the sensors saw; None: cannot be told on this machine, and holds nothing back (see `unchecked`).

    minute_of_week: local time, Monday 00:00 = 0. idle_s: since the last input of a person.
    load_milli: thousandths of a core used by others, averaged over the cores.
    """

    minute_of_week: int
    idle_s: int | None = None
    load_milli: int | None = None
    on_battery: bool | None = None
    battery_percent: int | None = None
    free_memory_bytes: int | None = None


class Pause(msgspec.Struct, frozen=True):
    """The owner said pause. until_ns: None = until resumed. finish: running work may end. by: a principal."""

    since_ns: int
    until_ns: int | None
    finish: bool
    by: str


class Policy(msgspec.Struct, frozen=True):
    """Whose work is taken: rules as `parse_rule` reads them. `deny` wins; an empty `allow` lets everybody in.

    An `allow` that forgets the owner does not lock the owner out: only `deny` holds `HOME` back.
    """

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """May it? And if not, everything a person asks next.

    rule: a row of the table above, "" on go. cause: numbers in it move; compare `go` and `rule` to see a change.
    since_ns: how long this rule has held (or nothing has). who: whose doing, "owner" or "machine".
    action: what to do about it. until_ns: when it ends by itself, where that is known.
    """

    go: bool
    rule: str = ""
    cause: str = ""
    since_ns: int
    who: str = ""
    action: str = ""
    until_ns: int | None = None


class _Look(NamedTuple):
    """All a rule looks at. held: this rule held work back at the look before."""

    limits: OwnerLimits
    sense: Sense
    pause: Pause | None
    now_ns: int
    held: bool


class _Hold(NamedTuple):
    """A rule holds work back. stops: running work too. since_ns: where it can be told from this look alone."""

    cause: str
    action: str
    stops: bool = True
    since_ns: int | None = None
    until_ns: int | None = None


def may_start(
    limits: OwnerLimits, sense: Sense, pause: Pause | None, now_ns: int, last: Verdict | None = None
) -> Verdict:
    """May waiting work start, and suspended work go on?

    last: what this function said the time before; None at the first look.
    """
    return _judge(limits, sense, pause, now_ns, last, stopping=False)


def must_stop(
    limits: OwnerLimits, sense: Sense, pause: Pause | None, now_ns: int, last: Verdict | None = None
) -> Verdict:
    """May running work go on (`go`), or must it be suspended now, and why?

    last: what this function said the time before; None at the first look.
    """
    return _judge(limits, sense, pause, now_ns, last, stopping=True)


def _judge(
    limits: OwnerLimits, sense: Sense, pause: Pause | None, now_ns: int, last: Verdict | None, *, stopping: bool
) -> Verdict:
    before = "" if last is None else last.rule
    same_since_ns = now_ns if last is None else min(last.since_ns, now_ns)  # the clock may have been set back
    for name, who, rule in RULES:
        hold = rule(_Look(limits, sense, pause, now_ns, before == name))
        if hold is None or (stopping and not hold.stops):
            continue
        since_ns = hold.since_ns
        if since_ns is None:
            since_ns = same_since_ns if before == name else now_ns
        return Verdict(
            go=False, rule=name, cause=hold.cause, since_ns=since_ns, who=who, action=hold.action,
            until_ns=hold.until_ns,
        )  # fmt: skip
    return Verdict(go=True, since_ns=same_since_ns if before == "" else now_ns)


def _pause(look: _Look) -> _Hold | None:
    pause = look.pause
    if pause is None or (pause.until_ns is not None and is_past(pause.until_ns, look.now_ns)):
        return None
    left = "until resumed"
    if pause.until_ns is not None:
        left = f"for another {duration_text(pause.until_ns - look.now_ns)}"
    cause = f"paused by {pause.by} {left}" + ("; running work ends first" if pause.finish else "")
    return _Hold(cause, "qcommons resume", not pause.finish, pause.since_ns, pause.until_ns)


def _hours(look: _Look) -> _Hold | None:
    hours, minute = look.limits.hours, look.sense.minute_of_week
    wait_min = next_opening(hours, minute)
    if wait_min == 0:
        return None
    this_minute_ns = look.now_ns - look.now_ns % MINUTE_NS
    since_ns = this_minute_ns - closed_for(hours, minute) * MINUTE_NS
    opens = minute_text((minute + wait_min) % MINUTES_A_WEEK)
    cause = f"outside the owner's hours ({hours}); they open {opens}"
    action = f'wait until {opens}, or qcommons config set limits.hours ""'
    return _Hold(cause, action, since_ns=since_ns, until_ns=this_minute_ns + wait_min * MINUTE_NS)


def _battery(look: _Look) -> _Hold | None:
    limit, charge = look.limits.battery_min_percent, look.sense.battery_percent
    if limit == 0 or not look.sense.on_battery:
        return None
    action = "plug the machine in, or qcommons config set limits.battery 0"
    if limit >= BATTERY_NEVER_PERCENT:
        return _Hold("on battery; the owner's limits let nothing run on it", action)
    above = min(limit + BATTERY_MARGIN_PERCENT, BATTERY_NEVER_PERCENT - 1) if look.held else limit
    if charge is None or charge > above:
        return None
    again = f", and once held back above {above} %" if look.held else ""
    return _Hold(f"on battery at {charge} %; work runs above {limit} %{again}", action)


def _idle(look: _Look) -> _Hold | None:
    wait_min, idle_s = look.limits.idle_min, look.sense.idle_s
    if wait_min == 0 or idle_s is None or idle_s >= wait_min * 60:
        return None
    cause = f"somebody used this machine {duration_text(idle_s * NS_PER_S)} ago; work waits for {wait_min} min of rest"
    return _Hold(cause, "leave it alone for a while, or qcommons config set limits.idle 0")


def _load(look: _Look) -> _Hold | None:
    limit, load = look.limits.load_max_milli, look.sense.load_milli
    below = LOAD_AGAIN * limit if look.held else limit
    if limit == 0 or load is None or load <= below:
        return None
    again = f", and once held back up to {below / 10:.3g} %" if look.held else ""
    cause = f"others use {load / 10:.3g} % of each core; work starts up to {limit / 10:.3g} %{again}"
    return _Hold(cause, "wait, or qcommons config set limits.load 0", stops=False)


RULES: tuple[tuple[str, str, Callable[[_Look], _Hold | None]], ...] = (
    ("pause", "owner", _pause),
    ("hours", "owner", _hours),
    ("battery", "machine", _battery),
    ("idle", "machine", _idle),
    ("load", "machine", _load),
)


def unchecked(limits: OwnerLimits, sense: Sense) -> tuple[str, ...]:
    """The limits that are set but cannot be checked on this machine, a sentence each, for status and doctor."""
    rows = (
        ("limits.idle", limits.idle_min > 0 and sense.idle_s is None, "no terminal or desktop session can be seen"),
        ("limits.load", limits.load_max_milli > 0 and sense.load_milli is None, "the system does not say its load"),
        (
            "limits.battery",
            limits.battery_min_percent > 0 and _battery_unseen(limits, sense),
            "the system does not say",
        ),
    )
    return tuple(f"{key} cannot be checked here and holds nothing back: {why}" for key, blind, why in rows if blind)


def _battery_unseen(limits: OwnerLimits, sense: Sense) -> bool:
    needs_charge = limits.battery_min_percent < BATTERY_NEVER_PERCENT and sense.on_battery is True
    return sense.on_battery is None or (needs_charge and sense.battery_percent is None)


def parse_rule(text: str, where: str = "rule") -> str:
    """The rule as it is stored: "principal:NAME", "tag:NAME", "purpose:NAME" or "*" (everybody); names are compared
    exactly.

    Raises:
        UsageError: none of these.
    """
    rule = text.strip()
    if not RULE.fullmatch(rule):
        form = "write principal:NAME, tag:NAME, purpose:NAME or *; NAME has 1 to 128 of a-z A-Z 0-9 . _ @ / + -"
        raise UsageError(f"{text[:80]!r} is no rule; {form} and no - in front", where=where)
    return rule


def admit(
    limits: OwnerLimits,
    policy: Policy,
    *,
    principal: str,
    tags: Iterable[str] = (),
    purpose: str = "",
    qubits: int = 0,
    shots: int = 0,
    memory_bytes: int = 0,
) -> Refused | None:
    """Why a submission is refused at the door, with the numbers; None: it is taken.

    principal, tags: who asks and under which names. purpose: the campaign that it serves, as who asks says, "" for
    none. qubits: of the largest program. shots: of all runs. memory_bytes: that one run asks for.
    """
    known = {"*", f"principal:{principal}", *(f"tag:{tag}" for tag in tags)}
    if purpose:
        known.add(f"purpose:{purpose}")
    denied = next((rule for rule in policy.deny if rule in known), None)
    if denied is not None:
        return Refused(f"work of {principal!r} is not taken: the owner denies {denied}", where="policy.deny")
    if policy.allow and principal != HOME and not known.intersection(policy.allow):
        what = (
            f"work of {principal!r} is not taken: no rule of the owner allows it: qcommons allow principal:{principal}"
        )
        return Refused(what, where="policy.allow")
    rows: tuple[tuple[str, int, int, Callable[[int], str], Callable[[int], str]], ...] = (
        ("qubits", qubits, limits.qubits_max, lambda n: f"{n} qubits", str),
        ("shots", shots, limits.shots_max, lambda n: f"{n} shots", str),
        ("memory", memory_bytes, limits.memory_bytes, _exact_text, lambda n: f"{n}B"),
    )
    for name, need, limit, shown, typed in rows:
        if 0 < limit < need:
            what = f"needs {shown(need)}; the owner's limit is {shown(limit)}: qcommons config set limits.{name} "
            return Refused(what + typed(need), where=f"limits.{name}", limit=shown(limit))
    return None


def _exact_text(n_bytes: int) -> str:
    return f"{bytes_text(n_bytes)} ({n_bytes} bytes)"  # two sizes near each other would read the same
