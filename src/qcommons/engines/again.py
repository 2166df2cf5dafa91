"""One small program run many times, with other values and other seeds: what its runs have in common is found once.

Flow: worker, for a program with several runs in a piece -> *again* -> Again, or None where nothing is gained -> *run*
-> Execution: the answer of `execute` of the bound program to the bit, since audits compare number by number.

For a state as small as that, looking at the program costs three times what running it does. What stays here: the
choice, which rests on sizes alone, and the gates without inputs, built for qulacs between those with inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any

import msgspec

from qcommons.base.seeds import derive, stream
from qcommons.circuits.program import Affine, Op, Program, bind
from qcommons.engines import branching
from qcommons.engines.climb import Attempt, Climber
from qcommons.engines.execute import Execution, Request, measured
from qcommons.engines.qulacs_engine import FUSE_FROM, sampled, small_blocks
from qcommons.engines.records import Answer, Counts
from qcommons.engines.registry import load_engines

__all__ = ["Again", "again"]

ENGINE, METHOD = "qulacs", "statevector"


class Again:
    """Runs of one program whose first run needs no thought (`Climber.tiny`)."""

    def __init__(self, request: Request, story: Execution, body: tuple[Op, ...], bits: dict[int, int]) -> None:
        """story: all of an `Execution` that is the same for each run. body, bits: of `branching.straight`."""
        program = request.program
        assert isinstance(request.want, Counts)
        self._n, self._n_clbits, self._bits, self._shots = program.n_qubits, program.n_clbits, bits, request.want.shots
        self._story = story
        runs = [(has_inputs, tuple(ops)) for has_inputs, ops in groupby(body, _has_inputs)]
        self._fixed = [None if has_inputs else small_blocks(self._n, ops) for has_inputs, ops in runs]
        self._counts = [len(ops) for has_inputs, ops in runs if has_inputs]
        bound = tuple(op for has_inputs, ops in runs if has_inputs for op in ops)
        self._open = Program(program.n_qubits, program.cregs, bound, program.inputs)

    def run(self, values: Mapping[str, float], seed: int, clock_ns: Callable[[], int]) -> Execution:
        """Raises UsageError: the values are not those of the inputs."""
        start_ns = clock_ns()
        ops = iter(bind(self._open, values).ops)
        sizes = iter(self._counts)
        blocks: list[Any] = []
        for fixed in self._fixed:
            if fixed is None:
                blocks.append(small_blocks(self._n, [next(ops) for _ in range(next(sizes))]))  # type: ignore[misc]
            else:
                blocks.append(fixed)
        rng = stream(derive(seed, "part", 0), "counts")
        counts = sampled(self._n, blocks, self._shots, rng, self._bits, self._n_clbits)
        seconds = (clock_ns() - start_ns) / 1e9
        answer = Answer(ENGINE, METHOD, counts=counts, facts={"histories": 1.0})
        story = self._story
        (tried,) = story.attempts
        return Execution(
            answer=answer, reason=story.reason, predicted=story.predicted, seconds=seconds,
            attempts=(msgspec.structs.replace(tried, seconds=seconds),), notes=story.notes, cregs=story.cregs,
        )  # fmt: skip


def again(request: Request, clock_ns: Callable[[], int]) -> Again | None:
    """For runs that differ from `request` by values and seed alone; its program may have inputs.

    None: other wants, noise, larger programs, and those whose way depends on more than their size.
    """
    if not isinstance(request.want, Counts) or request.noise is not None:
        return None
    if not 0 < request.program.n_qubits < FUSE_FROM:
        return None
    notes: list[str] = []
    program = msgspec.structs.replace(measured(request.program, notes), inputs=request.program.inputs)
    climber = Climber(
        load_engines(), request.constants, request.limits, clock_ns, engine=request.engine, method=request.method
    )
    choice = climber.tiny(program, request.want)
    parts = branching.straight(program)
    if choice is None or (choice.engine, choice.method) != (ENGINE, METHOD) or parts is None:
        return None
    if any(op.gate == "gphase" for op in parts[0]):  # a factor of the whole state, collected over all gates
        return None
    story = Execution(
        answer=Answer(ENGINE, METHOD), reason=choice.why, predicted=choice.cost, seconds=0.0,
        attempts=(Attempt(ENGINE, METHOD, choice.cost, 0.0, "done"),), notes=tuple(notes), cregs=program.cregs,
    )  # fmt: skip
    return Again(msgspec.structs.replace(request, program=program), story, *parts)


def _has_inputs(op: Op) -> bool:
    return any(isinstance(param, Affine) for param in op.params)
