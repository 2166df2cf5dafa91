"""Wants, noise and answers as they cross between nodes: compact canonical values, read as a stranger's.

Flow: Piece -> *want_value, noise_value* -> offer => peer: *want_of, noise_of* -> Piece; Answer -> `answer_bytes`
(verify/receipt) => submitter: *answer_of* -> Answer. docs/protocol/work.md has the CDDL. Lists of numbers travel packed
in byte strings: a term or a count each would cost more to scan than to compute.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from itertools import pairwise
from operator import lt
from typing import Any

import msgspec

from qcommons.base.canonical import decode
from qcommons.base.errors import PeerError, UsageError
from qcommons.base.typed import described
from qcommons.circuits.noise import Channel, Noise, Rule, check_fits, check_noise
from qcommons.circuits.observables import PauliSum, Term
from qcommons.engines.records import Amplitudes, Answer, Counts, Estimate, Expectations, Slices, Statevector, Want
from qcommons.jobs.plan.slicing.wire import FIELDS, slices_of, slices_value
from qcommons.verify.receipt import answer_bytes

__all__ = ["ANSWER_BYTES_MAX", "answer_of", "noise_of", "noise_value", "want_of", "want_value"]

SHOTS_MAX = 10**9
SUMS_MAX = 10_000
TERMS_MAX = 100_000  # of all observables of a want
FACTORS_MAX = 1 << 20  # letters of all their terms
BITSTRINGS_MAX = 1 << 16
RULES_MAX = 10_000
ANSWER_BYTES_MAX = 48 << 20  # a statevector of 20 qubits is 16 MiB, a million counts of 40 bits 46 MiB
ESTIMATE_ITEMS = 4
LETTERS = "XYZ"


# wants


def want_value(want: Want) -> list[Any]:
    """The want as a value for `canonical.encode`. Raises UsageError for one that has no wire form."""
    match want:
        case Counts(shots):
            return ["counts", shots]
        case Expectations(observables, shots):
            return ["expectations", [_sum_value(one) for one in observables], shots]
        case Amplitudes(bitstrings):
            width = len(bitstrings[0]) if bitstrings else 0
            return ["amplitudes", width, "".join(bitstrings)]
        case Statevector():
            return ["statevector"]
        case Slices():
            return slices_value(want)
    raise UsageError(f"{type(want).__name__} has no wire form", where="want")


def want_of(value: Any, n_qubits: int) -> Want:
    """The want that a peer asks of a program of `n_qubits`. Raises PeerError; `where` is "want"."""
    kind = value[0] if isinstance(value, list) and value else None
    reader = _WANTS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise _bad(f"{str(kind)[:40]!r} is no kind of want", f"one of {', '.join(_WANTS)}")
    size, read = reader
    if len(value) != size:
        raise _bad(f"{len(value)} fields of {kind}; {size} are needed")
    return read(value, n_qubits)


def _counts(value: list[Any], n_qubits: int) -> Want:
    return Counts(_whole(value[1], 1, SHOTS_MAX, "shots"))


def _expectations(value: list[Any], n_qubits: int) -> Want:
    sums = value[1]
    if not isinstance(sums, list) or not 1 <= len(sums) <= SUMS_MAX:
        raise _bad("no list of observables", f"1 to {SUMS_MAX}")
    shots = None if value[2] is None else _whole(value[2], 1, SHOTS_MAX, "shots")
    left = [TERMS_MAX, FACTORS_MAX]
    return Expectations(tuple(_sum_of(one, n_qubits, left) for one in sums), shots)


def _amplitudes(value: list[Any], n_qubits: int) -> Want:
    width, joined = _whole(value[1], 1, 1 << 16, "width"), value[2]
    if (
        not isinstance(joined, str)
        or width != n_qubits
        or len(joined) % width
        or not joined
        or set(joined) - {"0", "1"}
    ):
        raise _bad("no bitstrings", f"{n_qubits} characters 0 or 1 each, joined")
    if len(joined) // width > BITSTRINGS_MAX:
        raise _bad(f"{len(joined) // width} bitstrings", f"{BITSTRINGS_MAX}")
    return Amplitudes(tuple(joined[at : at + width] for at in range(0, len(joined), width)))


def _statevector(value: list[Any], n_qubits: int) -> Want:
    return Statevector()


_WANTS: dict[str, tuple[int, Callable[[list[Any], int], Want]]] = {
    "counts": (2, _counts),
    "expectations": (3, _expectations),
    "amplitudes": (3, _amplitudes),
    "statevector": (1, _statevector),
    "slices": (FIELDS, slices_of),
}


def _sum_value(one: PauliSum) -> list[Any]:
    """[coefficients as binary64, number of letters of each term as uint32, (qubit as uint32, letter) each]; all
    little-endian. The user's text stays at home: it labels, and nothing else."""
    terms = one.terms
    coefficients = struct.pack(f"<{len(terms)}d", *(term.coefficient for term in terms))
    sizes = struct.pack(f"<{len(terms)}I", *(len(term.paulis) for term in terms))
    letters = b"".join(
        struct.pack("<IB", qubit, LETTERS.index(letter)) for term in terms for qubit, letter in term.paulis
    )
    return [coefficients, sizes, letters]


def _sum_of(value: Any, n_qubits: int, left: list[int]) -> PauliSum:
    """left: terms and letters that may still come."""
    if not isinstance(value, list) or len(value) != 3 or not all(isinstance(part, bytes) for part in value):
        raise _bad("an observable is three byte strings")
    coefficients, sizes, letters = value
    n_terms, n_letters = len(coefficients) // 8, len(letters) // 5
    left[0] -= n_terms
    left[1] -= n_letters
    if left[0] < 0 or left[1] < 0:
        raise _bad("too many terms or letters", f"{TERMS_MAX} terms, {FACTORS_MAX} letters")
    if len(coefficients) != 8 * n_terms or len(sizes) != 4 * n_terms or len(letters) != 5 * n_letters:
        raise _bad("the parts of an observable do not fit each other")
    numbers = struct.unpack(f"<{n_terms}I", sizes)
    if sum(numbers) != n_letters:
        raise _bad(f"{n_letters} letters; the terms have {sum(numbers)}")
    factors = iter(struct.iter_unpack("<IB", letters))
    terms = []
    for coefficient, count in zip(struct.unpack(f"<{n_terms}d", coefficients), numbers, strict=True):
        paulis = tuple((qubit, _letter(code)) for qubit, code in (next(factors) for _ in range(count)))
        qubits = [qubit for qubit, _ in paulis]
        if any(a >= b for a, b in pairwise(qubits)) or (qubits and qubits[-1] >= n_qubits):
            raise _bad("qubits of a term must rise", f"0 to {n_qubits - 1}")
        if not math.isfinite(coefficient):
            raise _bad("a coefficient is not a finite number")
        terms.append(Term(coefficient, paulis))
    return PauliSum(tuple(terms), "")


def _letter(code: int) -> str:
    if code >= len(LETTERS):
        raise _bad(f"letter {code}", "0, 1, 2 for X, Y, Z")
    return LETTERS[code]


# noise


def noise_value(noise: Noise | None) -> Any:
    """null, or the rules: [gates, qubits, arity, [[kind, values as binary64], ...]] each."""
    if noise is None:
        return None
    return [
        [list(rule.gates), list(rule.qubits), rule.arity,
         [[one.kind, struct.pack(f"<{len(one.values)}d", *one.values)] for one in rule.channels]]
        for rule in noise.rules
    ]  # fmt: skip


class _Rule(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    gates: tuple[str, ...]
    qubits: tuple[int, ...]
    arity: int
    channels: tuple[tuple[str, bytes], ...]


def noise_of(value: Any, n_qubits: int) -> Noise | None:
    """Raises PeerError; `where` begins with "noise"."""
    if value is None:
        return None
    try:
        rules = msgspec.convert(value, described(tuple[_Rule, ...]), strict=True)
    except msgspec.ValidationError as error:
        raise PeerError(f"no rules of noise: {error}", where="noise") from None
    if len(rules) > RULES_MAX:
        raise PeerError(f"{len(rules)} rules of noise", where="noise", limit=f"{RULES_MAX}")
    if any(len(values) % 8 for rule in rules for _, values in rule.channels):
        raise PeerError("values of a channel are 8 bytes each", where="noise")
    noise = Noise(
        tuple(
            Rule(
                channels=tuple(
                    Channel(kind, struct.unpack(f"<{len(values) // 8}d", values)) for kind, values in rule.channels
                ),
                gates=rule.gates, qubits=rule.qubits, arity=rule.arity,
            )
            for rule in rules
        )
    )  # fmt: skip
    try:
        check_noise(noise)
        check_fits(noise, n_qubits)
    except UsageError as error:
        raise PeerError(error.what, where=f"noise, {error.where}", limit=error.limit) from None
    return noise


# answers


def answer_of(data: bytes, engine: str, method: str) -> Answer:
    """The answer whose `answer_bytes` are exactly `data`. Whether it answers a question is for `verify.answers.fault`.

    Raises PeerError; `where` is "answer" or names the byte.
    """
    value = decode(data, bytes_max=ANSWER_BYTES_MAX, items_max=16 + ESTIMATE_ITEMS * SUMS_MAX)
    if not isinstance(value, list) or len(value) != 4 or not isinstance(value[3], float):
        raise PeerError("no answer: four fields are needed, the last a float", where="answer")
    counts, estimates, amplitudes, error_bound = value
    answer = Answer(
        engine, method, counts=_counts_of(counts), estimates=_estimates_of(estimates),
        amplitudes=_amplitudes_of(amplitudes), error_bound=error_bound,
    )  # fmt: skip
    if estimates is None and amplitudes is None:  # canonical bytes: only keys in another order would be others again
        keys = list(answer.counts or ())
        is_same = all(map(lt, keys, keys[1:])) and (counts is None or counts[0] == (len(keys[0]) if keys else 0))
    else:
        is_same = answer_bytes(answer) == data
    if not is_same:
        raise PeerError("encoding the answer again gives other bytes", where="answer")
    return answer


def _counts_of(value: Any) -> dict[str, int] | None:
    if value is None:
        return None
    good = isinstance(value, list) and [type(part) for part in value] == [int, str, bytes]
    if not good or len(value[2]) % 8 or value[0] < 0 or len(value[1]) != value[0] * (len(value[2]) // 8):
        raise PeerError("counts are [bits of a key, keys joined, 8 bytes of shots each]", where="answer")
    width, keys, packed = value
    shots = struct.unpack(f"<{len(packed) // 8}Q", packed)
    counts = {keys[place * width : (place + 1) * width]: times for place, times in enumerate(shots)}
    if len(counts) != len(shots):
        raise PeerError("keys of counts repeat", where="answer")
    return counts


def _estimates_of(value: Any) -> tuple[Estimate, ...] | None:
    if value is None:
        return None
    found: list[Estimate] = []
    for row in value if isinstance(value, list) else [None]:
        kinds = [type(part) for part in row] if isinstance(row, list) else []
        if row is None or kinds[:2] != [float, float] or kinds[2:] not in ([int], [type(None)]):
            raise PeerError("an estimate is [value, standard error, shots or null]", where="answer")
        found.append(Estimate(row[0], row[1], row[2]))
    return tuple(found)


def _amplitudes_of(value: Any) -> tuple[tuple[float, float], ...] | None:
    if value is None:
        return None
    if not isinstance(value, bytes) or len(value) % 16:
        raise PeerError("amplitudes are 16 bytes each", where="answer")
    return tuple(struct.iter_unpack("<dd", value))


def _whole(value: Any, least: int, most: int, what: str) -> int:
    if type(value) is not int or not least <= value <= most:
        raise _bad(f"{what} {str(value)[:40]}", f"{least} to {most}")
    return value


def _bad(what: str, limit: str | None = None) -> PeerError:
    return PeerError(what if limit is None else f"{what}; allowed: {limit}", where="want", limit=limit)
