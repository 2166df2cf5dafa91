"""A submission as it came over HTTP becomes the parts of a job, checked as the arguments of `run` are.

Flow: Submission -> *intake* -> circuits, points, wants, noise -> (workers parse) -> submission.py -> Job. Nothing
here opens a file: a name is a label, a path in any field is only text. Canonical bytes are checked, not decoded.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from qcommons.base.errors import PeerError, UsageError
from qcommons.circuits.noise import Noise, check_noise, load_profile, parse_noise
from qcommons.circuits.observables import PauliSum
from qcommons.circuits.program import DEFAULT_CAPS
from qcommons.jobs.records import Card
from qcommons.node import edge
from qcommons.node.api.records import ProgramText, Submission
from qcommons.node.card import card_of_wire
from qcommons.node.frames import Source
from qcommons.node.submission import positive
from qcommons.node.terms import Terms, terms_of

__all__ = ["RUNS_MAX", "Intake", "intake"]

RUNS_MAX = 100_000  # programs times points: a job is held in memory with its results
POINT_VALUES_MAX = 100_000  # ten programs of as many inputs as one may have
TERMS_MAX = 100_000  # of all observables of one program
WANTED_CHARACTERS_MAX = 16 << 20  # of observables and bitstrings, which every program of a job has to itself
LETTER_CHARACTERS = 4  # of a Pauli letter with its qubit, as text
SUM_TEXT_MAX = 10_000  # characters of the label of an observable given as terms
LETTERS = frozenset("XYZ")


class Intake(NamedTuple):
    """circuits: a card where canonical bytes came, a source where text did. shape: of the points, None where one
    point was asked, not a sweep. `grid` is the shape of the runs as `jobs.results.Results` has it."""

    circuits: tuple[Source | Card, ...]
    points: list[dict[str, float]]
    shape: tuple[int, ...] | None
    asked: edge.Asked
    noise: Noise | None
    batch: bool
    terms: Terms

    @property
    def single(self) -> bool:
        return not self.batch and self.shape is None

    @property
    def grid(self) -> tuple[int, ...]:
        return ((len(self.circuits),) if self.batch else ()) + (self.shape or ())


def intake(submission: Submission) -> Intake:
    """Raises UsageError; `where` names the field."""
    if len(submission.programs) > 1 and not submission.batch:
        raise UsageError(f"{len(submission.programs)} programs; several need batch: true", where="batch")
    points, shape = _points(submission)
    runs = len(submission.programs) * len(points)
    if runs > RUNS_MAX:
        what = f"{len(submission.programs)} programs at {len(points)} points are {runs} runs; at most {RUNS_MAX}"
        raise UsageError(what, where="points", limit=f"{RUNS_MAX} runs")
    for name in ("deadline_s", "memory_bytes"):
        value = getattr(submission, name)
        if value is not None:
            positive(name, value)
    _check_wanted(submission)
    circuits = tuple(_circuit(one, f"programs[{index}]") for index, one in enumerate(submission.programs))
    terms = terms_of(
        submission.on, submission.assurance, submission.egress, submission.peers, submission.budget,
        submission.purpose, submission.plan,
    )  # fmt: skip
    return Intake(circuits, points, shape, _asked(submission), _noise(submission), submission.batch, terms)


def _check_wanted(submission: Submission) -> None:
    """What is asked of every program, before any of it is read."""
    terms = characters = 0
    for one in (*(submission.observables or ()), *(submission.amplitudes or ())):
        if isinstance(one, PauliSum):
            terms += len(one.terms)
            characters += len(one.text) + LETTER_CHARACTERS * sum(len(term.paulis) for term in one.terms)
        else:
            characters += len(one)
    if terms > TERMS_MAX:
        raise UsageError(f"{terms} terms", where="observables", limit=f"{TERMS_MAX} terms")
    programs = len(submission.programs)
    if characters * programs > WANTED_CHARACTERS_MAX:
        what = f"{characters} characters of observables or amplitudes for each of {programs} programs"
        where = "observables" if submission.observables else "amplitudes"
        raise UsageError(what, where=where, limit=f"{WANTED_CHARACTERS_MAX} characters in all")


def _circuit(program: ProgramText, where: str) -> Source | Card:
    if (program.qasm is None) == (program.wire is None):
        raise UsageError("give either qasm or wire", where=where)
    if program.wire is not None:
        try:
            return card_of_wire(program.wire, program.name)
        except PeerError as error:
            place = f"{where}.wire" + (f", {error.where}" if error.where else "")
            raise UsageError(error.what, where=place, limit=error.limit) from None
    text = (program.qasm or "").encode()
    limit = DEFAULT_CAPS.bytes_max
    if len(text) > limit:
        raise UsageError(f"more than {limit} bytes of program text", where=f"{where}.qasm", limit=f"{limit} bytes")
    if not text.strip():
        raise UsageError("an empty text is no program: give OpenQASM 2 or 3", where=f"{where}.qasm")
    return Source(text, program.name or "<text>")


def _points(submission: Submission) -> tuple[list[dict[str, float]], tuple[int, ...] | None]:
    points, shape = submission.points, submission.shape
    if points is None:
        if shape is not None:
            raise UsageError("a shape without points", where="shape")
        return [{}], None
    longest = max(map(len, points))
    if longest > POINT_VALUES_MAX:
        raise UsageError(f"{longest} values in one point", where="points", limit=f"{POINT_VALUES_MAX} values")
    if shape is None:
        return list(points), None if len(points) == 1 else (len(points),)
    if math.prod(shape) != len(points):
        raise UsageError(f"shape {list(shape)} does not hold {len(points)} points", where="shape")
    return list(points), shape or None


def _asked(submission: Submission) -> edge.Asked:
    observables = submission.observables
    if submission.scalar and (observables is None or len(observables) != 1):
        raise UsageError("scalar: true needs exactly one observable", where="scalar")
    for index, one in enumerate(observables or ()):
        if isinstance(one, PauliSum):
            _check_sum(one, f"observables[{index}]")
    observable = None if observables is None else observables[0] if submission.scalar else list(observables)
    amplitudes = None if submission.amplitudes is None else list(submission.amplitudes)
    return edge.asked(submission.shots, observable, amplitudes, submission.statevector)


def _check_sum(one: PauliSum, where: str) -> None:
    """The rules that `parse_observable` keeps for text."""
    if len(one.terms) > TERMS_MAX or len(one.text) > SUM_TEXT_MAX:
        limit = f"{TERMS_MAX} terms, {SUM_TEXT_MAX} characters"
        raise UsageError(f"{len(one.terms)} terms and {len(one.text)} characters", where=where, limit=limit)
    for index, term in enumerate(one.terms):
        qubits = [qubit for qubit, _ in term.paulis]
        letters = {letter for _, letter in term.paulis}
        if not letters <= LETTERS or any(a >= b for a, b in zip([-1, *qubits], qubits, strict=False)):
            what = "a term is (qubit, X, Y or Z) in rising order of qubits from 0"
            raise UsageError(what, where=f"{where}.terms[{index}]")
        if not math.isfinite(term.coefficient):
            raise UsageError("a coefficient is not a finite number", where=f"{where}.terms[{index}]")


def _noise(submission: Submission) -> Noise | None:
    given = [name for name in ("noise", "noise_profile", "noise_model") if getattr(submission, name) is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other", where=given[1])
    try:
        if submission.noise is not None:
            return parse_noise(submission.noise)
        if submission.noise_profile is not None:
            return load_profile(submission.noise_profile, "toml")
        if submission.noise_model is not None:
            check_noise(submission.noise_model)
    except UsageError as error:
        where = f"{given[0]}: {error.where}" if error.where else given[0]
        raise UsageError(error.what, where=where, limit=error.limit) from None
    return submission.noise_model
