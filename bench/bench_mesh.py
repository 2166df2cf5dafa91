"""The mesh with real processes: how soon all know all, what it costs at rest, round trips, news, blobs, what dies.

`python -m bench.bench_mesh [N]` starts N nodes (30) on loopback, plays, and prints requirement, figure, met. One play
serves all rows, so they are no claims of `python -m bench`. A partition is cut inside the nodes (development nodes can
be severed from each other): a stopped process would be a frozen node, not a cut network.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from bench.bare_echo import round_trips
from qcommons.base.errors import QCommonsError
from qcommons.clients.cli.start import start
from qcommons.clients.http.node import Node
from qcommons.node.dev import DevFolder

__all__ = ["CLAIMS"]

CLAIMS: list[Any] = []
NODES = 30
STARTS_AT_ONCE = 4
IDLE_S = 20.0
SUSPICION_S = 15.0
BLOB_BYTES = 16 << 20
ECHOES, ROUNDS = 400, 5
PROBES = 12
PAIRS = 200
TICKS = os.sysconf("SC_CLK_TCK")


class Row(NamedTuple):
    what: str
    figure: float
    unit: str
    bar: float
    least: bool = False

    @property
    def met(self) -> bool:
        return self.figure >= self.bar if self.least else self.figure <= self.bar


class Member:
    """One node process and the way to ask it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        ready = start({}, home, None, plain=True)
        self.id, self.pid = ready["node_id"], ready["pid"]
        self.node = Node.connect(ready["url"], token=(home / "token").read_text(), home=home)

    def alive(self) -> set[str]:
        return {row.node for row in self.node.mesh.view().peers if row.state == "alive"}

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def rss_mib(self) -> float:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def until_all_know(members: list[Member], within_s: float) -> float:
    """Seconds until each has exactly all others alive; inf where that takes longer."""
    ids = {one.id for one in members}
    begin, open_ones = time.perf_counter(), list(members)
    while open_ones:
        if time.perf_counter() - begin > within_s:
            return float("inf")
        open_ones = [one for one in open_ones if not ids - {one.id} <= one.alive()]
        if open_ones:
            time.sleep(0.05)
    return time.perf_counter() - begin


def idle(members: list[Member]) -> Iterator[Row]:
    before = [one.cpu_s() for one in members]
    time.sleep(IDLE_S)
    used = sum(one.cpu_s() - was for one, was in zip(members, before, strict=True))
    yield Row(f"{len(members)} nodes at rest together", 100 * used / IDLE_S, "% of a core", len(members))
    yield Row("largest resident memory of a node", max(one.rss_mib() for one in members), "MiB", 85)


def echoes(members: list[Member]) -> Iterator[Row]:
    """Bare and mesh in turn, so that a slow spell of the machine hits both."""
    server = subprocess.Popen([sys.executable, "-m", "bench.bare_echo"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    port = int(server.stdout.readline())
    here = members[1]
    there = next(row.node for row in here.node.mesh.view().peers if row.link == "direct")
    bare, mesh = [], []
    for _ in range(ROUNDS):
        bare.append(statistics.median(round_trips(port, ECHOES, 1024)))
        mesh.append(here.node.mesh.measure(there, ECHOES).p50_s or float("inf"))
    server.kill()
    server.wait()
    figure = statistics.median(mesh) / statistics.median(bare)
    print(f"  bare {1e6 * statistics.median(bare):.0f} us, mesh {1e6 * statistics.median(mesh):.0f} us", flush=True)
    yield Row("1 KiB request and answer, p50, against a bare PQ-TLS echo", figure, "x", 1.5)


def blobs(members: list[Member]) -> Iterator[Row]:
    here = members[2]
    there = next(row.node for row in here.node.mesh.view().peers if row.link == "direct")
    rates = []
    for _ in range(3):
        time.sleep(1.1)
        measured = here.node.mesh.measure(there, 1, blob_bytes=BLOB_BYTES)
        rates.append(BLOB_BYTES / 2**20 / (measured.blob_s or float("inf")))
    yield Row("16 MiB blob, from fetch to checked and on disk", statistics.median(rates), "MiB/s", 60, least=True)


def news(members: list[Member], label: str, bar_ms: float = 60.0) -> Iterator[Row]:
    """From publishing until each answer is back; the first probe of a node is left out, since answers need links."""
    times: list[float] = []
    silent = 0
    for one in random.Random(1).sample(members, min(4, len(members))):
        one.node.mesh.probe(2.0)
        for _ in range(PROBES // 4):
            time.sleep(0.5)
            probed = one.node.mesh.probe(1.0)
            times += [heard.seconds for heard in probed.heard]
            silent += len(probed.silent)
    times.sort()
    yield Row(f"news to all and the answer back, p99{label}", 1e3 * times[int(0.99 * (len(times) - 1))], "ms", bar_ms)
    yield Row(f"alive nodes that did not hear{label}", silent, "", 0)


def requests_between(members: list[Member], label: str) -> Iterator[Row]:
    chosen, failed = random.Random(2), 0
    for _ in range(PAIRS):
        here, there = chosen.sample(members, 2)
        try:
            failed += here.node.mesh.measure(there.id, 1).failed
        except QCommonsError as error:
            failed += 1
            print(f"  {error}", flush=True)
    yield Row(f"requests between live nodes that failed, of {PAIRS}{label}", failed, "", 0)


def tried(rows: Callable[[], Iterator[Row]], what: str) -> Iterator[Row]:
    """The rows; where they cannot be measured, one that says so, and the play goes on."""
    try:
        yield from rows()
    except QCommonsError as error:
        print(f"  {error}", flush=True)
        yield Row(f"{what} (could not be measured)", float("inf"), "", 0)


def partition(members: list[Member]) -> Iterator[Row]:
    half = len(members) // 2
    sides = (members[:half], members[half:])
    for mine, others in (sides, sides[::-1]):
        for one in mine:
            one.node.mesh.sever(*(other.id for other in others))
    begin = time.perf_counter()
    while any(len(one.alive()) > half for one in members):
        time.sleep(0.2)
        if time.perf_counter() - begin > 60:
            break
    print(f"  cut noticed by all after {time.perf_counter() - begin:.1f} s", flush=True)
    for one in members:
        one.node.mesh.sever()
    yield Row("whole again after a cut in halves heals", until_all_know(members, 30), "s", 3)
    yield from news(members, " after the heal")


def play(count: int, folder: Path) -> Iterator[Row]:
    """All of it, on one mesh."""
    homes = DevFolder(folder).make(count, seed="bench", workers=1)
    members: list[Member] = []
    try:
        begin = time.perf_counter()
        members.append(Member(homes[0]))
        with ThreadPoolExecutor(STARTS_AT_ONCE) as pool:
            members += pool.map(Member, homes[1:])
        print(f"  {count} nodes listen after {time.perf_counter() - begin:.1f} s", flush=True)
        yield Row(f"{count} nodes with one bootstrap: all know all", until_all_know(members, 60), "s", 10)
        time.sleep(10)
        yield from idle(members)
        yield from echoes(members)
        yield from tried(lambda: blobs(members), "blob")
        yield from news(members, "")
        yield from partition(members)
        members.pop(0).kill()
        time.sleep(SUSPICION_S)
        yield from requests_between(members, ", bootstrap killed")
        for _ in range(count // 3):
            members.pop().kill()
        time.sleep(SUSPICION_S)
        yield from requests_between(members, f", {count // 3} more killed")
        yield from news(members, " of those left")
    finally:
        for one in members:
            one.kill()


def main(words: list[str]) -> int:
    """Print each row; 1 where one is not met."""
    count = int(words[0]) if words else NODES
    folder = Path(tempfile.mkdtemp(prefix="qcommons-mesh-"))
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.2f}", flush=True)
    missed = 0
    try:
        for row in play(count, folder / "dev"):
            sign = ">=" if row.least else "<="
            missed += not row.met
            verdict = "met   " if row.met else "MISSED"
            print(f"{verdict}  {row.what}: {row.figure:.4g} {row.unit} (needed {sign} {row.bar:g})", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
