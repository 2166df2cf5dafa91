"""Aer's matrix product state, evolved in segments under a strict bound of its truncation error.

Flow: aer_engine -> line_order, mps_plan (fusing, swaps) -> *MpsState* (mps_whole applies the first steps, Aer the
others) -> mps (samples, expectations, amplitudes) -> Answer.

Steps are planned a chunk of gates at a time: a state that outgrows its bonds does so early, and an
attempt that stops has then planned no more than it ran.

Aer drops Schmidt weights that sum to less than a threshold at each decomposition, so `steps x
threshold` bounds the summed discarded weight, and COHERENCE times that the infidelity; every gate
has the same share of what a run may lose. Nothing is dropped, and the error is 0, as long as bonds stay below
WHOLE_BOND for the first WHOLE_STEPS steps, which are taken without Aer (`mps_whole`). Aer also cuts
at a maximal bond dimension, which would truncate silently: here that maximum is never in force. A
two-site step leaves a bond of at most twice either neighbour, so bonds can be bounded ahead; a
segment ends before the bound passes twice `bond_max`, the true bonds are read, and if one is above
`bond_max` the attempt stops with CapExceeded. (Aer's own log of discarded weights, `mps_log_data`,
is never cleared within a process in Aer 0.18: it would leak in a long-lived worker.) Aer's sampler
takes about 1 ms a shot at 60 qubits; reading the tensors out and sampling here takes a tenth of that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from qcommons.base.seeds import stream
from qcommons.circuits.observables import PauliSum
from qcommons.circuits.program import Op, Operation, flat_ops
from qcommons.engines import aer_circuit as native
from qcommons.engines import branching
from qcommons.engines.line_order import line_order
from qcommons.engines.mps import MatrixProduct, Vidal, tensors_of, vidal_form
from qcommons.engines.mps_plan import LinePlan, Step, plan_line
from qcommons.engines.mps_whole import take_whole
from qcommons.engines.records import (
    Amplitudes,
    Answer,
    CapExceeded,
    Counts,
    Estimate,
    Expectations,
    Limits,
    Task,
)  # fmt: skip
from qcommons.engines.sampling import add_counts, bit_counts

__all__ = ["ERROR_BUDGET", "MpsState", "mps_bytes", "run_mps"]

# Infidelity that the cuts of a run may add up to. Samples: their distribution moves by at most 3e-4.
# Expectation values move by at most 2 sqrt(1e-12) = 2e-6 per unit of norm, and by 1e-12 as a rule.
ERROR_BUDGET = {Counts: 1e-7, Expectations: 1e-12}
COHERENCE = 4.0  # cuts add partly coherently: infidelities up to 2.1 x the summed weight were measured
THRESHOLD_MIN = 1e-16  # Aer's default; below it Schmidt weights are rounding
CHUNK_GATES = 2048  # gates planned at once
SEGMENT_STEPS = 4096  # steps handed to Aer at once
WHOLE_BOND = 16  # up to here a step without cutting costs less than 0.3 ms
WHOLE_STEPS = 2048  # of such steps: 0.2 s; Aer is several times faster


def run_mps(task: Task) -> Answer:
    """Answer of the method `mps`.

    Raises:
        CapExceeded: a bond above `limits.bond_max`, or more memory than the limit.
    """
    program = task.program
    body, measured = branching.split_terminal(program)
    gates = sum(1 for _ in flat_ops(body))
    dynamic = branching.is_dynamic(body)
    budget = ERROR_BUDGET.get(type(task.want), 0.0)
    state = MpsState(body, max(1, program.n_qubits), task.limits, budget / (COHERENCE * max(1, gates)), dynamic)
    if not dynamic:
        state.apply(body)  # type: ignore[arg-type]  # not dynamic: plain ops only
        return _read(task, state, measured)
    rng = stream(task.seed, "aer", "mps", "histories")
    counts: dict[str, int] = {}
    code = branching.compile_ops(body, tuple)
    assert isinstance(task.want, Counts)
    error = histories = bond = 0.0
    for leaf, bits, shots in branching.leaves(
        code, state, program.n_clbits, task.want.shots, branching.binomial_split(rng)
    ):
        add_counts(counts, leaf.sample(shots, bits, measured, rng))
        error, bond, histories = max(error, leaf.error), max(bond, leaf.bond), histories + 1
    facts = {"bond_dimension": float(bond), "histories": histories, "infidelity_bound": error}
    return Answer("aer", "mps", counts=counts, error_bound=_bound(task, error), facts=facts)


def mps_bytes(n: int, bond: float) -> int:
    """Peak memory: tensors of 32 B x bond^2 a site, Aer's, ours, and one copy of each."""
    return int(128 * n * min(bond, 2.0 ** min(n // 2, 60)) ** 2)


class MpsState:
    """A state that Aer evolves and this process reads; a `branching.State`.

    order: the qubit at each site. error: bound of the infidelity so far.
    bond: the largest bond dimension met. threshold: weight that each decomposition may drop now.
    whole: steps that may still be taken without dropping anything; 0 once a bond was too large for that.
    """

    def __init__(self, ops: Sequence[Operation], n: int, limits: Limits, gate_share: float, remember: bool) -> None:
        """gate_share: weight that the cuts of one gate may drop. remember: keep plans, as histories ask again."""
        self.n = n
        self.limits = limits
        self.gate_share = gate_share
        self.remember = remember
        self.threshold = THRESHOLD_MIN
        self.order = line_order(flat_ops(ops), n)
        self.phase = 1.0 + 0j
        self.error = 0.0
        self.bond = 1
        self.whole = WHOLE_STEPS
        self._vidal: Vidal | None = None  # None: all sites in |0>
        self._product: MatrixProduct | None = None
        self._plans: dict[tuple[int, int, tuple[int, ...]], tuple[Sequence[Op], LinePlan]] = {}
        needed = mps_bytes(n, float(limits.bond_max))
        if needed > limits.memory_bytes:
            raise CapExceeded(f"mps needs up to {needed} B at bond {limits.bond_max}; limit {limits.memory_bytes} B")

    def plan(self, block: Sequence[Op], start: int) -> LinePlan:
        """Steps for the chunk of gates from `start`, from the present order."""
        key = (id(block), start, self.order)
        if key in self._plans:
            return self._plans[key][1]
        plan = plan_line(block[start : start + CHUNK_GATES], self.order)
        if self.remember:
            self._plans[key] = (block, plan)  # holding the block keeps its id taken
        return plan

    def apply(self, block: Sequence[Op]) -> None:
        for start in range(0, len(block), CHUNK_GATES):
            plan = self.plan(block, start)
            cuts = sum(len(sites) == 2 for sites, _ in plan.steps)
            gates = min(CHUNK_GATES, len(block) - start)
            self.threshold = max(THRESHOLD_MIN, self.gate_share * gates / max(1, cuts))
            self._follow(plan, start, len(block))

    def _follow(self, plan: LinePlan, start: int, gates: int) -> None:
        at = self._take_whole(plan.steps)
        bonds = [len(v) for v in self._vidal[1]] if self._vidal else [1] * (self.n - 1)
        while at < len(plan.steps):
            end = segment_end(plan.steps, at, bonds, 2 * self.limits.bond_max)
            bonds = self._run(plan.steps[at:end])
            at = end
            self.bond = max(self.bond, *bonds) if bonds else 1
            if self.bond > self.limits.bond_max:
                last = min(start + CHUNK_GATES, gates)
                raise CapExceeded(
                    f"bond dimension {self.bond} after {at} of {len(plan.steps)} steps of gates {start} to {last} "
                    f"of {gates}; limit {self.limits.bond_max} (bond_max)",
                    done=None if self.remember else (start + (last - start) * at / len(plan.steps)) / gates,
                )
        self.phase *= plan.phase
        self.order = plan.order

    def _take_whole(self, steps: Sequence[Step]) -> int:
        """Take the first steps without dropping anything; returns how many."""
        if not self.whole or not steps:
            return 0
        state = self._vidal or vidal_form(self.product().tensors)
        self._vidal, taken = take_whole(state, steps[: self.whole], min(WHOLE_BOND, self.limits.bond_max))
        self._product = None
        self.bond = max([self.bond, *(len(values) for values in self._vidal[1])])
        self.whole = self.whole - taken if taken == min(len(steps), self.whole) else 0
        return taken

    def _run(self, steps: Sequence[Step]) -> list[int]:
        """One segment on Aer; returns the bond dimensions after it."""
        every = list(range(self.n))
        circuit = native.new_circuit(self.n, 0)
        if self._vidal is not None:
            circuit.set_matrix_product_state(every, [self._vidal])
        for sites, matrix in steps:
            circuit.unitary(list(sites), matrix, -1, None, "unitary")
        circuit.save_state(every, "save_matrix_product_state", "single", "state")
        # Aer's own memory estimate assumes that every gate doubles a bond; ours above is the true one
        config = native.new_config(self.n, 0, "matrix_product_state", 1, 1, 1 << 60)
        config.matrix_product_state_truncation_threshold = self.threshold
        config.mps_lapack = True  # four times the speed of Aer's own decomposition at bond 128
        vidal: Vidal = native.execute(circuit, config)["data"]["state"]
        self._vidal, self._product = vidal, None
        self.error += COHERENCE * self.threshold * sum(len(sites) == 2 for sites, _ in steps)
        return [len(values) for values in vidal[1]]

    def product(self) -> MatrixProduct:
        """The tensors, right-canonical."""
        if self._product is None:
            ground = np.array([1, 0], dtype=np.complex128).reshape(1, 2, 1)
            tensors = [ground] * self.n if self._vidal is None else tensors_of(self._vidal)
            self._product = MatrixProduct(tensors, self.phase)
        return self._product

    def sites(self) -> list[int]:
        """For each qubit its site."""
        return [int(site) for site in np.argsort(np.asarray(self.order, dtype=np.int64))]

    def probability(self, qubit: int) -> float:
        return min(1.0, max(0.0, (1 - self.product().expectation({self.sites()[qubit]: "Z"})) / 2))

    def project(self, qubit: int, bit: int, probability: float) -> None:
        site = self.sites()[qubit]
        tensors = list(self.product().tensors)
        kept = tensors[site].copy()
        kept[:, 1 - bit] = 0
        tensors[site] = kept
        self._vidal, self._product = vidal_form(tensors), None

    def flip(self, qubit: int) -> None:
        if self._vidal is None:
            self._vidal = vidal_form(self.product().tensors)
        site = self.sites()[qubit]
        gammas = list(self._vidal[0])
        gammas[site] = (gammas[site][1], gammas[site][0])
        self._vidal, self._product = (gammas, self._vidal[1]), None

    def copy(self) -> MpsState:
        other = object.__new__(MpsState)
        other.__dict__.update(self.__dict__)  # tensors are replaced, never changed in place
        return other

    def sample(
        self, shots: int, bits: Sequence[int], measured: dict[int, int], rng: np.random.Generator
    ) -> dict[str, int]:
        """Counts over all classical bits; `bits` are the values of those already written."""
        rows, repeats = self.product().sample(shots, rng)
        sites = self.sites()
        table = np.tile(np.asarray(bits, dtype=np.bool_), (len(rows), 1))
        for clbit, qubit in measured.items():
            table[:, clbit] = rows[:, sites[qubit]]
        return bit_counts(table, repeats)


def segment_end(steps: Sequence[Step], start: int, bonds: Sequence[int], limit: int) -> int:
    """How far one can go before some bond may pass `limit` (at least one step).

    A step on sites k, k+1 leaves bond k at most 4 times what it was and at most twice either
    neighbouring bond.
    """
    bound = [1, *bonds, 1]
    for at in range(start, min(len(steps), start + SEGMENT_STEPS)):
        sites = steps[at][0]
        if len(sites) == 2:
            k = sites[0] + 1
            grown = min(4 * bound[k], 2 * bound[k - 1], 2 * bound[k + 1])
            if grown > limit and at > start:
                return at
            bound[k] = grown
    return min(len(steps), start + SEGMENT_STEPS)


def _read(task: Task, state: MpsState, measured: dict[int, int]) -> Answer:
    n, sites, product = task.program.n_qubits, state.sites(), state.product()
    facts = {"bond_dimension": float(product.bond), "infidelity_bound": state.error}
    error = _bound(task, state.error)
    match task.want:
        case Counts(shots):
            rng = stream(task.seed, "aer", "mps", "sample")
            counts = state.sample(shots, [0] * task.program.n_clbits, measured, rng)
            return Answer("aer", "mps", counts=counts, error_bound=error, facts=facts)
        case Expectations(observables):
            values = tuple(Estimate(_value(product, observable, sites)) for observable in observables)
            return Answer("aer", "mps", estimates=values, error_bound=error, facts=facts)
        case Amplitudes(bitstrings):
            vector = [product.amplitude([int(b[n - 1 - q]) for q in state.order[:n]]) for b in bitstrings]
        case _:
            # axis of qubit n-1 first: its site, and so on down to qubit 0
            vector = product.dense().transpose(sites[::-1]).reshape(-1).tolist()
    pairs = tuple((a.real, a.imag) for a in vector)
    return Answer("aer", "mps", amplitudes=pairs, error_bound=error, facts=facts)


def _bound(task: Task, infidelity: float) -> float:
    """What an infidelity may do to the answer (Fuchs and van de Graaf, arXiv:quant-ph/9712042).

    Two pure states of fidelity 1 - e have trace distance sqrt(e): outcomes move by at most that in total
    variation, the mean of an observable by twice that times its norm, amplitudes by sqrt(2 e) together.
    """
    match task.want:
        case Counts():
            return math.sqrt(infidelity)
        case Expectations(observables):
            norm = max((sum(abs(t.coefficient) for t in o.terms) for o in observables), default=0.0)
            return 2 * norm * math.sqrt(infidelity)
        case _:
            return math.sqrt(2 * infidelity)


def _value(product: MatrixProduct, observable: PauliSum, sites: Sequence[int]) -> float:
    return sum(
        term.coefficient * product.expectation({sites[qubit]: letter for qubit, letter in term.paulis})
        for term in observable.terms
    )
