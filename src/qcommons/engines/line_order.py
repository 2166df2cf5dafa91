"""A good order of the qubits on a line: neighbours in the interaction graph should sit close together.

Flow: gates -> *line_order* -> aer_mps. A matrix product state pays for every gate by its distance
on the line and for entanglement by every cut between the ends, so the total number of (gate, cut)
crossings is what the order should make small (minimum linear arrangement; NP-hard, hence candidates):
the given order, reverse Cuthill-McKee (Cuthill and McKee 1969), the Fiedler vector (Juvan and Mohar
1992, doi:10.1016/0166-218X(92)90229-4), and greedy frontiers from a few starts, then exchanges.
Relabelling is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from qcommons.circuits.program import Op

__all__ = ["arrangement_cost", "interactions", "line_order"]

Weights = NDArray[np.float64]
Order = NDArray[np.int64]
FIEDLER_MAX = 1200  # qubits: a dense eigenproblem of that size takes about a second


def interactions(gates: Iterable[Op], n_qubits: int) -> Weights:
    """How many gates act on each pair of qubits; symmetric, shape (n, n), zero diagonal."""
    weights = np.zeros((n_qubits, n_qubits))
    for op in gates:
        for i, a in enumerate(op.qubits):
            for b in op.qubits[:i]:
                weights[a, b] += 1
                weights[b, a] += 1
    return weights


def arrangement_cost(weights: Weights, order: Order) -> float:
    """Sum over pairs of weight x distance on the line; `order[position]` is a qubit."""
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return float((weights * np.abs(place[:, None] - place[None, :])).sum() / 2)


def line_order(gates: Iterable[Op], n_qubits: int) -> tuple[int, ...]:
    """`order[position] = qubit`; the given order unless another one is strictly better."""
    weights = interactions(gates, n_qubits)
    best = np.arange(n_qubits)
    cost = arrangement_cost(weights, best)
    if cost <= np.count_nonzero(weights) / 2 or n_qubits < 3:
        return tuple(best.tolist())
    for candidate in _candidates(weights):
        found = arrangement_cost(weights, candidate)
        if found < cost - 1e-9:
            best, cost = candidate, found
    return tuple(_exchanged(weights, best).tolist())


def _candidates(weights: Weights) -> Iterator[Order]:
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    n = len(weights)
    yield np.asarray(reverse_cuthill_mckee(csr_array(weights), symmetric_mode=True), dtype=np.int64)
    if n <= FIEDLER_MAX:
        laplacian = np.diag(weights.sum(axis=1)) - weights
        yield np.argsort(np.linalg.eigh(laplacian)[1][:, 1], kind="stable")
    degree = np.count_nonzero(weights, axis=1)
    starts = {int(degree.argmin()), int(degree.argmax()), 0, n - 1}
    for start in sorted(starts):
        yield _greedy(weights, start)


def _greedy(weights: Weights, start: int) -> Order:
    """Grow the line from `start`; next comes the qubit that leaves the fewest crossings open.

    Ties go to the qubit tied to the most recently placed ones.
    """
    n = len(weights)
    degree = weights.sum(axis=1)
    inside = np.zeros(n)  # weight towards placed qubits
    recent = np.zeros(n)  # position of the last placed neighbour
    left = np.ones(n, dtype=np.bool_)
    order = [start]
    while True:
        now = order[-1]
        left[now] = False
        inside += weights[now]
        recent = np.where(weights[now] > 0, len(order), recent)
        if len(order) == n:
            return np.asarray(order, dtype=np.int64)
        score = np.where(left, degree - 2 * inside - recent / (2 * n), np.inf)
        order.append(int(score.argmin()))


def _exchanged(weights: Weights, order: Order) -> Order:
    """Exchange neighbours on the line while that helps (at most a few sweeps)."""
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    order = order.copy()
    for _ in range(4):
        changed = False
        for i in range(len(order) - 1):
            a, b = order[i], order[i + 1]
            # moving a one step right: it nears what lies right of b and leaves what lies left
            right = place > i + 1
            gain = weights[a] @ right - weights[b] @ right
            away = place < i
            gain += weights[b] @ away - weights[a] @ away
            if gain > 1e-9:
                order[i], order[i + 1] = b, a
                place[a], place[b] = i + 1, i
                changed = True
        if not changed:
            break
    return order
