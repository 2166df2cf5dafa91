"""Engines `ray` and `dask`: what they send and read, when they are chosen, what happens where no cluster answers; and
real local clusters of both, where their libraries are installed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest

from qcommons.base.errors import Unavailable, UsageError
from qcommons.circuits.features import features
from qcommons.circuits.program import Op, Program
from qcommons.engines import cluster
from qcommons.engines.cluster import PREFER, ClusterEngine, Link, answer_of, ask_bytes, there
from qcommons.engines.dask_engine import DaskEngine
from qcommons.engines.execute import Request, execute
from qcommons.engines.ray_engine import RayEngine
from qcommons.engines.records import CapExceeded, Counts, Limits, Statevector, Task
from qcommons.engines.registry import load_engines
from qcommons.engines.select import select
from qcommons.testing import programs
from qcommons.testing.engine import Check
from qcommons.testing.engine_rules import RULES

LIMITS = Limits(1 << 30, 30.0)
BELL = Program(
    2, (("c", 2),), (Op("h", (0,)), Op("cx", (0, 1)), Op("measure", (0,), (), (0,)), Op("measure", (1,), (), (1,)))
)  # fmt: skip
TASK = Task(BELL, Counts(1_000), "cluster", 7, LIMITS)


class Near(ClusterEngine):
    """A cluster that is this process. fault: raised by every run. tries: how often somebody connected."""

    name, distribution, install, licence, address = "near", "numpy", "nothing", "BSD-3-Clause", "QCOMMONS_NEAR"

    def __init__(self, fault: Exception | None = None, *, is_up: bool = True) -> None:
        super().__init__()
        self.fault, self.is_up, self.tries = fault, is_up, 0

    def connect(self, address: str) -> Link:
        self.tries += 1
        if not self.is_up:
            raise ConnectionError("nobody is there")
        return self

    def run(self, *args: object) -> object:  # type: ignore[override]  # both a link's and an engine's
        if len(args) == 1:
            return super().run(args[0])  # type: ignore[arg-type]
        if self.fault is not None:
            raise self.fault
        call, data = args[:2]
        return call(data)  # type: ignore[operator]


@pytest.fixture(autouse=True)
def addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (PREFER, "QCOMMONS_RAY", "QCOMMONS_DASK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QCOMMONS_NEAR", "here")


# what is sent and read


def test_the_answer_names_who_ran_it_there_and_repeats_here_with_the_same_seed() -> None:
    """An auditor that knows no cluster finds the same numbers with the engine and method that the answer names."""
    answer = Near().run(TASK)
    assert (answer.engine, answer.method) == ("qulacs", "statevector")
    here = load_engines()["qulacs"].run(msgspec.structs.replace(TASK, method="statevector"))
    assert answer.counts == here.counts


def test_what_does_not_fit_there_is_refused_as_here() -> None:
    small = msgspec.structs.replace(TASK, limits=Limits(64, 30.0))
    with pytest.raises(CapExceeded, match="within 64 B"):
        Near().run(msgspec.structs.replace(small, program=programs.measured(programs.scrambled(20, False, 1))))
    with pytest.raises(UsageError):
        Near().run(msgspec.structs.replace(TASK, method="statevector"))


def test_another_version_on_the_cluster_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ask_bytes(TASK)
    monkeypatch.setattr(cluster, "package_version", lambda: "0.0.0")
    with pytest.raises(Unavailable, match=r"0\.0\.0 runs on the cluster"):
        answer_of(there(asked), "near")


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x80", msgspec.msgpack.encode({"type": "_Gave", "answer": 3})])
def test_what_is_no_answer_is_told(data: bytes) -> None:
    with pytest.raises(Unavailable, match="is no answer"):
        answer_of(data, "near")


def test_a_run_that_takes_too_long_passes_its_cap_and_a_broken_cluster_is_unavailable() -> None:
    with pytest.raises(CapExceeded, match="no answer within"):
        Near(TimeoutError()).run(TASK)
    engine = Near(RuntimeError("a worker was killed"))
    for tries in (1, 2):  # it is connected again
        with pytest.raises(Unavailable, match="a worker was killed"):
            engine.run(TASK)
        assert engine.tries == tries


def test_where_nobody_answers_it_says_where_and_does_not_try_at_once_again() -> None:
    engine = Near(is_up=False)
    with pytest.raises(Unavailable, match=r"no cluster of near at here \(QCOMMONS_NEAR\).*nobody is there"):
        engine.run(TASK)
    with pytest.raises(Unavailable, match="less than 30 s ago"):
        engine.run(TASK)
    assert engine.tries == 1


@pytest.mark.parametrize(
    ("engine", "address", "form"), [(RayEngine(), "http://x", "ray://HOST"), (DaskEngine(), "x:8786", "tcp://HOST")]
)
def test_an_address_of_another_kind_is_refused_with_the_form(
    engine: ClusterEngine, address: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(engine.address, address)
    with pytest.raises(Unavailable, match=form):
        engine.run(TASK)


# when they are chosen

SMALL, LARGE = programs.measured(programs.scrambled(4, False, 1)), programs.measured(programs.scrambled(22, False, 1))


def chosen(program: Program, engine: str | None = None) -> str:
    engines = {**load_engines(), "near": Near()}
    return select(features(program, None), Counts(100), engines, {}, LIMITS, engine=engine).rungs[0].engine


def test_a_cluster_is_chosen_by_name_or_where_the_owner_prefers_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never silently: without either, a cluster that is there gets nothing."""
    assert "near" not in (chosen(SMALL), chosen(LARGE))
    assert chosen(SMALL, "near") == chosen(LARGE, "near") == "near"
    monkeypatch.setenv(PREFER, "near")
    assert chosen(LARGE) == "near" and chosen(SMALL) != "near"
    monkeypatch.setenv(PREFER, "other")
    assert chosen(LARGE) != "near"


def test_without_an_address_there_is_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Near().installed() is not None
    monkeypatch.delenv("QCOMMONS_NEAR")
    assert Near().installed() is None


def test_where_a_preferred_cluster_is_down_this_machine_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFER, "near")
    engines = {**load_engines(), "near": Near(is_up=False)}
    monkeypatch.setattr("qcommons.engines.execute.load_engines", lambda: engines)
    turns = (Op("ry", (q,), (0.3 + q,)) for q in range(17))
    chain = (Op("cx", (q, q + 1)) for q in range(16))
    program = programs.measured(Program(17, (), (*turns, *chain)))
    monkeypatch.setattr("qcommons.engines.select.AWAY_S", 0.0)
    done = execute(Request(program=program, want=Counts(10), seed=1, limits=LIMITS), time.monotonic_ns)
    assert done.attempts[0].engine == "near" and "nobody is there" in done.attempts[0].outcome
    assert done.answer.engine != "near" and "near/cluster was tried first" in done.reason


def test_a_cost_is_that_of_the_best_engine_and_the_way_there() -> None:
    ladder = select(features(LARGE, None), Counts(100), load_engines(), {}, LIMITS)
    cost = Near().cost("cluster", features(LARGE, None), Counts(100), {})
    assert isinstance(cost, cluster.Cost) and cost.work_units > 0
    best = min(rung.cost.seconds for rung in ladder.rungs if rung.cost.certain)
    assert cost.seconds == pytest.approx(best + Near.constants["task_s"])


ENGINE = Near()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_cluster_keeps_the_rules_of_an_engine(rule: Check) -> None:
    """Its answers are those of the engines there, which are held to the suite themselves."""
    rule.run(ENGINE, ENGINE.methods[0])


# real ones


def held(engine: ClusterEngine) -> None:
    """Against a real cluster: one answer that repeats here, what is wide, and a refusal."""
    answer = engine.run(TASK)
    assert answer.counts == Near().run(TASK).counts
    wide = Task(programs.scrambled(12, False, 3), Statevector(), "cluster", 1, LIMITS)
    assert engine.run(wide) == Near().run(wide)
    with pytest.raises(UsageError):
        engine.run(msgspec.structs.replace(TASK, method="statevector"))


def retried(run: Callable[[], object], within_s: float) -> None:
    """Until a cluster that starts is there."""
    until_s = time.monotonic() + within_s
    while True:
        try:
            run()
            return
        except Unavailable:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.5)


def test_a_real_dask_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed", reason="pip install 'qcommons[dask]'")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))  # its worker finds what we find
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as local:
        monkeypatch.setenv("QCOMMONS_DASK", local.scheduler_address)
        engine = DaskEngine()
        held(engine)
        engine._link._client.close()  # type: ignore[union-attr]


@pytest.fixture
def ray_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """With a token of its own, whatever this user has: a cluster asks for one where it finds one."""
    if find_spec("ray") is None:
        pytest.skip("pip install 'qcommons[ray]'")
    (tmp_path / "token").write_text("a1" * 32)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("RAY_AUTH_MODE", "")  # recorded, so that what the engine sets is gone afterwards
    monkeypatch.delenv("RAY_AUTH_MODE")
    ports = ("--port=26871", "--ray-client-server-port=26872", "--min-worker-port=26900", "--max-worker-port=26999")
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:  # short: it holds sockets
        command = [
            sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=1", *ports,
            "--include-dashboard=false", "--disable-usage-stats", "--node-ip-address=127.0.0.1",
            "--object-store-memory=80000000", f"--temp-dir={folder}",
        ]  # fmt: skip
        paths = os.pathsep.join(filter(None, sys.path))
        environment = {**os.environ, "PYTHONPATH": paths, "RAY_USAGE_STATS_ENABLED": "0"}
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        yield "ray://127.0.0.1:26872"
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.filterwarnings("ignore")  # of Ray's own modules
def test_a_real_ray_cluster(ray_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QCOMMONS_RAY", ray_address)
    monkeypatch.setattr(cluster, "DOWN_S", 0.0)
    engine = RayEngine()
    retried(lambda: engine.run(TASK), within_s=90.0)  # it starts in 15 s
    held(engine)
    import_module("ray").shutdown()
