"""Engine `numpy`: the fallback and the auditor. Three methods, all exact, all in numpy alone.

Flow: Task -> terminal split -> branching over measured histories -> dense | density | sparse state
-> sampling -> Answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from qcommons.base.errors import UsageError
from qcommons.base.seeds import stream
from qcommons.circuits.features import Features
from qcommons.circuits.noise import Noise, channels_after, readout_for
from qcommons.circuits.observables import PauliSum
from qcommons.circuits.program import Op, Program
from qcommons.engines import answer_size, branching, sampling
from qcommons.engines.dense import DenseState, DensityState, Superop, superop
from qcommons.engines.engine import version_of
from qcommons.engines.records import (
    Amplitudes,
    Answer,
    CapExceeded,
    Cost,
    Counts,
    Estimate,
    Expectations,
    Method,
    Statevector,
    Task,
    Unsuited,
    Want,
)  # fmt: skip
from qcommons.engines.sparse import SparseState

__all__ = ["ENGINE", "NumpyEngine"]

ALL_WANTS = frozenset({"counts", "expectations", "amplitudes", "statevector"})
NOISE = frozenset({"depolarizing", "bit_flip", "phase_flip", "pauli", "relaxation", "amplitude_damping", "readout"})
DENSE_QUBITS = 34  # 256 GiB: beyond any memory limit met here, and indices stay far below 2**62
STATEVECTOR_QUBITS = 20
MOVE_SHARE = 0.1  # of a branching gate's time a term (sort, merge), for diagonal gates and permutations
PEAK_STATES = 3  # state, copies of the parts a gate mixes, the sum being written

METHODS = (
    Method(
        name="dense", help="full state of 2^n complex128 amplitudes, numpy", wants=ALL_WANTS, dynamic=True,
        cost_hint="gates x 2^n",
    ),
    Method(
        name="density", help="density matrix of 4^n complex128, numpy", wants=frozenset({"counts", "expectations"}),
        noise=NOISE, dynamic=True, cost_hint="(gates + channels) x 4^n",
    ),
    Method(
        name="sparse", help="non-zero amplitudes only, any number of qubits", wants=ALL_WANTS, dynamic=True,
        cost_hint="gates x non-zero amplitudes",
    ),
)  # fmt: skip


class NumpyEngine:
    """See `engine.Engine`."""

    name = "numpy"
    distribution = "numpy"
    install = "pip install numpy"
    licence = "BSD-3-Clause"
    methods = METHODS
    constants: Mapping[str, float] = {
        "task": 2e-4,  # seconds a task: streams, splitting, counting
        "gate": 2e-5,  # seconds a gate on a small dense state
        "amplitude": 1.2e-8,  # seconds an amplitude-update, dense and density
        "sparse_gate": 1.0e-5,  # seconds a gate on a few terms
        "term": 8e-8,  # seconds a term of a branching gate, sparse
        "shot": 3e-7,  # seconds a shot: drawing and counting
    }

    def installed(self) -> str | None:
        return version_of(self.distribution)

    def cost(self, method: str, features: Features, want: Want, constants: Mapping[str, float]) -> Cost | Unsuited:
        n, gates = features.n_qubits, features.n_gates + features.n_dynamic
        if isinstance(want, Statevector) and n > STATEVECTOR_QUBITS:
            return Unsuited(f"statevectors are given up to {STATEVECTOR_QUBITS} qubits; this has {n}")
        if features.dynamic and isinstance(want, (Amplitudes, Statevector)):
            return Unsuited("the final state of a dynamic circuit is a mixture: it has no amplitudes")
        shots = want.shots if isinstance(want, Counts) else 1
        runs = _histories(features, want)
        draws = answer_size.draws_max(shots, min(features.n_branching, n) if method == "sparse" else n, runs)
        if "readout" in features.noise_kinds and shots <= sampling.SINGLY_MAX:
            draws = float(shots)
        fixed = constants["task"] + draws * constants["shot"] * (1 + features.n_clbits / 64)
        reads = _reads(want)
        if method == "sparse":
            bits = min(features.n_branching, n)
            terms = 2.0 ** min(bits, 60)
            units = (gates + reads) * terms * runs
            words = max(1, (n + 63) // 64)
            grown = min(float(features.n_branching), gates)
            merged = (grown + MOVE_SHARE * (gates - grown) + reads) * terms * runs
            seconds = fixed + (gates + reads) * constants["sparse_gate"] * runs + merged * constants["term"]
            waiting = 1 + min(runs, 12)
            memory = int(terms * (8 * words + 16) * (4 + waiting))
            return Cost(seconds, memory, units, certain=bits <= 10)
        if method == "density":
            gates, n = gates * 2 + features.n_noise, 2 * n
        if n > DENSE_QUBITS:
            return Unsuited(f"2^{n} amplitudes; this method holds at most 2^{DENSE_QUBITS}")
        units = (gates + reads + 1) * 2.0**n * runs
        memory = 16 * 2**n * (PEAK_STATES + (int(np.log2(runs)) + 1 if runs > 1 else 0))
        seconds = fixed + (gates + reads) * constants["gate"] * runs + units * constants["amplitude"]
        return Cost(seconds, memory, units)

    def run(self, task: Task) -> Answer:
        if task.method not in ("dense", "density", "sparse"):
            raise UsageError(f"engine numpy has no method {task.method!r}; it has dense, density, sparse")
        if task.method == "density" and isinstance(task.want, (Amplitudes, Statevector)):
            raise UsageError("numpy/density has no amplitudes: a density matrix may be mixed", where="amplitudes")
        if task.noise is not None and task.noise.rules and task.method != "density":
            raise UsageError(f"numpy/{task.method} applies no noise; use method density", where="noise")
        if isinstance(task.want, Expectations) and task.want.shots is not None:
            raise UsageError("engines give exact expectations; sampled ones are made of counts", where="shots")
        _check_memory(task)
        return _Run(task).answer()

    def probes(self) -> tuple[tuple[str, Task, float], ...]:
        from qcommons.engines.calibrate import probe_task

        chain = [Op("h", (0,)), *(Op("cx", (q, q + 1)) for q in range(59))]
        spread = [Op("h", (q,)) for q in range(14)] + [Op("ry", (q % 14,), (0.1 + q,)) for q in range(8)]
        return (
            ("gate", probe_task(4, [Op("u", (i % 4,), (0.1 * i, 0.2, 0.3)) for i in range(2000)], "dense"), 2000.0),
            ("amplitude", probe_task(18, [Op("rx", (q,), (0.3,)) for q in range(18)] * 2, "dense"), 36 * 2.0**18),
            ("sparse_gate", probe_task(60, chain[:1] + chain[1:] * 20, "sparse"), 1181.0),
            ("term", probe_task(60, spread, "sparse"), 10.0 * 2**14),  # growing costs about two full passes
        )  # fmt: skip


def _histories(features: Features, want: Want) -> float:
    """Runs from the start that measured histories are worth (on average they part half-way)."""
    most = want.shots if isinstance(want, Counts) else branching.LEAVES_MAX
    return (1 + min(float(most), 2.0 ** min(features.n_dynamic, 40))) / 2 if features.dynamic else 1.0


def _reads(want: Want) -> int:
    """Passes over the final state."""
    return sum(len(o.terms) for o in want.observables) if isinstance(want, Expectations) else 1


def _check_memory(task: Task) -> None:
    n = task.program.n_qubits
    if isinstance(task.want, Statevector) and n > STATEVECTOR_QUBITS:
        raise UsageError(f"statevector of {n} qubits; at most {STATEVECTOR_QUBITS}", limit="20 qubits")
    if task.method == "sparse":
        return
    width = n if task.method == "dense" else 2 * n
    needs = 16 * PEAK_STATES * 2**width
    if needs > task.limits.memory_bytes or width > DENSE_QUBITS:
        raise CapExceeded(f"{task.method} needs {needs} bytes; limit {task.limits.memory_bytes} (memory_bytes)")


class _Run:
    """One task: the pieces every want shares."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.program: Program = task.program
        self.noise: Noise | None = task.noise if task.noise is not None and task.noise.rules else None
        noisy_measure = self.noise is not None and any(
            channels_after(self.noise, op) for op in self.program.ops if isinstance(op, Op) and op.gate == "measure"
        )
        self.body, self.measured = branching.split_terminal(self.program, noisy_measure)
        self.dynamic = branching.is_dynamic(self.body)

    def state(self) -> Any:
        n = self.program.n_qubits
        match self.task.method:
            case "dense":
                return DenseState(n)
            case "density":
                return DensityState(n)
            case _:
                return SparseState(n, self.task.limits.terms_max)

    def code(self) -> branching.Code[Any]:
        if self.noise is None:
            return branching.compile_ops(self.body, lambda ops: ops)
        return branching.compile_ops(self.body, self._noisy, lambda op: self._noisy([op])[1:] or None)

    def _noisy(self, ops: list[Op]) -> list[Op | Superop]:
        assert self.noise is not None
        items: list[Op | Superop] = []
        for op in ops:
            items.append(op)
            for channel, qubits in channels_after(self.noise, op):
                items.append(superop(channel, tuple(qubits), self.program.n_qubits))
        return items

    def flips(self) -> dict[int, tuple[float, float]]:
        """Readout errors by qubit."""
        found = {}
        if self.noise is not None:
            for qubit in range(self.program.n_qubits):
                error = readout_for(self.noise, qubit)
                if error is not None and any(error):
                    found[qubit] = (float(error[0]), float(error[1]))
        return found

    def answer(self) -> Answer:
        want = self.task.want
        match want:
            case Counts(shots=shots):
                return self._counts(shots)
            case Expectations(observables=observables):
                return self._expectations(observables)
            case Amplitudes(bitstrings=bitstrings):
                return self._amplitudes([int(b, 2) if b else 0 for b in bitstrings])
            case _:
                return self._amplitudes(list(range(1 << self.program.n_qubits)))

    def _counts(self, shots: int) -> Answer:
        rng = stream(self.task.seed, "counts")
        flips = self.flips()
        counts: dict[str, int] = {}
        facts = {"histories": 0.0}
        bound = 0.0
        found = branching.leaves(
            self.code(), self.state(), self.program.n_clbits, shots, branching.binomial_split(rng), flips
        )
        by_clbit = {c: flips[q] for c, q in self.measured.items() if q in flips}
        for state, bits, times in found:
            sampling.add_counts(counts, self._sample(state, bits, times, by_clbit, rng))
            facts["histories"] += 1
            bound = max(bound, _note(state, facts))
        return self._done(counts=counts, error_bound=bound, facts=facts)

    def _sample(
        self, state: Any, bits: list[int], shots: int, flips: dict[int, tuple[float, float]], rng: np.random.Generator
    ) -> dict[str, int]:
        if isinstance(state, SparseState):
            terms, repeats = sampling.draw(state.weights(), shots, rng)
            if self.program.n_qubits > 62 or self.program.n_clbits > 62:
                matrix = np.tile(np.array(bits, dtype=np.bool_), (len(terms), 1))
                for clbit, qubit in self.measured.items():
                    matrix[:, clbit] = state.bits(qubit, terms)
                return sampling.bit_counts(matrix, repeats)
            outcomes = state.keys[0][terms].view(np.int64)
        elif isinstance(state, DensityState):
            outcomes, repeats = sampling.draw(state.populations(), shots, rng)
        else:
            outcomes, repeats = sampling.draw_state(state.psi, shots, rng)
        return sampling.basis_counts(outcomes, repeats, self.measured, self.program.n_clbits, bits, flips, rng)

    def _expectations(self, observables: tuple[PauliSum, ...]) -> Answer:
        totals = np.zeros(len(observables))
        facts = {"histories": 0.0}
        bound = weight_seen = 0.0
        code, flips = self.code(), self.flips() or None
        for state, _, weight in branching.leaves(
            code, self.state(), self.program.n_clbits, 1.0, branching.exact_split, flips
        ):
            totals += weight * np.array([state.expectation(o) for o in observables])
            weight_seen += weight
            facts["histories"] += 1
            bound = max(bound, _note(state, facts))
        scale = max((sum(abs(t.coefficient) for t in o.terms) for o in observables), default=0.0)
        # |<phi|O|phi> - <psi|O|psi>| <= 2 |O| |phi - psi| for normalised states
        return self._done(
            estimates=tuple(Estimate(float(v) / weight_seen) for v in totals),
            error_bound=2 * scale * bound,
            facts=facts,
        )

    def _amplitudes(self, indices: list[int]) -> Answer:
        if self.dynamic or self.noise is not None:
            raise UsageError(
                "amplitudes need a pure final state; this program measures, resets or branches on the way (or is "
                "noisy). Ask for counts or expectation values", where="amplitudes",
            )  # fmt: skip
        facts: dict[str, float] = {}
        state = self.state()
        state.apply([op for op in self.body if isinstance(op, Op)])
        values = state.at(state.pack(indices)) if isinstance(state, SparseState) else state.psi[indices]
        bound = _note(state, facts)
        pairs = tuple(zip(values.real.tolist(), values.imag.tolist(), strict=True))
        return self._done(amplitudes=pairs, error_bound=bound, facts=facts)

    def _done(self, **fields: Any) -> Answer:
        return Answer(engine="numpy", method=self.task.method, **fields)


def _note(state: Any, facts: dict[str, float]) -> float:
    """Record a sparse state's peak; returns the bound on the norm of what it dropped."""
    if not isinstance(state, SparseState):
        return 0.0
    facts["terms_peak"] = max(facts.get("terms_peak", 0.0), float(state.terms_peak))
    return state.dropped_norm


ENGINE = NumpyEngine()
