"""Playbooks: the test of a machine reads as its conversation (after mitmproxy's `tutils.py`).

    assert (
        play(machine)
        >> Submitted(job) << Run("job_x.0", ANY) << WakeAt(30, "deadline")
        >> at(30) >> Woken("deadline") << Stop("job_x.0")
    )

`>> event` delivers an event; every effect it caused must be named by the `<<` that follow, in order,
before the next event and before the end (the `assert`). `<<` takes an effect (compared with ==, so
`unittest.mock.ANY` stands for any field), a class (matched by type) or a predicate. Notes may be
left out; one that is named must be there, and none before it is skipped twice.
`>> at(ns)` moves the clock. `.effects` holds every effect of the conversation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from qcommons.base.effects import Effect, Machine, Note


class at(NamedTuple):
    now_ns: int


class play:
    def __init__(self, machine: Machine[Any], now_ns: int = 0) -> None:
        self.machine = machine
        self.now_ns = now_ns
        self.effects: list[Effect] = []
        self._waiting: list[Effect] = []
        self._last: Any = "the start"

    def __rshift__(self, event: Any) -> play:
        if isinstance(event, at):
            assert event.now_ns >= self.now_ns, f"time runs forward: {event.now_ns} < {self.now_ns}"
            self.now_ns = event.now_ns
            return self
        self._settled()
        self._waiting = list(self.machine.handle(event, self.now_ns))
        self.effects += self._waiting
        self._last = event
        return self

    def __lshift__(self, expected: Effect | type | Callable[[Effect], bool]) -> play:
        skipped = []
        while self._waiting:
            effect = self._waiting.pop(0)
            if _matches(effect, expected):
                return self
            assert isinstance(effect, Note), f"after {self._last}:\n  expected {expected}\n  got      {effect}"
            skipped.append(effect)
        raise AssertionError(f"after {self._last}: expected {expected}; no effect left (notes: {skipped})")

    def __bool__(self) -> bool:
        self._settled()
        return True

    def _settled(self) -> None:
        loud = [effect for effect in self._waiting if not isinstance(effect, Note)]
        assert not loud, f"after {self._last}: effects that nobody expected: {loud}"


def _matches(effect: Effect, expected: Effect | type | Callable[[Effect], bool]) -> bool:
    if isinstance(expected, type):
        return isinstance(effect, expected)
    if callable(expected):
        return bool(expected(effect))
    return bool(effect == expected)
