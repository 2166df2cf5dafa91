"""The embedded node: arguments, batches, sweeps, seeds, cancelling; with a stand-in engine.

Modules: embedded, driver.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.node.making import BELL, QASM, THREE, TURN, eventually, faulty_node, is_running

from qcommons.base.errors import UsageError
from qcommons.circuits.observables import PauliSum, Term
from qcommons.circuits.program import Op, Program
from qcommons.circuits.wire import program_id
from qcommons.jobs.results import Result, Results
from qcommons.node.embedded import EmbeddedNode

Z = PauliSum((Term(1.0, ((0, "Z"),)),), "Z")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedNode]:
    with faulty_node(tmp_path_factory.mktemp("home"), workers=2) as node:
        yield node


def test_a_program_a_text_and_a_file_give_the_same_program_id(node: EmbeddedNode, tmp_path: Path) -> None:
    path = tmp_path / "bell.qasm"
    path.write_text('OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; creg c[2]; h q[0]; cx q[0],q[1];\nmeasure q -> c;')
    runs = [
        node.run(BELL),
        node.run(path.read_text()),
        node.run(path),
        node.run(str(path)),
        node.run(path.read_bytes()),
    ]
    assert {run.program_id for run in runs} == {program_id(BELL)}
    assert runs[2].name == str(path)


def test_a_single_program_at_a_single_point_is_a_result_everything_else_a_batch(node: EmbeddedNode) -> None:
    assert isinstance(node.run(BELL), Result)
    assert isinstance(node.run(TURN, bind={"theta": 0.1}), Result)
    shapes = [
        node.run([BELL]).shape,
        node.run(TURN, bind={"theta": [0.1, 0.2]}).shape,
        node.run(TURN, bind=[{"theta": 0.1}]).shape,
        node.run([TURN, TURN, TURN], bind={"theta": np.zeros((2, 4))}).shape,
    ]
    assert shapes == [(1,), (2,), (1,), (3, 2, 4)]


def test_arrays_are_broadcast_together_and_each_run_knows_its_values(node: EmbeddedNode) -> None:
    grid = node.run(TURN, bind={"theta": np.linspace(0, 1, 6).reshape(2, 3)}, observable=Z)
    # the stand-in answers with the angle itself
    np.testing.assert_allclose(grid.expectation, np.linspace(0, 1, 6).reshape(2, 3))
    assert [run.values["theta"] for run in grid] == pytest.approx(np.linspace(0, 1, 6))
    many = node.run(TURN, bind={"theta": [0.5, 0.25]}, observable=[Z, Z])
    np.testing.assert_allclose(many.expectation, [[0.5, 0.5], [0.25, 0.25]])
    assert "theta" in grid.to_pandas().columns


def test_a_run_of_a_batch_is_repeated_alone_by_its_own_seed(node: EmbeddedNode) -> None:
    batch = node.run([BELL] * 3, seed=11)
    again = node.run([BELL] * 3, seed=11)
    assert [run.seed for run in batch] == [run.seed for run in again]
    assert len({run.seed for run in batch}) == 3
    assert node.run(BELL, seed=batch[1].seed).seed == batch[1].seed


def test_a_seed_is_drawn_and_reported_when_none_is_given(node: EmbeddedNode) -> None:
    seeds = {node.run(BELL).seed for _ in range(4)}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_programs_that_cannot_run_fail_alone_in_a_list_and_raise_by_themselves(node: EmbeddedNode) -> None:
    broken = "OPENQASM 3.0;\nqubit[2 q;"
    batch = node.run([BELL, broken, TURN])
    assert [run.status for run in batch] == ["done", "failed", "failed"]
    assert batch[1].error is not None
    assert batch[1].error.where == "<text>:2:9"
    assert "no value for theta" in batch[2].error.what
    with pytest.raises(UsageError, match="<text>:2:9"):
        batch.raise_for_errors()
    with pytest.raises(UsageError, match="<text>:2:9"):
        node.run(broken)


@pytest.mark.parametrize(
    ("program", "arguments", "says"),
    [
        (3, {}, "program: no program, but of type int"),
        ([], {}, "empty list"),
        ("nofile.qasm", {}, "nofile.qasm: cannot read"),
        (Program(1, (), (Op("flop", (0,)),)), {}, "operation 0: unknown gate 'flop'"),
        (Program(1, (), None), {}, "operations are of type NoneType"),  # type: ignore[arg-type]
        (Program(100_001, (), ()), {}, "100001 qubits; allowed 0 to 100000"),
        (Program(1, (("c", 100_001),), ()), {}, "100001 classical bits"),
        (BELL, {"shots": 0}, "shots=0"),
        (BELL, {"shots": 1.5}, "shots=1.5"),
        (BELL, {"seed": -1}, "seed=-1"),
        (BELL, {"deadline_s": 0}, "deadline_s"),
        (BELL, {"memory_bytes": -5}, "memory_bytes"),
        (BELL, {"memory_bytes": 2**80}, "at most 2^60"),
        (BELL, {"deadline_s": float("inf")}, "at most 2^60"),
        (BELL, {"memory_bytes": "a"}, "memory_bytes='a'"),
        (BELL, {"shots": float("nan")}, "shots=nan"),
        (BELL, {"amplitudes": 3}, "amplitudes=3"),
        (BELL, {"engine": 3}, "engine=3"),
        (BELL, {"method": 3}, "method=3"),
        (BELL, {"amplitudes": "012"}, "'012' is no bitstring"),
        (BELL, {"amplitudes": "000"}, "has 3 bits; this program has 2 qubits"),
        (BELL, {"amplitudes": "00", "statevector": True}, "exclude each other"),
        (BELL, {"statevector": True, "shots": 3}, "leave shots out"),
        (BELL, {"observable": 7}, "no observable"),
        (TURN, {"observable": PauliSum((Term(1.0, ((4, "X"),)),), "X4")}, "qubit 4; this program has 1"),
        (BELL, {"observable": []}, "empty list of observables"),
        (BELL, {"bind": {"x": 1.0}}, "no input x"),
        (BELL, {"bind": 5}, "a mapping or a list"),
        (BELL, {"noise": 5}, "is no noise"),
        (TURN, {}, "no value for theta"),
        (TURN, {"bind": {"theta": "much"}}, "bind theta"),
        (TURN, {"bind": {"theta": float("nan")}}, "not finite"),
        (TURN, {"bind": {"theta": [1, 2], "phi": [1, 2, 3]}}, "broadcast"),
        (Program(1, (), (Op("nonsense", (0,)),)), {}, "nonsense"),
    ],
)
def test_bad_arguments_are_refused_by_name(
    node: EmbeddedNode, program: Any, arguments: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError) as caught:
        node.run(program, **arguments)
    assert says in str(caught.value)
    assert caught.value.exit_code == 2


def test_progress_is_told_from_start_to_end(node: EmbeddedNode) -> None:
    told: list[tuple[int, int]] = []
    node.run([THREE] * 2_000, shots=100_000, progress=lambda done, total: told.append((done, total)))
    assert told[0] == (0, 2_000)
    assert told[-1] == (2_000, 2_000)
    assert told == sorted(told)
    assert len(told) > 3


def test_a_job_can_be_cancelled_from_another_thread(node: EmbeddedNode) -> None:
    def cancel() -> None:
        assert eventually(lambda: bool(node.jobs()))
        assert node.cancel(node.jobs()[0], "changed my mind")

    thread = threading.Thread(target=cancel)
    thread.start()
    batch = node.run([BELL, BELL], method="hang")
    thread.join()
    assert batch.status == "cancelled"
    assert "changed my mind" in batch[0].error.what
    assert not node.cancel("job_unknown")
    assert node.run(BELL).status == "done"


def test_several_threads_share_the_workers(node: EmbeddedNode) -> None:
    answers: list[Results] = []
    threads = [threading.Thread(target=lambda: answers.append(node.run([BELL] * 50, shots=3))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [len(batch) for batch in answers] == [50] * 6
    assert all(run.counts == {"00": 3} for batch in answers for run in batch)


def test_a_failing_progress_callback_stops_the_job(node: EmbeddedNode) -> None:
    def fail(done: int, total: int) -> None:
        raise RuntimeError("bar broke")

    with pytest.raises(RuntimeError, match="bar broke"):
        node.run(BELL, method="hang", progress=fail)
    assert node.jobs() == []
    assert node.run(BELL).status == "done"


def test_an_interrupt_cancels_the_job_and_kills_its_worker(tmp_path: Path) -> None:
    with faulty_node(tmp_path) as node:
        node.run(BELL)
        (pid,) = node.pool.pids()
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        start_s = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            node.run(BELL, method="hang")
        assert time.monotonic() - start_s < 5
        assert eventually(lambda: not is_running(pid))
        assert node.run(BELL).status == "done"


def test_the_package_exports_run_without_importing_anything_heavy() -> None:
    script = "import sys, qcommons; assert 'numpy' not in sys.modules; qcommons.run; print(qcommons.__version__)"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout.strip()


def test_the_parent_never_imports_an_engines_library() -> None:
    script = (
        "import sys; from pathlib import Path; from tests.node.making import BELL, faulty_node\n"
        "import tempfile; node = faulty_node(Path(tempfile.mkdtemp())); node.run(BELL); node.close()\n"
        "heavy = {'qiskit', 'qulacs', 'stim', 'quimb', 'scipy', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", script], check=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)})


def test_a_text_is_bound_in_the_worker(node: EmbeddedNode) -> None:
    run = node.run(QASM, bind={"theta": 0.25}, observable=Z)
    assert run.expectation == 0.25
