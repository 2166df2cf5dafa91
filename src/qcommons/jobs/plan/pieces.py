"""From a job to pieces: tiny points share a worker call, large ones get their own.

Flow: Job -> *plan* -> Piece -> workers. The guess of a point's size needs only the program's
header: it decides about batching alone; engines are chosen by the real cost model in the worker.
"""

from __future__ import annotations

from collections.abc import Container

import msgspec

from qcommons.base.ids import JobId, piece_id
from qcommons.engines.records import Counts
from qcommons.jobs.records import Item, Job, Piece

__all__ = ["alone", "guess_s", "plan"]

PIECE_S = 0.05  # a call costs about 0.2 ms: 0.4 % of this; small enough for progress and cancelling
PIECE_MIN_S = 2e-3  # ten times what a call costs: less is not worth spreading over workers
PEERS_PLANNED = 16  # a job on the mesh is cut for so many places, however many there will be
PIECE_ITEMS_MAX = 1_000  # bounds one frame
ITEM_S = 2e-4  # decode, features, choice and answer of the smallest circuit
OP_S = 3e-6  # the same, for each operation
AMPLITUDE_S = 2e-9  # one amplitude-update of a dense engine (notes of the cost model)
SHOT_S = 5e-8
DENSE_QUBITS = 24  # beyond, a dense run is unlikely; the point is alone in its piece anyway


def plan(job: Job, workers: int, known: Container[int] | None = None, first: int = 0) -> list[Piece]:
    """Pieces that cover every open point of `job` once, in order; two or more a worker where it pays.

    A job on the mesh is cut in the same places whatever is known and whoever works, so that after a crash the leases on
    disk still fit: what is known is left out afterwards.

    known: indices of points with an outcome; the settled ones if None. first: number of the first piece.
    """
    known = job.settled if known is None else known
    is_stable = job.on == "mesh"
    fixed: Container[int] = job.settled if is_stable else known
    batches = _batches(job, PEERS_PLANNED if is_stable else workers, fixed)
    numbered = enumerate([[index for index in batch if index not in known] for batch in batches], first)
    return [_piece(job, number, batch) for number, batch in numbered if batch]


def _batches(job: Job, workers: int, known: Container[int]) -> list[list[int]]:
    """Indices of the points of each piece."""
    sizes_s = [guess_s(job, program) for program in range(len(job.programs))]
    total_s = sum(sizes_s[point.program] for index, point in enumerate(job.points) if index not in known)
    share_s = min(PIECE_S, max(total_s / (2 * workers), PIECE_MIN_S))
    batches: list[list[int]] = []
    batch: list[int] = []
    filled_s = 0.0
    for index, point in enumerate(job.points):
        if index in known:
            continue
        size_s = sizes_s[point.program]
        if batch and (filled_s + size_s > share_s or len(batch) >= PIECE_ITEMS_MAX):
            batches.append(batch)
            batch, filled_s = [], 0.0
        batch.append(index)
        filled_s += size_s
    return [*batches, batch] if batch else batches


def guess_s(job: Job, program: int) -> float:
    """Seconds one point of `program` might take, for batching only."""
    card, want = job.programs[program], job.wants[program]
    shots = want.shots if isinstance(want, Counts) else 0
    dense = card.n_ops * 2.0 ** min(card.n_qubits, DENSE_QUBITS) * AMPLITUDE_S
    return ITEM_S + card.n_ops * OP_S + dense + shots * SHOT_S


def alone(job: Job, piece: Piece, items: list[Item], first: int) -> list[Piece]:
    """One piece for each of `items`, numbered from `first`: so that a guilty one is known by name."""
    return [
        msgspec.structs.replace(
            piece,
            id=piece_id(JobId(job.id), first + offset),
            programs=(piece.programs[item.program],),
            wants=(piece.wants[item.program],),
            items=(msgspec.structs.replace(item, program=0),),
        )
        for offset, item in enumerate(items)
    ]


def _piece(job: Job, number: int, indices: list[int]) -> Piece:
    places: dict[int, int] = {}
    items = []
    for index in indices:
        point = job.points[index]
        place = places.setdefault(point.program, len(places))
        items.append(Item(index, place, point.values, point.seed))
    return Piece(
        id=piece_id(JobId(job.id), number),
        programs=tuple(job.programs[program].wire for program in places),
        wants=tuple(job.wants[program] for program in places),
        items=tuple(items),
        limits=job.limits,
        noise=job.noise,
        engine=job.engine,
        method=job.method,
    )
