"""Random brickwork and QAOA on 24 qubits against Aer's state vector, one thread each.

`default` is what the default install chooses (qulacs, double precision); with the extra `fast`
(qsim, single precision) installed, counts of such circuits are qsim's.
"""

from __future__ import annotations

from bench import circuits, sides
from bench.harness import Claim

CLAIMS = [
    Claim("brickwork-24, depth 20, default, against Aer", "brickwork_ours", "brickwork_aer", "ratio", 0.95, 3),
    Claim("QAOA-24, p = 2, default, against Aer", "qaoa_ours", "qaoa_aer", "ratio", 0.95, 3),
    Claim("brickwork-24, depth 20, fast, against Aer", "brickwork_fast", "brickwork_aer", "ratio", 8, 3),
    Claim("QAOA-24, p = 2, fast, against Aer", "qaoa_fast", "qaoa_aer", "ratio", 8, 3),
]


def _brickwork(small: bool) -> str:
    return circuits.brickwork(12 if small else 24, 20, seed=1)


def _qaoa(small: bool) -> str:
    return circuits.qaoa(12 if small else 24, 2, seed=1)


def brickwork_ours(small: bool) -> sides.Thunk:
    return sides.ours(_brickwork(small), engine="qulacs")


def brickwork_fast(small: bool) -> sides.Thunk:
    return sides.ours(_brickwork(small))


def brickwork_aer(small: bool) -> sides.Thunk:
    return sides.aer(_brickwork(small), "statevector")


def qaoa_ours(small: bool) -> sides.Thunk:
    return sides.ours(_qaoa(small), engine="qulacs")


def qaoa_fast(small: bool) -> sides.Thunk:
    return sides.ours(_qaoa(small))


def qaoa_aer(small: bool) -> sides.Thunk:
    return sides.aer(_qaoa(small), "statevector")
