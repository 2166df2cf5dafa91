"""Planning: every point once, tiny ones together, large ones alone."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.jobs.making import card, job

from qcommons.base.ids import parse_piece_id
from qcommons.engines.records import Counts
from qcommons.jobs.plan.pieces import PIECE_ITEMS_MAX, plan
from qcommons.jobs.records import Point


def test_every_point_is_in_exactly_one_piece_in_order() -> None:
    for points in (1, 2, 7, 1_000, 3_001):
        pieces = plan(job(points), workers=2)
        assert [item.index for piece in pieces for item in piece.items] == list(range(points))
        assert max(len(piece.items) for piece in pieces) <= PIECE_ITEMS_MAX
        assert len({parse_piece_id(piece.id) for piece in pieces}) == len(pieces)


def test_a_thousand_tiny_circuits_share_few_calls_but_use_every_worker() -> None:
    pieces = plan(job(1_000, n_qubits=5, n_ops=40), workers=2)
    assert 4 <= len(pieces) <= 50


def test_large_circuits_get_a_call_each() -> None:
    assert len(plan(job(6, n_qubits=24, n_ops=500), workers=2)) == 6


def test_a_piece_carries_each_program_once_with_its_own_want() -> None:
    two = job(1)
    first, second = card(), msgspec.structs.replace(card(), wire=b"other")
    runs = tuple(Point(index % 2, {}, index) for index in range(4))
    two = msgspec.structs.replace(two, programs=(first, second), wants=(Counts(1), Counts(2)), points=runs)
    pieces = plan(two, workers=1)
    for piece in pieces:
        for item in piece.items:
            expected = (first, second)[item.index % 2]
            assert piece.programs[item.program] == expected.wire
            assert piece.wants[item.program] == Counts(1 + item.index % 2)
        assert len(set(piece.programs)) == len(piece.programs)


@given(st.sets(st.integers(0, 199)), st.integers(1, 64))
def test_a_job_on_the_mesh_is_cut_in_the_same_places_whatever_is_known(known: set[int], workers: int) -> None:
    one = msgspec.structs.replace(job(200, want=Counts(200_000)), on="mesh")
    whole = {piece.id: {item.index for item in piece.items} for piece in plan(one, 1)}
    assert len(whole) > 3
    for piece in plan(one, workers, known):
        assert {item.index for item in piece.items} == whole[piece.id] - known
