"""The derived job while a row makes it: programs once, runs numbered, and the parts that point at them.

Flow: Row.make -> *Runs* -> Made. Rows ask for what they need; what is asked twice is run once: programs of equal
canonical bytes and equal wants are one program, exact estimates of one program are one want, and an exact run of one
program with equal values is one run, whoever asked for it. Sampled runs are never shared: they must be independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from qcommons.base.errors import Unavailable
from qcommons.base.ids import hash_id
from qcommons.circuits.observables import PauliSum
from qcommons.circuits.program import Program, count_ops
from qcommons.circuits.wire import encode
from qcommons.engines.records import Expectations, Want
from qcommons.jobs.outcomes import Outcome
from qcommons.jobs.plan.records import Part, Same
from qcommons.jobs.plan.row import RUNS_MAX, Made
from qcommons.jobs.records import Card, Job, Point

__all__ = ["Runs"]


class Runs:
    """Collects the programs, wants and runs of a job derived from `asked`."""

    def __init__(self, asked: Job) -> None:
        self._asked = asked
        self._cards: list[Card] = []
        self._wants: list[Want | dict[PauliSum, int]] = []  # a dict: exact estimates, by the number each will have
        self._points: list[Point] = []
        self._settled: dict[int, Outcome] = {}
        self._programs: dict[tuple[bytes, Want | None], int] = {}
        self._own: dict[int, int] = {}  # program of the asked job -> here
        self._once: dict[tuple[int, tuple[tuple[str, float], ...]], int] = {}

    def __len__(self) -> int:
        return len(self._points)

    def same(self, index: int) -> Same:
        """Run `index` of the asked job as it is."""
        point = self._asked.points[index]
        number = self._own.get(point.program)
        if number is None:
            number = self._own[point.program] = len(self._cards)
            self._cards.append(self._asked.programs[point.program])
            self._wants.append(self._asked.wants[point.program])
        place = self._append(Point(number, point.values, point.seed))
        if index in self._asked.settled:
            self._settled[place] = self._asked.settled[index]
        return Same(place)

    def program(self, program: Program, want: Want, name: str = "") -> int:
        """Number of a program with its want; `name` is shown to people."""
        wire = encode(program)
        key = (wire, want)
        if key not in self._programs:
            self._programs[key] = self._card(program, wire, name)
            self._wants.append(want)
        return self._programs[key]

    def exact(self, program: Program, observables: Sequence[PauliSum], name: str = "") -> tuple[int, tuple[int, ...]]:
        """Number of a program, and the number that the estimate of each observable will have in its answers."""
        wire = encode(program)
        key = (wire, None)
        if key not in self._programs:
            self._programs[key] = self._card(program, wire, name)
            self._wants.append({})
        number = self._programs[key]
        places = self._wants[number]
        assert isinstance(places, dict)
        return number, tuple(places.setdefault(observable, len(places)) for observable in observables)

    def point(self, program: int, values: Mapping[str, float], seed: int, *, once: bool = False) -> int:
        """Number of a run. once: an equal run that was asked with `once` before serves this one too (exact ones).

        Raises:
            Unavailable: more than RUNS_MAX runs.
        """
        if not once:
            return self._append(Point(program, dict(values), seed))
        key = (program, tuple(sorted(values.items())))
        if key not in self._once:
            self._once[key] = self._append(Point(program, dict(values), seed))
        return self._once[key]

    def made(self, parts: Sequence[Part]) -> Made:
        """The job as collected; `parts`, one for each run of the asked job."""
        wants = tuple(Expectations(tuple(want)) if isinstance(want, dict) else want for want in self._wants)
        job = msgspec.structs.replace(
            self._asked, programs=tuple(self._cards), wants=wants, points=tuple(self._points), settled=self._settled
        )
        return Made(job, tuple(parts))

    def _append(self, point: Point) -> int:
        if len(self._points) == RUNS_MAX:
            limit = f"{RUNS_MAX:,} runs"
            raise Unavailable(f"the plan needs more than {limit}; submit fewer points at once", limit=limit)
        self._points.append(point)
        return len(self._points) - 1

    def _card(self, program: Program, wire: bytes, name: str) -> int:
        self._cards.append(
            Card(wire, hash_id(wire), program.n_qubits, program.cregs, program.inputs, count_ops(program.ops), (), name)
        )
        return len(self._cards) - 1
