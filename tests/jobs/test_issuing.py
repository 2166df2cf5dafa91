"""The ledger of a job: what travels together, what is handed back, what it costs."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.jobs.meshwork import job

from qcommons.base.effects import Send
from qcommons.engines.records import Statevector
from qcommons.jobs.issuing import LEASE_S, LEASE_S_MIN, PACE_MAX, HeldJob, bundles_of
from qcommons.jobs.machine import ItemsEnded, PieceEnded
from qcommons.jobs.offer import ITEMS_MAX
from qcommons.jobs.outcomes import Unserved
from qcommons.jobs.plan.pieces import plan
from qcommons.jobs.plan.records import Price
from qcommons.jobs.records import Job

OUT = Unserved("x", "mesh")


def price(runs: int, run_s: float = 0.01, **fields: Any) -> Price:
    return Price(seconds=runs * run_s, work_units=10 * runs, memory_bytes=1, **fields)


def held(one: Job, run_s: float = 0.01) -> HeldJob:
    made = HeldJob(one, 10**12)
    for piece in plan(one, 1):
        made.wait(bundles_of(one, piece.id, made.want(piece), price(len(piece.items), run_s)))
    return made


def test_leases_are_about_a_second_and_shorter_towards_the_end() -> None:
    made = held(job(5_000, shots=100_000), run_s=0.01)
    sizes = []
    while (parcel := made.next_parcel(places=4)) is not None:
        made.take(parcel)
        sizes.append(parcel.price.seconds)
    assert max(sizes) <= LEASE_S and max(sizes) > 0.8 * LEASE_S and sizes[-1] < 0.3
    assert sum(sizes) == pytest.approx(50.0)


def sizes_of(made: HeldJob, places: int) -> list[float]:
    sizes = []
    while (parcel := made.next_parcel(places)) is not None:
        made.take(parcel)
        sizes.append(parcel.price.seconds)
    return sizes


def test_no_lease_is_too_small_for_its_writes_to_disk_while_others_have_work() -> None:
    """10 s in runs of 10 ms, each a bundle of its own: a geometric tail would end in leases of one run."""
    sizes = sizes_of(held(job(1_000, shots=1_000_000), run_s=0.01), places=2)
    assert len(sizes) <= 20 and min(sizes[:-1]) > 0.8 * LEASE_S_MIN
    small = sizes_of(held(job(40, shots=1_000_000), run_s=0.01), places=4)
    assert len(small) >= 4 and max(small) <= 0.11, "every place gets some, however little there is"


def test_runs_that_take_less_than_predicted_travel_in_larger_leases_and_hardly_in_smaller_ones() -> None:
    swift, slow = (held(job(4_000, shots=1_000_000), run_s=0.01) for _ in range(2))
    swift.paces += [0.25, 0.25, 1000.0]  # the median: one peer that says nonsense moves nothing
    slow.paces += [1000.0]
    for made, seconds in ((swift, LEASE_S / 0.25), (slow, LEASE_S / PACE_MAX)):
        parcel = made.next_parcel(places=2)
        assert parcel is not None and parcel.price.seconds == pytest.approx(seconds, rel=0.05)


def test_a_parcel_holds_what_fits_one_offer_and_one_report() -> None:
    """20-qubit statevectors are 16 MiB each: two fit the half of a report that is planned with."""
    one = job(7)
    wide = msgspec.structs.replace(one.programs[0], n_qubits=20)
    one = msgspec.structs.replace(one, programs=(wide,), wants=(Statevector(),))
    found = bundles_of(one, "p", tuple(range(7)), price(7))
    assert [run for bundle in found for run in bundle.runs] == list(range(7)) and max(len(b.runs) for b in found) == 1
    assert sum(bundle.price.work_units for bundle in found) >= 70
    many = job(25_000, shots=1)
    assert max(len(bundle.runs) for bundle in bundles_of(many, "p", tuple(range(25_000)), price(25_000))) <= ITEMS_MAX


def test_work_for_different_engines_does_not_travel_together() -> None:
    one = job(4)
    made = HeldJob(one, 10**12)
    for run, engine in enumerate(("numpy", "numpy", "stim", "numpy")):
        made.wait(bundles_of(one, f"p{run}", (run,), price(1, engine=engine, method="m")))
    parcels = []
    while (parcel := made.next_parcel(places=1)) is not None:
        made.take(parcel)
        parcels.append((parcel.runs, parcel.price.engine))
    assert parcels == [((0, 1), "numpy"), ((2,), "stim"), ((3,), "numpy")]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 59), max_size=80), st.data())
def test_each_run_is_handed_back_once_and_each_piece_ends_once(order: list[int], data: st.DataObject) -> None:
    made = held(job(60, shots=500_000))
    effects = [effect for run in [*order, *range(60)] for effect in made.handed({run: OUT})]
    runs = [
        run for e in effects if isinstance(e, Send) and isinstance(e.message, ItemsEnded) for run, _ in e.message.ends
    ]
    ends = [e.message.piece_id for e in effects if isinstance(e, Send) and isinstance(e.message, PieceEnded)]
    assert sorted(runs) == list(range(60)) and len(ends) == len(set(ends)) == len(plan(job(60, shots=500_000), 1))
    assert not made.wanted and not made.left


def test_what_is_set_aside_counts_and_no_more_than_that_is_paid() -> None:
    made = HeldJob(job(1, budget=100), 10**12)
    made.speak(b"1", 10**9, 60)
    assert made.budget_left == 40
    made.settle(b"1", 10**9, 1_000)  # it claims more work than was quoted
    assert made.budget_left == 40
    made.speak(b"2", 10**9, 40)
    made.settle(b"2", 10**9, 0)  # it was dropped
    assert made.budget_left == 40


def test_unwanted_pieces_leave_and_what_others_want_stays() -> None:
    one = job(60, shots=500_000)
    made = held(one)
    first, *rest = plan(one, 1)
    assert rest and not made.unwant(first.id)
    left = [run for bundle in made.waiting for run in bundle.runs]
    assert left == [item.index for piece in rest for item in piece.items]
