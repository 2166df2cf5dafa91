"""Exact expectation values of the kicked transverse-field Ising chain, for any number of qubits.

In Majorana operators a_j = X_0..X_{j-1} Z_j and b_j = X_0..X_{j-1} Y_j, X_j = i a_j b_j and
Z_j Z_{j+1} = i b_j a_{j+1}, so rx and rzz on neighbours rotate pairs of them (Lieb, Schultz and
Mattis 1961). U = exp(theta/2 g h) sends g to g cos + h sin and h to h cos - g sin. For observables
that conserve parity and act on less than all qubits, |0..0> gives what (|0..0> + |1..1>)/sqrt(2)
gives, which is Gaussian with <i b_j a_{j+1}> = 1.
"""

from __future__ import annotations

import math

import numpy as np

from qcommons.circuits.program import Op, Program


def ising_program(n: int, steps: int, dt: float, measured: bool = False) -> Program:
    ops = []
    for _ in range(steps):
        ops += [Op("rx", (q,), (2 * dt,)) for q in range(n)]
        ops += [Op("rzz", (q, q + 1), (2 * dt,)) for q in range(n - 1)]
    ops += [Op("measure", (q,), (), (q,)) for q in range(n)] if measured else []
    return Program(n, (("c", n),) if measured else (), tuple(ops))


def ising_values(n: int, steps: int, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """<X_j>, shape (n,), and <Z_j Z_{j+1}>, shape (n - 1,), after `ising_program`."""
    gamma = np.zeros((2 * n, 2 * n))  # <i g_p g_q>; a_j is 2j, b_j is 2j + 1
    for j in range(n - 1):
        gamma[2 * j + 1, 2 * j + 2], gamma[2 * j + 2, 2 * j + 1] = 1, -1
    # parity X_0 .. X_{n-1} = +1 pairs the two ends: <i b_{n-1} a_0> = -1
    gamma[2 * n - 1, 0], gamma[0, 2 * n - 1] = -1, 1
    c, s = math.cos(2 * dt), math.sin(2 * dt)
    for _ in range(steps):
        for first in (0, 1):  # pairs (a_j, b_j) for rx, then (b_j, a_{j+1}) for rzz
            turn = np.eye(2 * n)
            for p in range(first, 2 * n - 1, 2):
                turn[p : p + 2, p : p + 2] = [[c, s], [-s, c]]
            gamma = turn @ gamma @ turn.T
    return np.diag(gamma, 1)[0::2].copy(), np.diag(gamma, 1)[1::2].copy()
