"""Engine `stim`: stabiliser tableaux for Clifford programs, with Pauli noise and feed-forward.

Flow: select -> *stim* (in a worker) -> Answer. Stim: Gidney, Quantum 5, 497 (2021). A program that
stim's own circuit language can say is sampled by its Pauli-frame sampler, one pass for all shots.
Other feed-forward follows measured histories with shared prefixes (branching); with noise as well,
one run a shot. Exact expectation values come from the tableau, summed over measured histories
where the program is dynamic; with Pauli noise from strings that walk backwards (heisenberg).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcommons.base.errors import UsageError
from qcommons.base.seeds import derive, stream
from qcommons.circuits.features import Features
from qcommons.circuits.noise import Noise, readout_for
from qcommons.circuits.observables import Term
from qcommons.circuits.program import Op, Program
from qcommons.engines.active_register import OutcomeMap
from qcommons.engines.branching import LEAVES_MAX, binomial_split, compile_ops, exact_split, leaves, split_terminal
from qcommons.engines.calibrate import probe_task
from qcommons.engines.engine import version_of
from qcommons.engines.frames import Frame
from qcommons.engines.heisenberg import damped_means
from qcommons.engines.records import Answer, Cost, Counts, Estimate, Expectations, Method, Task, Unsuited, Want
from qcommons.engines.sampling import add_counts, bit_counts, flip_bits
from qcommons.engines.stim_circuit import NOISE_KINDS, FlatCircuit, block_text, flat_circuit, noise_text

__all__ = ["ENGINE", "StimEngine"]

METHODS = (
    Method(
        name="tableau", help="stabiliser tableau, exact; Pauli noise by Pauli frames, or by damping Pauli strings",
        wants=frozenset({"counts", "expectations"}), noise=NOISE_KINDS, dynamic=True, gates="clifford",
        precision="exact", cost_hint="gates x qubits/64, gates x shots/256",
    ),
)  # fmt: skip
WIDE_STEPS = 10  # further steps of a Clifford gate on three qubits or more
MEASURED_ONE_BY_ONE = 4  # shots of one history; above, the linear map of `OutcomeMap` is cheaper


class _TableauState:
    """`branching.State` on a stim.TableauSimulator."""

    def __init__(self, simulator: Any) -> None:
        self.simulator = simulator

    def apply(self, block: Any) -> None:
        self.simulator.do(block)

    def probability(self, qubit: int) -> float:
        return (1 - int(self.simulator.peek_z(qubit))) / 2

    def project(self, qubit: int, bit: int, probability: float) -> None:
        self.simulator.postselect_z(qubit, desired_value=bool(bit))

    def flip(self, qubit: int) -> None:
        self.simulator.x(qubit)

    def copy(self) -> _TableauState:
        return _TableauState(self.simulator.copy(copy_rng=True))


def _fresh(n_qubits: int, seed: int) -> _TableauState:
    import stim

    simulator = stim.TableauSimulator(seed=seed)
    simulator.set_num_qubits(n_qubits)
    return _TableauState(simulator)


def _flips(program: Program, noise: Noise | None) -> dict[int, tuple[float, float]]:
    """Readout errors: qubit -> (P(1 | 0), P(0 | 1))."""
    if noise is None:
        return {}
    found = {q: readout_for(noise, q) for q in range(program.n_qubits)}
    return {q: error for q, error in found.items() if error is not None and error != (0.0, 0.0)}


def _sample_flat(task: Task, flat: FlatCircuit, shots: int) -> dict[str, int]:
    import stim

    bits = np.zeros((shots, task.program.n_clbits), np.bool_)
    if flat.records:
        sampler = stim.Circuit(flat.text).compile_sampler(seed=derive(task.seed, "stim"))
        samples = sampler.sample(shots)
        bits[:, list(flat.records)] = samples[:, list(flat.records.values())]
    flip_bits(bits, flat.flips, stream(task.seed, "stim", "readout"))
    return bit_counts(bits)


def _sample_histories(task: Task, shots: int) -> dict[str, int]:
    """Counts by following measured histories: shared prefixes without noise, one run a shot with it."""
    import stim

    program, noise = task.program, task.noise

    def after(op: Op) -> Any:
        lines = noise_text(noise, op)
        return stim.Circuit("\n".join(lines)) if lines else None

    body, final = split_terminal(program)
    code = compile_ops(body, lambda ops: stim.Circuit(block_text(ops, noise)), after)
    rng = stream(task.seed, "stim", "histories")
    flips = _flips(program, noise)
    final_flips = {c: flips[q] for c, q in final.items() if q in flips}
    counts: dict[str, int] = {}
    for number, weight in [(s, 1) for s in range(shots)] if _has_channels(noise) else [(0, shots)]:
        state = _fresh(program.n_qubits, derive(task.seed, "stim", number))
        for leaf, bits, times in leaves(code, state, program.n_clbits, weight, binomial_split(rng), flips):
            rows = np.tile(np.array(bits, np.bool_), (times, 1))
            rows[:, list(final)] = _measure(leaf, list(final.values()), times, rng)
            flip_bits(rows, final_flips, rng)
            add_counts(counts, bit_counts(rows))
    return counts


def _has_channels(noise: Noise | None) -> bool:
    """Noise on the state, not only on recorded bits."""
    return noise is not None and any(c.kind != "readout" for rule in noise.rules for c in rule.channels)


def _measure(state: _TableauState, qubits: list[int], shots: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Joint outcomes of qubits of one state; bool, shape (shots, len(qubits))."""
    if shots > MEASURED_ONE_BY_ONE:
        frame = Frame(len(state.simulator.current_inverse_tableau()), 0, state.simulator.current_inverse_tableau())
        # keys only need to be distinct: one a column, a qubit may be measured into two bits
        paulis = {column: frame.pull_back(((q, "Z"),)) for column, q in enumerate(qubits)}
        return OutcomeMap(frame, paulis).sample(np.ones(1, np.complex128), shots, rng)
    out = np.empty((shots, len(qubits)), np.bool_)
    for row in range(shots):
        once = state.copy()
        for column, q in enumerate(qubits):
            p_one = once.probability(q)
            out[row, column] = bit = bool(p_one > rng.random())
            if p_one == 0.5:
                once.project(q, bit, 0.5)
    return out


def _pauli_string(term: Term) -> Any:
    import stim

    return stim.PauliString(dict(term.paulis))


def _expectations(task: Task, want: Expectations) -> tuple[Estimate, ...]:
    """Exact means on the state before final measurements, averaged over measured histories."""
    import stim

    body, _ = split_terminal(task.program)
    code = compile_ops(body, lambda ops: stim.Circuit(block_text(ops, None)))
    terms = [[(t.coefficient, _pauli_string(t)) for t in o.terms] for o in want.observables]
    totals: NDArray[np.float64] = np.zeros(len(terms))
    start = _fresh(task.program.n_qubits, 0)
    for state, _bits, weight in leaves(code, start, task.program.n_clbits, 1.0, exact_split):
        peek = state.simulator.peek_observable_expectation
        totals += [weight * sum(c * peek(p) for c, p in sums) for sums in terms]
    return tuple(Estimate(float(value)) for value in totals)


def _damped(task: Task, want: Expectations) -> tuple[Estimate, ...]:
    """Exact means with Pauli noise, on the state before final measurements."""
    body, _ = split_terminal(task.program, noisy_measure=True)
    strings = list(dict.fromkeys(t.paulis for o in want.observables for t in o.terms))
    means = dict(zip(strings, damped_means(body, task.program.n_qubits, task.noise, strings), strict=True))
    return tuple(Estimate(math.fsum(t.coefficient * means[t.paulis] for t in o.terms)) for o in want.observables)


def _walk_cost(f: Features, terms: int, c: Mapping[str, float]) -> Cost:
    steps = f.n_gates + f.n_noise + f.n_dynamic + WIDE_STEPS * f.n_wide
    seconds = c["call"] + steps * (c["walk"] + terms * c["walk_string"]) + terms * f.n_qubits * c["bit"]
    return Cost(seconds, (1 << 20) + terms * (2 * f.n_qubits + 64), float(steps) * terms)


class StimEngine:
    """See the module's text. Counts and exact expectation values; amplitudes have no tracked global phase."""

    name = "stim"
    distribution = "stim"
    install = "pip install 'stim>=1.15'"
    licence = "Apache-2.0"
    methods = METHODS
    constants: Mapping[str, float] = {
        "call": 4e-4,  # fixed part of one task
        "gate": 2.5e-6,  # a gate written, parsed and put in the reference tableau
        "row": 2e-10,  # a gate on one qubit row of the tableau
        "frame": 1.5e-11,  # a gate on one shot of the frame sampler
        "shot": 7e-7,  # one sampled row to a bitstring
        "bit": 1e-8,  # one sampled bit
        "walk": 2e-5,  # a gate or channel that Pauli strings walk back through
        "walk_string": 1e-8,  # one string of it
        "history": 4e-6,  # a dynamic step of one history
    }

    def installed(self) -> str | None:
        return version_of(self.distribution)

    def cost(self, method: str, features: Features, want: Want, constants: Mapping[str, float]) -> Cost | Unsuited:
        f, c = features, constants
        if not f.clifford:
            return Unsuited(f"{f.n_non_clifford} gates are not Clifford")
        strange = f.noise_kinds - NOISE_KINDS
        if strange:
            return Unsuited(f"noise kinds {sorted(strange)} are not Pauli channels")
        if isinstance(want, Expectations):
            shots, terms = 0, sum(len(o.terms) for o in want.observables)
            if f.noise_kinds - {"readout"}:
                return _walk_cost(f, terms, c)
        elif isinstance(want, Counts):
            shots, terms = want.shots, 0
        else:
            return Unsuited("gives counts and expectation values only")
        gates = f.n_gates + f.n_noise + f.measured
        work = float(gates) * (f.n_qubits + shots) + float(terms) * f.n_qubits
        seconds = c["call"] + gates * (c["gate"] + f.n_qubits * c["row"]) + gates * shots * c["frame"]
        seconds += shots * (c["shot"] + f.n_clbits * c["bit"]) + terms * f.n_qubits * c["bit"]
        if f.dynamic:
            histories = min(max(shots, 1) if shots else LEAVES_MAX, 2.0 ** min(f.n_dynamic, 60))
            seconds += histories * f.n_dynamic * c["history"]
        memory = (1 << 20) + f.n_qubits**2 + shots * (2 * f.n_clbits + 40) + 200 * gates
        return Cost(seconds=seconds, memory_bytes=memory, work_units=work)

    def run(self, task: Task) -> Answer:
        if task.method != "tableau":
            raise UsageError(f"stim has no method {task.method!r}; it has: tableau", where="method")
        match task.want:
            case Expectations(shots=None) as want:
                if _has_channels(task.noise):
                    return Answer("stim", "tableau", estimates=_damped(task, want))
                return Answer("stim", "tableau", estimates=_expectations(task, want))
            case Counts(shots=shots):
                flat = flat_circuit(task.program.ops, task.noise)
                if flat is not None:
                    return Answer("stim", "tableau", counts=_sample_flat(task, flat, shots))
                return Answer("stim", "tableau", counts=_sample_histories(task, shots))
            case _:
                raise UsageError("stim gives counts and exact expectation values", where="want")

    def probes(self) -> tuple[tuple[str, Task, float], ...]:
        """4,000 Clifford gates with one shot; 20,000 shots of 60 random bits."""
        n = 60
        gates = [Op("cx", (i % n, (i + 1) % n)) if i % 2 else Op("h", (i % n,)) for i in range(4000)]
        spread = [Op("h", (q,)) for q in range(n)]
        return (
            ("gate", probe_task(n, gates, "tableau", shots=1), 4000.0),
            ("shot", probe_task(n, spread, "tableau", shots=20_000), 20_000.0),
        )


ENGINE = StimEngine()
