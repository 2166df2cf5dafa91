"""Engine `qulacs`: the fast exact state vector for small and medium programs (qulacs, MIT).

Flow: Task -> terminal split -> qulacs circuits (as they are, or fused for larger states) ->
branching over measured histories -> sampling by `sampling.draw_state` -> Answer.
Source: Suzuki et al., Quantum 5, 559 (2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcommons.base.errors import UsageError
from qcommons.base.seeds import stream
from qcommons.circuits.features import Features
from qcommons.circuits.observables import PauliSum
from qcommons.circuits.program import Op, flat_ops
from qcommons.engines import branching, sampling
from qcommons.engines.answer_size import draws_max
from qcommons.engines.engine import version_of
from qcommons.engines.qulacs_fusion import fused
from qcommons.engines.qulacs_gates import compiled
from qcommons.engines.records import (
    Amplitudes,
    Answer,
    CapExceeded,
    Cost,
    Counts,
    Estimate,
    Expectations,
    Method,
    Slices,
    Statevector,
    Task,
    Unsuited,
    Want,
)  # fmt: skip

__all__ = ["ENGINE", "FUSE_FROM", "QulacsEngine", "sampled", "small_blocks"]

QUBITS_MAX = 34
STATEVECTOR_QUBITS = 20
FUSE_FROM = 13  # qubits: from here a pass over the state (40 us) costs more than fusing a gate (10 us)
PEAK_STATES = 2.2  # state, its copy as a numpy array, block sums

METHODS = (
    Method(
        name="statevector", help="full state of 2^n complex128 amplitudes, qulacs kernels",
        wants=frozenset({"counts", "expectations", "amplitudes", "statevector"}), dynamic=True,
        cost_hint="gates x 2^n",
    ),
)  # fmt: skip


class QulacsEngine:
    """See `engine.Engine`."""

    name = "qulacs"
    distribution = "qulacs"
    install = "pip install qulacs"
    licence = "MIT"
    methods = METHODS
    constants: Mapping[str, float] = {
        "task": 6e-5,  # seconds a task: streams, building, counting
        "gate": 1e-6,  # seconds a gate on a small state
        "amplitude": 1.9e-9,  # seconds an amplitude-update, after fusion
        "shot": 2e-7,  # seconds a shot: drawing and counting
    }

    def installed(self) -> str | None:
        return version_of(self.distribution)

    def cost(self, method: str, features: Features, want: Want, constants: Mapping[str, float]) -> Cost | Unsuited:
        n, gates = features.n_qubits, features.n_gates + features.n_dynamic
        if n > QUBITS_MAX:
            return Unsuited(f"2^{n} amplitudes; this method holds at most 2^{QUBITS_MAX}")
        if isinstance(want, Statevector) and n > STATEVECTOR_QUBITS:
            return Unsuited(f"statevectors are given up to {STATEVECTOR_QUBITS} qubits; this has {n}")
        if features.dynamic and isinstance(want, (Amplitudes, Statevector)):
            return Unsuited("the final state of a dynamic circuit is a mixture: it has no amplitudes")
        shots = want.shots if isinstance(want, Counts) else 1
        reads = sum(len(o.terms) for o in want.observables) if isinstance(want, Expectations) else 4
        runs = 1.0
        if features.dynamic:
            most = shots if isinstance(want, Counts) else branching.LEAVES_MAX
            runs = (1 + min(float(most), 2.0 ** min(features.n_dynamic, 40))) / 2
        units = (gates + reads) * 2.0**n * runs
        seconds = (
            constants["task"]
            + gates * constants["gate"]
            + units * constants["amplitude"]
            + draws_max(shots, n, runs) * constants["shot"]
        )
        if features.dynamic:
            seconds += runs * features.n_dynamic * 5 * constants["gate"]
        memory = int(16 * 2**n * (PEAK_STATES + (np.log2(runs) + 1 if runs > 1 else 0)))
        return Cost(seconds, memory, units)

    def run(self, task: Task) -> Answer:
        if task.method != "statevector":
            raise UsageError(f"engine qulacs has no method {task.method!r}; it has statevector")
        if task.noise is not None and task.noise.rules:
            raise UsageError("qulacs/statevector applies no noise; use aer or numpy/density", where="noise")
        n = task.program.n_qubits
        needs = int(16 * 2**n * PEAK_STATES)
        if n > QUBITS_MAX or needs > task.limits.memory_bytes:
            raise CapExceeded(f"statevector needs {needs} bytes; limit {task.limits.memory_bytes} (memory_bytes)")
        match task.want:
            case Counts(shots=shots):
                return _counts(task, shots)
            case Expectations(observables=observables, shots=None):
                return _expectations(task, observables)
            case Expectations():
                raise UsageError("engines give exact expectations; sampled ones are made of counts", where="shots")
            case Amplitudes(bitstrings=bitstrings):
                return _amplitudes(task, [int(b, 2) if b else 0 for b in bitstrings])
            case Statevector():
                if n > STATEVECTOR_QUBITS:
                    raise UsageError(f"statevector of {n} qubits; at most {STATEVECTOR_QUBITS}", limit="20 qubits")
                return _amplitudes(task, list(range(1 << n)))
            case Slices():
                raise UsageError("qulacs contracts no tensor networks", where="want")

    def probes(self) -> tuple[tuple[str, Task, float], ...]:
        from qcommons.engines.calibrate import probe_task

        turns = [Op("u", (q,), (0.1, 0.2, 0.3)) for q in range(18)]
        bricks = [[Op("cx", (q, q + 1)) for q in range(start, 17, 2)] for start in (0, 1)]
        layers = (turns + bricks[0] + turns + bricks[1]) * 2
        tiny = [Op("rx", (q % 5,), (0.3,)) for q in range(4000)]
        return (
            ("gate", probe_task(5, tiny, "statevector"), 4000.0),
            ("amplitude", probe_task(18, layers, "statevector"), len(layers) * 2.0**18),
        )


class _State:
    """A qulacs state as a `branching.State`; blocks are (circuit, phase)."""

    __slots__ = ("state",)

    def __init__(self, state: Any) -> None:
        self.state = state

    def apply(self, block: tuple[Any, complex]) -> None:
        circuit, phase = block
        circuit.update_quantum_state(self.state)
        if phase != 1:
            self.state.multiply_coef(phase)

    def probability(self, qubit: int) -> float:
        return min(1.0, max(0.0, 1.0 - float(self.state.get_zero_probability(qubit))))

    def project(self, qubit: int, bit: int, probability: float) -> None:
        from qulacs import gate

        (gate.P1 if bit else gate.P0)(qubit).update_quantum_state(self.state)
        self.state.multiply_coef(probability**-0.5)

    def flip(self, qubit: int) -> None:
        from qulacs import gate

        gate.X(qubit).update_quantum_state(self.state)

    def copy(self) -> _State:
        return _State(self.state.copy())

    def vector(self) -> NDArray[np.complex128]:
        found: NDArray[np.complex128] = self.state.get_vector()
        return found


# Making a qulacs state costs 18 us (it seeds a generator), clearing one 1 us. A state is taken out of
# here while in use, so callers never share one.
STEP_S = 4e-6  # one operation of one history on a small state: a measurement is five gates
SPARE: dict[int, _State] = {}
SPARE_QUBITS = 12


def _start(n: int) -> _State:
    from qulacs import QuantumState

    return _State(QuantumState(n))


def _block(n: int, ops: Sequence[Op]) -> tuple[Any, complex]:
    return fused(n, ops) if n >= FUSE_FROM else compiled(n, ops)


def small_blocks(n: int, ops: Sequence[Op]) -> tuple[Any, complex]:
    """Gates as `_State.apply` takes them, of fewer than FUSE_FROM qubits: applying two such blocks one after the other
    is, to the bit, applying one of all their gates."""
    return compiled(n, ops)


def sampled(
    n: int, blocks: Sequence[tuple[Any, complex]], shots: int, rng: np.random.Generator, bits: dict[int, int],
    n_clbits: int,
) -> dict[str, int]:  # fmt: skip
    """Counts of the state after these blocks. bits: classical bit -> the qubit that it measures."""
    state = SPARE.pop(n, None) or _start(n)
    for block in blocks:
        state.apply(block)
    outcomes, repeats = sampling.draw_state(state.vector(), shots, rng)
    if n <= SPARE_QUBITS:
        state.state.set_zero_state()
        SPARE[n] = state
    return sampling.basis_counts(outcomes, repeats, bits, n_clbits)


def _counts(task: Task, shots: int) -> Answer:
    program = task.program
    n = program.n_qubits
    rng = stream(task.seed, "counts")
    simple = branching.straight(program)
    if simple is not None:  # no history to follow: this path is what a thousand small circuits pay for
        counts = sampled(n, [_block(n, simple[0])], shots, rng, simple[1], program.n_clbits)
        return Answer("qulacs", "statevector", counts=counts, facts={"histories": 1.0})
    body, measured = branching.split_terminal(program)
    counts = {}
    histories = 0
    history_s = sum(1 for _ in flat_ops(body)) * (STEP_S + 2.0**n * ENGINE.constants["amplitude"])
    most = max(1, int(min(task.limits.seconds / max(history_s, STEP_S), shots)))
    found = branching.leaves(
        branching.compile_ops(body, lambda ops: _block(n, ops)), _start(n), program.n_clbits, shots,
        branching.binomial_split(rng), most=most,
    )  # fmt: skip
    for state, bits, times in found:
        outcomes, repeats = sampling.draw_state(state.vector(), times, rng)
        sampling.add_counts(counts, sampling.basis_counts(outcomes, repeats, measured, program.n_clbits, bits))
        histories += 1
    return Answer("qulacs", "statevector", counts=counts, facts={"histories": float(histories)})


def _expectations(task: Task, observables: tuple[PauliSum, ...]) -> Answer:
    program = task.program
    n = program.n_qubits
    body, _ = branching.split_terminal(program)
    operators = [_operator(n, o) for o in observables]
    totals = np.zeros(len(observables))
    seen, histories = 0.0, 0
    code = branching.compile_ops(body, lambda ops: _block(n, ops))
    for state, _, weight in branching.leaves(code, _start(n), program.n_clbits, 1.0, branching.exact_split):
        for i, (operator, constant) in enumerate(operators):
            value = operator.get_expectation_value(state.state) if operator is not None else 0.0
            totals[i] += weight * (float(np.real(value)) + constant)
        seen += weight
        histories += 1
    estimates = tuple(Estimate(float(v) / seen) for v in totals)
    return Answer("qulacs", "statevector", estimates=estimates, facts={"histories": float(histories)})


def _operator(n: int, observable: PauliSum) -> tuple[Any, float]:
    """(qulacs Observable of the terms that act somewhere, or None; sum of the constant ones)."""
    from qulacs import Observable

    constant = sum(t.coefficient for t in observable.terms if not t.paulis)
    acting = [t for t in observable.terms if t.paulis]
    if not acting:
        return None, constant
    operator = Observable(n)
    for term in acting:
        operator.add_operator(term.coefficient, " ".join(f"{letter} {qubit}" for qubit, letter in term.paulis))
    return operator, constant


def _amplitudes(task: Task, indices: list[int]) -> Answer:
    program = task.program
    body, _ = branching.split_terminal(program)
    if branching.is_dynamic(body):
        raise UsageError(
            "amplitudes need a pure final state; this program measures, resets or branches on the way. "
            "Ask for counts or expectation values", where="amplitudes",
        )  # fmt: skip
    state = _start(program.n_qubits)
    state.apply(_block(program.n_qubits, [op for op in body if isinstance(op, Op)]))
    values = state.vector()[indices]
    pairs = tuple(zip(values.real.tolist(), values.imag.tolist(), strict=True))
    return Answer("qulacs", "statevector", amplitudes=pairs)


ENGINE = QulacsEngine()
