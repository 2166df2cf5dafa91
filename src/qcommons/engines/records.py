"""Nouns of the engines' room: what is asked of an engine and what it answers.

Flow: jobs/plan -> select -> *Task* -> engine (in a worker) -> *Answer* -> jobs/assemble.
All of these cross the pipe to a worker process as msgpack typed by msgspec; the program crosses
as its canonical bytes.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from qcommons.circuits.noise import Noise
from qcommons.circuits.observables import PauliSum
from qcommons.circuits.program import Program

__all__ = [
    "Amplitudes", "Answer", "CapExceeded", "Cost", "Counts", "Estimate", "Expectations", "Limits", "Method",
    "Slices", "Statevector", "Task", "Unsuited", "Want",
]  # fmt: skip

TREE_MAX = 20_000  # pairs: the tree of 10,000 two-qubit gates; with masks and arrays about 100 MB
SLICED_MAX = 40  # sliced indices: 2**40 slices of a second are 35,000 years of one core


class Counts(msgspec.Struct, frozen=True, tag=True):
    """`shots` samples of all classical bits at the end of the program. shots >= 1."""

    shots: int


class Expectations(msgspec.Struct, frozen=True, tag=True):
    """One estimate an observable, on the final state.

    shots: None for the computed value; else sampled with this many shots for each group of
        qubit-wise commuting terms (jobs/plan makes the groups; engines see requests to compute, or counts).
    """

    observables: tuple[PauliSum, ...]
    shots: int | None = None


class Amplitudes(msgspec.Struct, frozen=True, tag=True):
    """<bits|psi> of the final state for each bitstring (rightmost character is qubit 0)."""

    bitstrings: tuple[str, ...]


class Statevector(msgspec.Struct, frozen=True, tag=True):
    """All 2**n amplitudes (n <= 20)."""


class Slices(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Part of a sum: slices `first` .. `first + count - 1` of the program's closed tensor network (engines/tn_closed).

    One of the two is set. bitstrings: of the amplitudes wanted, answered as amplitudes. paulis: the Pauli string whose
    expectation value is wanted, (qubit, letter), answered as an estimate: the real part, for the sum of all is real.
    tree: pairs of tensors contracted, tensor N + k the product of pair k. sliced: indices, the first slowest.
    shape: `Closed.shape_id` of the network that `tree` and `sliced` are of.
    multiplications: complex ones, of this range and all bitstrings. elements: held at once. Both are what is asked for
    and paid; a range that takes more is refused before it starts.
    precision: "f64" or "f32".
    """

    bitstrings: tuple[str, ...] = ()
    paulis: tuple[tuple[int, str], ...] = ()
    tree: Annotated[tuple[tuple[int, int], ...], msgspec.Meta(max_length=TREE_MAX)]
    sliced: Annotated[tuple[int, ...], msgspec.Meta(max_length=SLICED_MAX)]
    first: int
    count: int
    shape: Annotated[str, msgspec.Meta(max_length=64)]
    multiplications: float
    elements: float
    precision: str = "f64"


Want = Counts | Expectations | Amplitudes | Statevector | Slices


class Limits(msgspec.Struct, frozen=True):
    """What an attempt may use. Exceeding `method`-specific caps raises `CapExceeded`, nothing worse."""

    memory_bytes: int
    seconds: float
    terms_max: int = 1 << 20  # sparse: non-zero amplitudes held at once
    bond_max: int = 256  # mps: bond dimension at which the run gives up (never silently truncates)
    width_max: int = 24  # frames: active qubits


class Task(msgspec.Struct, frozen=True):
    """One program for one engine method. `program` has no unbound inputs and passed `check`."""

    program: Program
    want: Want
    method: str
    seed: int
    limits: Limits
    noise: Noise | None = None


class Estimate(msgspec.Struct, frozen=True):
    """value +- stderr, one standard error.

    shots: of each measurement setting it was sampled with; stderr is then above 0 (`standard_error`).
        None: computed, stderr is 0.0; exact up to the rounding of float64 where `Answer.error_bound` is 0.
    """

    value: float
    stderr: float = 0.0
    shots: int | None = None


class Answer(msgspec.Struct, frozen=True):
    """What an engine returns; the field of the want that was asked is set.

    counts: bits of all clbits without spaces (clbit 0 rightmost) -> shots.
    estimates: one an observable, in order.
    amplitudes: (re, im) in the order asked; for Statevector all, index order.
    error_bound: bound of the method's own error in what is given (or a measured estimate of it, where its engine
        says so), beside that of sampling: total variation of the counts' distribution, absolute error of any
        estimate, norm of the error of the amplitudes. 0.0: nothing was lost but the rounding of float64.
    facts: numbers worth showing ("bond_dimension", "active_width", "terms_peak", ...).
    """

    engine: str
    method: str
    counts: dict[str, int] | None = None
    estimates: tuple[Estimate, ...] | None = None
    amplitudes: tuple[tuple[float, float], ...] | None = None
    error_bound: float = 0.0
    facts: dict[str, float] = {}


class Method(msgspec.Struct, frozen=True, kw_only=True):
    """A way an engine runs circuits: a row of its capabilities.

    wants: of "counts", "expectations" (exact ones), "amplitudes", "statevector".
    noise: channel kinds it applies exactly (empty: none).
    dynamic: mid-circuit measurement, reset and branches are run faithfully.
    gates: "any" or "clifford".
    precision: "f64", "f32" or "exact" (integer tableau).
    cost_hint: one line: what the cost grows with.
    """

    name: str
    help: str
    wants: frozenset[str]
    noise: frozenset[str] = frozenset()
    dynamic: bool = False
    gates: str = "any"
    precision: str = "f64"
    cost_hint: str = ""


class Cost(msgspec.Struct, frozen=True):
    """Predicted cost of one attempt on this machine.

    seconds: one core, from work and the machine's constants. memory_bytes: peak beyond the warm
    worker. work_units: machine-independent (amplitude-updates or tensor flops).
    certain: False where the work depends on the state (sparse, mps): the attempt runs under caps.
    """

    seconds: float
    memory_bytes: int
    work_units: float
    certain: bool = True


class Unsuited(msgspec.Struct, frozen=True):
    """Why a method cannot run a task, with the numbers."""

    reason: str


class CapExceeded(Exception):
    """An attempt passed one of its `Limits` and stopped; the next attempt may run. Says which.

    done: share of the operations that were carried out before, 0 to 1, where it is known.
    """

    def __init__(self, what: str, done: float | None = None) -> None:
        super().__init__(what)
        self.done = done
