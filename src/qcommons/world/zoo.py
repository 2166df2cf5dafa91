"""The zoo of liars: how a peer may answer what it was asked, as rows; each with a sentence and a function.

Flow: Asked (program, want, seed, the liar's own engine) -> *Row.answer* -> Answer -> checks of `verify` -> redteam
(how often caught), world (the same rows inside a mesh). What a liar does with messages instead of numbers (a copied
replica, two receipts, a false accusation, silence) is in `protocol_liars`.

The first three defeat the checks of earlier networks of this kind: they are right on trap circuits without
entanglement, on the few known spot checks, on anything small.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec
import numpy as np

from qcommons.base.seeds import derive, stream
from qcommons.circuits.gates import GATES
from qcommons.circuits.program import Op, Operation, Program
from qcommons.engines.records import Answer, Counts, Estimate, Want
from qcommons.engines.sampling import add_counts, bit_counts

__all__ = ["ZOO", "Asked", "Row"]

SMALL_QUBITS = 5  # "right on small": up to so many
SHIFT_RAD = 0.05
ONCE_IN = 20


class Asked(NamedTuple):
    """What a liar has before it: program, want and seed of the lease; number: how many runs it answered before.

    run: its own honest engine. All its answers name the engine that it was told to use, whatever it did.
    """

    program: Program
    want: Want
    seed: int
    run: Callable[[Program, Want, int], Answer]
    number: int = 0

    def honest(self) -> Answer:
        return self.run(self.program, self.want, self.seed)

    def rng(self) -> np.random.Generator:
        return stream(self.seed, "liar", self.number)


class Row(NamedTuple):
    """name; help: a sentence. answer: what it says. claims: (engine, method) it says it used, None: as it was told.

    every: it lies once in so many runs, and detection is of one run in which it lies.
    """

    name: str
    help: str
    answer: Callable[[Asked], Answer]
    claims: tuple[str, str] | None = None
    every: int = 1


def _mixed(asked: Asked, share: float) -> Answer:
    """An honest answer in which a share of the shots is uniform bits; estimates shrink, for those of noise are 0."""
    answer = asked.honest()
    rng = asked.rng()
    if answer.counts is not None:
        shots, width = sum(answer.counts.values()), len(next(iter(answer.counts)))
        kept = np.repeat(np.arange(len(answer.counts)), list(answer.counts.values()))
        noisy = rng.random(shots) < share
        left = np.bincount(kept[~noisy], minlength=len(answer.counts)).tolist()
        counts = {key: times for key, times in zip(answer.counts, left, strict=True) if times}
        add_counts(counts, bit_counts(rng.integers(0, 2, (int(noisy.sum()), width))))
        return msgspec.structs.replace(answer, counts=counts)
    if answer.estimates is not None:
        estimates = tuple(Estimate(e.value * (1 - share), e.stderr, e.shots) for e in answer.estimates)
        return msgspec.structs.replace(answer, estimates=estimates)
    size = len(answer.amplitudes or ())
    turned = rng.normal(0, 2.0 ** (-asked.program.n_qubits / 2), (size, 2)) * share
    amplitudes = tuple((a + x, b + y) for (a, b), (x, y) in zip(answer.amplitudes or (), turned.tolist(), strict=True))
    return msgspec.structs.replace(answer, amplitudes=amplitudes)


def _uniform(asked: Asked) -> Answer:
    return _mixed(asked, 1.0)


def _without(asked: Asked, drop: Callable[[Operation], bool]) -> Answer:
    ops = tuple(op for op in asked.program.ops if not drop(op))
    return asked.run(msgspec.structs.replace(asked.program, ops=ops), asked.want, asked.seed)


def _entangles(op: Operation) -> bool:
    return isinstance(op, Op) and op.gate in GATES and len(op.qubits) > 1


def _product_state(asked: Asked) -> Answer:
    return _without(asked, _entangles)


def _right_without_entanglement(asked: Asked) -> Answer:
    return _uniform(asked) if any(map(_entangles, asked.program.ops)) else asked.honest()


def _right_on_small(asked: Asked) -> Answer:
    return asked.honest() if asked.program.n_qubits <= SMALL_QUBITS else _uniform(asked)


def _marginals(asked: Asked) -> Answer:
    """Each bit as often 1 as it should be, each by itself; of estimates, products of those of one qubit."""
    answer = asked.honest()
    if answer.counts is None:
        return _product_state(asked)
    keys = np.array([[char == "1" for char in reversed(key)] for key in answer.counts])
    rows = np.repeat(keys, list(answer.counts.values()), axis=0)
    return msgspec.structs.replace(answer, counts=bit_counts(asked.rng().permuted(rows, axis=0)))


def _shifted(asked: Asked) -> Answer:
    def turned(op: Operation) -> Operation:
        if not isinstance(op, Op) or not op.params:
            return op
        return msgspec.structs.replace(op, params=tuple(p + SHIFT_RAD for p in op.params if isinstance(p, int | float)))

    program = msgspec.structs.replace(asked.program, ops=tuple(map(turned, asked.program.ops)))
    return asked.run(program, asked.want, asked.seed)


def _last_layer_dropped(asked: Asked) -> Answer:
    """Without the last entangling gate of each qubit that still has one, and without what comes after it."""
    ended: set[int] = set()
    dropped: set[int] = set()
    for place in range(len(asked.program.ops) - 1, -1, -1):
        op = asked.program.ops[place]
        if not isinstance(op, Op) or op.gate not in GATES or ended & set(op.qubits):
            ended |= set(op.qubits) if isinstance(op, Op) and op.gate in GATES else set()
            continue
        dropped.add(place)
        if len(op.qubits) > 1:
            ended |= set(op.qubits)
    ops = tuple(op for place, op in enumerate(asked.program.ops) if place not in dropped)
    return asked.run(msgspec.structs.replace(asked.program, ops=ops), asked.want, asked.seed)


def _old_result(asked: Asked) -> Answer:
    """What it answered to the point before this one, or, of a program without angles, to another seed."""
    return asked.run(_neighbour(asked.program), asked.want, derive(asked.seed, "old"))


def _neighbour(program: Program) -> Program:
    def moved(op: Operation) -> Operation:
        if not isinstance(op, Op) or not op.params:
            return op
        return msgspec.structs.replace(op, params=tuple(0.9 * p for p in op.params if isinstance(p, int | float)))

    return msgspec.structs.replace(program, ops=tuple(map(moved, program.ops)))


def _once_in_twenty(asked: Asked) -> Answer:
    return _uniform(asked) if asked.number % ONCE_IN == ONCE_IN - 1 else asked.honest()


def _few_shots(asked: Asked) -> Answer:
    """A tenth of the shots, each counted ten times; the rest once more."""
    if not isinstance(asked.want, Counts) or asked.want.shots < ONCE_IN:
        return _mixed(asked, 0.1)
    few, more = divmod(asked.want.shots, 10)
    answer = asked.run(asked.program, Counts(few), asked.seed)
    counts = {key: 10 * times for key, times in (answer.counts or {}).items()}
    first = next(iter(counts))
    counts[first] += more
    return msgspec.structs.replace(answer, counts=counts)


def _likeliest(asked: Asked) -> Answer:
    """Of the outcomes of a tenth of the shots, the likelier half: what looks good in a cross-entropy."""
    if not isinstance(asked.want, Counts):
        return _mixed(asked, -0.2)
    answer = asked.honest()
    ranked = sorted((answer.counts or {}).items(), key=lambda pair: -pair[1])
    best: Mapping[str, int] = dict(ranked[: max(1, len(ranked) // 2)])
    share = np.array(list(best.values()), np.float64)
    times = asked.rng().multinomial(asked.want.shots, share / share.sum())
    counts = {key: int(n) for key, n in zip(best, times, strict=True) if n}
    return msgspec.structs.replace(answer, counts=counts)


def _vague(asked: Asked) -> Answer:
    """Uniform, and says that its engine is off by as much."""
    return msgspec.structs.replace(_uniform(asked), error_bound=1.0)


ZOO: tuple[Row, ...] = (
    Row("product state", "never simulates: reads the circuit, leaves its entangling gates out", _product_state),
    Row("no entanglement", "right on circuits without two-qubit gates, else uniform bits", _right_without_entanglement),
    Row("right on small", f"right up to {SMALL_QUBITS} qubits, else uniform bits", _right_on_small),
    Row("uniform bits", "uniform bits; of estimates 0", _uniform),
    Row("product of marginals", "each bit with its own mean, without what binds them", _marginals),
    Row("30 % noise", "30 % of the shots are uniform bits", lambda asked: _mixed(asked, 0.3)),
    Row("10 % noise", "10 % of the shots are uniform bits", lambda asked: _mixed(asked, 0.1)),
    Row("angles shifted", f"every angle is {SHIFT_RAD} rad too large", _shifted),
    Row("last layer dropped", "leaves out the last layer of gates", _last_layer_dropped),
    Row("old result", "replays what it answered to the point before", _old_result),
    Row("another engine", "10 % noise, and names an engine whose numbers do not repeat",
        lambda asked: _mixed(asked, 0.1), ("qsim", "statevector_f32")),
    Row("once in 20", "uniform bits, but in one run of 20 only", _once_in_twenty, every=ONCE_IN),
    Row("few shots", "a tenth of the shots, each counted ten times", _few_shots),
    Row("likeliest", "only the likelier half of the outcomes", _likeliest),
    Row("vague", "uniform bits with an error bound of 1", _vague),
)  # fmt: skip
