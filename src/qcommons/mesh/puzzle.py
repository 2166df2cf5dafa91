"""Puzzles: some work that a dialler does before who is dialled spends its own on a handshake.

Flow: doorkeeper -> *make* -> Puzzle -> pipe -> wire (dialler) -> *Search* -> Solution -> pipe -> *check* -> handshake.
The shape is that of RFC 8019, section 4.4: find an answer for which a hash has many leading zero bits.

    puzzle    "QP1" | u8 bits | u64 slot | nonce, 16 bytes                     28 bytes, big-endian
    solution  "QS1" | u8 bits | u64 slot | nonce, 16 bytes | u64 answer        36 bytes
    holds where SHA3-256("qcommons/puzzle.1" | solution) < 2^(256 - bits)
    nonce     HMAC-SHA3-256(secret, "qcommons/puzzle.1" | u8 bits | u64 slot | u64 connection | host), first 16 bytes

Who asks keeps nothing: the nonce is computed again from the solution. It is bound to the host, to the connection (so
one solution opens one handshake) and to a time slot. A TLS record never begins with "Q". docs/protocol/puzzle.md.
"""

from __future__ import annotations

import hashlib
import hmac
import struct

import msgspec

from qcommons.base.errors import PeerError, UsageError

__all__ = [
    "BITS_MAX", "BITS_MIN", "BITS_WILLING", "MAGIC", "PUZZLE_BYTES", "SLOT_NS", "SOLUTION_BYTES", "Puzzle", "Search",
    "check", "make", "read", "solve", "written",
]  # fmt: skip

DOMAIN = b"qcommons/puzzle.1"
PUZZLE_TAG, SOLUTION_TAG = b"QP1", b"QS1"
MAGIC = PUZZLE_TAG[0]  # 0x51; a TLS record of a handshake begins with 0x16 (RFC 8446, section 5.1)
PUZZLE = struct.Struct(">3sBQ16s")
SOLUTION = struct.Struct(">3sBQ16sQ")
PUZZLE_BYTES, SOLUTION_BYTES = PUZZLE.size, SOLUTION.size
NONCE_BYTES = 16
SLOT_NS = 30_000_000_000  # a solution counts in its slot and the next one: for 30 to 60 s

# A hash takes 1 to 2 us here, and 2^bits of them are expected. A handshake costs who is dialled 3 ms.
BITS_MIN = 12  # 4 to 8 ms: a little more than it costs the other end
BITS_MAX = 20  # 1 to 2 s: beyond it the doorkeeper closes
BITS_WILLING = 21  # a dialler gives up on more, and on less where it needs the link less (`effort.py`)
TRIES_EXCESS = 32  # this many times the expected tries find nothing with probability e^-32


class Puzzle(msgspec.Struct, frozen=True):
    """bits: leading zero bits that are asked for. slot: when. nonce: 16 bytes."""

    bits: int
    slot: int
    nonce: bytes


def make(secret: bytes, conn: int, host: str, bits: int, now_ns: int) -> Puzzle:
    """The puzzle for connection `conn` (below 2^64) from `host`. bits: 1 to 255. secret: 32 bytes of our own."""
    slot = now_ns // SLOT_NS
    return Puzzle(bits, slot, _nonce(secret, conn, host, bits, slot))


def written(puzzle: Puzzle) -> bytes:
    """The puzzle's 28 bytes."""
    return PUZZLE.pack(PUZZLE_TAG, puzzle.bits, puzzle.slot, puzzle.nonce)


def read(data: bytes) -> Puzzle:
    """The puzzle in 28 bytes from whoever was dialled.

    Raises:
        PeerError: it is none, or one that is harder than this node is willing to solve.
    """
    if len(data) != PUZZLE_BYTES or not data.startswith(PUZZLE_TAG):
        raise PeerError(f"{data[:PUZZLE_BYTES].hex()} is no puzzle", where="puzzle", evidence=data)
    _, bits, slot, nonce = PUZZLE.unpack(data)
    if not 1 <= bits <= BITS_WILLING:
        limit = f"1 to {BITS_WILLING} bits"
        raise PeerError(f"a puzzle of {bits} bits; this node solves {limit}", where="puzzle", limit=limit)
    return Puzzle(bits, slot, nonce)


class Search:
    """The search for a solution in steps, so that whoever runs it can pause and give up. bits: of the puzzle."""

    def __init__(self, puzzle: Puzzle) -> None:
        self.bits = puzzle.bits
        self._head = DOMAIN + SOLUTION.pack(SOLUTION_TAG, puzzle.bits, puzzle.slot, puzzle.nonce, 0)[:-8]
        self._target = _target(puzzle.bits)
        self._next, self._end = 0, TRIES_EXCESS << puzzle.bits

    @property
    def is_over(self) -> bool:
        """Nothing is left to try."""
        return self._next >= self._end

    def step(self, tries: int) -> bytes | None:
        """So many hashes (1 to 2 us each); the 36 bytes of the solution, if it is among them."""
        head, target, hashed = self._head, self._target, hashlib.sha3_256
        start, self._next = self._next, min(self._next + tries, self._end)
        for answer in range(start, self._next):
            tail = answer.to_bytes(8, "big")
            if hashed(head + tail).digest() < target:
                return head[len(DOMAIN) :] + tail
        return None


def solve(puzzle: Puzzle) -> bytes:
    """The solution, after 2^bits hashes on average: 1 s for 20 bits.

    Raises:
        UsageError: none was found; for an honest puzzle that does not happen.
    """
    search = Search(puzzle)
    while not search.is_over:
        solution = search.step(1 << 12)
        if solution is not None:
            return solution
    raise UsageError(f"no solution among {TRIES_EXCESS << puzzle.bits} tries", where="puzzle")


def check(secret: bytes, conn: int, host: str, solution: bytes, now_ns: int) -> int:
    """The bits of work that a solution proves; one hash and one HMAC.

    Raises:
        PeerError: it is none, is not for this connection or too old, or does not solve its puzzle.
    """
    if len(solution) != SOLUTION_BYTES or not solution.startswith(SOLUTION_TAG):
        raise PeerError(f"{solution[:SOLUTION_BYTES].hex()} is no solution", where="puzzle", evidence=solution)
    _, bits, slot, nonce, _ = SOLUTION.unpack(solution)
    current = now_ns // SLOT_NS
    if not hmac.compare_digest(nonce, _nonce(secret, conn, host, bits, slot)):
        raise PeerError("the solution is for another puzzle", where="puzzle", evidence=solution)
    if not current - 1 <= slot <= current:
        raise PeerError(f"the puzzle is {current - slot} slots of 30 s old; allowed 1", where="puzzle")
    if hashlib.sha3_256(DOMAIN + solution).digest() >= _target(bits):
        raise PeerError(f"the answer has fewer than {bits} zero bits", where="puzzle", evidence=solution)
    return int(bits)


def _target(bits: int) -> bytes:
    """As 32 bytes, big-endian, the least number with fewer than `bits` leading zero bits."""
    return (1 << 256 - bits).to_bytes(32, "big")


def _nonce(secret: bytes, conn: int, host: str, bits: int, slot: int) -> bytes:
    text = DOMAIN + struct.pack(">BQQ", bits, slot, conn) + host.encode()
    return hmac.digest(secret, text, "sha3_256")[:NONCE_BYTES]
