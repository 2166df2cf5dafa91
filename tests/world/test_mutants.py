"""Broken cores are caught: each mutant breaks one promise, and the checkers name it (checkers.py, afterwards.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from qcommons.base.effects import Send, Store, WakeAt, Woken
from qcommons.mesh.events import Came, Dial, DialFailed, Got, Hangup, Linked, News, Transmit, Unlinked
from qcommons.mesh.messages import Beats, Gossip, Have, Hello, Ping, Want
from qcommons.world.host import EPOCH_NS
from qcommons.world.play import Case, play
from qcommons.world.stage import mesh_core

Change = Callable[["Mutant", Any, list[Any], int], list[Any]]


class Mutant:
    """The real core, and what is done to its effects after each event."""

    def __init__(self, core: Any, change: Change) -> None:
        self.core = core
        self.change = change
        self.links: dict[int, Any] = {}
        self.kept: list[Any] = []

    def handle(self, event: Any, now_ns: int) -> list[Any]:
        if isinstance(event, Linked):
            self.links[event.conn] = event.peer
        elif isinstance(event, Unlinked):
            self.links.pop(event.conn, None)
        return self.change(self, event, self.core.handle(event, now_ns), now_ns)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.core, name)


def part(core: Any, name: str) -> Any:
    return next(part for part in core.parts if name == part.NAME)


# what is broken: (mutant, event, effects, now) -> effects


def tells_news_each_time_it_comes(mutant: Mutant, event: Any, effects: list[Any], now_ns: int) -> list[Any]:
    if isinstance(event, Came) and isinstance(event.message, Gossip):
        told = [e for e in effects if isinstance(e, Send) and e.to.startswith("topic/")]
        mutant.kept += told
        return effects + [e for e in mutant.kept if e.message.payload == event.message.payload and e not in told]
    return effects


def pushes_to_the_first_peer_only(mutant: Mutant, event: Any, effects: list[Any], now_ns: int) -> list[Any]:
    first = min(mutant.links.values(), default=None)
    return [
        e for e in effects
        if not (isinstance(e, Transmit) and isinstance(e.message, Gossip | Have | Want))
        or mutant.links.get(e.conn) == first
    ]  # fmt: skip


def shows_its_record_before_it_is_stored(mutant: Mutant, event: Any, effects: list[Any], now_ns: int) -> list[Any]:
    """The Store of the own record waits for a second: a crash in between forgets what others have seen."""
    mutant.kept += [(now_ns + 10**9, e) for e in effects if isinstance(e, Store) and e.key == "mesh/self"]
    due = [e for at_ns, e in mutant.kept if at_ns <= now_ns]
    mutant.kept = [row for row in mutant.kept if row[0] > now_ns]
    return due + [e for e in effects if not (isinstance(e, Store) and e.key == "mesh/self")]


def gives_up_whom_it_lost(mutant: Mutant, event: Any, effects: list[Any], now_ns: int) -> list[Any]:
    early = now_ns < EPOCH_NS + 3 * 10**9
    dials = [] if early else [e for e in effects if isinstance(e, Dial)]
    for dial in dials:
        mutant.kept.append(DialFailed(dial.conn, "no"))
    return [e for e in effects if e not in dials]


def answers_twice(mutant: Mutant, event: Any, effects: list[Any], now_ns: int) -> list[Any]:
    return effects + [e for e in effects if isinstance(e, Send) and isinstance(e.message, Got)]


def loses_every_third_answer(mutant: Mutant, event: Any, effects: list[Any], now_ns: int) -> list[Any]:
    got = [e for e in effects if isinstance(e, Send) and isinstance(e.message, Got)]
    mutant.kept += got
    return [e for e in effects if e not in got or len(mutant.kept) % 3]


def gives_the_answer_before(mutant: Mutant, event: Any, effects: list[Any], now_ns: int) -> list[Any]:
    out = []
    for e in effects:
        if isinstance(e, Send) and isinstance(e.message, Got):
            mutant.kept.append(e.message)
            e = Send(e.to, mutant.kept[-2] if len(mutant.kept) > 1 else e.message)
        out.append(e)
    return out


def counts_whoever_calls(mutant: Mutant, event: Any, effects: list[Any], now_ns: int) -> list[Any]:
    return [*effects, Send("mesh", News(event.peer, "alive", "it called"))] if isinstance(event, Linked) else effects


def talks_after_hanging_up(mutant: Mutant, event: Any, effects: list[Any], now_ns: int) -> list[Any]:
    return [x for e in effects for x in ([e, Transmit(e.conn, 0, Ping())] if isinstance(e, Hangup) else [e])]


def uses_a_number_again(mutant: Mutant, event: Any, effects: list[Any], now_ns: int) -> list[Any]:
    return [Dial(2, e.address, e.peer) if isinstance(e, Dial) and e.circuit is None else e for e in effects]


def keeps_a_timer_a_message(mutant: Mutant, event: Any, effects: list[Any], now_ns: int) -> list[Any]:
    return [*effects, WakeAt(now_ns + 10**12, "deadline")] if isinstance(event, Came) else effects


def keeps_all_it_hears(mutant: Mutant, event: Any, effects: list[Any], now_ns: int) -> list[Any]:
    mutant.core.heard = [*getattr(mutant.core, "heard", ()), [0] * 20_000]
    return effects


def chatters(mutant: Mutant, event: Any, effects: list[Any], now_ns: int) -> list[Any]:
    if not isinstance(event, Woken):
        return effects
    return effects + [Transmit(conn, 0, Have((b"k" * 16,))) for conn in mutant.links for _ in range(30)]


def raises_at_an_odd_length(mutant: Mutant, event: Any, effects: list[Any], now_ns: int) -> list[Any]:
    if isinstance(event, Came) and isinstance(event.message, Have) and len(event.message.keys[0]) % 2:
        raise IndexError("odd")
    return effects


def gives_no_sign_of_life(mutant: Mutant, event: Any, effects: list[Any], now_ns: int) -> list[Any]:
    return [e for e in effects if not (isinstance(e, Transmit) and isinstance(e.message, Beats))]


def says_nothing_to_a_hello(mutant: Mutant, event: Any, effects: list[Any], now_ns: int) -> list[Any]:
    return [e for e in effects if not (isinstance(e, Transmit) and isinstance(e.message, Hello))]


# what is broken inside: core -> None


def believes_any_beat(core: Any) -> None:
    part(core, "membership")._crypto = _Gullible(part(core, "membership")._crypto)


class _Gullible:
    def __init__(self, crypto: Any) -> None:
        self._crypto = crypto

    def follows(self, value: bytes, steps: int, known: bytes) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._crypto, name)


def has_not_seen_any_news(core: Any) -> None:
    part(core, "gossip")._shelf.has_seen = lambda key: False


def takes_honest_traffic_for_a_flood(core: Any) -> None:
    core.guard.admits = lambda peer, kind, size_bytes, now_ns: core.guard._flows.setdefault(peer, None) is not None
    core.guard.drops = lambda peer, kind, now_ns: ([], 60)


SMALL = Case("join", 3, 6, 5)
CHURN = Case("churn", 3, 6, 10)
MUTANTS: list[tuple[Change, Case, set[str]]] = [
    (tells_news_each_time_it_comes, CHURN, {"news once"}),
    (pushes_to_the_first_peer_only, Case("join", 3, 12, 5), {"news"}),
    (shows_its_record_before_it_is_stored, SMALL, {"stored first"}),
    (gives_up_whom_it_lost, Case("partition-heal", 3, 8, 30), {"whole"}),
    (answers_twice, SMALL, {"answered once"}),
    (loses_every_third_answer, Case("join", 4, 4, 20), {"answered once"}),
    (gives_the_answer_before, SMALL, {"right answer"}),
    (counts_whoever_calls, Case("foreign", 3, 4, 5), {"one network"}),
    (talks_after_hanging_up, Case("foreign", 3, 4, 5), {"ended"}),
    (uses_a_number_again, SMALL, {"numbers"}),
    (keeps_a_timer_a_message, SMALL, {"bounded"}),
    (keeps_all_it_hears, SMALL, {"bounded"}),
    (chatters, SMALL, {"quiet"}),
    (raises_at_an_odd_length, Case("liars", 3, 6, 8), {"core raised"}),
    (gives_no_sign_of_life, Case("join", 3, 12, 5), {"whole"}),
    (says_nothing_to_a_hello, SMALL, {"whole"}),
]
INSIDE: list[tuple[Callable[[Any], None], Case, set[str]]] = [
    (believes_any_beat, Case("kill-third", 4, 12, 10, "false-beats"), {"whole"}),
    (has_not_seen_any_news, Case("join", 3, 4, 3), {"news once"}),
    (takes_honest_traffic_for_a_flood, SMALL, {"no honest banned"}),
]  # fmt: skip


def broken(case: Case, make: Callable[[Any, str, np.random.Generator, int], Any]) -> set[str]:
    return {violation.check for violation in play(case, core=make).violations}


@pytest.mark.parametrize(("change", "case", "rules"), MUTANTS, ids=lambda row: getattr(row, "__name__", ""))
def test_a_core_that_says_the_wrong_thing_is_caught(change: Change, case: Case, rules: set[str]) -> None:
    assert broken(case, lambda *parts: Mutant(mesh_core(*parts), change)) >= rules


@pytest.mark.parametrize(("damage", "case", "rules"), INSIDE, ids=lambda row: getattr(row, "__name__", ""))
def test_a_core_that_is_wrong_inside_is_caught(damage: Callable[[Any], None], case: Case, rules: set[str]) -> None:
    def make(crypto: Any, network: str, rng: np.random.Generator, book_cap: int) -> Any:
        core = mesh_core(crypto, network, rng, book_cap)
        damage(core)
        return core

    assert broken(case, make) >= rules


@pytest.mark.parametrize("case", sorted({row[1] for row in [*MUTANTS, *INSIDE]}, key=str), ids=str)
def test_the_core_itself_passes_where_its_mutants_do_not(case: Case) -> None:
    report = play(case)
    assert not report.violations, report.replay
