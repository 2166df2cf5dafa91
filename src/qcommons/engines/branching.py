"""Branching: dynamic circuits as a tree of measured histories, for engines that hold a state.

Flow: program -> `split_terminal` -> `compile_ops` -> `leaves` over an engine's State -> sampling.

Measurement and reset split a weighted branch in two; the engine's state is copied only when both
sides go on. Weights are shots (split by a binomial draw) or probabilities (split exactly). The
lighter side goes on first and the heavier one waits: the weight at least halves each time one more
waits, so at most log2(shots) states wait and each shot costs at most one run. A branch of one
shot is a trajectory and is never copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from qcommons.circuits.program import Branch, Condition, Op, Operation, Program
from qcommons.engines.records import CapExceeded

__all__ = [
    "Code",
    "State",
    "binomial_split",
    "compile_ops",
    "exact_split",
    "is_dynamic",
    "leaves",
    "split_terminal",
    "straight",
]

LEAVES_MAX = 4096  # exact weights only: histories summed before giving up (shots bound the sampled ones)
NOT_GATES = frozenset({"measure", "reset", "barrier"})
NEGLIGIBLE = 1e-15  # probability below which a side is rounding, not physics


class State(Protocol):
    """What an engine's state offers to `leaves`."""

    def apply(self, block: Any) -> None: ...
    def probability(self, qubit: int) -> float:
        """P(qubit reads 1), the state taken as normalised."""
        ...

    def project(self, qubit: int, bit: int, probability: float) -> None:
        """Keep the part where the qubit reads `bit` and normalise by its probability."""
        ...

    def flip(self, qubit: int) -> None:
        """Pauli X."""
        ...

    def copy(self) -> State: ...


S = TypeVar("S", bound=State)
W = TypeVar("W", int, float)


def split_terminal(program: Program, noisy_measure: bool = False) -> tuple[tuple[Operation, ...], dict[int, int]]:
    """The operations without final measurements and barriers, and {classical bit: qubit} of the former.

    A measurement is final if its qubit is only measured afterwards, its bit is not read by a later
    condition and not overwritten by a measurement that is not final. With `noisy_measure` (channels
    act after a measurement) only a qubit's last measurement is.
    """
    body: list[Operation] = []
    measured: dict[int, int] = {}
    touched: set[int] = set()
    taken: set[int] = set()  # bits read or written by what stays
    for op in reversed(program.ops):
        if isinstance(op, Branch):
            taken.update(op.condition.clbits)
            for inner in (*op.then, *op.orelse):
                touched.update(inner.qubits)
                taken.update(inner.clbits)
        elif op.gate == "barrier":
            continue
        elif op.gate == "measure" and op.qubits[0] not in touched and op.clbits[0] not in taken:
            measured.setdefault(op.clbits[0], op.qubits[0])
            if noisy_measure:
                touched.add(op.qubits[0])
            continue
        else:
            touched.update(op.qubits)
            taken.update(op.clbits)
        body.append(op)
    return tuple(reversed(body)), dict(sorted(measured.items()))


def straight(program: Program) -> tuple[tuple[Op, ...], dict[int, int]] | None:
    """`split_terminal` in one quick pass for gates followed by measurements; None for anything else."""
    ops = program.ops
    end = len(ops)
    measured: dict[int, int] = {}
    while end:
        op = ops[end - 1]
        if isinstance(op, Branch) or op.gate != "measure":
            break
        measured.setdefault(op.clbits[0], op.qubits[0])
        end -= 1
    body = ops[:end]
    for op in body:
        if isinstance(op, Branch) or op.gate in NOT_GATES:
            return None
    return body, measured  # type: ignore[return-value]  # the loop has seen that all are Op


def is_dynamic(body: Sequence[Operation]) -> bool:
    """True if `body` (of `split_terminal`) measures, resets or branches."""
    return any(isinstance(op, Branch) or op.gate in ("measure", "reset") for op in body)


class Code(Generic[S]):
    """Straight-line instructions with jumps.

    steps: ("apply", block) | ("measure", qubit, clbit) | ("reset", qubit) |
        ("unless", condition, target) | ("jump", target).
    """

    def __init__(self, steps: list[tuple[Any, ...]]) -> None:
        self.steps = steps


def compile_ops(
    body: Sequence[Operation],
    block: Callable[[list[Op]], Any],
    after: Callable[[Op], Any] | None = None,
) -> Code[Any]:
    """Instructions for `leaves`.

    Args:
        block: turns a run of unitary operations into what `State.apply` takes.
        after: what to apply after a measurement or reset (noise), or None.
    """
    steps: list[tuple[Any, ...]] = []
    run: list[Op] = []

    def flush() -> None:
        if run:
            steps.append(("apply", block(list(run))))
            run.clear()

    def emit(op: Op) -> None:
        if op.gate == "barrier":
            return
        if op.gate not in ("measure", "reset"):
            run.append(op)
            return
        flush()
        steps.append((op.gate, *op.qubits, *op.clbits))
        more = after(op) if after else None
        if more is not None:
            steps.append(("apply", more))

    for op in body:
        if not isinstance(op, Branch):
            emit(op)
            continue
        flush()
        start = len(steps)
        steps.append(())
        for inner in op.then:
            emit(inner)
        flush()
        end_then = len(steps)
        if op.orelse:
            steps.append(())
            for inner in op.orelse:
                emit(inner)
            flush()
            steps[end_then] = ("jump", len(steps))
            end_then += 1
        steps[start] = ("unless", op.condition, end_then)
    flush()
    return Code(steps)


def binomial_split(rng: np.random.Generator) -> Callable[[int, float], tuple[int, int]]:
    """Shots of a branch divided at random: (shots reading 0, shots reading 1)."""

    def split(shots: int, p_one: float) -> tuple[int, int]:
        ones = int(rng.binomial(shots, min(max(p_one, 0.0), 1.0)))
        return shots - ones, ones

    return split


def exact_split(weight: float, p_one: float) -> tuple[float, float]:
    """A branch's probability divided exactly; a side below rounding is dropped."""
    if p_one < NEGLIGIBLE:
        return weight, 0.0
    if p_one > 1 - NEGLIGIBLE:
        return 0.0, weight
    return weight * (1 - p_one), weight * p_one


def leaves(
    code: Code[Any],
    state: S,
    n_clbits: int,
    weight: W,
    split: Callable[[W, float], tuple[W, W]],
    flips: Mapping[int, tuple[float, float]] | None = None,
    most: int | None = None,
) -> Iterator[tuple[S, list[int], W]]:
    """Every history with its final state, classical bits and weight; `state` is consumed.

    Args:
        flips: readout errors, qubit -> (P(1 | 0), P(0 | 1)); the recorded bit is what conditions read.
        most: histories after which an attempt gives up; None for no bound, with exact weights LEAVES_MAX.

    Raises:
        CapExceeded: more than `most` histories.
    """
    if most is None and isinstance(weight, float):
        most = LEAVES_MAX
    waiting: list[tuple[Any, list[int], int, W]] = [(state, [0] * n_clbits, 0, weight)]
    done = 0
    while waiting:
        now, bits, at, weight = waiting.pop()
        while at < len(code.steps):
            step = code.steps[at]
            at += 1
            if step[0] == "apply":
                now.apply(step[1])
            elif step[0] == "jump":
                at = step[1]
            elif step[0] == "unless":
                condition: Condition = step[1]
                if not condition.holds(bits):
                    at = step[2]
            else:
                sides = _sides(step, now.probability(step[1]), weight, split, flips)
                for outcome, record, p, part in sides[:-1]:
                    other = now.copy()
                    other_bits = list(bits)
                    _collapse(other, other_bits, step, outcome, record, p)
                    waiting.append((other, other_bits, at, part))
                outcome, record, p, weight = sides[-1]
                _collapse(now, bits, step, outcome, record, p)
        done += 1
        if most is not None and done > most:
            advice = "; sample with shots instead" if isinstance(weight, float) else ""
            raise CapExceeded(f"more than {most} measured histories{advice}")
        yield now, bits, weight


def _sides(
    step: tuple[Any, ...], p_one: float, weight: W,
    split: Callable[[W, float], tuple[W, W]], flips: Mapping[int, tuple[float, float]] | None,
) -> list[tuple[int, int, float, W]]:  # fmt: skip
    """(outcome, recorded bit, probability of the outcome, weight), heaviest first, weightless left out."""
    zeros, ones = split(weight, p_one)
    error = flips.get(step[1]) if flips and step[0] == "measure" else None
    if error is None:
        sides = [(0, 0, 1 - p_one, zeros), (1, 1, p_one, ones)]
    else:
        right_0, wrong_0 = split(zeros, error[0])
        wrong_1, right_1 = split(ones, 1 - error[1])
        sides = [(0, 0, 1 - p_one, right_0), (0, 1, 1 - p_one, wrong_0)]
        sides += [(1, 0, p_one, wrong_1), (1, 1, p_one, right_1)]
    return sorted((s for s in sides if s[3] > 0), key=lambda s: -s[3])


def _collapse(state: State, bits: list[int], step: tuple[Any, ...], outcome: int, record: int, p: float) -> None:
    state.project(step[1], outcome, p)
    if step[0] == "measure":
        bits[step[2]] = record
    elif outcome:
        state.flip(step[1])
