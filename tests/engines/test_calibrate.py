"""Calibration with a clock that the test turns."""

from __future__ import annotations

import json

import pytest

from qcommons.base.errors import UsageError
from qcommons.circuits.program import Op
from qcommons.engines.calibrate import CLAMP, calibrate, probe_task
from qcommons.engines.records import Answer

TASK = probe_task(1, [Op("h", (0,))], "m")


class Clock:
    now = 0

    def __call__(self):
        return self.now


class Fake:
    """An engine whose runs take the nanoseconds it is given, in turn."""

    def __init__(self, clock, durations_ns, default=1e-6, version="1"):
        self.clock, self.durations, self.version = clock, list(durations_ns), version
        self.constants = {"unit": default}
        self.runs = 0

    def installed(self):
        return self.version

    def probes(self):
        return (("unit", TASK, 1000.0),)

    def run(self, task):
        self.runs += 1
        self.clock.now += self.durations.pop(0) if len(self.durations) > 1 else self.durations[0]
        return Answer("fake", "m")


def test_the_fastest_repeat_after_the_warm_up_counts():
    clock = Clock()
    found = calibrate({"fake": Fake(clock, [9_000_000, 3_000_000, 2_000_000, 5_000_000])}, clock)
    assert found == {"fake": {"unit": pytest.approx(2e-6)}} and json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("duration_ns, factor", [(10**9, CLAMP), (1, 1 / CLAMP)])
def test_a_wild_reading_stays_within_the_clamp(duration_ns, factor):
    clock = Clock()
    found = calibrate({"fake": Fake(clock, [duration_ns])}, clock, budget_s=100)
    assert found["fake"]["unit"] == pytest.approx(1e-6 * factor)


def test_the_budget_ends_it_and_what_was_not_reached_is_left_out():
    clock = Clock()
    slow, late = Fake(clock, [3 * 10**9]), Fake(clock, [1000])
    assert set(calibrate({"slow": slow, "late": late}, clock, budget_s=2.0)) == {"slow"}
    assert slow.runs == 1 and late.runs == 0


def test_missing_engines_and_failing_probes_keep_their_defaults():
    clock = Clock()
    missing, failing = Fake(clock, [1000], version=None), Fake(clock, [1000])

    def fail(task):
        raise UsageError("no")

    failing.run = fail
    assert calibrate({"missing": missing, "failing": failing}, clock) == {} and missing.runs == 0
