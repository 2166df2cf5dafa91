"""One client of a node in a process of its own: `python -m bench.client HOME JOBS`.

A line in: that many tiny jobs, one after the other, each with its answer in hand; a line out when they are done.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench import circuits, sides
from qcommons.clients.http.node import Node


def main(home: str, jobs: int) -> None:
    """Serve until standard input closes."""
    task = sides.program(circuits.small_task(0))
    with Node.connect(home=Path(home)) as node:
        node.run(task, shots=sides.SHOTS)
        print("ready", flush=True)
        for _ in sys.stdin:
            for number in range(jobs):
                node.run(task, shots=sides.SHOTS, seed=number)
            print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
