"""Join the samples of independent parts into counts over all classical bits. Exact.

Flow: execute (one answer a part) -> *joined_counts*. Parts are independent, so a uniformly random
pairing of their shots has the joint distribution; the pairing is drawn from the request's seed.
Two parts of few outcomes are paired as tables: how often outcome a meets outcome b is a draw
without replacement (multivariate hypergeometric), whatever the shots. What is left is paired a block
of shots at a time, so that the memory stays near that of the counts themselves (`JoinSize`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from qcommons.base.seeds import stream
from qcommons.engines.answer_size import counts_bytes
from qcommons.engines.records import Cost
from qcommons.engines.sampling import add_counts, bit_counts

__all__ = ["JoinSize", "joined_counts", "take"]

Part = tuple[Mapping[str, int], Sequence[int]]  # counts, and the classical bit of each of its bits
Integers = NDArray[np.int64]

TABLE_MAX = 1 << 16  # outcomes of a table of paired parts
BLOCK_BYTES = 1 << 23  # of the bit matrix of one block of shots
NUMPY_TOTAL = 10**9  # numpy's multivariate draw without replacement takes fewer items than this
# One core of an EPYC: 40 parts of one bit, 2,000,000 shots, 40 and 400 bits.
TABLE_S = 2e-7  # an outcome of a table that is paired
SHOT_S = 1.5e-6  # a shot that is paired: drawn, packed, counted
BIT_S = 1e-8  # a bit of it


class _Table(msgspec.Struct, frozen=True):
    """Outcomes of one or more parts.

    bits: bool, shape (k, len(clbits)), column c is `clbits[c]`. repeats: int64, shape (k,).
    """

    bits: NDArray[np.bool_]
    repeats: Integers
    clbits: tuple[int, ...]


@dataclass(slots=True)
class JoinSize:
    """What joining takes, known more closely with each part that is added."""

    n_clbits: int
    shots: int
    parts: int = 0
    product: int = 1  # joint outcomes that the parts' outcomes allow
    odd: int = 1  # joint outcomes if every shot that leaves a part's commonest outcome is an outcome of its own
    held_bytes: int = 0

    def add(self, counts: Mapping[str, int], clbits: Sequence[int]) -> None:
        self.parts += 1
        self.product = min(self.product * len(counts), self.shots)
        self.odd = min(self.odd + self.shots - max(counts.values()), self.shots)
        self.held_bytes += counts_bytes(len(counts), len(clbits))

    def cost(self) -> Cost:
        """Upper bound; the memory contains the parts' counts and the joined ones."""
        distinct = min(self.product, self.odd)
        seconds = TABLE_S * self.parts * min(TABLE_MAX, self.product)
        memory = self.held_bytes + counts_bytes(distinct, self.n_clbits) + 2 * BLOCK_BYTES
        if self.product > TABLE_MAX:
            seconds += self.shots * (SHOT_S + BIT_S * self.n_clbits)
            memory += min(4 * self.parts * self.shots, self.held_bytes)  # permutations of parts of many outcomes
        return Cost(seconds, memory, float(distinct) * self.n_clbits)


def joined_counts(
    parts: Sequence[Part], constants: Mapping[int, int], n_clbits: int, shots: int, seed: int
) -> dict[str, int]:
    """Counts over `n_clbits` bits (bit 0 rightmost).

    Args:
        parts: counts of a part over its own bits (its bit 0 rightmost), all of `shots` shots.
        constants: bits whose final value is known, whatever a part wrote there before; bits in no part and
            not here are 0.
    """
    if not parts:
        bits = "".join("1" if constants.get(c) else "0" for c in reversed(range(n_clbits)))
        return {bits: shots}
    if len(parts) == 1 and tuple(parts[0][1]) == tuple(range(n_clbits)) and constants.keys().isdisjoint(parts[0][1]):
        return dict(parts[0][0])
    rng = stream(seed, "pairing")
    tables = _merged([_table(*part) for part in parts], shots, rng)
    rows = max(1, min(shots, BLOCK_BYTES // max(1, n_clbits)))
    counts: dict[str, int] = {}
    for drawn, repeats in _blocks(tables, shots, rows, rng):
        height = len(drawn[0])
        matrix = np.zeros((height, n_clbits), dtype=np.bool_)
        for table, chosen in zip(tables, drawn, strict=True):
            matrix[:, list(table.clbits)] = table.bits[chosen]
        matrix[:, list(constants)] = [bool(value) for value in constants.values()]
        add_counts(counts, bit_counts(matrix, repeats))
    return counts


def _table(counts: Mapping[str, int], clbits: Sequence[int]) -> _Table:
    texts = np.frombuffer("".join(counts).encode("ascii"), dtype=np.uint8).reshape(len(counts), len(clbits))
    repeats = np.fromiter(counts.values(), np.int64, len(counts))
    return _Table(texts[:, ::-1] == ord("1"), repeats, tuple(clbits))


def _merged(tables: list[_Table], shots: int, rng: np.random.Generator) -> list[_Table]:
    """Small tables paired with each other for as long as the result is small."""
    merged: list[_Table] = []
    for table in sorted(tables, key=lambda t: len(t.repeats)):
        if merged and len(merged[-1].repeats) * len(table.repeats) <= min(TABLE_MAX, shots):
            merged[-1] = _paired(merged[-1], table, rng)
        else:
            merged.append(table)
    return merged


def _paired(a: _Table, b: _Table, rng: np.random.Generator) -> _Table:
    """Both tables as one, in at most len(a) x len(b) draws."""
    if len(a.repeats) < len(b.repeats):
        a, b = b, a
    left = a.repeats.copy()
    rows_a, rows_b, repeats = [], [], []
    for k, times in enumerate(b.repeats.tolist()):
        met = left if k == len(b.repeats) - 1 else take(left, times, rng)
        (chosen,) = met.nonzero()
        rows_a.append(chosen)
        rows_b.append(np.full(len(chosen), k))
        repeats.append(met[chosen])
        left = left - met
    bits = np.concatenate((a.bits[np.concatenate(rows_a)], b.bits[np.concatenate(rows_b)]), axis=1)
    return _Table(bits, np.concatenate(repeats), a.clbits + b.clbits)


def take(items: Integers, count: int, rng: np.random.Generator) -> Integers:
    """How many of each kind are among `count` items drawn without replacement from `items` (of each kind).

    At most 10**9 items in all, as numpy's hypergeometric draws go.
    """
    left = int(items.sum())
    if left < NUMPY_TOTAL:
        return rng.multivariate_hypergeometric(items, count, method="marginals")
    taken = np.zeros_like(items)
    for k, good in enumerate(items.tolist()):
        left -= good
        taken[k] = rng.hypergeometric(good, left, count) if left and good else min(good, count)
        count -= int(taken[k])
    return taken


def _blocks(
    tables: list[_Table], shots: int, rows: int, rng: np.random.Generator
) -> Iterator[tuple[list[Integers], Integers | None]]:
    """Rows of each table that meet, a block at a time, and how often (None: once each)."""
    if len(tables) == 1:
        for start in range(0, len(tables[0].repeats), rows):
            chosen = np.arange(start, min(start + rows, len(tables[0].repeats)))
            yield [chosen], tables[0].repeats[chosen]
        return
    sources = [_shuffled(table.repeats, shots, rows, rng) for table in tables]
    for _ in range(0, shots, rows):
        yield [next(source) for source in sources], None


def _shuffled(repeats: Integers, shots: int, rows: int, rng: np.random.Generator) -> Iterator[Integers]:
    """The shots of a table in random order, `rows` of them at a time."""
    index = np.arange(len(repeats), dtype=np.int32)
    if len(repeats) * (shots // rows) > shots:  # so many outcomes that dividing them block by block costs more
        order = rng.permutation(np.repeat(index, repeats))
        for start in range(0, shots, rows):
            yield order[start : start + rows]
        return
    left = repeats.copy()
    for start in range(0, shots, rows):
        now = take(left, min(rows, shots - start), rng)
        left -= now
        yield rng.permutation(np.repeat(index, now))
