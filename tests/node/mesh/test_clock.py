"""The clock of the mesh: follows the system forward, never back."""

from __future__ import annotations

import time

import pytest

from qcommons.node.mesh import clock as module
from qcommons.node.mesh.clock import MeshClock


def test_it_counts_from_the_systems_time_and_never_runs_back() -> None:
    clock = MeshClock()
    assert abs(clock.now_ns() - time.time_ns()) < 50_000_000
    readings = [clock.now_ns() for _ in range(1000)]
    assert readings == sorted(readings)


def test_a_clock_that_is_set_forward_is_followed_and_one_set_back_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a battery clock starts in 1970 and is set right by NTP a minute later."""
    steady, system = [5_000], [1_000_000_000_000]
    monkeypatch.setattr(module, "_steady_ns", lambda: steady[0])
    monkeypatch.setattr(time, "time_ns", lambda: system[0])
    clock = MeshClock()
    steady[0] += 10
    assert clock.now_ns() == system[0] + 10 and clock.follow() == 0
    system[0] += 3_600_000_000_000
    assert clock.follow() == 3_600_000_000_000 - 10 and clock.now_ns() == system[0]
    before = clock.now_ns()
    system[0] -= 100_000_000_000
    assert clock.follow() == 0 and clock.now_ns() == before and clock.behind_ns() == 100_000_000_000


def test_it_does_not_begin_before_what_is_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    late_ns = time.time_ns() + 10**12
    assert MeshClock(late_ns).now_ns() >= late_ns
