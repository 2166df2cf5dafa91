"""The answer of an ended job as it is read again: run by run, so that a large one is never decoded whole.

Flow: store -> *KeptAnswer* -> api (pieces of an answer), views (why a job ended so), sealing (its receipts).
How large an answer can become is known before anything runs: *check_answer* -> refusals. Of the owner's counts it is
not: a job that turns out larger than a node keeps is stopped, and what fits is kept (*fitting*).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
import numpy as np

from qcommons.base.errors import Corrupt, Unavailable
from qcommons.base.typed import described
from qcommons.base.units import bytes_text
from qcommons.engines.records import Amplitudes, Counts, Expectations, Statevector, Want
from qcommons.jobs.outcomes import ErrorInfo, Outcome, TooLarge, error_of
from qcommons.jobs.records import Card, Job, Phase
from qcommons.node.owner import HOME
from qcommons.node.records import Answered, Spec
from qcommons.node.recovery import decoded

__all__ = [
    "ANSWER_BYTES_MAX", "GUEST_ANSWER_BYTES_MAX", "RECORD_BYTES_MAX", "ROWS", "AnsweredParts", "KeptAnswer",
    "answer_bytes", "binary64_of", "check_answer", "errors_of", "fitting", "opened", "outcomes_bytes", "pairs_of",
    "read_answered",
]  # fmt: skip

RECORD_BYTES_MAX = 256 << 20  # what the store takes of one value (`store.VALUE_BYTES_MAX`)
ANSWER_BYTES_MAX = 192 << 20  # of the answers of a job: room is left for its errors, and for what came meanwhile
GUEST_ANSWER_BYTES_MAX = 32 << 20  # a statevector of 20 qubits; on its way through the node it takes seven times that
AMPLITUDE_BYTES = 19  # msgpack: an array of two floats
ESTIMATE_BYTES = 48  # msgpack: value, standard error, shots, with their names
COUNT_BYTES = 8  # msgpack: the number, and the head of its bitstring
ROWS = 4096  # amplitudes or counts that are handled at once
NIL = msgspec.Raw(b"\xc0")
ARRAY_32 = 0xDD
# An array of two, two float64 (the msgpack specification: fixarray 0x9X, float 64 0xcb, big-endian)
PAIR = np.dtype([("pair", "u1"), ("mark", "u1"), ("re", ">f8"), ("mark_2", "u1"), ("im", ">f8")])
MARKS = {"pair": 0x92, "mark": 0xCB, "mark_2": 0xCB}
READ_OUTCOME = msgspec.msgpack.Decoder(described(Outcome)).decode
READ_FIELDS = msgspec.msgpack.Decoder(described(dict[str, msgspec.Raw])).decode
_pack = msgspec.msgpack.Encoder().encode
EXIT_REFUSED = 3  # with numbers (docs/cli.md)


class AnsweredParts(msgspec.Struct, frozen=True, kw_only=True):
    """`records.Answered` as it lies on disk: its outcomes are not decoded yet."""

    job_id: str
    outcomes: tuple[msgspec.Raw, ...]
    phase: Phase
    submitted_ns: int


class KeptAnswer(NamedTuple):
    """size_bytes: of answer and spec on disk, 0 where they are in memory. read: both; takes a while where they are
    large."""

    size_bytes: int
    read: Callable[[], tuple[Spec, Answered | AnsweredParts]]


def read_answered(key: str, value: bytes | None) -> AnsweredParts:
    """Raises Corrupt."""
    answered: AnsweredParts = decoded(key, value, AnsweredParts)
    return answered


class _Tagged(msgspec.Struct, frozen=True):
    """The kind of an outcome, and nothing of what else is in it."""

    type: str


def errors_of(answered: AnsweredParts) -> Iterator[ErrorInfo]:
    """Why runs were not answered, in order; answers themselves are passed over, not read."""
    for outcome in answered.outcomes:
        if msgspec.msgpack.decode(outcome, type=described(_Tagged)).type != "Done":
            error = error_of(decoded("result", bytes(outcome), Outcome))
            if error is not None:
                yield error


def opened(kept: Outcome | msgspec.Raw) -> tuple[Outcome, msgspec.Raw | None]:
    """An outcome, with more than `ROWS` amplitudes apart, as they lie on disk: as objects they take seven times that,
    and a statevector of 20 qubits holds the interpreter for half a second while they are made."""
    if not isinstance(kept, msgspec.Raw):
        return kept, None
    outer = READ_FIELDS(kept)
    execution = READ_FIELDS(outer["execution"]) if "execution" in outer else {}
    answer = READ_FIELDS(execution["answer"]) if execution else {}
    packed = answer.get("amplitudes", NIL)
    if len(memoryview(packed)) <= ROWS * PAIR.itemsize:
        return READ_OUTCOME(kept), None
    bare = _pack({**outer, "execution": {**execution, "answer": {**answer, "amplitudes": NIL}}})
    return READ_OUTCOME(bare), packed


def pairs_of(packed: msgspec.Raw) -> Iterator[tuple[float, float]]:
    """(re, im) of amplitudes as `opened` gives them. Raises Corrupt."""
    table = _table(packed)
    for start in range(0, len(table), ROWS):
        part = table[start : start + ROWS]
        yield from zip(part["re"].tolist(), part["im"].tolist(), strict=True)


def binary64_of(packed: msgspec.Raw) -> bytes:
    """re, im, re, im, ... as binary64 little-endian, of amplitudes as `opened` gives them. Raises Corrupt."""
    table = _table(packed)
    return np.stack((table["re"], table["im"]), axis=1).astype("<f8").tobytes()


def _table(packed: msgspec.Raw) -> np.ndarray[Any, Any]:
    raw = memoryview(packed)
    table = np.frombuffer(raw, PAIR, offset=5 if raw[0] == ARRAY_32 else 3)
    if not all((table[name] == mark).all() for name, mark in MARKS.items()):
        raise Corrupt("amplitudes that are no pairs of float64; restore a copy of the node's database", where="result")
    return table


def answer_bytes(job: Job, *, sampled: bool = True) -> int:
    """What the answers of a job take on disk at most. sampled: with the counts, whose bitstrings may all differ."""
    each = [_bytes(want, card, sampled) for want, card in zip(job.wants, job.programs, strict=True)]
    return sum(each[point.program] for point in job.points)


def _bytes(want: Want, card: Card, sampled: bool) -> int:
    match want:
        case Counts(shots):
            width = sum(size for _, size in card.cregs) or card.n_qubits
            return min(shots, 1 << min(width, 60)) * (width + COUNT_BYTES) if sampled else 0
        case Statevector():
            return AMPLITUDE_BYTES << min(card.n_qubits, 60)
        case Amplitudes(bitstrings):
            return AMPLITUDE_BYTES * len(bitstrings)
        case Expectations(observables):
            return ESTIMATE_BYTES * len(observables)
    return 0


def outcomes_bytes(outcomes: Iterable[Outcome | None]) -> int:
    """What those that are there take on disk."""
    return sum(len(_pack(outcome)) for outcome in outcomes if outcome is not None)


def fitting(outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
    """The first ones that a node keeps of one job together; each of the others is `TooLarge`."""
    left, kept = ANSWER_BYTES_MAX, list(outcomes)
    for place, outcome in enumerate(outcomes):
        size = outcomes_bytes([outcome])
        if size <= left:
            left -= size
        else:
            kept[place] = TooLarge(ANSWER_BYTES_MAX)
    return tuple(kept)


def check_answer(job: Job) -> None:
    """Whether the node can take the answers of this job, before anything is run. Raises Unavailable with the numbers.

    The owner's counts are taken as they come: most circuits give few bitstrings. A guest's count as if all differed.
    """
    own = job.principal == HOME
    limit, need = ANSWER_BYTES_MAX if own else GUEST_ANSWER_BYTES_MAX, answer_bytes(job, sampled=not own)
    if need > limit:
        text, runs = bytes_text(limit), len(job.points)
        what = f"its answer can take {bytes_text(need)} ({runs} run{'s' if runs > 1 else ''}); "
        what += f"{'one job' if own else 'a job of a guest'} may take {text}: ask for fewer points, shots or amplitudes"
        error = Unavailable(what, where="answer", limit=text)
        error.exit_code = EXIT_REFUSED
        raise error
