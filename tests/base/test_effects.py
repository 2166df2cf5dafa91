"""Effects are plain frozen records, and a playbook holds a machine to every one of them."""

from __future__ import annotations

from unittest.mock import ANY

import msgspec
import pytest
from tests.playbook import at, play

from qcommons.base.effects import Effect, Note, Run, Send, Stop, Store, WakeAt, Woken, note


class Retry(msgspec.Struct, frozen=True):
    """An event of the toy machine: run this, and stop it after a second."""

    piece_id: str


class Toy:
    """Remembers what it runs before it tells anybody; stops it when woken."""

    def __init__(self) -> None:
        self.running: str | None = None

    def handle(self, event: Retry | Woken, now_ns: int) -> list[Effect]:
        match event:
            case Retry(piece_id=piece_id):
                self.running = piece_id
                return [
                    Store("running", piece_id.encode()),
                    note("piece_started", piece=piece_id),
                    Send("home", piece_id),
                    Run(piece_id, {"shots": 1}),
                    WakeAt(now_ns + 1_000, "late"),
                ]
            case Woken(token="late") if self.running:
                return [Stop(self.running)]
        return [note("event_ignored", event=type(event).__name__)]


def test_a_conversation_reads_in_order() -> None:
    assert (
        play(Toy(), now_ns=5)
        >> Retry("p.0")
        << Store("running", b"p.0")
        << Send
        << Run("p.0", ANY)
        << (lambda effect: effect.at_ns == 1_005)
        >> at(1_005)
        >> Woken("late")
        << Stop("p.0")
        >> Woken("other")
        << Note("event_ignored", {"event": "Woken"})
    )


def test_an_effect_nobody_expected_fails_the_playbook() -> None:
    with pytest.raises(AssertionError, match="nobody expected"):
        assert play(Toy()) >> Retry("p.0") << Store << Send
    with pytest.raises(AssertionError, match="nobody expected"):
        play(Toy()) >> Retry("p.0") >> Woken("late")


def test_effects_out_of_order_fail_the_playbook() -> None:
    with pytest.raises(AssertionError, match="expected"):
        play(Toy()) >> Retry("p.0") << Send << Store
    with pytest.raises(AssertionError, match="no effect left"):
        play(Toy()) >> Woken("other") << Stop("p.0")


def test_time_runs_forward_in_a_playbook() -> None:
    with pytest.raises(AssertionError, match="forward"):
        play(Toy(), now_ns=5) >> at(4)


@pytest.mark.parametrize("effect", [Send("a", 1), WakeAt(1), Store("k", None), Run("p", 0), Stop("p"), Note("n")])
def test_effects_cannot_change_once_made(effect: Effect) -> None:
    with pytest.raises(AttributeError):
        setattr(effect, effect.__struct_fields__[0], "other")
