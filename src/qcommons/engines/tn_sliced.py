"""Run a range of slices for whoever asks: everything that was sent is checked, and priced, before anything is made.

Flow: Program, Slices (from a stranger) -> *run_slices* -> tn_closed (the network, from the program alone) -> tn_tree
(a tree of it? what does it cost?) -> tn_slices -> Answer. Only numpy is needed.

Slices of different machines are added up, and each is recomputed by another for a check: so all numbers of one range
follow from the program and the range, up to rounding: 1e-12 of a slice in f64, 1e-4 in f32 (docs/slicing.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from qcommons.base.clock import seconds_text
from qcommons.base.errors import Unavailable, UsageError
from qcommons.circuits.program import Op, Program
from qcommons.engines.records import Answer, Cost, Estimate, Limits, Slices

if TYPE_CHECKING:
    from qcommons.engines.tn_tree import Tree

__all__ = ["ENGINE", "METHODS", "PIECE_S", "check_slices", "run_slices", "slices_cost"]

ENGINE = "tn"
METHODS = {"f64": "contract", "f32": "contract_f32"}
MULTIPLY_S = {"f64": 1.2e-9, "f32": 6e-10}  # a complex multiplication; one core of an EPYC with AVX2 (docs/slicing.md)
TENSOR_S = 3e-5  # a product of small tensors
PIECE_S = 0.1  # building the network and checking the tree
BYTES = {"f64": 16, "f32": 8}
BASE_BYTES = 32 << 20
BITSTRINGS_MAX = 1_024
CLAIM = 1.000001  # the cost is a sum of powers of two: equal on all machines up to the order of adding


def slices_cost(want: Slices, constants: Mapping[str, float] | None = None) -> Cost:
    """What a range is said to take: `run_slices` refuses one that takes more."""
    c = constants or {}
    turns = want.count * max(len(want.bitstrings), 1)
    each = c.get(f"multiply_{want.precision}_s", MULTIPLY_S[want.precision])
    return Cost(
        seconds=PIECE_S + want.multiplications * each + turns * len(want.tree) * TENSOR_S,
        memory_bytes=int(min(want.elements, 2.0**60) * BYTES[want.precision]) + BASE_BYTES,
        work_units=want.multiplications,
    )


def check_slices(program: Program, want: Slices) -> None:
    """Raises UsageError for a want that does not fit the program, in time linear in its size."""
    n = program.n_qubits
    if want.precision not in METHODS:
        raise UsageError(f"precision {want.precision!r}; known: {', '.join(METHODS)}", where="slices")
    if bool(want.bitstrings) == bool(want.paulis) or len(want.bitstrings) > BITSTRINGS_MAX:
        raise UsageError(f"slices of 1 to {BITSTRINGS_MAX} bitstrings or of one Pauli string", where="slices")
    if any(len(bits) != n or set(bits) - {"0", "1"} for bits in want.bitstrings):
        raise UsageError(f"a bitstring of {n} characters 0 or 1 is needed", where="slices")
    qubits = [qubit for qubit, _ in want.paulis]
    if len(set(qubits)) < len(qubits) or any(not 0 <= q < n or p not in ("X", "Y", "Z") for q, p in want.paulis):
        raise UsageError(f"a Pauli string of X, Y, Z on different qubits below {n} is needed", where="slices")
    total = 1 << min(len(want.sliced), 62)
    if want.count < 1 or want.first < 0 or want.first + want.count > total:
        raise UsageError(f"slices {want.first} to {want.first + want.count - 1}; there are {total}", where="slices")
    if not 0 <= want.multiplications < math.inf or not 0 <= want.elements < math.inf:
        raise UsageError("a cost that is no finite number", where="slices")
    if any(not isinstance(op, Op) or op.gate in ("measure", "reset") for op in program.ops):
        raise UsageError("slices need a circuit without measurement, reset or if", where="program")


def run_slices(program: Program, want: Slices, limits: Limits, clock_ns: Callable[[], int]) -> Answer:
    """The answer: amplitudes or one estimate; with it what it took.

    Raises:
        UsageError: the want does not fit the program, or takes more than it says.
        Unavailable: more than the limits allow, with the numbers.
        CapExceeded: it took too long.
    """
    from qcommons.engines.tn_closed import amplitude, expectation
    from qcommons.engines.tn_slices import contract
    from qcommons.engines.tn_tree import read_tree

    check_slices(program, want)
    _within(slices_cost(want), limits)
    start_ns = clock_ns()
    ops = [op for op in program.ops if isinstance(op, Op) and op.gate != "barrier"]
    if want.paulis:
        first = expectation(ops, program.n_qubits, dict(want.paulis))
    else:
        first = amplitude(ops, program.n_qubits, want.bitstrings[0])
    if first.shape_id != want.shape:
        raise UsageError(
            f"the network of this program is {first.shape_id}, the slices are of {want.shape}", where="slices"
        )
    tree = read_tree(first.legs, want.tree, want.sliced)
    _as_said(tree, want)

    def over() -> bool:
        return (clock_ns() - start_ns) / 1e9 > limits.seconds

    values = [contract(first, tree, want.first, want.count, want.precision, over)]
    for bits in want.bitstrings[1:]:
        other = amplitude(ops, program.n_qubits, bits)
        values.append(contract(other, tree, want.first, want.count, want.precision, over))
    facts = {
        "width": float(tree.width), "multiplications": want.multiplications, "slices": float(want.count),
        "elements": want.elements,
    }  # fmt: skip
    method = METHODS[want.precision]
    if want.paulis:
        return Answer(ENGINE, method, estimates=(Estimate(values[0].real),), facts=facts)
    return Answer(ENGINE, method, amplitudes=tuple((value.real, value.imag) for value in values), facts=facts)


def _as_said(tree: Tree, want: Slices) -> None:
    """Raises UsageError where the tree takes more than the want says."""
    takes = tree.multiplications(want.first, want.count) * max(len(want.bitstrings), 1)
    if takes > want.multiplications * CLAIM:
        raise UsageError(
            f"the tree takes {takes:.3g} multiplications, said were {want.multiplications:.3g}", where="slices"
        )
    holds = tree.peak_elements()
    if holds > want.elements * CLAIM:
        raise UsageError(f"the tree holds {holds:.3g} elements, said were {want.elements:.3g}", where="slices")


def _within(cost: Cost, limits: Limits) -> None:
    if cost.memory_bytes > limits.memory_bytes:
        raise Unavailable(
            f"slices of {cost.memory_bytes:,} B; limit {limits.memory_bytes:,} B", limit=f"{limits.memory_bytes} B"
        )
    if cost.seconds > limits.seconds:
        raise Unavailable(
            f"slices of about {seconds_text(cost.seconds)}; limit {seconds_text(limits.seconds)}",
            limit=seconds_text(limits.seconds),
        )
