"""Samples for the tests of the checks: small distributions, and counts drawn from them."""

from __future__ import annotations

from typing import Any

import numpy as np

from qcommons.base.seeds import stream
from qcommons.engines.records import Answer, Counts
from qcommons.verify.answers import EngineClass, Found, Question

REPEATS = EngineClass("qulacs", "statevector", "f64", "0.6.14")
STIM = EngineClass("stim", "tableau", "exact", "1.16")
N_BITS = 6


def porter_thomas(n_bits: int, number: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Probabilities of a random state: exponential ones, normalised."""
    p = stream(1, "porter-thomas", n_bits, number).exponential(size=1 << n_bits)
    return p / p.sum()


def drawn(p: Any, shots: int, *path: int | str) -> dict[str, int]:
    """Counts of `shots` shots from the probabilities p."""
    n_bits = (len(p) - 1).bit_length()
    times = stream(2, "drawn", *path).multinomial(shots, p)
    return {f"{key:0{n_bits}b}": int(n) for key, n in enumerate(times) if n}


def mixed(p: Any, share: float) -> Any:
    return (1 - share) * p + share / len(p)


def question(shots: int, n_bits: int = N_BITS, **more: Any) -> Question:
    return Question(want=Counts(shots), n_bits=n_bits, n_qubits=n_bits, n_ops=50, **more)


def found(counts: dict[str, int], engine: EngineClass = REPEATS, seed: int = 5, error_bound: float = 0.0) -> Found:
    return Found(Answer(engine.engine, engine.method, counts=counts, error_bound=error_bound), engine, seed)
