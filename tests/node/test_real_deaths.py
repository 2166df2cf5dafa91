"""Runs that end badly, with the real worker and real engines: a typed outcome, and the next job unharmed.

`test_workers.py` has every way to die with a stand-in engine; here nothing stands in.
"""

from __future__ import annotations

import os
import queue
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.node.making import BELL, eventually, is_running

from qcommons.base.errors import Unavailable
from qcommons.circuits.program import Op, Program
from qcommons.engines.qulacs_engine import ENGINE
from qcommons.jobs.outcomes import Killed, PastDeadline
from qcommons.jobs.results import Results
from qcommons.node.embedded import EmbeddedNode
from qcommons.node.process import WORKER_COMMAND

QUBITS = 23
STATE_BYTES = 16 << QUBITS  # 128 MiB; a warm worker without it holds less than 80 MiB of its own


def deep(n_qubits: int, layers: int) -> Program:
    """Rotations and a chain of CX, layer by layer: nothing to reduce, no cheaper method than a dense state."""
    ops: list[Op] = []
    for layer in range(layers):
        ops += [Op("ry", (qubit,), (0.3 + 0.1 * layer + qubit,)) for qubit in range(n_qubits)]
        ops += [Op("cx", (qubit, qubit + 1)) for qubit in range(n_qubits - 1)]
    return Program(n_qubits, (), tuple(ops))


LONG = deep(QUBITS, 200)  # 9,000 gates on 8 million amplitudes: minutes on one core


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedNode]:
    with EmbeddedNode(1, home=tmp_path_factory.mktemp("home")) as node:
        yield node


def answers(node: EmbeddedNode) -> bool:
    return sum(node.run(BELL, shots=100).counts.values()) == 100


def own_bytes(pid: int) -> int:
    """Memory of a process that no file backs; 0 when it is gone."""
    try:
        found = re.search(r"^RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def kill_in_the_run(node: EmbeddedNode, pids: list[int]) -> None:
    """Wait until a worker that was not killed yet holds the state, then kill -9; its pid joins `pids`."""
    assert eventually(lambda: any(own_bytes(pid) >= STATE_BYTES for pid in node.pool.pids() if pid not in pids), 30)
    (pid,) = node.pool.pids()
    pids.append(pid)
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: not is_running(pid))


def test_a_run_whose_worker_is_killed_is_tried_once_more_and_then_told(node: EmbeddedNode) -> None:
    batches: queue.SimpleQueue[Results] = queue.SimpleQueue()
    thread = threading.Thread(target=lambda: batches.put(node.run([LONG], shots=10)))
    thread.start()
    pids: list[int] = []
    kill_in_the_run(node, pids)
    assert thread.is_alive()  # the run has begun anew in another process
    kill_in_the_run(node, pids)
    thread.join(10)
    (run,) = batches.get(timeout=1)
    assert run.outcome == Killed(signal.SIGKILL)
    assert run.exception is not None
    assert run.exception.exit_code == 5
    assert pids[0] != pids[1]
    assert answers(node)


def test_the_deadline_ends_a_run_that_was_predicted_to_be_quick(node: EmbeddedNode) -> None:
    """Cost constants far too good let the planner believe that it fits; the deadline does not believe."""
    assert answers(node)  # a warm worker: it is the run that takes the time
    node.pool.constants = {"qulacs": dict.fromkeys(ENGINE.constants, 1e-15)}
    start_s = time.monotonic()
    (run,) = node.run([LONG], shots=10, engine="qulacs", deadline_s=2.0)
    took_s = time.monotonic() - start_s
    node.pool.constants = {}
    assert run.outcome == PastDeadline(2.0)
    assert 2.0 <= took_s < 4.0
    assert answers(node)


@pytest.mark.parametrize(("engine", "method"), [("numpy", "dense"), ("aer", "statevector")])
def test_an_allocation_that_fails_in_the_run_is_told_and_the_worker_lives(
    tmp_path: Path, engine: str, method: str
) -> None:
    """The limit allows 64 GiB, the system gives the process 3 (`ulimit -v`): 16 GiB cannot be had."""
    capped = ("sh", "-c", 'ulimit -v 3145728; exec "$@"', "sh", *WORKER_COMMAND)
    with EmbeddedNode(1, home=tmp_path, command=capped) as node:
        with pytest.raises(Unavailable, match=f"{method}: stopped at .*(out of memory|Cannot allocate)") as caught:
            node.run(deep(30, 1), shots=10, engine=engine, method=method, memory_bytes=64 << 30)
        assert caught.value.exit_code == 3
        pids = node.pool.pids()
        assert answers(node)
        assert node.pool.pids() == pids
