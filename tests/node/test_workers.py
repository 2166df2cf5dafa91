"""Worker processes: each way to die is one typed outcome, and the next job is unharmed."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.node.making import BELL, FAULTY, THREE, eventually, faulty_node, is_running

from qcommons.base.errors import Corrupt, QCommonsError, Unavailable, UsageError
from qcommons.jobs.outcomes import Cancelled, Crashed, NotStarted, Outcome
from qcommons.node.embedded import EmbeddedNode
from qcommons.node.frames import Parse, Source
from qcommons.node.workers import Lane, WorkerPool, default_size

GIB = 1 << 30
LOOPS_PER_S = 200_000  # gates of a loop that a worker reads in a second, about


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedNode]:
    with faulty_node(tmp_path_factory.mktemp("home")) as node:
        yield node


@pytest.fixture
def unharmed(node: EmbeddedNode) -> Iterator[None]:
    """Whatever a test does to the worker, the job after it is answered."""
    yield
    assert node.run(BELL, shots=10).counts == {"00": 10}


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize(
    ("fault", "kind", "exit_code", "says"),
    [
        ("segfault", Corrupt, 5, "SIGSEGV"),
        ("leave", Corrupt, 5, "exit code 7; its last words: the library gave up"),
        ("kill", Unavailable, 5, "SIGKILL, twice"),
        ("eat", Unavailable, 5, "more memory than the limit of 1 GiB"),
        ("bad_alloc", Unavailable, 5, "more memory than the limit of 1 GiB"),
        ("spin", Unavailable, 5, "CPU limit"),
        ("refuse", Unavailable, 3, "needs 4.1 TiB; limit 12 GiB"),
        ("misuse", UsageError, 2, "unknown engine"),
        ("fault", Corrupt, 5, "ZeroDivisionError: division by zero"),
    ],
)
def test_each_way_to_die_is_a_typed_outcome(
    node: EmbeddedNode, fault: str, kind: type[QCommonsError], exit_code: int, says: str
) -> None:
    with pytest.raises(kind) as caught:
        node.run(BELL, method=fault, memory_bytes=GIB)
    assert caught.value.exit_code == exit_code
    assert says in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.usefixtures("unharmed")
def test_a_run_past_its_deadline_is_killed_within_a_fraction_of_a_second(node: EmbeddedNode) -> None:
    node.run(BELL)
    (pid,) = node.pool.pids()
    start_s = time.monotonic()
    with pytest.raises(Unavailable, match=r"deadline of 0\.3 s"):
        node.run(BELL, method="hang", deadline_s=0.3)
    assert time.monotonic() - start_s < 2.0
    assert eventually(lambda: not is_running(pid))


def test_a_worker_killed_from_outside_while_idle_costs_the_next_job_nothing(node: EmbeddedNode) -> None:
    node.run(BELL)
    (pid,) = node.pool.pids()
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: not is_running(pid))
    assert node.run(BELL).status == "done"


def test_a_worker_killed_once_under_a_job_is_replaced_and_the_job_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QCOMMONS_TEST_MARKER", str(tmp_path / "killed"))
    with faulty_node(tmp_path) as node:
        assert node.run(BELL, method="kill_once").status == "done"
    assert (tmp_path / "killed").exists()


def test_one_guilty_run_of_a_batch_fails_alone(node: EmbeddedNode) -> None:
    batch = node.run([BELL, THREE, BELL, BELL], method="segfault_on_three_qubits")
    assert [run.status for run in batch] == ["done", "failed", "done", "done"]
    assert isinstance(batch[1].outcome, Crashed)


@pytest.mark.usefixtures("unharmed")
def test_what_an_engine_prints_is_not_taken_for_an_answer(node: EmbeddedNode) -> None:
    # 300 kB on standard error: more than a pipe holds, so it must be read while the engine runs.
    assert node.run(BELL, method="chatter", shots=5).counts == {"00": 5}


def test_workers_run_with_one_thread_each_and_leave_no_core_files(node: EmbeddedNode) -> None:
    node.run(BELL)
    (pid,) = node.pool.pids()
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    assert b"OMP_NUM_THREADS=1" in environment
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    assert next(line.split()[4] for line in limits if line.startswith("Max core file size")) == "0"


def test_closing_ends_every_process_and_later_jobs_are_told_so(tmp_path: Path) -> None:
    node = faulty_node(tmp_path, workers=2)
    node.run([BELL] * 100)
    pids = node.pool.pids()
    assert pids
    node.close()
    assert not any(is_running(pid) for pid in pids)
    with pytest.raises(Unavailable, match="closed"):
        node.run(BELL)
    node.close()


def test_closing_cancels_a_running_job_of_another_thread(tmp_path: Path) -> None:
    node = faulty_node(tmp_path)
    caught: queue.SimpleQueue[QCommonsError] = queue.SimpleQueue()

    def work() -> None:
        try:
            node.run(BELL, method="hang")
        except QCommonsError as error:
            caught.put(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert eventually(lambda: bool(node.jobs()) and bool(node.pool.pids()))
    node.close()
    thread.join(5)
    assert caught.get(timeout=1).exit_code == 6


def test_a_worker_that_cannot_start_is_named(tmp_path: Path) -> None:
    with EmbeddedNode(1, home=tmp_path, command=("/nonexistent/python",)) as node:
        with pytest.raises(Unavailable, match="no worker process") as caught:
            node.run(BELL)
        assert caught.value.exit_code == 4
    broken = (sys.executable, "-c", "raise SystemExit('no numpy')")
    with EmbeddedNode(1, home=tmp_path, command=broken) as node, pytest.raises(QCommonsError, match="no numpy"):
        node.run(BELL)


def test_a_parent_killed_in_the_middle_of_a_run_leaves_no_worker(tmp_path: Path) -> None:
    script = (
        "import sys, threading, time; from pathlib import Path\n"
        "from tests.node.making import BELL, faulty_node\n"
        f"node = faulty_node(Path({str(tmp_path)!r}))\n"
        "threading.Thread(target=lambda: node.run(BELL, method='hang'), daemon=True).start()\n"
        "while not node.pool.pids(): time.sleep(0.01)\n"
        "time.sleep(0.5); print(node.pool.pids()[0], flush=True); time.sleep(60)\n"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.kill()
        parent.wait()
    assert eventually(lambda: not is_running(pid))


def test_a_call_stopped_while_it_waits_never_reaches_a_worker() -> None:
    pool = WorkerPool(1, FAULTY)
    overs: queue.SimpleQueue[tuple[str, Outcome | None]] = queue.SimpleQueue()
    ends: list[object] = []
    call = Parse((), 10, GIB, 1.0)
    pool.submit(call, ends.append, lambda over: overs.put(("first", over)))
    second = pool.submit(call, ends.append, lambda over: overs.put(("second", over)))
    pool.stop(second, Cancelled("asked"))
    got = dict(overs.get(timeout=5) for _ in range(2))
    assert got["first"] is None
    assert got["second"] in (None, Cancelled("asked"))  # None: the first was quicker than the stop
    pool.stop(second, Cancelled("again"))
    pool.close()
    pool.submit(call, ends.append, lambda over: overs.put(("late", over)))
    assert isinstance(overs.get(timeout=5)[1], NotStarted)


def lanes(pool: WorkerPool, said: queue.SimpleQueue[str]) -> Callable[[str, Lane, float], None]:
    """A call that says its name once it is over, and takes about that many seconds of a worker."""

    def ask(name: str, lane: Lane, seconds: float) -> None:
        text = b"OPENQASM 3.0; qubit q; for int i in [0:%d] { x q; }" % (seconds * LOOPS_PER_S)
        call = Parse((Source(text, name),), 2_000_000, GIB, 60.0)
        pool.submit(call, lambda _: None, lambda _: said.put(name), lane=lane)

    return ask


def test_reading_goes_before_running_and_beside_it_while_all_workers_are_busy() -> None:
    said: queue.SimpleQueue[str] = queue.SimpleQueue()
    pool = WorkerPool(1)
    try:
        ask = lanes(pool, said)
        ask("long", "run", 3.0)
        ask("next", "run", 0.0)
        ask("read", "read", 0.0)
        assert [said.get(timeout=20) for _ in range(3)] == ["read", "long", "next"]
    finally:
        pool.close()


def test_what_guests_read_takes_no_worker_and_leaves_the_owner_a_spare_one() -> None:
    said: queue.SimpleQueue[str] = queue.SimpleQueue()
    pool = WorkerPool(1)
    try:
        ask = lanes(pool, said)
        ask("guest", "apart", 9.0)
        ask("run", "run", 0.0)
        assert said.get(timeout=20) == "run"
        ask("run long", "run", 9.0)
        ask("read", "read", 0.0)
        assert said.get(timeout=20) == "read"
    finally:
        pool.close()
    assert pool.pids() == []


def test_the_default_size_is_the_cores_this_process_may_use_up_to_four() -> None:
    assert default_size() == max(1, min(4, len(os.sched_getaffinity(0))))
