"""Observables: real-weighted sums of Pauli strings.

Flow: user text -> *PauliSum* -> engines, which return one estimate a sum. In a string the
rightmost letter acts on qubit 0 (as Qiskit writes): "ZZI" is Z on qubits 2 and 1. The sparse form
names the qubits: "Z1 Z2". Sampled expectation values measure one group of qubit-wise commuting
terms at a time (`commuting_groups`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

import msgspec

from qcommons.base.errors import UsageError

__all__ = ["Group", "PauliSum", "Term", "commuting_groups", "parse_observable", "pauli_string"]

TERMS_MAX = 100_000
TEXT_MAX = 16 << 20  # characters
SHOWN = 40  # characters of the user's text in a message
QUBIT_DIGITS_MAX = 9  # a longer number is no qubit, and int() refuses the longest


class Term(msgspec.Struct, frozen=True):
    """`coefficient` times one Pauli string.

    paulis: (qubit, letter) with letter in X, Y, Z, sorted by qubit, identity left out.
    """

    coefficient: float
    paulis: tuple[tuple[int, str], ...]


class PauliSum(msgspec.Struct, frozen=True):
    """A Hermitian observable; `text` is how the user wrote it and labels the answer."""

    terms: tuple[Term, ...]
    text: str


class Group(msgspec.Struct, frozen=True):
    """Terms that one setting measures.

    basis: (qubit, letter) sorted by qubit: measure this Pauli there; other qubits are free.
    terms: (index of the sum, index of the term in it).
    """

    basis: tuple[tuple[int, str], ...]
    terms: tuple[tuple[int, int], ...]


_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_TOKEN = re.compile(
    rf"\s*(?:(?P<sign>[+-])|(?P<times>\*)|(?P<over>/)|(?P<pi>pi(?![\w.]))|(?P<single>[IXYZ]\d+(?![\w.]))|(?P<string>[IXYZ]+(?![\w.]))"
    rf"|(?P<number>{_NUMBER}))",
    re.ASCII,
)


def parse_observable(text: str, n_qubits: int) -> PauliSum:
    """Read a sum of Pauli strings on `n_qubits` qubits.

    Terms are joined by + or -. A term is an optional real coefficient (a number, pi, or a product or quotient of
    them as in "1/2" and "3*pi/4"; with or without `*` after it) and either one string of `n_qubits` letters
    ("-1.5*ZZI") or factors with qubit numbers ("0.5 X2", "Z0*Z3", "Z0 Z3"). A single letter without number is a
    string of one qubit; "I" alone, or a bare number, is the constant at any width. Equal strings are added; the order
    of first appearance stays.

    Raises:
        UsageError: naming character, width, letter or limit.
    """
    if len(text) > TEXT_MAX:
        raise UsageError(f"observable of {len(text)} characters; allowed {TEXT_MAX}", limit=f"{TEXT_MAX} characters")
    sums: dict[tuple[tuple[int, str], ...], float] = {}
    for coefficient, paulis, place in _terms(text, n_qubits):
        sums[paulis] = sums.get(paulis, 0.0) + coefficient
        if not math.isfinite(sums[paulis]):
            raise UsageError("a coefficient is not a finite number", where=_where(text, place))
        if len(sums) > TERMS_MAX:
            raise UsageError(f"more than {TERMS_MAX} terms", where=_where(text, place), limit=f"{TERMS_MAX} terms")
    return PauliSum(tuple(Term(value, paulis) for paulis, value in sums.items()), text.strip())


def _where(text: str, place: int) -> str:
    return f"observable {_short(text)!r}, character {place + 1}"


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def _terms(text: str, n_qubits: int) -> Iterator[tuple[float, tuple[tuple[int, str], ...], int]]:
    """(coefficient, paulis, position in the text) of each term as written."""
    reader = _Reader(text, n_qubits)
    while True:
        yield reader.term()
        if reader.at_end():
            return


class _Reader:
    """Reads terms left to right; `place` is the index of the next character."""

    def __init__(self, text: str, n_qubits: int) -> None:
        self.text = text
        self.n_qubits = n_qubits
        self.place = 0
        self.end = len(text.rstrip())
        self.first = True
        self.after_times = False

    def at_end(self) -> bool:
        return self.place >= self.end

    def fail(self, what: str, place: int) -> UsageError:
        return UsageError(what, where=_where(self.text, place))

    def peek(self) -> tuple[str, str, int, int]:
        """(kind, token, its first character, the character after it); kind "end" at the end."""
        if self.at_end():
            return "end", "", self.end, self.end
        found = _TOKEN.match(self.text, self.place)
        if found is None or found.lastgroup is None:
            place = self.place + len(self.text[self.place :]) - len(self.text[self.place :].lstrip())
            word = re.split(r"[\s*+-]", self.text[place : place + SHOWN], maxsplit=1)[0] or self.text[place]
            raise self.fail(
                f"cannot read {word!r}; terms look like 0.5 ZZI or 0.5 Z1*Z2, with letters I, X, Y, Z", place
            )
        return found.lastgroup, found[found.lastgroup], found.start(found.lastgroup), found.end()

    def term(self) -> tuple[float, tuple[tuple[int, str], ...], int]:
        kind, token, start, after = self.peek()
        coefficient = 1.0
        if kind == "sign":
            coefficient = -1.0 if token == "-" else 1.0
            self.place = after
            kind, token, start, after = self.peek()
        elif not self.first:
            raise self.fail(f"expected + or - before {token!r}", start)
        self.first = False
        if kind in ("number", "pi"):
            coefficient *= self.coefficient()
            kind = self.peek()[0]
            if kind not in ("single", "string") and not self.after_times:
                return coefficient, (), start
        if kind not in ("single", "string"):
            raise self.fail("expected a Pauli string such as ZZI, or factors such as Z1*Z2", self.peek()[2])
        return coefficient, self.paulis(), start

    def coefficient(self) -> float:
        """Numbers and pi, multiplied and divided; `after_times`: a `*` was read that belongs to what follows."""
        value, divides, self.after_times = 1.0, False, False
        while True:
            kind, token, start, after = self.peek()
            if kind not in ("number", "pi"):
                if divides:
                    raise self.fail("expected a number or pi after /, as in 1/2 ZZ", start)
                return value
            factor = math.pi if kind == "pi" else float(token)
            if divides and factor == 0.0:
                raise self.fail("a coefficient divided by zero", start)
            value = value / factor if divides else value * factor
            if not math.isfinite(value):
                raise self.fail(f"coefficient {_short(token)} is not a finite float64", start)
            self.place = after
            last, (kind, _, _, after) = kind, self.peek()
            divides, self.after_times = kind == "over", kind == "times"
            if divides or self.after_times:
                self.place = after
            elif (last, kind) != ("number", "pi"):  # "2 3 ZZ" is a slip of the pen; "2 pi ZZ" is not
                return value

    def paulis(self) -> tuple[tuple[int, str], ...]:
        kind, token, start, after = self.peek()
        if kind == "string":
            self.place = after
            return self._dense(token, start)
        letters: dict[int, str] = {}
        while kind == "single":
            digits = token[1:].lstrip("0") or "0"
            qubit = int(digits) if len(digits) <= QUBIT_DIGITS_MAX else self.n_qubits
            if qubit >= self.n_qubits:
                named = f"{_short(token)} is on qubit {_short(digits)}"
                raise self.fail(f"{named}; the circuit has qubits 0 to {self.n_qubits - 1}", start)
            if qubit in letters:
                raise self.fail(
                    f"{_short(token)}: qubit {qubit} appears twice in one term; multiply the letters first", start
                )
            letters[qubit] = token[0]
            self.place = after
            kind, token, start, after = self.peek()
            if kind == "times":
                self.place = after
                kind, token, start, after = self.peek()
                if kind != "single":
                    raise self.fail("expected a factor such as Z1 after *", start)
        return tuple(sorted((q, letter) for q, letter in letters.items() if letter != "I"))

    def _dense(self, token: str, start: int) -> tuple[tuple[int, str], ...]:
        if token == "I":
            return ()
        if len(token) != self.n_qubits:
            raise self.fail(
                f"{_short(token)} has {len(token)} letters and the circuit has {self.n_qubits} qubits; "
                "give one letter a qubit, or name the qubits as in Z0*Z3",
                start,
            )
        return tuple((q, letter) for q, letter in enumerate(reversed(token)) if letter != "I")


def pauli_string(term: Term, n_qubits: int) -> str:
    """The letters of a term, one a qubit, qubit 0 rightmost; the coefficient is left out."""
    letters = ["I"] * n_qubits
    for qubit, letter in term.paulis:
        letters[n_qubits - 1 - qubit] = letter
    return "".join(letters)


def commuting_groups(sums: PauliSum | Sequence[PauliSum]) -> tuple[Group, ...]:
    """Groups of qubit-wise commuting terms, greedy from the largest coefficient (sorted insertion).

    A term joins the first group whose basis agrees with it on every qubit they share. Constants need no
    measurement and are in no group. Equal strings of different sums land in one group.
    Source: Crawford et al., Quantum 5, 385 (2021), with qubit-wise in place of full commutation.
    """
    many = (sums,) if isinstance(sums, PauliSum) else tuple(sums)
    order = sorted(
        ((s, t) for s, one in enumerate(many) for t, term in enumerate(one.terms) if term.paulis),
        key=lambda at: -abs(many[at[0]].terms[at[1]].coefficient),
    )
    bases: list[dict[int, str]] = []
    members: list[list[tuple[int, int]]] = []
    known: dict[tuple[tuple[int, str], ...], int] = {}
    for s, t in order:
        paulis = many[s].terms[t].paulis
        group = known.get(paulis)
        if group is None:
            group = next((g for g, basis in enumerate(bases) if _agrees(basis, paulis)), len(bases))
            if group == len(bases):
                bases.append({})
                members.append([])
            bases[group].update(paulis)
            known[paulis] = group
        members[group].append((s, t))
    return tuple(
        Group(tuple(sorted(basis.items())), tuple(inside)) for basis, inside in zip(bases, members, strict=True)
    )


def _agrees(basis: dict[int, str], paulis: tuple[tuple[int, str], ...]) -> bool:
    return all(basis.get(q, letter) == letter for q, letter in paulis)
