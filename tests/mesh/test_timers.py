"""One wake-up under way for any number of deadlines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qcommons.base.effects import WakeAt
from qcommons.mesh.timers import GHOSTS_MAX, Alarm, Deadlines


def test_an_alarm_rings_at_the_earliest_time_it_was_set_to_and_once() -> None:
    alarm = Alarm("a")
    assert alarm.at(10) == [WakeAt(10, "a")] and alarm.at(20) == [] and alarm.at(5) == [WakeAt(5, "a")]
    assert alarm.rings(5) and not alarm.rings(10)
    assert alarm.at(30) == [WakeAt(30, "a")]


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=60))
def test_everything_alive_is_due_once_in_order_of_time_and_nothing_before_it(rows: list[tuple[int, bool]]) -> None:
    alive = {index for index, (_, lives) in enumerate(rows) if lives}
    deadlines: Deadlines[int] = Deadlines("d", alive.__contains__)
    wakes = [effect.at_ns for index, (at_ns, _) in enumerate(rows) for effect in deadlines.add(at_ns, index)]
    found = []
    while wakes:
        now_ns = min(wakes)
        wakes.remove(now_ns)
        for index in deadlines.due(now_ns):
            assert rows[index][0] == now_ns
            found.append(index)
        wakes += [effect.at_ns for effect in deadlines.again()]
    assert found == sorted(alive, key=lambda index: (rows[index][0], index))


def test_what_has_ended_is_swept_out() -> None:
    deadlines: Deadlines[int] = Deadlines("d", lambda item: item >= 9_990)
    for item in range(10_000):
        deadlines.add(10**9, item)
        assert len(deadlines) <= GHOSTS_MAX + 20


def test_an_item_that_was_added_again_is_due_once() -> None:
    """A peer may end and begin something of one id again and again: what is due twice would be dealt with twice."""
    deadlines: Deadlines[int] = Deadlines("d", lambda item: True)
    for at_ns in (10, 20, 30):
        deadlines.add(at_ns, 7)
    assert deadlines.due(30) == [7]
