"""Engine `tn`: exact tensor contraction for single amplitudes and local expectation values (extra `tn`).

Flow: select -> *tn* (in a worker) -> tn_network -> cotengra's path -> contraction -> Answer. It wins
where a circuit is too wide for a statevector and too entangled for a matrix product state, but
shallow: the cost grows with the width of the network's best contraction, not with the qubits.
The path is searched by seeded random-greedy trials; a contraction above the memory limit is sliced;
one whose work does not fit into the seconds raises CapExceeded before it starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qcommons.base.errors import UsageError
from qcommons.base.seeds import derive
from qcommons.circuits.cone import FULL, Z, light_cone
from qcommons.circuits.features import Features
from qcommons.circuits.observables import PauliSum, Term
from qcommons.circuits.program import Op, Program
from qcommons.engines.branching import is_dynamic, split_terminal
from qcommons.engines.engine import version_of
from qcommons.engines.records import (
    Amplitudes,
    Answer,
    CapExceeded,
    Cost,
    Estimate,
    Expectations,
    Limits,
    Method,
    Task,
    Unsuited,
    Want,
)
from qcommons.engines.tn_network import Network, amplitude_network, expectation_network

__all__ = ["ENGINE", "TnEngine"]

METHOD = Method(
    name="contract",
    help="exact tensor contraction, float64",
    wants=frozenset({"amplitudes", "expectations"}),
    cost_hint="2^(width of the best contraction) for each amplitude or Pauli string",
)
TRIALS, TRIALS_HARD = 16, 128  # random-greedy paths
HARD_FROM = 1e7  # multiplications from which more trials, and reconfiguring the best, pay
HARD_TENSOR_S = 0.025  # seconds a tensor that the thorough search takes
HOPELESS = 100.0  # a thorough search has found paths 5 to 20 times cheaper: one this far over the limit is left
RECONFIGURE_SIZE = 8  # subtrees of that many tensors are solved exactly
BYTES = 16
PEAKS = 3  # intermediate tensors alive at once, in units of the largest one
SLICED_MAX = 64.0  # work may grow by this factor through slicing before giving up
WIDTH_MAX = 60.0


class TnEngine:
    """See `qcommons.engines.engine.Engine`."""

    name = "tn"
    distribution = "cotengra"
    install = "pip install 'qcommons[tn]'"
    licence = "Apache-2.0"
    methods = (METHOD,)
    # One core of an EPYC with AVX2 (docs/engines/tensor-networks.md).
    constants: Mapping[str, float] = {
        "overhead_s": 5e-3,  # a network of no size
        "path_s": 1.2e-3,  # searching the path, one two-qubit gate
        "tensor_s": 6e-5,  # one pairwise contraction of small tensors
        "multiply_s": 2e-9,  # one complex multiplication in a large contraction
    }

    def installed(self) -> str | None:
        return version_of(self.distribution)

    def cost(self, method: str, features: Features, want: Want, constants: Mapping[str, float]) -> Cost | Unsuited:
        """A bound: contracting along the line never needs more than the bond bound, nor than all qubits."""
        if features.dynamic:
            return Unsuited("has no mid-circuit measurement, reset or branches")
        c = {**self.constants, **constants}
        width = min(float(features.n_qubits), features.bond_log2 + 2)
        if width > WIDTH_MAX:
            return Unsuited(f"the bound of the contraction width is {width:.0f}; at most {WIDTH_MAX:.0f}")
        # an expectation value closes the circuit with its own mirror image, once a Pauli string
        sides, reads, plans = 1, 1, 1
        if isinstance(want, Amplitudes):
            reads = len(want.bitstrings)
        elif isinstance(want, Expectations):
            sides = 2
            reads = plans = sum(len(o.terms) for o in want.observables)
        tensors = sides * (2 * features.n_multi + features.n_qubits)
        work = reads * tensors * 2.0**width
        seconds = (
            c["overhead_s"] + plans * tensors * c["path_s"] + features.n_gates * c["tensor_s"]
            + reads * tensors * c["tensor_s"] + work * c["multiply_s"]
        )  # fmt: skip
        return Cost(seconds, int(PEAKS * BYTES * 2.0**width) + (16 << 20), work, certain=False)

    def run(self, task: Task) -> Answer:
        body, _ = split_terminal(task.program)
        _check_suited(task, is_dynamic(body))
        program = Program(task.program.n_qubits, (), body)
        contractor = _Contractor(task.limits, derive(task.seed, "tn", "path", bits=31), self.constants)
        if isinstance(task.want, Amplitudes):
            found = _amplitudes(program, task.want.bitstrings, contractor)
            return Answer("tn", METHOD.name, amplitudes=found, facts=contractor.facts)
        assert isinstance(task.want, Expectations)
        values = tuple(Estimate(_expectation(program, o, contractor)) for o in task.want.observables)
        return Answer("tn", METHOD.name, estimates=values, facts=contractor.facts)

    def probes(self) -> tuple[tuple[str, Task, float], ...]:
        from qcommons.engines.calibrate import probe_task

        chain = [op for q in range(11) for op in (Op("ry", (q,), (0.3 + q,)), Op("cx", (q, q + 1)))]
        return (("overhead_s", probe_task(12, chain, METHOD.name, Amplitudes(("0" * 12,))), 5.0),)


ENGINE = TnEngine()


def _check_suited(task: Task, dynamic: bool) -> None:
    """Raises UsageError for what the method does not declare."""
    if task.method != METHOD.name:
        raise UsageError(f"tn has no method {task.method!r}; it has {METHOD.name}", where="method")
    if not isinstance(task.want, (Amplitudes, Expectations)):
        raise UsageError("tn contracts to single numbers: ask for amplitudes or expectation values", where="want")
    if isinstance(task.want, Expectations) and task.want.shots is not None:
        raise UsageError("engines give exact expectations; sampled ones are made of counts", where="want")
    if task.noise is not None and task.noise.rules:
        raise UsageError("tn applies no noise; use density or trajectory methods", where="noise")
    if dynamic:
        raise UsageError("tn runs no mid-circuit measurement, reset or branch", where="method")


def _amplitudes(
    program: Program, bitstrings: Sequence[str], contractor: _Contractor
) -> tuple[tuple[float, float], ...]:
    """One plan for all bitstrings: only the closing tensors differ."""
    n = program.n_qubits
    network, phase = amplitude_network(program.ops, n)  # type: ignore[arg-type]  # not dynamic: plain ops only
    tree = contractor.plan(network, len(bitstrings))
    found = []
    for bits in bitstrings:
        arrays = list(network.arrays)
        for qubit in range(n):
            if bits[n - 1 - qubit] == "1":
                arrays[network.ends[qubit]] = np.array([0, 1], dtype=np.complex128)
        value = contractor.contract(tree, arrays) * phase
        found.append((value.real, value.imag))
    return tuple(found)


def _expectation(program: Program, observable: PauliSum, contractor: _Contractor) -> float:
    return sum(term.coefficient * _pauli(program, term, contractor) for term in observable.terms)


def _pauli(program: Program, term: Term, contractor: _Contractor) -> float:
    """One Pauli string on its own light cone, the qubits outside left out."""
    if not term.paulis:
        return 1.0
    needs = {qubit: Z if letter == "Z" else FULL for qubit, letter in term.paulis}
    ops = light_cone(program, qubit_needs=needs, live_bits=()).ops
    used = sorted({q for op in ops for q in op.qubits} | needs.keys())  # type: ignore[union-attr]
    place = {qubit: i for i, qubit in enumerate(used)}
    moved = [Op(o.gate, tuple(place[q] for q in o.qubits), o.params, (), o.controls) for o in ops]  # type: ignore[union-attr]
    network = expectation_network(moved, len(used), {place[q]: letter for q, letter in term.paulis})
    return contractor.contract(contractor.plan(network, 1), network.arrays).real


class _Contractor:
    """Plans and contracts under the limits of one task; `facts` keeps the largest plan."""

    def __init__(self, limits: Limits, seed: int, constants: Mapping[str, float]) -> None:
        self.limits = limits
        self.seed = seed
        self.constants = constants
        self.seconds = 0.0  # predicted for everything planned so far, and for its planning
        self.facts: dict[str, float] = {"width": 0.0, "multiplications": 0.0, "slices": 1.0}

    def plan(self, network: Network, times: int) -> Any:
        """A contraction tree that fits, for `times` contractions.

        Raises:
            CapExceeded: no tree was found that fits memory and seconds.
        """
        import cotengra

        names = [tuple(cotengra.get_symbol(i) for i in indices) for indices in network.inputs]
        sizes = {
            name: size
            for indices, array in zip(names, network.arrays, strict=True)
            for name, size in zip(indices, array.shape, strict=True)
        }
        tree = self._searched(names, sizes)
        target = max(1, self.limits.memory_bytes // (PEAKS * BYTES))
        if tree.max_size() > target:
            if tree.max_size() / target * self._price(tree) > SLICED_MAX * self.limits.seconds:
                raise CapExceeded(
                    f"contraction of width {tree.contraction_width():.0f} needs {tree.max_size() * BYTES:.1e} B; "
                    f"limit {self.limits.memory_bytes} B"
                )
            tree = tree.slice(target_size=target, seed=self.seed)
        self.seconds += self._price(tree) * times
        if self.seconds > self.limits.seconds:
            raise self._too_long(tree, self.seconds)
        self.facts = {
            "width": max(self.facts["width"], float(tree.contraction_width())),
            "multiplications": self.facts["multiplications"] + float(tree.contraction_cost()) * times,
            "slices": max(self.facts["slices"], float(tree.nslices)),
        }
        return tree

    def _searched(self, names: list[tuple[str, ...]], sizes: dict[str, int]) -> Any:
        """The best tree of a quick search, or of a thorough one where that may pay and there is time for it."""
        import cotengra

        def search(trials: int) -> Any:
            optimizer = cotengra.RandomGreedyOptimizer(max_repeats=trials, seed=self.seed, parallel=False)
            return cotengra.array_contract_tree(names, (), sizes, optimize=optimizer)

        tree = search(TRIALS)
        self.seconds += self.constants["path_s"] * len(names)
        thorough_s = HARD_TENSOR_S * len(names)
        if tree.contraction_cost() <= HARD_FROM or self.seconds + thorough_s > self.limits.seconds / 2:
            return tree
        if self._price(tree) > HOPELESS * self.limits.seconds:
            raise self._too_long(tree, self._price(tree))
        self.seconds += thorough_s
        return search(TRIALS_HARD).subtree_reconfigure(subtree_size=RECONFIGURE_SIZE, seed=self.seed)

    def _price(self, tree: Any) -> float:
        """Seconds of one contraction along this very tree."""
        each = float(tree.N * tree.nslices) * self.constants["tensor_s"]
        return float(tree.contraction_cost()) * self.constants["multiply_s"] + each

    def _too_long(self, tree: Any, seconds: float) -> CapExceeded:
        return CapExceeded(
            f"contraction of width {tree.contraction_width():.0f} takes about {seconds:.2g} s; "
            f"limit {self.limits.seconds:.2g} s"
        )

    def contract(self, tree: Any, arrays: Sequence[Any]) -> complex:
        return complex(tree.contract(arrays))
