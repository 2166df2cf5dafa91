"""Pacing: a flood of costly questions gets refusals, an honest asker answers, and everybody's bucket is its own."""

from __future__ import annotations

import pytest
from tests.mesh.parts_world import T0, S, peer

from qcommons.base.effects import Note
from qcommons.mesh.messages import Failure
from qcommons.mesh.pacing import RATES, Pacing
from qcommons.mesh.parts import ToPeer

FLOODER, HONEST = peer(1), peer(2)


def passed(pacing: Pacing, count: int, who: bytes = FLOODER, now_ns: int = T0, name: bytes = b"find/1") -> int:
    return sum(pacing.refusal(who, id, name, now_ns) is None for id in range(count))  # type: ignore[arg-type]


@pytest.mark.parametrize("protocol", list(RATES))
def test_a_burst_passes_and_then_the_rate(protocol: str) -> None:
    pacing, rate, name = Pacing(), RATES[protocol], protocol.encode()
    assert passed(pacing, 1_000, name=name) == rate.burst
    assert passed(pacing, 1_000, now_ns=T0 + S, name=name) == rate.per_s


def test_one_who_floods_takes_nothing_from_another() -> None:
    pacing = Pacing()
    passed(pacing, 10_000)
    assert passed(pacing, 10, HONEST) == 10


def test_what_has_no_row_passes() -> None:
    assert passed(Pacing(), 10_000, name=b"echo/1") == 10_000


def test_a_refusal_is_a_typed_failure_and_noted_once_a_second() -> None:
    pacing = Pacing()
    passed(pacing, 80)
    said = [pacing.refusal(FLOODER, id, b"find/1", T0 + id) for id in range(50)]
    first = said[0]
    assert first is not None and isinstance(first[0], ToPeer) and first[0].id == 0
    failure = first[0].message
    assert isinstance(failure, Failure) and failure.who == "unavailable" and failure.limit == "20 a second, 80 at once"
    notes = [effect for effects in said for effect in effects or () if isinstance(effect, Note)]
    assert [(note.name, note.facts["protocol"]) for note in notes] == [("mesh_asks_refused", "find/1")]


def test_who_leaves_is_forgotten() -> None:
    pacing = Pacing()
    passed(pacing, 100)
    pacing.forget(FLOODER)
    assert not pacing._paces
