"""What workers of a world answer: honest ones by a table, liars by a row of `TRADES`.

Flow: hired piece -> *answer* (a table: the distribution of each small circuit is computed once) -> Trade.answer (the
zoo of lies) -> report -> Trade.report (what is done to its bytes) => submitter. The checks that the answers meet are
the real ones.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qcommons.base.errors import UsageError
from qcommons.base.seeds import stream
from qcommons.circuits.program import Program
from qcommons.circuits.wire import decode
from qcommons.engines.records import Answer, Counts, Statevector, Want
from qcommons.engines.registry import load_engines
from qcommons.world import redteam
from qcommons.world.zoo import ZOO, Asked

__all__ = ["ENGINE", "HONEST", "METHOD", "TRADES", "Trade", "answer", "programs", "read", "version"]

ENGINE, METHOD = redteam.USED
N_QUBITS = 4
CIRCUITS_KEPT = 4_096  # those of the jobs, and what liars make of them


class Trade(NamedTuple):
    """name; help: a sentence. answer: to a run, None for the honest one. claims: as `zoo.Row`. report: what becomes of
    a report's bytes. takes: times as long as an honest worker; 0: never. opens: whether it opens what it committed to.
    seldom: it lies in few of its runs."""

    name: str
    help: str
    answer: Callable[[Asked], Answer] | None = None
    claims: tuple[str, str] | None = None
    report: Callable[[bytes], bytes] | None = None
    takes: float = 1.0
    opens: bool = True
    seldom: bool = False


def _spoiled(data: bytes) -> bytes:
    """One byte is another, in the middle: in an answer or a receipt."""
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


HONEST = Trade("", "an honest worker")
TRADES: dict[str, Trade] = {
    trade.name: trade
    for trade in (
        *(Trade(row.name, row.help, row.answer, row.claims, seldom=row.every > 1) for row in ZOO),
        Trade("spoiled report", "right answers, one byte of the report is another", report=_spoiled),
        Trade("garbage", "noise in place of a report", report=lambda data: bytes(len(data))),
        Trade("fell silent", "takes the lease and is not heard of again about it", takes=0.0),
        Trade("slow", "takes a hundred times as long", takes=100.0),
        Trade("opens another", "commits to one answer and opens another salt", opens=False),
    )
}


@lru_cache(maxsize=1)
def programs() -> tuple[Program, ...]:
    """Small circuits, measured at their end."""
    return tuple(circuit.program for circuit in redteam.circuits(N_QUBITS, 1))


@lru_cache(maxsize=1)
def version() -> str:
    return load_engines()[ENGINE].installed() or ""


@lru_cache(maxsize=CIRCUITS_KEPT)
def read(wire: bytes) -> Program:
    """The program of these bytes, read once."""
    return decode(wire)


def answer(program: Program, want: Want, seed: int) -> Answer:
    """The honest one: the same for the same seed. Raises UsageError where counts are not what is wanted."""
    if not isinstance(want, Counts):
        raise UsageError(f"the table answers counts only, not {type(want).__name__}", where="want")
    shares = _shares(program)
    times = stream(seed, "world", "table").multinomial(want.shots, shares)
    found = np.flatnonzero(times)
    counts = {format(key, f"0{program.n_qubits}b"): int(times[key]) for key in found.tolist()}
    return Answer(ENGINE, METHOD, counts=counts)


@lru_cache(maxsize=CIRCUITS_KEPT)
def _shares(program: Program) -> NDArray[np.float64]:
    state = redteam.run(program, Statevector(), 1)
    shares = np.abs(np.array([complex(*pair) for pair in state.amplitudes or ()])) ** 2
    return np.asarray(shares / shares.sum(), np.float64)
