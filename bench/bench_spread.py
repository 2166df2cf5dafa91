"""Jobs over the mesh: what spreading over peers that nobody trusts costs, against a bare pool, Ray and Dask.

Ours: real node processes on loopback, one submitter and peers with one worker each; from the submission through the API
to all results decoded at the client, signatures, receipts and the submitter's checks included. References run the same
programs with the same seeds by `engines.execute.execute` in processes that are warm, and give back plain counts.
`again` in what Ray and Dask say: their best with the shortcut for many runs of one small program that our workers take
by themselves (`engines.again`).
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from bench import circuits, sides
from bench.harness import Claim
from qcommons.circuits.program import Program
from qcommons.circuits.wire import encode

__all__ = ["CLAIMS"]

CLAIMS = [
    Claim("400 equal pieces of 100 ms over 4 peers, against a bare pool of 2 processes", "over_peers", "pool", "speed",
          0.9, rounds=3, pause_s=2.0),
    Claim("10,000 pieces of 5 qubits over 2 peers, against Ray", "tiny_over_peers", "ray", "speed", 1.0, pause_s=3.0),
    Claim("10,000 pieces of 5 qubits over 2 peers, against Dask", "tiny_over_peers", "dask", "speed", 1.0, pause_s=3.0),
]  # fmt: skip
PROCESSES = 2
PIECES, TINY = 400, 10_000
BATCHES = (100, 250, 500, 1_250, 2_500, 5_000)
MEMORY_BYTES = 1 << 30
KNOWN_S = 30.0
SETTLE_S = 1.5  # candidates are told twice a second
Counts = dict[str, int]
Batch = tuple[bytes, tuple[float, ...], int]  # program, values of its input, seed of the first


def large() -> Program:
    """16 qubits, 170 layers: about 100 ms."""
    return _swept(circuits.brickwork(16, 170, 1), "u3", "u3(angle,0,0)")


def tiny() -> Program:
    return _swept(circuits.small_task(0), "ry", "ry(angle)")


def _swept(text: str, gate: str, turned: str) -> Program:
    """The program with an input in place of the angle of its first such gate."""
    head, found, rest = text.partition(f"{gate}(")
    modern = head.replace("OPENQASM 2.0;", "OPENQASM 3.0; input float angle;").replace("qelib1", "stdgates")
    program: Program = sides.program(modern + turned + rest.partition(")")[2] if found else modern)
    return program


def _angles(count: int) -> tuple[float, ...]:
    return tuple(3.0 * place / count for place in range(count))


# ours


class Mesh:
    """A submitter and peers, warm: they know each other. Ends with this process."""

    def __init__(self, peers: int) -> None:
        from qcommons.clients.cli.start import start
        from qcommons.clients.http.node import Node
        from qcommons.node.dev import DevFolder
        from qcommons.node.home import Home

        self.folder = Path(tempfile.mkdtemp(prefix="qcommons-spread-"))
        homes = DevFolder(self.folder / "dev").make(peers + 1, seed="bench", workers=1)
        known = Home().calibration_path
        self.pids: list[int] = []
        atexit.register(self.end)
        for home in homes:
            if known.is_file():  # else each node would measure the machine after its first job
                shutil.copy(known, home / known.name)
            ready = start({}, home, None, plain=True)
            self.pids.append(ready["pid"])
            if home == homes[0]:
                self.node = Node.connect(ready["url"], token=(home / "token").read_text(), home=home)
        until_s = time.monotonic() + KNOWN_S
        while sum(row.state == "alive" for row in self.node.mesh.view().peers) < peers:
            if time.monotonic() > until_s:
                raise RuntimeError(f"{peers} peers did not find each other within {KNOWN_S:g} s")
            time.sleep(0.1)
        time.sleep(SETTLE_S)

    def end(self) -> None:
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def sweep(self, program: Program, count: int) -> sides.Thunk:
        angles = list(_angles(count))

        def thunk() -> dict[str, Any]:
            job = self.node.submit(
                program, bind={"angle": angles}, shots=sides.SHOTS, seed=1, on="mesh", assurance="none", egress="public"
            )
            results: Any = job.result()
            right = sum(sum(one.counts.values()) == sides.SHOTS for one in results) == count
            return {"pieces": count, "right": right}

        return thunk


def over_peers(small: bool) -> sides.Thunk:
    return Mesh(4).sweep(large(), 8 if small else PIECES)


def tiny_over_peers(small: bool) -> sides.Thunk:
    return Mesh(2).sweep(tiny(), 100 if small else TINY)


# references


def run_batch(batch: Batch) -> list[Counts]:
    """Each of the values, one after the other, as a user of `execute` would."""
    from qcommons.circuits.program import bind
    from qcommons.engines.execute import execute

    request = _request(batch)
    found = []
    for place, angle in enumerate(batch[1]):
        own = msgspec.structs.replace(request, program=bind(request.program, {"angle": angle}), seed=batch[2] + place)
        found.append(execute(own, time.monotonic_ns).answer.counts or {})
    return found


def run_batch_again(batch: Batch) -> list[Counts]:
    """As our workers do."""
    from qcommons.engines.again import again

    own = again(_request(batch), time.monotonic_ns)
    assert own is not None
    return [
        own.run({"angle": angle}, batch[2] + place, time.monotonic_ns).answer.counts or {}
        for place, angle in enumerate(batch[1])
    ]


def _request(batch: Batch) -> Any:
    from qcommons.circuits.wire import decode
    from qcommons.engines.execute import Request
    from qcommons.engines.records import Counts, Limits

    limits = Limits(memory_bytes=MEMORY_BYTES, seconds=60.0)
    return Request(program=decode(batch[0]), want=Counts(sides.SHOTS), seed=0, limits=limits)


def _batches(program: Program, count: int, size: int) -> list[Batch]:
    wire, angles = encode(program), _angles(count)
    return [(wire, angles[first : first + size], first) for first in range(0, count, size)]


def pool(small: bool) -> sides.Thunk:
    executor = ProcessPoolExecutor(PROCESSES)
    count = 8 if small else PIECES
    batches = _batches(large(), count, 1)
    list(executor.map(run_batch, batches[: 2 * PROCESSES]))

    def thunk() -> dict[str, Any]:
        found = [counts for batch in executor.map(run_batch, batches) for counts in batch]
        return {"pieces": len(found), "right": len(found) == count}

    return thunk


def ray(small: bool) -> sides.Thunk:
    import ray as library

    library.init(num_cpus=PROCESSES, include_dashboard=False, log_to_driver=False, configure_logging=False)
    atexit.register(library.shutdown)
    remote: dict[Any, Any] = {call: library.remote(call) for call in (run_batch, run_batch_again)}

    def run(call: Callable[[Batch], list[Counts]], batches: Sequence[Batch]) -> list[list[Counts]]:
        found: list[list[Counts]] = library.get([remote[call].remote(batch) for batch in batches])
        return found

    return _best(run, small)


def dask(small: bool) -> sides.Thunk:
    from distributed import Client, LocalCluster

    cluster = LocalCluster(n_workers=PROCESSES, threads_per_worker=1, dashboard_address=None)
    client = Client(cluster)
    atexit.register(cluster.close)
    atexit.register(client.close)

    def run(call: Callable[[Batch], list[Counts]], batches: Sequence[Batch]) -> list[list[Counts]]:
        found: list[list[Counts]] = client.gather(client.map(call, batches, pure=False))
        return found

    return _best(run, small)


def _best(
    run: Callable[[Callable[[Batch], list[Counts]], Sequence[Batch]], list[list[Counts]]], small: bool
) -> sides.Thunk:
    """The run with the best size of batches; every size is tried twice, the first time warms the workers."""
    program, count = tiny(), 100 if small else TINY
    took: dict[tuple[str, int], float] = {}
    for call in (run_batch, run_batch_again):
        for size in BATCHES:
            for _ in range(2):
                begin = time.perf_counter()
                run(call, _batches(program, count, size))
                took[call.__name__, size] = time.perf_counter() - begin
    chosen = min(BATCHES, key=lambda size: took[run_batch.__name__, size])
    again_s = min(took[run_batch_again.__name__, size] for size in BATCHES)
    timed = partial(run, run_batch, _batches(program, count, chosen))

    def thunk() -> dict[str, Any]:
        found = [counts for batch in timed() for counts in batch]
        return {"pieces": len(found), "batch": chosen, "again": f"{again_s:.3f} s", "right": len(found) == count}

    return thunk
