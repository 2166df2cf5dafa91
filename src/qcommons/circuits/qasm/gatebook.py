"""Which gate a name means: table rows, the built-in libraries, definitions from the file.

Flow: tree.Define -> *gatebook* -> steps -> builder. Every gate answers `steps(parameters)`. A
definition knows how many steps it makes before it makes any, so that a file of a few lines cannot
ask for 2**40 operations. A definition that bears the name of a row and has its unitary *is* that
row; OpenQASM 2 has no controlled modifiers, so there a global phase does not matter.
"""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections.abc import Callable, Iterator

import numpy as np

from qcommons.base.errors import UsageError
from qcommons.base.seeds import derive
from qcommons.circuits import gates
from qcommons.circuits.program import Param
from qcommons.circuits.qasm.modifiers import COUNT_MAX, modified, modified_count
from qcommons.circuits.qasm.scope import Scope, Unset, Value
from qcommons.circuits.qasm.source import Source, shown
from qcommons.circuits.qasm.steps import Step, matrix_of, plus, times, turns
from qcommons.circuits.qasm.tree import Barrier, Call, Define, For, Name, Statement
from qcommons.circuits.qasm.values import Values
from qcommons.circuits.qasm.wrappers import WRAPPED, wrapper

__all__ = ["Gate", "GateBook"]

DEPTH_MAX = 60  # definitions within definitions; four Python frames each
MEMO_STEPS = 100_000  # steps kept in expanded definitions, about 20 MB
RECOGNISED_STEPS = 2000  # longer bodies are not compared with a row
DEFINITIONS_MAX = 50_000  # gates of one file, about 100 MB
SIMILAR_OWN, SIMILAR_CHARACTERS = 200, 40  # definitions of the file that an unknown name is compared with
FLAT_STATEMENTS = 200_000  # statements of one body after its loops are unrolled
# Rows of stdgates.inc (OpenQASM 3.0); others need a definition there.
STDGATES = frozenset(
    [
        "p",
        "x",
        "y",
        "z",
        "h",
        "s",
        "sdg",
        "t",
        "tdg",
        "sx",
        "rx",
        "ry",
        "rz",
        "cx",
        "cy",
        "cz",
        "cp",
        "crx",
        "cry",
        "crz",
        "ch",
        "swap",
        "ccx",
        "cswap",
        "cu",
        "CX",
        "phase",
        "cphase",
        "id",
        "u1",
        "u2",
        "u3",
    ]
)
# OpenQASM 3: exp(i sum(coefficient * parameter)) before the row; see docs/decisions/0003.
_PHASES_3 = {"U": ("u", (0.5, 0.0, 0.0)), "u3": ("u", (0.0, -0.5, -0.5)), "u2": ("u2", (-0.5, -0.5))}


class Gate:
    """One gate: a row with a phase before it, or a definition's body.

    count: an upper bound of the number of steps. phase: coefficients of the parameters in the
    global phase, with the constant last.
    """

    __slots__ = (
        "controls",
        "count",
        "depth",
        "expand",
        "memo",
        "n_kept",
        "n_params",
        "n_qubits",
        "name",
        "phase",
        "row",
    )

    def __init__(
        self, name: str, n_params: int, n_qubits: int, *, row: str = "", controls: int = 0,
        phase: tuple[float, ...] = (), count: int = 1, depth: int = 0,
        expand: Callable[[tuple[Param, ...]], tuple[Step, ...]] | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self.n_params = n_params
        self.n_qubits = n_qubits
        self.n_kept = gates.GATES[row].n_params if row else n_params
        self.row = row
        self.controls = controls
        self.phase = phase
        self.count = count + bool(phase)
        self.depth = depth
        self.expand = expand

    def steps(self, params: tuple[Param, ...]) -> tuple[Step, ...]:
        """Steps over positions 0 .. n_qubits - 1."""
        if self.expand is not None:
            return self.expand(params)
        own: Step = (self.row, params[: self.n_kept], tuple(range(self.n_qubits)), self.controls)
        if not self.phase:
            return (own,)
        return (("gphase", (self.shift(params),), (), 0), own)

    @property
    def turns(self) -> bool:
        """One phase or rotation, whose integer powers are one step too."""
        return self.expand is None and not self.phase and turns(self.row)

    def shift(self, params: tuple[Param, ...]) -> Param:
        """The global phase before the row, radians."""
        total: Param = self.phase[-1]
        for coefficient, value in zip(self.phase, params, strict=False):
            if coefficient:
                total = plus(total, times(coefficient, value))
        return total


class GateBook:
    """All gates of one source."""

    def __init__(self, source: Source, version: str, values: Values, note: Callable[[str], None]) -> None:
        self.source = source
        self.version = version
        self.values = values
        self.note = note
        self.included = False
        self.gates: dict[str, Gate] = {}
        self.defined: set[str] = set()
        self.memo_steps = 0
        self.known: dict[Step, Step] = {}
        self.points: tuple[float, ...] = ()

    def find(self, name: str, at: int) -> Gate:
        """Raises UsageError at `at` for a name that is no gate."""
        gate = self.gates.get(name)
        if gate is None:
            gate = self._built_in(name)
            if gate is None:
                raise self.source.error(
                    f"gate {shown(name)} is not defined before this place, nor built in (docs/gates.md lists those)"
                    f"{self._similar(name)}",
                    at,
                )
            self._note_origin(name)
            self.gates[name] = gate
        return gate

    def look(self, name: str) -> Gate | None:
        """What `name` means so far, with no trace left; None where it means nothing."""
        return self.gates.get(name) or self._built_in(name)

    def _similar(self, name: str) -> str:
        """What may have been meant. Few and short names are compared: a file chooses their number and length."""
        own = itertools.islice((known for known in self.gates if len(known) <= SIMILAR_CHARACTERS), SIMILAR_OWN)
        near = difflib.get_close_matches(name[:SIMILAR_CHARACTERS], [*gates.GATES, *gates.ALIASES, *own], n=1)
        return f"; did you mean {near[0]}?" if near else "; define it first"

    def _built_in(self, name: str) -> Gate | None:
        if self.version == "3" and name in _PHASES_3:
            row, phase = _PHASES_3[name]
            return Gate(name, len(phase), 1, row=row, phase=(*phase, 0.0))
        if self.version == "2" and name in ("U", "u0"):
            return Gate(name, 3, 1, row="u") if name == "U" else Gate(name, 1, 1, row="id")
        row = gates.ALIASES.get(name, name)
        found = gates.GATES.get(row)
        if found is None or (name == "gphase" and self.version == "2"):
            return None
        return Gate(name, found.n_params, found.n_qubits, row=row)

    def _note_origin(self, name: str) -> None:
        if name in ("U", "CX", "gphase"):
            return
        library = "qelib1.inc" if self.version == "2" else "stdgates.inc"
        if not self.included:
            self.note(f"no include of {library}: gates that are not defined are taken from the gate table")
        elif self.version == "3" and name not in STDGATES:
            self.note(f"gate {name} is not in {library}: taken from the gate table")

    # --- definitions --------------------------------------------------------------------------

    def define(self, node: Define, scope: Scope) -> None:
        """Check a definition, count it, recognise it or keep it for expansion."""
        # `pi` is a keyword of OpenQASM 2; in 3 only the top level cannot declare it again.
        names = (node.name, *node.parameters, *node.qubits) if self.version == "2" else (node.name,)
        for name in names:
            self.values.refuse_constant(name, node.at)
        if node.name in self.defined:
            raise self.source.error(f"gate {shown(node.name)} is defined twice; give the second another name", node.at)
        if len(self.defined) >= DEFINITIONS_MAX:
            raise self.source.error(
                f"more than {DEFINITIONS_MAX} gate definitions; remove unused ones", node.at,
                limit=f"{DEFINITIONS_MAX} definitions",
            )  # fmt: skip
        gate = self._wrapped(node) or self._compiled(node, scope)
        self.defined.add(node.name)
        if node.body is not None and gate.expand is not None:
            row = self._recognised(gate)
            gate = row or gate
        self.gates[node.name] = gate

    def _wrapped(self, node: Define) -> Gate | None:
        """A definition written by `dumps` for a row that OpenQASM 3 has no other way to say."""
        match = WRAPPED.fullmatch(node.name)
        if match is None or match["row"] not in gates.GATES:
            return None
        row, controls = match["row"], int(match["controls"] or 0)
        text = re.sub(r"\s+", " ", self.source.text[node.at : node.stop])
        if len(node.qubits) != gates.GATES[row].n_qubits + controls or text != wrapper(row, controls)[1]:
            return None
        return Gate(node.name, len(node.parameters), len(node.qubits), row=row, controls=controls)

    def _compiled(self, node: Define, scope: Scope) -> Gate:
        n_params, n_qubits = len(node.parameters), len(node.qubits)
        if node.body is None:

            def refuse(_: tuple[Param, ...]) -> tuple[Step, ...]:
                raise self.source.error(f"gate {node.name} is opaque: it has no definition; give it a body", node.at)

            return Gate(node.name, n_params, n_qubits, expand=refuse)
        body = _Body(self, node, scope)
        return Gate(node.name, n_params, n_qubits, count=body.count, depth=body.depth, expand=body.steps)

    def moved(self, steps: tuple[Step, ...], places: tuple[int, ...]) -> Iterator[Step]:
        """Steps with position i at `places[i]`, equal ones one object; a repeated object is worked on once."""
        made: dict[int, Step] = {}
        for step in steps:
            found = made.get(id(step))
            if found is None:
                row, params, positions, controls = step
                found = (row, params, tuple([places[i] for i in positions]), controls)
                if len(self.known) >= MEMO_STEPS:
                    self.known.clear()
                found = made[id(step)] = self.known.setdefault(found, found)
            yield found

    def _points(self) -> tuple[float, ...]:
        """Two angles in (-3, 3) that nobody writes a definition around: drawn from the text itself."""
        if not self.points:
            self.points = tuple(derive(which, "points", self.source.text) / 2**63 * 6 - 3 for which in range(2))
        return self.points

    def _recognised(self, gate: Gate) -> Gate | None:
        """The row of that name if the definition's unitary is the row's."""
        row = gates.GATES.get(gates.ALIASES.get(gate.name, gate.name))
        if row is None or (row.n_params, row.n_qubits) != (gate.n_params, gate.n_qubits) or row.name == "gphase":
            return None
        if gate.count > RECOGNISED_STEPS:
            return None
        shift = 0.0
        for point in self._points() if row.n_params else (0.0,):
            params = tuple(point + 0.71 * i for i in range(row.n_params))
            try:
                found = matrix_of(gate.steps(params), row.n_qubits)
            except UsageError:  # such as sqrt of this point: expansion will tell where it matters
                return None
            wanted = row.unitary(*params)
            overlap = complex(np.vdot(wanted, found)) / wanted.shape[0]
            exact = self.version == "3" and row.n_params > 0
            if abs(overlap - 1) > 1e-10 if exact else abs(abs(overlap) - 1) > 1e-10:
                return None
            shift = math.atan2(overlap.imag, overlap.real)
        keep = self.version == "3" and not row.n_params and abs(shift) > 1e-12
        return Gate(gate.name, row.n_params, row.n_qubits, row=row.name, phase=(shift,) if keep else ())


class _Body:
    """A definition's statements with loops unrolled, names resolved and steps counted."""

    def __init__(self, book: GateBook, node: Define, scope: Scope) -> None:
        self.book = book
        self.node = node
        self.places = {name: i for i, name in enumerate(node.qubits)}
        self.flat: list[tuple[Call | Barrier, Scope, tuple[int, ...], Gate | None]] = []
        self.memo: dict[tuple[Param, ...], tuple[Step, ...]] = {}
        self.count = 0
        self.depth = 1
        # Parameters have no value yet; loops and powers may use constants only. Both kinds of names hide
        # what the file calls so.
        here = f"gate {node.name}, with no value while it is defined"
        self.qubits: dict[str, Value] = dict.fromkeys(node.qubits, Unset(f"a qubit of {here}"))
        self.bound = Scope(scope, {**self.qubits, **dict.fromkeys(node.parameters, Unset(f"a parameter of {here}"))})
        self._flatten(node.body or (), self.bound)

    def _flatten(self, body: tuple[Statement, ...], scope: Scope) -> None:
        for statement in body:
            match statement:
                case Call():
                    self._call(statement, scope)
                case Barrier():
                    self._keep(statement, scope, None)
                    self.count += 1
                case For():
                    domain = self.book.values.domain(statement, scope)
                    self.book.values.spend(8 * len(domain), statement.at)
                    for value in domain:
                        self._flatten(statement.body, Scope(scope, {statement.variable: value}))
                case _:
                    raise self.book.source.error(
                        f"gate {self.node.name} holds something that is no gate; allowed: gates, barrier, for",
                        statement.at,
                    )

    def _call(self, call: Call, scope: Scope) -> None:
        book = self.book
        gate = book.find(call.name, call.at)
        if len(call.arguments) != gate.n_params:
            raise book.source.error(
                f"{call.name} takes {gate.n_params} parameter(s); got {len(call.arguments)}", call.at
            )
        self.depth = max(self.depth, gate.depth + 1)
        if self.depth > DEPTH_MAX:
            raise book.source.error(
                f"gate {self.node.name} is {self.depth} definitions deep; allowed 1 to {DEPTH_MAX}",
                call.at, limit=f"{DEPTH_MAX} definitions",
            )  # fmt: skip
        count, extra = modified_count(book.values, call, gate.count, gate.turns, scope)
        wanted = gate.n_qubits + extra
        if len(call.operands) != wanted:
            raise book.source.error(f"{call.name} acts on {wanted} qubit(s) here; got {len(call.operands)}", call.at)
        self.count = min(self.count + count, COUNT_MAX)
        self._keep(call, scope, gate)

    def _keep(self, statement: Call | Barrier, scope: Scope, gate: Gate | None) -> None:
        source = self.book.source
        places: list[int] = []
        for operand in statement.operands:
            place = self.places.get(operand.name) if isinstance(operand, Name) else None
            if place is None:
                raise source.error(f"gate {self.node.name} acts on its own qubits only, without index", operand.at)
            places.append(place)
        if len(set(places)) != len(places):
            raise source.error("a qubit occurs twice among the operands", statement.at)
        if not statement.operands and isinstance(statement, Barrier):
            places = list(range(len(self.node.qubits)))
        if len(self.flat) >= FLAT_STATEMENTS:
            raise source.error(
                f"gate {self.node.name} has more than {FLAT_STATEMENTS} statements", statement.at,
                limit=f"{FLAT_STATEMENTS} statements",
            )  # fmt: skip
        self.book.values.spend(len(places), statement.at)
        self.flat.append((statement, scope, tuple(places), gate))

    def steps(self, params: tuple[Param, ...]) -> tuple[Step, ...]:
        """All steps for these parameters, remembered while there is room."""
        steps = self.memo.get(params)
        if steps is None:
            steps = self._expand(params)
            if self.book.memo_steps + len(steps) < MEMO_STEPS:
                self.book.memo_steps += len(steps) + 1
                self.memo[params] = steps
        return steps

    def _expand(self, params: tuple[Param, ...]) -> tuple[Step, ...]:
        """All steps; equal ones are one object."""
        book = self.book
        steps: list[Step] = []
        self.bound.names = {**self.qubits, **dict(zip(self.node.parameters, params, strict=True))}
        for statement, scope, places, gate in self.flat:
            if gate is None or isinstance(statement, Barrier):
                steps.append(("barrier", (), places, 0))
                continue
            book.values.spend(1, statement.at)
            if gate.count == 0:
                continue
            arguments = tuple(book.values.angle(argument, scope) for argument in statement.arguments)
            inner = gate.steps(arguments)
            if statement.modifiers:
                inner = modified(book.values, statement, inner, scope, book.note)
            if gate.expand is not None and not statement.modifiers and places == tuple(range(len(places))):
                steps.extend(inner)  # as they are, and one object each already
            else:
                steps.extend(book.moved(inner, places))
        return tuple(steps)
