"""Puzzles: the work is what was asked, for the connection that was asked, once and not for long."""

from __future__ import annotations

import hashlib
import hmac
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcommons.base.errors import PeerError
from qcommons.mesh import puzzle
from qcommons.mesh.puzzle import BITS_WILLING, SLOT_NS, Puzzle

SECRET = b"s" * 32
HOST = "tcp/192.0.2.1:4711"
NOW = 1_000 * SLOT_NS + 5


def solved(bits: int = 8, conn: int = 3, host: str = HOST, now_ns: int = NOW) -> bytes:
    return puzzle.solve(puzzle.make(SECRET, conn, host, bits, now_ns))


def test_a_puzzle_and_its_solution_have_the_bytes_that_the_page_says() -> None:
    """Computed here from docs/protocol/puzzle.md."""
    asked = puzzle.make(SECRET, 3, HOST, 8, NOW)
    text = b"qcommons/puzzle.1" + struct.pack(">BQQ", 8, 1_000, 3) + HOST.encode()
    nonce = hmac.new(SECRET, text, hashlib.sha3_256).digest()[:16]
    assert puzzle.written(asked) == b"QP1\x08" + (1_000).to_bytes(8, "big") + nonce
    solution = puzzle.solve(asked)
    assert solution[:28] == b"QS1" + puzzle.written(asked)[3:] and len(solution) == 36
    assert hashlib.sha3_256(b"qcommons/puzzle.1" + solution).digest()[0] == 0
    answer = int.from_bytes(solution[28:], "big")
    assert all(
        hashlib.sha3_256(b"qcommons/puzzle.1" + solution[:28] + smaller.to_bytes(8, "big")).digest()[0]
        for smaller in range(answer)
    ), "the first that solves it"


def test_a_tls_record_never_looks_like_a_puzzle() -> None:
    assert puzzle.written(puzzle.make(SECRET, 3, HOST, 8, NOW))[0] == puzzle.MAGIC == ord("Q")
    assert puzzle.MAGIC not in range(0x14, 0x19)  # content types of RFC 8446, section 5.1, and of RFC 6520


def test_a_solution_proves_the_bits_that_were_asked() -> None:
    for bits in (1, 4, 9):
        assert puzzle.check(SECRET, 3, HOST, solved(bits), NOW) == bits


@pytest.mark.parametrize(
    ("secret", "conn", "host"),
    [(b"t" * 32, 3, HOST), (SECRET, 4, HOST), (SECRET, 3, "tcp/192.0.2.2:4711")],
    ids=["another node's", "another connection's", "another host's"],
)
def test_a_solution_is_for_one_node_connection_and_host(secret: bytes, conn: int, host: str) -> None:
    with pytest.raises(PeerError, match="another puzzle"):
        puzzle.check(secret, conn, host, solved(), NOW)


def test_a_solution_counts_in_its_slot_and_the_next() -> None:
    solution = solved()
    assert puzzle.check(SECRET, 3, HOST, solution, NOW + SLOT_NS)
    for late in (NOW + 2 * SLOT_NS, NOW + 1_000 * SLOT_NS, NOW - SLOT_NS):
        with pytest.raises(PeerError, match="slots"):
            puzzle.check(SECRET, 3, HOST, solution, late)


def test_a_changed_solution_is_refused() -> None:
    """12 bits: a change of the answer passes by luck once in 4,096 (here, of 8 changes: 0.2 %; the seed is fixed)."""
    solution = solved(12)
    for at in range(len(solution)):
        changed = solution[:at] + bytes([solution[at] ^ 1]) + solution[at + 1 :]
        with pytest.raises(PeerError):
            puzzle.check(SECRET, 3, HOST, changed, NOW)
    for wrong in (solution[:-1], solution + b"\0", b""):
        with pytest.raises(PeerError, match="no solution"):
            puzzle.check(SECRET, 3, HOST, wrong, NOW)


def test_asking_less_of_oneself_than_was_asked_is_refused() -> None:
    asked = puzzle.make(SECRET, 3, HOST, 16, NOW)
    easier = puzzle.solve(Puzzle(4, asked.slot, asked.nonce))
    with pytest.raises(PeerError, match="another puzzle"):
        puzzle.check(SECRET, 3, HOST, easier, NOW)


def test_a_dialler_is_not_made_to_work_for_ever() -> None:
    for bits in (0, BITS_WILLING + 1, 255):
        with pytest.raises(PeerError, match="1 to 21 bits"):
            puzzle.read(puzzle.written(Puzzle(bits, 0, bytes(16))))
    assert puzzle.read(puzzle.written(Puzzle(BITS_WILLING, 7, b"n" * 16))) == Puzzle(BITS_WILLING, 7, b"n" * 16)


def test_solving_takes_two_to_the_bits_tries_on_average() -> None:
    """Tries are geometric with p = 2^-6: the mean of 200 is 64 +- 4.5; beyond 5 sigma once in 1.7 million seeds."""
    tries = [int.from_bytes(solved(6, conn)[-8:], "big") + 1 for conn in range(200)]
    assert abs(sum(tries) / 200 - 64) < 5 * 4.5


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_puzzle_or_a_reason(data: bytes) -> None:
    try:
        asked = puzzle.read(data)
    except PeerError:
        pass
    else:
        assert puzzle.written(asked) == data
    with pytest.raises(PeerError):
        puzzle.check(SECRET, 3, HOST, data, NOW)


def test_a_search_goes_on_where_its_last_step_ended() -> None:
    asked = puzzle.make(SECRET, 3, HOST, 8, NOW)
    search, steps = puzzle.Search(asked), 0
    solution = None
    while solution is None:
        assert not search.is_over
        solution, steps = search.step(16), steps + 1
    assert solution == puzzle.solve(asked)
    assert 16 * (steps - 1) <= int.from_bytes(solution[28:], "big") < 16 * steps
