"""What a person gets back: `Result` for one run, `Results` for a sweep or a list.

Flow: outcomes -> assemble -> *Result, Results* -> clients. Frozen; every number with its error bar.
Bitstrings: classical bit 0 rightmost, registers joined by a space, the last declared leftmost. The
JSON form is in `schema.py`, the text form of it in `text.py`, HTML, tables and plots in `views.py`.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NoReturn, TypeVar, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from qcommons.base.errors import QCommonsError, UsageError
from qcommons.engines.execute import Attempt, Execution
from qcommons.engines.records import Answer, Cost
from qcommons.engines.standard_error import proportion_error
from qcommons.jobs.outcomes import Done, ErrorInfo, Outcome, error_of, exception_of, status_of

__all__ = ["PHYSICS", "Result", "Results", "spaced"]

PHYSICS: Final = "emulated"  # every engine of this package is a simulator
ASKED: Final = {
    "counts": "shots=... without observable, amplitudes or statevector", "expectations": "observable=...",
    "amplitudes": "amplitudes=...", "statevector": "statevector=True",
}  # fmt: skip
T = TypeVar("T")


def spaced(counts: Mapping[str, int], cregs: Sequence[tuple[str, int]]) -> dict[str, int]:
    """Counts with a space between registers, most frequent first, ties in order of the bits.

    counts: all bits without spaces, classical bit 0 rightmost. cregs: in order of declaration.
    """
    ranked = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    if len(cregs) < 2:
        return dict(ranked)
    ends = [0]
    for _, size in reversed(cregs):  # the last declared register is leftmost
        ends.append(ends[-1] + size)
    cuts = [slice(a, b) for a, b in itertools.pairwise(ends)]
    return {" ".join([bits[cut] for cut in cuts]): shots for bits, shots in ranked}


class Result(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One run of one program.

    job, index, program, program_id, name: which run this is; `values` what its inputs were bound to.
    seed: run the same program with this seed and you get this very answer again.
    shots: samples taken; None where the answer is computed, not sampled.
    observables: texts of the observables asked, in order; `scalar` if one was given, not a list.
    bitstrings: of the amplitudes asked, in order.
    outcome: how it ended; the fields of the answer raise its error unless it is `Done`.
    """

    job: str
    index: int
    program: int
    program_id: str
    name: str
    n_qubits: int
    values: dict[str, float]
    seed: int
    shots: int | None
    observables: tuple[str, ...] = ()
    scalar: bool = True
    bitstrings: tuple[str, ...] = ()
    wanted: str
    outcome: Outcome
    parse_notes: tuple[str, ...] = ()

    # how it ended

    @property
    def status(self) -> str:
        """`done`, `failed`, `refused` or `cancelled`."""
        return status_of(self.outcome)

    @property
    def error(self) -> ErrorInfo | None:
        return error_of(self.outcome)

    @property
    def exception(self) -> QCommonsError | None:
        """The error that `raise_for_error` raises; its `exit_code` is the command line's."""
        return exception_of(self.outcome)

    def raise_for_error(self) -> None:
        """Raises UsageError, Unavailable or Corrupt unless the run was answered."""
        error = self.exception
        if error is not None:
            raise error

    # the answer

    @functools.cached_property
    def counts(self) -> dict[str, int]:
        """Bitstring -> shots, most frequent first."""
        return spaced(self._only("counts", self._answer.counts), self._execution.cregs)

    @property
    def registers(self) -> tuple[tuple[str, int], ...]:
        """(name, bits) of each register in the keys of `counts`, in order of declaration: the last is leftmost."""
        self._only("counts", self._answer.counts)
        return self._execution.cregs

    @property
    def probabilities(self) -> dict[str, float]:
        """Bitstring -> estimated probability, count / shots."""
        counts = self.counts
        total = sum(counts.values())
        return {bits: count / total for bits, count in counts.items()}

    @property
    def expectation(self) -> float | list[float]:
        """<O> for the observable given, a list if a list was given."""
        values = [estimate.value for estimate in self._only("expectations", self._answer.estimates)]
        return values[0] if self.scalar else values

    @property
    def stderr(self) -> float | list[float] | dict[str, float]:
        """Standard errors: of each expectation value (0.0: computed, not sampled), or of each probability.

        What was computed may still be off by `error_bound`.
        A binomial proportion has sqrt(p (1 - p) / shots), estimated with p = (count + 1) / (shots + 2): see
        `engines/standard_error`.
        """
        if self._answer.counts is not None:
            shots = sum(self.counts.values())
            return {bits: proportion_error(count, shots) for bits, count in self.counts.items()}
        errors = [estimate.stderr for estimate in self._only("expectations", self._answer.estimates)]
        return errors[0] if self.scalar else errors

    @property
    def amplitudes(self) -> dict[str, complex]:
        """Bitstring (rightmost character is qubit 0) -> <bits|psi>."""
        pairs = self._only("amplitudes", self._answer.amplitudes)
        if self.bitstrings:
            return {bits: complex(*pair) for bits, pair in zip(self.bitstrings, pairs, strict=True)}
        return {format(index, f"0{self.n_qubits}b"): complex(*pair) for index, pair in enumerate(pairs)}

    @property
    def statevector(self) -> NDArray[np.complex128]:
        """All amplitudes, complex128 of shape (2**n,), qubit 0 least significant; needs statevector=True."""
        pairs = self._only("statevector", None if self.bitstrings else self._answer.amplitudes)
        return np.array(pairs, dtype=np.float64).view(np.complex128).reshape(-1)

    # its story

    @property
    def engine(self) -> str:
        return self._answer.engine

    @property
    def method(self) -> str:
        return self._answer.method

    @property
    def reason(self) -> str:
        """Why this engine and method."""
        return self._execution.reason

    @property
    def predicted_cost(self) -> Cost:
        return self._execution.predicted

    @property
    def seconds(self) -> float:
        """Seconds the run took in the worker, planning included."""
        return self._execution.seconds

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        return self._execution.attempts

    @property
    def error_bound(self) -> float:
        """Bound or estimate of the method's own error, beside that of sampling; 0.0 for exact methods.

        Of any expectation value; of the norm of the error of the amplitudes; of the total variation of the
        distribution that counts were drawn from.
        """
        return self._answer.error_bound

    @property
    def exact(self) -> bool:
        """Computed, not sampled, and the method's own error is 0: right up to the rounding of float64."""
        sampled = self._answer.counts is not None or any(e.shots is not None for e in self._answer.estimates or ())
        return not sampled and self.error_bound == 0

    @property
    def facts(self) -> dict[str, float]:
        return self._answer.facts

    @property
    def notes(self) -> tuple[str, ...]:
        """Other things worth knowing, from the parser and from the run."""
        return self.parse_notes + (self._execution.notes if isinstance(self.outcome, Done) else ())

    @property
    def physics(self) -> Literal["emulated"]:
        return PHYSICS

    # views

    def to_dict(self) -> dict[str, Any]:
        """The JSON object as plain data; schema in docs/schema/run.schema.json."""
        from qcommons.jobs.schema import run_object

        data: dict[str, Any] = msgspec.to_builtins(run_object(self))
        return data

    def to_json(self) -> str:
        """One JSON object, in one line."""
        from qcommons.jobs.schema import run_object

        return msgspec.json.encode(run_object(self)).decode()

    def to_pandas(self) -> Any:
        """A DataFrame: a row an outcome, an observable or an amplitude. Needs the extra `pandas`."""
        from qcommons.jobs.views import frame

        self.raise_for_error()
        return frame([self])

    def plot_histogram(self, ax: Any = None) -> Any:
        """Bars with standard errors on matplotlib axes, which are returned. Needs the extra `plots`."""
        from qcommons.jobs.views import plot_counts

        return plot_counts(self, ax)

    def _repr_html_(self) -> str:
        from qcommons.jobs.views import html

        return html(self)

    def __str__(self) -> str:
        from qcommons.jobs.text import printable, render

        return printable(render(self.to_dict()))

    def __repr__(self) -> str:
        ran = f"{self.engine}/{self.method}, " if isinstance(self.outcome, Done) else ""
        shots = "" if self.shots is None else f"{self.shots} shots, "
        return f"<Result {self.job}: run {self.index}, {ran}{shots}{self.status}>"

    # inside

    @property
    def _execution(self) -> Execution:
        if isinstance(self.outcome, Done):
            return self.outcome.execution
        self.raise_for_error()
        raise AssertionError("an outcome that is not Done has an error")

    @property
    def _answer(self) -> Answer:
        return self._execution.answer

    def _only(self, asked: str, value: T | None) -> T:
        if value is None:
            raise UsageError(f"this run holds {self.wanted}, not {asked}: pass {ASKED[asked]} to run(...)", where=asked)
        return value


class Results(Sequence[Result]):
    """The runs of one job, in order: programs outermost, then the points of the sweep.

    shape: of the grid of runs: (programs,) if a list was given, then the broadcast shape of the
        arrays in `bind` (or the length of a list of points).
    status, cause: of the whole job. seed: its root seed. seconds: wall time from submission to end.
    """

    def __init__(
        self,
        runs: Iterable[Result],
        *,
        job: str,
        seed: int,
        status: str,
        cause: str,
        seconds: float,
        shape: tuple[int, ...],
    ) -> None:
        self._runs = tuple(runs)
        self.job, self.seed, self.status, self.cause, self.seconds = job, seed, status, cause, seconds
        self.shape = shape
        if math.prod(shape) != len(self._runs):
            raise UsageError(f"shape {shape} does not hold {len(self._runs)} runs", where="shape")

    @overload
    def __getitem__(self, index: int) -> Result: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Result, ...]: ...
    def __getitem__(self, index: int | slice) -> Result | tuple[Result, ...]:
        return self._runs[index]

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Result]:
        return iter(self._runs)

    @property
    def errors(self) -> dict[int, ErrorInfo]:
        """Index of the run -> its error, for those that were not answered."""
        return {run.index: error for run in self._runs if (error := run.error) is not None}

    def raise_for_errors(self) -> None:
        """Raises the first run's error, saying how many there are; nothing if all were answered."""
        failed = [run for run in self._runs if not isinstance(run.outcome, Done)]
        if not failed:
            return
        error = failed[0].exception
        if error is None:
            raise AssertionError("an outcome that is not Done has an error")
        error.add_note(f"{len(failed)} of {len(self)} runs were not answered; this is run {failed[0].index}")
        raise error

    @property
    def counts(self) -> list[dict[str, int]]:
        """Of every run; raises if one was not answered."""
        return [run.counts for run in self._runs]

    @property
    def probabilities(self) -> list[dict[str, float]]:
        return [run.probabilities for run in self._runs]

    @property
    def amplitudes(self) -> list[dict[str, complex]]:
        return [run.amplitudes for run in self._runs]

    @property
    def expectation(self) -> NDArray[np.float64]:
        """float64 of shape `shape`, with one axis more for a list of observables; nan: not answered."""
        return self._grid(lambda run: run.expectation)

    @property
    def stderr(self) -> Any:
        """Standard errors: of `expectation` as float64 of the same shape; of counts a list, a dict a run."""
        if self._runs and all(run.wanted == "counts" for run in self._runs):
            return [run.stderr for run in self._runs]
        return self._grid(lambda run: run.stderr)

    def _grid(self, value: Callable[[Result], Any]) -> NDArray[np.float64]:
        widths = {1 if run.scalar else len(run.observables) for run in self._runs}
        if any(run.wanted != "expectations" for run in self._runs):
            raise UsageError("these runs hold no expectations: pass observable=... to run(...)", where="expectation")
        if len(widths) > 1:
            raise UsageError(f"runs with different numbers of observables: {sorted(widths)}", where="expectation")
        scalar = all(run.scalar for run in self._runs)
        width = 1 if scalar else widths.pop() if widths else 0
        rows = [value(run) if isinstance(run.outcome, Done) else [math.nan] * width for run in self._runs]
        table = np.array(rows, dtype=np.float64).reshape(len(self._runs), width)
        return table.reshape(self.shape if scalar else (*self.shape, width))

    @property
    def physics(self) -> Literal["emulated"]:
        return PHYSICS

    def to_dict(self) -> dict[str, Any]:
        """One object: `job`, `status`, ... and `results`, one a run; schema in docs/schema/run.schema.json."""
        from qcommons.jobs.schema import batch_object

        data: dict[str, Any] = msgspec.to_builtins(batch_object(self))
        return data

    def to_json(self) -> str:
        """The same as JSON text in one line."""
        from qcommons.jobs.schema import batch_object

        return msgspec.json.encode(batch_object(self)).decode()

    def to_pandas(self) -> Any:
        """A DataFrame: a row for each outcome, observable or amplitude of each run, bound inputs as columns."""
        from qcommons.jobs.views import frame

        return frame(self._runs)

    def plot(self, ax: Any = None) -> Any:
        """Expectation values with their errors against the swept input, on matplotlib axes, which are returned.

        Needs the extra `plots`. Raises UsageError where the runs hold counts or amplitudes.
        """
        from qcommons.jobs.views import plot_values

        return plot_values(self, ax)

    def plot_histogram(self, ax: Any = None) -> NoReturn:
        """Raises UsageError: a histogram is of one run."""
        raise UsageError(
            f"a histogram is of one run, these are {len(self)}: results[0].plot_histogram() plots the first; "
            "results.plot() plots expectation values against the swept input", where="plot_histogram",
        )  # fmt: skip

    def _repr_html_(self) -> str:
        from qcommons.jobs.views import html_table

        return html_table(self)

    def __str__(self) -> str:
        from qcommons.jobs.text import printable, render

        return printable(render(self.to_dict()))

    def __repr__(self) -> str:
        return f"<Results {self.job}: {len(self)} runs, shape {self.shape}, {self.status}>"
