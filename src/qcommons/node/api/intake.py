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

__all__ = ["RUNS_MAX", "Intake", "intake"]

RUNS_MAX = 100_000  # programs times points: a job is held in memory with its results
TERMS_MAX = 100_000
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
    circuits = tuple(_circuit(one, f"programs[{index}]") for index, one in enumerate(submission.programs))
    return Intake(circuits, points, shape, _asked(submission), _noise(submission), submission.batch)


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
