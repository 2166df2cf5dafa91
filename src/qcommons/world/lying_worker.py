"""A worker that lies as a row of the zoo says; everything around the answer is the real worker.

Flow: `qcommons dev up --liar NODE=ROW` -> development home -> daemon -> pool -> *this process*. Only development nodes
start it: it is how people see what checks do to a real peer that cheats.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable

import msgspec

from qcommons.circuits.program import Program
from qcommons.engines.execute import Execution, Request, execute
from qcommons.engines.records import Answer, Want
from qcommons.engines.select import Choice
from qcommons.node.worker import serve
from qcommons.world.zoo import ZOO, Asked, Row

__all__ = ["lying", "main", "row_of"]

Execute = Callable[[Request, Callable[[], int], Callable[[Choice], None]], Execution]


def row_of(name: str) -> Row:
    """The row whose name this is, spaces or dashes. Raises LookupError with the names that there are."""
    wanted = name.replace("-", " ").strip()
    for row in ZOO:
        if row.name == wanted:
            return row
    raise LookupError(f"{name!r} is no liar; known: {', '.join(row.name for row in ZOO)}")


def lying(row: Row) -> Execute:
    """`execute`, its answers made as the row makes them from a number of honest ones."""
    numbers = itertools.count()

    def lie(request: Request, clock_ns: Callable[[], int], watch: Callable[[Choice], None]) -> Execution:
        honest: list[Execution] = []

        def run(program: Program, want: Want, seed: int) -> Answer:
            found = execute(msgspec.structs.replace(request, program=program, want=want, seed=seed), clock_ns, watch)
            honest.append(found)
            return found.answer

        answer = row.answer(Asked(request.program, request.want, request.seed, run, next(numbers)))
        if row.claims is not None:
            answer = msgspec.structs.replace(answer, engine=row.claims[0], method=row.claims[1])
        return msgspec.structs.replace(honest[0], answer=answer)

    return lie


def main(argv: list[str]) -> None:
    """Serve until the pipe closes. argv: the row's name."""
    serve(lying(row_of(argv[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
