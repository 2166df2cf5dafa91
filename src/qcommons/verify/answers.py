"""Answers from peers: is this an answer to that question at all, and how should one compare it?

Flow: peer's bytes -> Answer -> *fault* (malformed, or not) -> compare. And: which repeats of an engine give the same
numbers (*engine_class*, `EngineClass.repeats`), so that compare knows what it may ask of them.
"""

from __future__ import annotations

import math

import msgspec

from qcommons.engines.records import Amplitudes, Answer, Counts, Expectations, Slices, Statevector, Want
from qcommons.engines.registry import load_engines

__all__ = ["EngineClass", "Found", "Question", "engine_class", "fault", "overstated"]

ROUNDING = {"f64": 2.0**-53, "f32": 2.0**-24, "exact": 0.0}  # unit roundoff, IEEE 754-2019, table 3.5
# Samplers whose numbers for one seed are not promised to stay: the documentation of stim's `compile_sampler` says that
# a seed's samples may change with the version and with the width of the processor's vectors.
UNREPEATED = frozenset({"stim"})
# Methods likewise: where singular values are equal, as symmetry makes them, their vectors are any basis of a space, and
# which one depends on the processor: aer/mps gave counts 2,372 shots of 8,192 apart for one seed. "compiled" (clifft)
# was not measured.
UNREPEATED_METHODS = frozenset({"mps", "compiled"})
WORK_SLACK, WORK_SLACK_UNCERTAIN = 1.05, 4.0  # of the cost model's work; the second where it depends on the state
LISTED_MAX = 1 << 22  # estimates or amplitudes of one answer that are read; a statevector of 20 qubits has 2^20


class EngineClass(msgspec.Struct, frozen=True):
    """Runs of one class with one seed give the same numbers up to rounding.

    precision: "f64", "f32" or "exact", the worst of all parts. version: of the engine's library, "" where unknown.
    """

    engine: str
    method: str
    precision: str
    version: str = ""

    @property
    def repeats(self) -> bool:
        """May a repeat be compared number by number? In f32 a rounding moves too many samples."""
        engines, methods = set(self.engine.split("+")), set(self.method.split("+"))
        return self.precision == "f64" and not UNREPEATED & engines and not UNREPEATED_METHODS & methods


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One run as it was asked.

    n_bits: length of a key of the counts. n_qubits, n_ops: of the program: they bound the rounding.
    engine: (engine, method) that the lease told the peer to use, None where it was free to choose.
    allowed: total variation, 0 to 1, that an honest answer may be away from the noiseless one: 0 of simulators; of a
        QPU what its owner states.
    """

    want: Want
    n_bits: int
    n_qubits: int
    n_ops: int
    engine: tuple[str, str] | None = None
    allowed: float = 0.0


class Found(msgspec.Struct, frozen=True):
    """An answer, how it was found and with which seed."""

    answer: Answer
    engine: EngineClass
    seed: int


def engine_class(engine: str, method: str, version: str = "") -> EngineClass:
    """The class of an answer's `engine` and `method`; parts joined by "+" count as the worst of them.

    An engine or method that this node does not know counts as f32: it is compared by statistics only.
    """
    known = load_engines()
    names, methods = engine.split("+"), frozenset(method.split("+"))
    found: list[str] = []
    for name in names:
        rows = known[name].methods if name in known else ()
        found += [row.precision for row in rows if row.name in methods]
    unknown = methods - {row.name for name in names if name in known for row in known[name].methods} - {"constant"}
    worst = "f32" if unknown or "f32" in found else "f64" if "f64" in found or not found else "exact"
    return EngineClass(engine, method, worst, version)


def fault(answer: Answer, question: Question) -> str | None:
    """Why this can be no answer to the question, None if it can; reads the answer once, allocates nothing of its size.

    A peer whose answer has a fault has sent something malformed: no check is needed to know that.
    """
    if not math.isfinite(answer.error_bound) or answer.error_bound < 0:
        return f"an error bound of {answer.error_bound}; a finite one of 0 or more is needed"
    given = {name: getattr(answer, name) for name in ("counts", "estimates", "amplitudes")}
    match question.want:
        case Counts(shots=shots):
            needed = "counts"
            why = _counts_fault(answer.counts, shots, question.n_bits)
        case Expectations(observables=observables, shots=shots_each):
            needed = "estimates"
            why = _estimates_fault(answer, len(observables), shots_each)
        case Amplitudes(bitstrings=bitstrings):
            needed = "amplitudes"
            why = _amplitudes_fault(answer.amplitudes, len(bitstrings))
        case Statevector():
            needed = "amplitudes"
            why = _amplitudes_fault(answer.amplitudes, 1 << min(question.n_qubits, 40))
        case Slices(paulis=paulis) if paulis:
            needed = "estimates"
            why = _estimates_fault(answer, 1, None)
        case Slices(bitstrings=bitstrings):
            needed = "amplitudes"
            why = _amplitudes_fault(answer.amplitudes, len(bitstrings))
        case _:  # a want of a planner's row: complex numbers, of whatever number
            needed = "amplitudes"
            why = _amplitudes_fault(answer.amplitudes, len(answer.amplitudes or ()))
    extra = sorted(name for name, value in given.items() if value is not None and name != needed)
    return why or (f"{extra[0]} were not asked" if extra else None)


def overstated(work_units: int, predicted: float, certain: bool) -> bool:
    """Does a receipt name more work than the run takes? predicted, certain: of the cost model (`engines.records.Cost`),
    which gives everybody the same numbers; nobody is paid for more than was quoted in any case."""
    return work_units > predicted * (WORK_SLACK if certain else WORK_SLACK_UNCERTAIN) + 1


def _counts_fault(counts: dict[str, int] | None, shots: int, n_bits: int) -> str | None:
    if counts is None:
        return "counts are missing"
    if len(counts) > shots:
        return f"{len(counts)} outcomes of {shots} shots"
    total, kinds = 0, set(map(type, counts.values()))
    if kinds <= {int} and set(map(len, counts)) <= {n_bits} and not "".join(counts).strip("01"):  # at the speed of C
        total = sum(counts.values()) if min(counts.values(), default=1) > 0 else 0
    for key, times in counts.items() if not total else ():
        if len(key) != n_bits or set(key) - {"0", "1"}:
            return f"outcome {key[:80]!r}; {n_bits} characters 0 or 1 are needed"
        if type(times) is not int or times < 1:
            return f"{times!r} shots of {key[:80]}; a whole number of 1 or more is needed"
        total += times
    return f"counts of {total} shots; {shots} were asked" if total != shots else None


def _estimates_fault(answer: Answer, wanted: int, shots: int | None) -> str | None:
    estimates = answer.estimates
    if estimates is None or len(estimates) != wanted:
        return f"{0 if estimates is None else len(estimates)} estimates; {wanted} were asked"
    for place, estimate in enumerate(estimates):
        if not math.isfinite(estimate.value) or not math.isfinite(estimate.stderr) or estimate.stderr < 0:
            return f"estimate {place} is {estimate.value} +- {estimate.stderr}; finite numbers are needed"
        if shots is None and (estimate.shots is not None or estimate.stderr != 0.0):
            return f"estimate {place} was sampled; a computed one was asked"
    return None


def _amplitudes_fault(amplitudes: tuple[tuple[float, float], ...] | None, wanted: int) -> str | None:
    if amplitudes is None or len(amplitudes) != wanted or not 0 < wanted <= LISTED_MAX:
        return f"{0 if amplitudes is None else len(amplitudes)} amplitudes; {wanted} were asked"
    for place, (re, im) in enumerate(amplitudes):
        if not math.isfinite(re) or not math.isfinite(im):
            return f"amplitude {place} is ({re}, {im}); finite numbers are needed"
    return None
