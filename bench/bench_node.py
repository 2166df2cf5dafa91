"""The node as a daemon: how soon it serves, what it holds at rest, what its API adds to a job, how many it takes."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import circuits, sides
from bench.bench_embedded import bare_engine
from bench.harness import Claim

__all__ = ["CLAIMS", "bare_engine"]

CLAIMS = [
    Claim("`up -d` until the node serves", "up", None, "seconds", 2.0),
    Claim("node at rest, no engine imported: resident memory", "rest", None, "most", 80.0, rounds=3, unit="MiB"),
    Claim("path through the API above the bare engine call, a job", "through_api", "bare_engine", "delay", 5e-3,
          rounds=101),
    Claim("tiny jobs from 8 clients at once", "busy", None, "least", 200.0, rounds=3, unit="jobs/s"),
    Claim("list of jobs with 10,000 stored", "listing", None, "seconds", 0.1, rounds=11),
]  # fmt: skip
STORED = 10_000
CLIENTS = 8


class Running:
    """A daemon on loopback with a home of its own."""

    def __init__(self, home: Path | None = None) -> None:
        self.home = home or Path(tempfile.mkdtemp(prefix="qcommons-bench-")) / "home"
        reader, writer = os.pipe()
        command = [sys.executable, "-m", "qcommons.node.daemon", "--ready-fd", str(writer), "--options", '{"port":0}']
        alone = {"QCOMMONS_MESH_LISTEN": "loopback", "QCOMMONS_MESH_PORT": "0"}
        environment = {**os.environ, **alone, "QCOMMONS_HOME": str(self.home)}
        self.process = subprocess.Popen(command, pass_fds=[writer], env=environment)
        os.close(writer)
        atexit.register(self.stop)
        with os.fdopen(reader, "rb") as pipe:
            select.select([pipe], [], [], 30)
            self.ready = json.loads(pipe.readline())

    def stop(self) -> None:
        """At once; twice is fine."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def up(small: bool) -> sides.Thunk:
    before: list[Running] = []

    def thunk() -> dict[str, Any]:
        while before:
            before.pop().stop()
        before.append(Running())
        return {"url": before[0].ready["url"]}

    return thunk


def rest(small: bool) -> sides.Thunk:
    node = Running()

    def thunk() -> dict[str, Any]:
        time.sleep(0.1 if small else 3.0)
        lines = Path(f"/proc/{node.process.pid}/status").read_text().splitlines()
        kib = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
        return {"value": round(kib / 1024, 1)}

    return thunk


def through_api(small: bool) -> sides.Thunk:
    from qcommons.clients.http.node import Node

    client = Node.connect(home=Running().home)
    task = sides.program(circuits.small_task(0))

    def thunk() -> dict[str, Any]:
        return {"outcomes": len(client.run(task, shots=sides.SHOTS, seed=1, engine="qulacs").counts)}

    return thunk


def busy(small: bool) -> sides.Thunk:
    home = Running().home
    jobs = 5 if small else 100
    command = [sys.executable, "-m", "bench.client", str(home), str(jobs)]
    clients = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(CLIENTS)
    ]
    for client in clients:
        atexit.register(client.kill)
        _line(client, "ready")

    def thunk() -> dict[str, Any]:
        started_s = time.perf_counter()
        for client in clients:
            assert client.stdin is not None
            client.stdin.write("go\n")
            client.stdin.flush()
        for client in clients:
            _line(client, "done")
        return {"value": round(CLIENTS * jobs / (time.perf_counter() - started_s), 1)}

    return thunk


def _line(client: subprocess.Popen[str], wanted: str) -> None:
    assert client.stdout is not None
    said = client.stdout.readline().strip()
    if said != wanted:
        raise RuntimeError(f"a client said {said!r} in place of {wanted!r}")


def listing(small: bool) -> sides.Thunk:
    from qcommons.clients.http.node import Node

    home = Path(tempfile.mkdtemp(prefix="qcommons-bench-")) / "home"
    _fill(home, 100 if small else STORED)
    client = Node.connect(home=Running(home).home)

    def thunk() -> dict[str, Any]:
        found = client.jobs(limit=100)
        return {"shown": len(found.jobs), "stored": found.total, "right": len(found.jobs) == 100}

    return thunk


def _fill(home: Path, count: int) -> None:
    """Entries of ended jobs, as the core keeps them."""
    import msgspec

    from qcommons.base.ids import job_id
    from qcommons.node.keys import id_key, job_key
    from qcommons.node.records import Entry
    from qcommons.node.store import Store

    with Store(home / "node.db") as store:
        for number in range(count):
            entry = Entry(
                number=number, id=job_id(b"%016d" % number), principal="home", title="bell.qasm", state="done",
                cause="all 1 runs answered", since_ns=number, submitted_ns=number, deadline_ns=number, ended_ns=number,
                runs=1, answered=1, n_qubits=2, shots=1024, size_bytes=700,
            )  # fmt: skip
            packed = msgspec.msgpack.encode
            store.apply([(job_key(number), packed(entry)), (id_key(entry.id), packed(number))])
        store.flush(60.0)
