"""The first steps of a matrix product state, taken without cutting anything.

Flow: aer_mps (steps of a line) -> *take_whole* -> aer_mps (Aer takes over where bonds grow). Aer always leaves out
Schmidt weights below 1e-16, so what it evolved carries a bound of what that may have cost. Where the bonds stay small
nothing needs to be left out, and the state is the circuit's own up to the rounding of float64: a Bell pair has no
error then. A step is Hastings' (arXiv:0903.3253, section II): no division by Schmidt values, which would
blow up the rounding of the small ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qcommons.engines.mps import Vidal, tensors_of
from qcommons.engines.mps_plan import Step

__all__ = ["take_whole"]

ROUNDING = 1e-14  # Schmidt values below this share of the largest are rounding of float64, not state
Tensor = NDArray[np.complex128]


def take_whole(state: Vidal, steps: Sequence[Step], bond_max: int) -> tuple[Vidal, int]:
    """The state after as many of the steps as keep every bond at `bond_max` or less, and how many those are."""
    tensors = tensors_of(state)
    lambdas = [np.ones(1), *(np.asarray(values) for values in state[1])]  # left of each site
    taken = 0
    for sites, matrix in steps:
        if len(sites) == 1:
            tensors[sites[0]] = np.einsum("st,atb->asb", matrix, tensors[sites[0]])
        elif not _joined(tensors, lambdas, sites[0], matrix, bond_max):
            break
        taken += 1
    gammas = [t / lambdas[site + 1] if site + 1 < len(tensors) else t for site, t in enumerate(tensors)]
    return ([(g[:, 0].copy(), g[:, 1].copy()) for g in gammas], lambdas[1:]), taken


def _joined(tensors: list[Tensor], lambdas: list[NDArray[np.float64]], k: int, matrix: Tensor, bond_max: int) -> bool:
    """Sites k and k + 1 after the matrix (the left one least significant); False, and nothing done, past the bond."""
    gate = matrix.reshape(2, 2, 2, 2)  # right out, left out, right in, left in
    pair = np.tensordot(tensors[k], tensors[k + 1], axes=(2, 0))
    pair = np.einsum("tsyx,axyb->astb", gate, pair)
    left, _, _, right = pair.shape
    weighed = lambdas[k][:, None, None, None] * pair
    _, values, rows = np.linalg.svd(weighed.reshape(2 * left, 2 * right), full_matrices=False)
    bond = int(np.count_nonzero(values > ROUNDING * values[0]))
    if bond > bond_max:
        return False
    tensors[k + 1] = rows[:bond].reshape(bond, 2, right)
    tensors[k] = np.tensordot(pair, tensors[k + 1].conj(), axes=((2, 3), (1, 2)))
    lambdas[k + 1] = values[:bond] / np.linalg.norm(values[:bond])
    return True
