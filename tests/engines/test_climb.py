"""The climber's own judgement: which dear trials it leaves out."""

from __future__ import annotations

import math

import pytest
from msgspec.structs import replace

from qcommons.circuits.program import Op, Program
from qcommons.engines.aer_engine import ENGINE as AER
from qcommons.engines.climb import Climber
from qcommons.engines.records import CapExceeded, Cost, Counts, Limits, Task
from qcommons.engines.select import Choice

LIMITS = Limits(memory_bytes=8 << 30, seconds=600.0)


def _climber(*stops: tuple[int, float]) -> Climber:
    climber = Climber({}, {}, LIMITS, lambda: 0)
    climber.stops = list(stops)
    return climber


def _rung(bond: int, method: str = "mps") -> Choice:
    return Choice("aer", method, Cost(1.0, 1, 1.0), replace(LIMITS, bond_max=bond), "")


@pytest.mark.parametrize(
    ("stops", "needed"),
    [
        ((), 0.0),
        (((64, 0.5),), 0.0),
        (((64, 0.5), (256, 0.75)), 10.0),  # a quarter of the program a factor of 4: 1024 at its end
        (((16, 0.1), (64, 0.5), (256, 0.75)), 10.0),  # the last two count
        (((64, 0.5), (256, 0.5)), math.inf),
    ],
)
def test_the_bond_at_the_end_is_extrapolated(stops: tuple[tuple[int, float], ...], needed: float) -> None:
    assert _climber(*stops).bond_needed_log2() == pytest.approx(needed)


def test_only_dear_trials_that_the_cheap_ones_speak_against_are_left_out() -> None:
    climber = _climber((64, 0.5), (256, 0.75))
    assert climber.hopeless(_rung(256)) is False  # cheap
    assert climber.hopeless(_rung(512)) is False  # 1024 needed: within twice the cap
    climber = _climber((64, 0.5), (256, 0.71))  # 2^10.8 needed
    assert climber.hopeless(_rung(512)) is True
    assert climber.hopeless(_rung(1024)) is False
    assert climber.hopeless(_rung(512, "sparse")) is False


def test_a_stopped_matrix_product_state_tells_how_far_it_came() -> None:
    """Twelve layers of random-looking gates on 12 qubits: bond 4 is passed in the third layer or so."""
    layers = [
        [*(Op("u", (q,), (0.3 + q, 0.7 * layer, 1.1)) for q in range(12)), *(Op("cx", (q, q + 1)) for q in range(11))]
        for layer in range(12)
    ]
    program = Program(12, (), tuple(op for layer in layers for op in layer))
    with pytest.raises(CapExceeded) as caught:
        AER.run(Task(program, Counts(10), "mps", 1, replace(LIMITS, bond_max=4)))
    assert caught.value.done is not None
    assert 0.0 < caught.value.done < 0.5
