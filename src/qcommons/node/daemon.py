"""One Q-node as a process: home, keys, disk, core, workers, API, signals.

Flow: `qcommons up` -> *run* -> lock the home -> open the disk -> shell and core -> API -> ready -> ... -> drain ->
stop. `python -m qcommons.node.daemon` is what `up -d` starts; it says when it is ready, or why not, in one line of
JSON on the descriptor that it was given.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import secrets
import signal
import sys
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

import msgspec

from qcommons.base.clock import elapsed_s
from qcommons.base.effects import Note
from qcommons.base.errors import QCommonsError
from qcommons.base.typed import described
from qcommons.base.units import s_to_ns
from qcommons.jobs.asks import Ask
from qcommons.jobs.machine import ENDS
from qcommons.jobs.outcomes import ErrorInfo
from qcommons.jobs.work_events import Sharing
from qcommons.node import config, health
from qcommons.node.api.app import Api
from qcommons.node.api.door import OWNER
from qcommons.node.api.server import ApiServer
from qcommons.node.archives import Archivist
from qcommons.node.clerks import Clerks
from qcommons.node.core import NodeCore
from qcommons.node.dealing import Dealing
from qcommons.node.dev import worker_command
from qcommons.node.frames import Calibrate, Calibration
from qcommons.node.home import DRAIN_S, LOCK_FILE, TOKEN_FILE, Home
from qcommons.node.jobs_door import JobsDoor
from qcommons.node.keys import CLEAN, past
from qcommons.node.listeners import Listeners
from qcommons.node.lock import HomeLock
from qcommons.node.logbook import Logbook
from qcommons.node.memory import default_limit_bytes
from qcommons.node.mesh.notes import readable
from qcommons.node.mesh.settings import mesh_settings
from qcommons.node.mesh.slot import MeshSlot
from qcommons.node.messages import Drain, Ended, Sensed
from qcommons.node.metrics import Metrics
from qcommons.node.own_files import check_own
from qcommons.node.owner import OwnerLimits, Sense
from qcommons.node.owner_door import NodeFacts, OwnerDoor
from qcommons.node.recent import Recent
from qcommons.node.records import Entry, NodeEvent
from qcommons.node.recovery import decoded, kept
from qcommons.node.sealing import Sealer
from qcommons.node.sensors import Sensors
from qcommons.node.sharing import offers_of, sharing_of
from qcommons.node.shell import Shell, SteadyClock
from qcommons.node.store import Store
from qcommons.node.tokens import Token, Tokens, owner_token
from qcommons.node.work_parts import work_parts
from qcommons.node.workers import WorkerPool
from qcommons.pqc.identity import NodeKey
from qcommons.pqc.keyfile import PASSPHRASE_BYTES_MAX, load_or_create

__all__ = ["PASSPHRASE_ENV", "NotReady", "Options", "Ready", "main", "run"]

SENSE_S = 10.0
CALIBRATE_S = 2.0
QUIET = frozenset({"planned", "running", "assembling"})  # phases that the log leaves out: `job ID` has them
SWITCH_S = 5e-5  # how long one thread keeps the interpreter from the others: each job changes hands six times
PASSPHRASE_ENV = "QCOMMONS_PASSPHRASE"
DATABASE = "node.db"
DATABASE_FILES = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm")  # SQLite's own names (sqlite.org/tempfiles.html)


class Options(msgspec.Struct, frozen=True):
    """How a node is started. port: None = as the settings say. uds: a unix socket in place of host and port."""

    host: str = "127.0.0.1"
    port: int | None = None
    uds: str | None = None
    allow_remote: bool = False
    hosts: tuple[str, ...] = ()


class Ready(msgspec.Struct, frozen=True):
    """What `up` prints once the node serves."""

    url: str
    token_file: str
    pid: int
    home: str
    node_id: str


class NotReady(msgspec.Struct, frozen=True):
    """Why it does not, and the exit code of the command."""

    error: ErrorInfo
    exit_code: int


class NodeDoor(JobsDoor, OwnerDoor):
    """Both halves of `api.door.Door`."""

    def __init__(self, jobs: tuple[Any, ...], owner: tuple[Any, ...]) -> None:
        JobsDoor.__init__(self, *jobs)
        OwnerDoor.__init__(self, *owner)


class Daemon:
    """One node, from `start` to `stop`. echo: a stream for readable lines of the log, or None."""

    def __init__(
        self, options: Options, home: Home, passphrase: bytes | None = None, echo: TextIO | None = None
    ) -> None:
        self._options, self.home, self._passphrase = options, home, passphrase
        self._lock = HomeLock(home.path / LOCK_FILE)
        self._settings = config.load()
        self._logbook = Logbook(home.path / "node.log", echo)
        self._ended: Counter[str] = Counter()
        self._recent = Recent()
        self._mesh = MeshSlot(self._log)
        self._sensors = Sensors()
        self._stack = contextlib.ExitStack()

    async def start(self) -> Ready:
        """Everything up and serving. Raises one of the four errors, with nothing left behind."""
        options, path = self._options, self.home.path
        self._loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._lock)
            self._logbook.open()
            for name in DATABASE_FILES:
                check_own(path / name)
            key = load_or_create(path / "keys", self._passphrase, secrets.token_bytes)
            disk = stack.enter_context(Store(path / DATABASE, on_trouble=self._on_trouble))
            token = owner_token(path / TOKEN_FILE)
            self.clock = SteadyClock(_newest_ns(disk))
            self.shell = self._shell(disk, key, stack)
            door = self._door(disk, key, token, path)
            port = int(self._settings["api.port"].value) if options.port is None else options.port
            self.server = ApiServer(
                Api(door, hosts=options.hosts, on_fault=self._on_fault), host=options.host, port=port,
                uds=None if options.uds is None else Path(options.uds), allow_remote=options.allow_remote,
            )  # fmt: skip
            url = await self.server.start()
            try:
                await self._mesh.start(
                    mesh_settings(self._settings), key, disk, path, lambda: offers_of(self._settings)
                )
            except BaseException:
                await self.server.stop(grace_s=0.0)
                raise
            door.facts = msgspec.structs.replace(door.facts, url=url)
            self._lock.publish(url)
            clean = disk.get(CLEAN) is not None or not disk.scan("event/", past("event/"), limit=1)
            disk.apply([(CLEAN, None)])
            self.shell.deliver(kept(disk, clean=clean))
            self._mesh.open_work(self.shell, self._sharing)
            self._timers = [asyncio.create_task(self._sense()), asyncio.create_task(self._calibrate())]
            self._stack = stack.pop_all()
        self._door_made = door
        if self._lock.was_open is not None:
            self._log("home_closed", mode=f"{self._lock.was_open:04o}", now="0700")
        self._log("ready", url=url, node_id=key.id, home=str(path), pid=os.getpid())
        return Ready(url, str(path / TOKEN_FILE), os.getpid(), str(path), key.id)

    async def stop(self) -> None:
        """Serve no more, end the workers, leave everything on disk."""
        for timer in self._timers:
            timer.cancel()
        self._door_made.close()
        await self._mesh.stop()
        await self.server.stop(grace_s=2.0)
        await self.shell.close()
        if self.shell.failed is None:
            self.shell.disk.apply([(CLEAN, b"")])
            await asyncio.to_thread(self.shell.disk.flush, 5.0)
        self._log("stopped")
        self._stack.close()
        self._logbook.close()

    def drain(self, drain_s: float = DRAIN_S) -> None:
        """No new jobs; `shell.drained` is set when those that run have ended, or time is up. Twice: at once."""
        if self.shell.core.gate.draining:
            self.shell.drained.set()
        else:
            self.shell.deliver(Drain(self.clock.now_ns() + s_to_ns(drain_s)))

    # parts

    def _shell(self, disk: Store, key: NodeKey, stack: contextlib.ExitStack) -> Shell:
        settings = self._settings
        pool = WorkerPool(int(float(settings["limits.workers"].value)), worker_command(self.home.path))
        stack.callback(pool.close)
        pool.constants = self.home.constants()
        limits = config.owner_limits(settings)
        network = str(settings["mesh.network"].value)
        core = NodeCore(pool.size, limits, self._look(limits, []), Dealing(work_parts(key, network)))
        sealer = Sealer(key, network, disk)
        self._run_bytes = limits.memory_bytes or default_limit_bytes(pool.size)
        return Shell(
            core,
            disk,
            pool,
            self.clock,
            seal=lambda numbers: sealer.seal(numbers, self.clock.now_ns()),
            on_note=self._on_note,
            on_event=self._on_event,
            on_ended=self._on_ended,
            clerks=Clerks(key.hash, network, disk),
        )

    def _door(self, disk: Store, key: NodeKey, token: str, path: Path) -> NodeDoor:
        last = disk.scan("event/", past("event/"), limit=1, reverse=True)
        self._listeners = Listeners(disk, int(last[0][0].split("/")[1]) + 1 if last else 0)
        known = [decoded(name, value, Token) for name, value in disk.scan("token/", past("token/"))]
        tokens = Tokens(token, OWNER, known, self.clock.now_ns)
        facts = NodeFacts(node_id=key.id, home=str(path), url="", started_ns=self.clock.now_ns())
        for name, value in disk.scan("job/", past("job/")):
            entry: Entry = decoded(name, value, Entry)
            self._ended[entry.state] += entry.state in ENDS
        self.metrics = Metrics(self._gauges(), {"qcommons_mesh_peers": self._mesh.states()})
        owner = (
            self.shell,
            facts,
            tokens,
            self._logbook,
            self.metrics,
            lambda: self._settings,
            self._reload,
            self._ended,
            self._mesh,
        )
        archivist = Archivist(key, str(self._settings["mesh.network"].value), disk, path)
        return NodeDoor((self.shell, self._listeners, self._recent, self._defaults, archivist), owner)

    def _gauges(self) -> dict[str, Callable[[], float]]:
        shell = self.shell
        levels = {"green": 2.0, "yellow": 1.0, "red": 0.0}
        return {
            "qcommons_jobs_waiting": lambda: shell.core.desk.waiting,
            "qcommons_jobs_running": lambda: len(shell.core.desk.running),
            "qcommons_jobs_on_mesh": lambda: len(shell.core.desk.abroad),
            "qcommons_workers_alive": lambda: len(shell.pool.pids()),
            "qcommons_store_waiting": lambda: shell.disk.waiting,
            "qcommons_store_trouble": lambda: float(shell.disk.trouble is not None),
            "qcommons_log_lines_lost": lambda: self._logbook.lost,
            **self._mesh.gauges(),
            "qcommons_health": lambda: levels[health.worst(self._door_made.troubles(self.clock.now_ns()))],
        }

    def _defaults(self) -> tuple[float, int | None, int]:
        memory = self._settings["limits.memory"]
        return (
            float(self._settings["limits.seconds"].value),
            None if memory.origin == "default" else int(float(memory.value)),
            int(float(self._settings["limits.operations"].value)),
        )

    def _sharing(self, ask: Ask | None) -> Sharing:
        return sharing_of(self._settings, self.shell.core, self._run_bytes, ask)

    def _reload(self) -> config.Settings:
        self._settings = config.load()
        return self._settings

    # what goes on meanwhile

    async def _sense(self) -> None:
        while True:
            await asyncio.sleep(SENSE_S)
            self.shell.deliver(Sensed(self._look(self.shell.core.gate.limits, self.shell.pool.pids())))

    def _look(self, limits: OwnerLimits, pids: list[int]) -> Sense:
        return self._sensors.read(datetime.now().astimezone(), pids, idle=limits.idle_min > 0)

    async def _calibrate(self) -> None:
        """Once, when the node has had its first job and is idle again: a machine at rest stays at rest."""
        while not (self._ended and not self.shell.core.desk.held):
            await asyncio.sleep(5.0)
        known = self.home.calibration()

        def keep(ends: tuple[tuple[int, Any], ...]) -> None:
            for _, value in ends:
                if isinstance(value, Calibration) and value != known:
                    self.shell.pool.constants = value.constants
                    with contextlib.suppress(OSError):
                        self.home.keep(value)

        self.shell.pool.submit(Calibrate(CALIBRATE_S, known), keep, lambda _: None)

    def _on_event(self, event: NodeEvent) -> None:
        self._listeners.tell(event)
        state = str(event.facts.get("state"))
        if state not in QUIET:
            self._logbook.write(event.at_ns, event.kind, event.facts)
        if event.kind == "job":
            self.metrics.count("qcommons_jobs", state=state)
            self._ended[state] += state in ENDS

    def _on_ended(self, ended: Ended) -> None:
        self._recent.keep(ended)
        entry = ended.entry
        took_s = elapsed_s(entry.submitted_ns, entry.ended_ns or entry.submitted_ns)
        self.metrics.observe("qcommons_job_seconds", took_s, state=entry.state)

    def _on_note(self, note: Note) -> None:
        if note.name == "job_phase":
            return  # an event says so once it is on disk
        self._log(note.name, **readable(note.facts))
        if note.name == "worker_died":
            self.metrics.count("qcommons_worker_deaths", how=str(note.facts["how"]))
        elif note.name == "job_refused":
            self.metrics.count("qcommons_refusals", where=str(note.facts.get("where") or "queue"))

    def _on_trouble(self, trouble: Any) -> None:
        """On the disk's thread; the log has a file of its own, and loses lines where it cannot write either."""
        facts = {"kind": "none"} if trouble is None else trouble._asdict()
        self._loop.call_soon_threadsafe(self._say_trouble, facts)

    def _say_trouble(self, facts: dict[str, Any]) -> None:
        self._log("store", **facts)
        self.shell.look_at_disk()

    def _on_fault(self, fault_id: str, error: BaseException) -> None:
        self._log("fault", id=fault_id, error=f"{type(error).__name__}: {error}")

    def _log(self, name: str, **facts: Any) -> None:
        self._logbook.write(self.clock.now_ns(), name, facts)


def _newest_ns(disk: Store) -> int:
    last = disk.scan("event/", past("event/"), limit=1, reverse=True)
    newest: NodeEvent | None = decoded(last[0][0], last[0][1], NodeEvent) if last else None
    return 0 if newest is None else newest.at_ns


async def serve(daemon: Daemon, on_ready: Callable[[Ready], None]) -> int:
    """Start, serve until drained, stop; the exit code."""
    ready = await daemon.start()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.drain)
    try:
        on_ready(ready)
        await daemon.shell.drained.wait()
    finally:
        await daemon.stop()
    return 0 if daemon.shell.failed is None else 5


def run(options: Options, on_ready: Callable[[Ready], None], passphrase: bytes | None, echo: TextIO | None) -> int:
    """A node in this process until it is told to stop. Raises one of the four errors if it cannot start."""
    home = Home()
    sys.setswitchinterval(SWITCH_S)
    return asyncio.run(serve(Daemon(options, home, passphrase, echo), on_ready))


def main(words: list[str] | None = None) -> int:
    """`python -m qcommons.node.daemon`: says on `--ready-fd` that it serves, or why not."""
    parser = argparse.ArgumentParser(prog="qcommons.node.daemon")
    parser.add_argument("--ready-fd", type=int, required=True)
    parser.add_argument("--options", default="{}")
    parser.add_argument("--passphrase-fd", type=int)
    args = parser.parse_args(words)
    options = msgspec.json.decode(args.options, type=described(Options))
    passphrase = _passphrase(args.passphrase_fd)

    def say(message: Any) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(args.ready_fd, msgspec.json.encode(message) + b"\n")
        os.close(args.ready_fd)

    try:
        return run(options, say, passphrase, None)
    except QCommonsError as error:
        say(NotReady(ErrorInfo(error.who, error.what, error.where, error.limit), error.exit_code))
        return error.exit_code


def _passphrase(descriptor: int | None) -> bytes | None:
    """From the descriptor, up to its end; else from the environment, out of which it is taken."""
    if descriptor is not None:
        with os.fdopen(descriptor, "rb") as pipe:
            return pipe.read(PASSPHRASE_BYTES_MAX + 1)
    text = os.environ.pop(PASSPHRASE_ENV, None)
    return None if text is None else os.fsencode(text)


if __name__ == "__main__":
    sys.exit(main())
