"""Joint cuts against qiskit-addon-cutting 0.10: shots for the same standard error, both sampled in one run.

Both cut the same circuits at the same gates. Each run of a fragment has its exact distribution worked out once; then
the whole experiment is drawn many times over, shots in proportion to the weights on both sides (the reference leaves
that to its user; its own weights are all equal here), and the mean squared error of its estimates is taken. Shots times
that error, reference over ours, is the figure: how many times the shots the reference needs. Observables: Z on all
qubits, and on the four in the middle. Figures of the circuits are averaged in log; the 95 % interval is that of the
draws, the relative variance of a mean square of R draws being 2/R. Theory, by gamma^2 alone: 81/49 and 729/225.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import sides
from bench.harness import Claim

INSTALL = "pip install 'qiskit-addon-cutting==0.10.*'"
CLAIMS = [
    Claim("20 qubits, 2 cuts: shots for the same standard error, qiskit-addon-cutting over ours", "two_cuts", None,
          "least", 1.5, rounds=1, warm=False, unit="x"),
    Claim("12 qubits, 3 cuts placed beforehand: the same", "three_cuts", None, "least", 2.7, rounds=1, warm=False,
          unit="x"),
]  # fmt: skip
SHOTS = 1_000  # of the uncut program, whose standard error is aimed at
CIRCUITS = 4  # random angles, the same on both sides

Floats = NDArray[np.float64]


class Case(NamedTuple):
    """half: qubits of each fragment. cuts: gates between them, one a layer."""

    half: int
    cuts: int


def two_cuts(small: bool) -> sides.Thunk:
    return _claim(Case(10, 2), small)


def three_cuts(small: bool) -> sides.Thunk:
    return _claim(Case(6, 3), small)


def _claim(case: Case, small: bool) -> sides.Thunk:
    try:
        import qiskit_addon_cutting  # noqa: F401  # the reference: without it there is nothing to compare with
    except ImportError:
        raise SystemExit(f"the reference is missing; install it with: {INSTALL}") from None
    circuits, draws = (1, 200) if small else (CIRCUITS, 4_000)
    return lambda: _compare(case, circuits, draws)


def _compare(case: Case, circuits: int, draws: int) -> dict[str, Any]:
    spent, squared = np.zeros(2), np.zeros((circuits, 2))
    bias = 0.0
    for number in range(circuits):
        layers = _layers(case, number)
        read = range(2 * case.half) if number % 2 else range(case.half - 2, case.half + 2)
        exact, ours = _ours(case, layers, read)
        reference = _reference(case, layers, read)
        for side, experiment in enumerate((ours, reference)):
            rng = np.random.default_rng([7, number, side])
            values = _drawn(experiment, draws, rng)
            squared[number, side] = float(np.mean((values - exact) ** 2)) * experiment.shots
            bias = max(bias, abs(float(values.mean()) - exact) / (float(values.std()) / math.sqrt(draws)))
            spent[side] = experiment.shots
    ratios = squared[:, 1] / squared[:, 0]
    figure = float(np.exp(np.log(ratios).mean()))
    half = 1.96 * math.sqrt(4 / draws / circuits)
    return {
        "value": figure,
        "interval": f"{figure * math.exp(-half):.3f} to {figure * math.exp(half):.3f} (95 %)",
        "circuits": " ".join(f"{ratio:.2f}" for ratio in ratios),
        "shots": f"{spent[0]:,.0f} and {spent[1]:,.0f}",
        "bias": f"{bias:.1f} sigma at most",
        "right": bias < 5,
    }


# an experiment: runs that give +1 or -1, and sums of products of their means


class Experiment(NamedTuple):
    """means: exact, of each run. counts: its shots. terms: coefficients (t,), run of each factor (t, 2), -1: none."""

    means: Floats
    counts: NDArray[np.int64]
    coefficients: Floats
    factors: NDArray[np.int64]

    @property
    def shots(self) -> int:
        return int(self.counts.sum())


def _drawn(experiment: Experiment, draws: int, rng: np.random.Generator) -> Floats:
    """The estimate of each of so many experiments: means of shots, multiplied and summed."""
    p_plus = np.clip((1 + experiment.means) / 2, 0, 1)
    plus = rng.binomial(experiment.counts, p_plus, size=(draws, len(p_plus)))
    sampled = np.concatenate([2 * plus / experiment.counts - 1, np.ones((draws, 1))], axis=1)  # the last: no factor
    products = sampled[:, experiment.factors[:, 0]] * sampled[:, experiment.factors[:, 1]]
    return np.asarray(products @ experiment.coefficients)


# the circuits: layers of turns and cz along a line, one cz a layer between the halves


def _layers(case: Case, number: int) -> list[Floats]:
    """Angles (qubits, 2) of each layer of ry and rz."""
    rng = np.random.default_rng([case.half, case.cuts, number])
    return [rng.uniform(0.2, 1.2, (2 * case.half, 2)) for _ in range(case.cuts + 1)]


def _gates(case: Case, layers: Sequence[Floats]) -> list[tuple[str, tuple[int, ...], tuple[float, ...]]]:
    n = 2 * case.half
    rows: list[tuple[str, tuple[int, ...], tuple[float, ...]]] = []
    for k, angles in enumerate(layers):
        for q in range(n):
            rows += [("ry", (q,), (float(angles[q, 0]),)), ("rz", (q,), (float(angles[q, 1]),))]
        if k < case.cuts:
            rows += [("cz", (q, q + 1), ()) for q in range(n - 1)]
    return rows


# ours: the draft that the planner's row makes


def _ours(case: Case, layers: Sequence[Floats], read: Sequence[int]) -> tuple[float, Experiment]:
    from qcommons.circuits.observables import PauliSum, Term
    from qcommons.circuits.program import Op, Program
    from qcommons.jobs.plan.cutting.fragments import fragments_of
    from qcommons.jobs.plan.cutting.sampled import sampled_draft
    from qcommons.jobs.plan.cutting.wires import wires_of

    n = 2 * case.half
    program = Program(n, (), tuple(Op(name, qubits, params) for name, qubits, params in _gates(case, layers)))
    paulis = tuple((q, "Z") for q in read)
    observable = PauliSum((Term(1.0, paulis),), "")
    wires = wires_of(program, [observable])
    labels = tuple((int(op.qubits[0] >= case.half), int(op.qubits[1] >= case.half)) for op in wires.gates)
    draft = sampled_draft(fragments_of(wires, labels, range(n), split=False), [observable], SHOTS, seed=1)
    (terms,) = draft.sums
    bits = {run: which for _, factors in terms for run, which in factors}
    means = [_mean(run.program, bits[number]) for number, run in enumerate(draft.runs)]
    rows = [[run for run, _ in factors] for _, factors in terms]
    return _expected(program, paulis), Experiment(
        np.array(means), np.array([run.shots for run in draft.runs]), np.array([c for c, _ in terms]), _padded(rows)
    )


def _mean(program: Any, bits: Sequence[int]) -> float:
    """Exact mean of the parity of measured bits."""
    from qcommons.circuits.program import Program

    read = {op.clbits[0]: op.qubits[0] for op in program.ops if op.gate == "measure"}
    gates = Program(program.n_qubits, (), tuple(op for op in program.ops if op.gate != "measure"))
    return _expected(gates, tuple(sorted((read[bit], "Z") for bit in bits)))


def _expected(program: Any, paulis: tuple[tuple[int, str], ...]) -> float:
    from qcommons.circuits.observables import PauliSum, Term
    from qcommons.engines.execute import Request, execute
    from qcommons.engines.records import Expectations, Limits

    want = Expectations((PauliSum((Term(1.0, paulis),), ""),))
    answer = execute(Request(program=program, want=want, seed=1, limits=Limits(1 << 30, 60.0)), lambda: 0).answer
    assert answer.estimates is not None
    return answer.estimates[0].value


def _padded(rows: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Two factors a term; -1, the last column of the draws, stands for 1."""
    return np.array([[*row, -1, -1][:2] for row in rows])


# the reference: its own partition, subexperiments and coefficients


def _reference(case: Case, layers: Sequence[Floats], read: Sequence[int]) -> Experiment:
    from qiskit import QuantumCircuit
    from qiskit.quantum_info import PauliList
    from qiskit_addon_cutting import generate_cutting_experiments, partition_problem

    n = 2 * case.half
    circuit = QuantumCircuit(n)
    for name, qubits, params in _gates(case, layers):
        getattr(circuit, name)(*params, *qubits)
    string = "".join("Z" if q in read else "I" for q in reversed(range(n)))
    labels = "A" * case.half + "B" * case.half
    problem = partition_problem(circuit, labels, observables=PauliList([string]))
    experiments, weighted = generate_cutting_experiments(problem.subcircuits, problem.subobservables, math.inf)
    coefficients = np.array([weight for weight, _ in weighted])
    means = [_signed_mean(one) for label in ("A", "B") for one in experiments[label]]
    count = len(coefficients)
    shots = SHOTS * float(np.abs(coefficients).sum()) * np.abs(coefficients)
    counts = np.maximum(np.ceil(np.concatenate([shots, shots])), 1).astype(np.int64)
    factors = np.stack([np.arange(count), np.arange(count) + count], axis=1)
    return Experiment(np.array(means), counts, coefficients, factors)


def _signed_mean(circuit: Any) -> float:
    """Exact mean of the parity of all measured bits, those of the cuts on the way included."""
    from qiskit.quantum_info import Statevector

    states: list[tuple[float, Any]] = [(1.0, Statevector.from_int(0, 2**circuit.num_qubits))]
    for item in circuit.data:
        qubits = [circuit.find_bit(q).index for q in item.qubits]
        if item.operation.name == "measure":
            states = [kept for sign, state in states for kept in _sides(sign, state, qubits[0])]
        elif item.operation.name != "barrier":
            states = [(sign, state.evolve(item.operation, qubits)) for sign, state in states]
    return math.fsum(sign * float(np.vdot(state.data, state.data).real) for sign, state in states)


def _sides(sign: float, state: Any, qubit: int) -> list[tuple[float, Any]]:
    """The two parts of an unnormalised state, the second with the sign turned."""
    from qiskit.quantum_info import Statevector

    ones = (np.arange(len(state.data)) >> qubit & 1).astype(bool)
    parts = [(sign, np.where(ones, 0, state.data)), (-sign, np.where(ones, state.data, 0))]
    return [(own, Statevector(part)) for own, part in parts if np.abs(part).max() > 1e-14]
