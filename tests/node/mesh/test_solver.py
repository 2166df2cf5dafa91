"""The solver: one thread whatever is asked, the easiest first, and no hash after nobody waits any more."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

from qcommons.mesh import puzzle
from qcommons.node.mesh.solver import Solver

HARD, EASY = 40, 6  # bits: not in a lifetime, and at once


def asked(bits: int, number: int = 0) -> puzzle.Puzzle:
    return puzzle.make(b"s" * 32, number, "tcp/192.0.2.1:1", bits, 10**18)


def threads() -> int:
    return sum(thread.name == "mesh-puzzles" for thread in threading.enumerate())


async def until(holds: Callable[[], object], within_s: float = 5.0) -> None:
    until_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until_s, "not in time"
        await asyncio.sleep(0.002)


def scene(play: Callable[[Solver, dict[int, bytes | None]], Awaitable[None]]) -> None:
    async def run() -> None:
        told: dict[int, bytes | None] = {}
        solver = Solver(told.__setitem__)
        await play(solver, told)
        solver.close()
        await until(lambda: not threads())

    asyncio.run(run())


def test_a_puzzle_is_solved_and_the_thread_ends() -> None:
    async def play(solver: Solver, told: dict[int, bytes | None]) -> None:
        solver.begin(2, asked(EASY))
        await until(lambda: told)
        assert told == {2: puzzle.solve(asked(EASY))} and len(solver) == 0
        await until(lambda: not threads())

    scene(play)


def test_hard_puzzles_share_one_thread_and_keep_no_easy_one_waiting() -> None:
    async def play(solver: Solver, told: dict[int, bytes | None]) -> None:
        for number in range(40):
            solver.begin(2 * number, asked(HARD, number))
        solver.begin(1, asked(EASY))
        await until(lambda: told)
        assert list(told) == [1] and threads() == 1 and len(solver) == 40

    scene(play)


def test_what_is_cancelled_is_not_worked_on_any_more() -> None:
    async def play(solver: Solver, told: dict[int, bytes | None]) -> None:
        solver.begin(2, asked(HARD))
        solver.cancel(2)
        solver.cancel(4)  # never begun
        await until(lambda: not threads())
        assert not told and len(solver) == 0

    scene(play)


def test_the_loop_turns_while_the_thread_works() -> None:
    """A turn waits for 256 hashes and the scheduler: 2,000 turns within 5 s of a busy machine; with the interpreter's
    own switch (5 ms a turn) they would take 10 s."""

    async def play(solver: Solver, told: dict[int, bytes | None]) -> None:
        solver.begin(2, asked(HARD))
        start_s = time.monotonic()
        for _ in range(2_000):
            await asyncio.sleep(0)
        assert time.monotonic() - start_s < 5.0

    scene(play)
