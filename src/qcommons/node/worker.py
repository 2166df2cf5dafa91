"""The worker process: reads calls from its standard input, computes, answers; nothing else.

Flow: pool -> pipe -> *worker* -> qasm.parse or engines.execute -> pipe -> pool. Started as
`python -m qcommons.node.worker`. Untrusted circuits are data here too: the process has no more than
its pipe, a memory limit (RLIMIT_AS) and a CPU limit (RLIMIT_CPU) a run, and dies with its parent.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from qcommons.base.clock import elapsed_s
from qcommons.base.errors import QCommonsError
from qcommons.base.typed import described
from qcommons.circuits.program import Caps, Program, bind
from qcommons.circuits.wire import decode
from qcommons.engines.again import Again
from qcommons.engines.execute import Execution, Request
from qcommons.engines.records import Limits
from qcommons.engines.select import Choice
from qcommons.jobs.outcomes import Done, OutOfMemory, outcome_of
from qcommons.jobs.records import Card, Item, Piece
from qcommons.node.card import card_of
from qcommons.node.frames import (
    HEADER,
    Calibrate,
    Calibration,
    Call,
    Configure,
    Constants,
    Ended,
    Parse,
    PlanJob,
    PutTogether,
    RunPiece,
    Source,
    Trying,
    Value,
    pack,
)  # fmt: skip

__all__ = ["main", "serve"]

LIBRARIES_BYTES = 3 << 29  # address space that engines imported during a run may map (Aer alone: 0.6 GiB)
CPU_GRACE_S = 2.0  # the parent's deadline comes first; RLIMIT_CPU is the backstop
CPU_FACTOR = 1.5  # an engine's own threads and the planner's trials count too
FLUSH_NS = 50_000_000  # outcomes of tiny items are sent together: each time costs the node a write to its disk
PR_SET_PDEATHSIG = 1  # prctl(2)
# The parent wrote these bytes and has applied the user's caps; what is left are the format's own bounds.
OWN_CAPS = Caps(1 << 30, 1 << 31, 1 << 31, 1 << 31, 1 << 31)
SAID_S = 0.25  # an attempt that is predicted to take so long is told
SAID_FIRST = 8  # of shorter ones whose cost is uncertain so many at once, then one in SAID_S: a frame takes time
Execute = Callable[[Request, Callable[[], int], Callable[[Choice], None]], Execution]
Repeat = Callable[[Request, Callable[[], int]], Again | None]


def main() -> None:
    """Serve with the real engines until the pipe closes."""
    from qcommons.engines.again import again
    from qcommons.engines.execute import execute

    serve(execute, again)


def serve(execute: Execute, repeat: Repeat = lambda request, clock_ns: None) -> None:
    """Answer calls until end of file; `execute` runs one request (tests pass faulty ones). repeat: what runs a program
    once more as `execute` would, where it can."""
    inbox, outbox = _claim_pipes()
    _die_with_parent()
    decoder = msgspec.msgpack.Decoder(described(Call))
    saying = Saying(outbox)
    constants: Constants = {}
    while (body := _read_frame(inbox)) is not None:
        match decoder.decode(body):
            case Configure(new):
                constants = new
                continue
            case RunPiece(piece):
                ends = _run(Asked(piece, constants, execute, repeat), saying)
            case Parse() as call:
                ends = _parse(call)
            case Calibrate() as call:
                ends = _calibrate(call)
            case PlanJob() | PutTogether() as call:
                ends = _planning(call, constants)
        if _answer(outbox, ends):
            return


def _answer(outbox: int, ends: Iterator[tuple[int, Value]]) -> bool:
    """Send the ends, tiny ones together; True if the worker must retire."""
    batch: list[tuple[int, Value]] = []
    retire = False
    sent_ns = time.monotonic_ns()
    for end in ends:
        retire = retire or isinstance(end[1], OutOfMemory)
        batch.append(end)
        if time.monotonic_ns() - sent_ns > FLUSH_NS:
            _write(outbox, pack(Ended(tuple(batch), last=False)))
            batch, sent_ns = [], time.monotonic_ns()
    _write(outbox, pack(Ended(tuple(batch), last=True, retire=retire)))
    return retire


# runs


class Saying:
    """Tells the parent what is attempted: whatever may take long, and nothing that would slow small runs down."""

    def __init__(self, outbox: int) -> None:
        self._outbox = outbox
        self._left = float(SAID_FIRST)
        self._at_ns = time.monotonic_ns()

    def say(self, index: int, choice: Choice) -> None:
        cost, now_ns = choice.cost, time.monotonic_ns()
        self._left = min(SAID_FIRST, self._left + elapsed_s(self._at_ns, now_ns) / SAID_S)
        self._at_ns = now_ns
        if cost.seconds < SAID_S:
            if cost.certain or self._left < 1:
                return
            self._left -= 1
        trying = Trying(index, choice.engine, choice.method, cost.seconds, cost.certain)
        _write(self._outbox, pack(Ended((), last=False, trying=trying)))


class Asked:
    """A piece while it is run: each of its programs is decoded once, and looked at once where it has several runs."""

    def __init__(self, piece: Piece, constants: Constants, execute: Execute, repeat: Repeat) -> None:
        self.piece, self._constants, self._execute, self._repeat = piece, constants, execute, repeat
        self._programs: dict[int, Program] = {}
        self._again: dict[int, Again | None] = {}
        self._runs = Counter(item.program for item in piece.items)

    def run(self, item: Item, saying: Saying) -> Execution:
        program = self._programs.get(item.program)
        if program is None:
            program = self._programs[item.program] = decode(self.piece.programs[item.program], OWN_CAPS)
            if self._runs[item.program] > 1:
                self._again[item.program] = self._repeat(self._request(program, item), time.monotonic_ns)
        again = self._again.get(item.program)
        if again is not None:
            return again.run(item.values, item.seed, time.monotonic_ns)
        if program.inputs or item.values:
            program = bind(program, item.values)
        return self._execute(
            self._request(program, item), time.monotonic_ns, lambda choice: saying.say(item.index, choice)
        )

    def _request(self, program: Program, item: Item) -> Request:
        piece = self.piece
        return Request(
            program=program, want=piece.wants[item.program], seed=item.seed, limits=piece.limits, noise=piece.noise,
            engine=piece.engine, method=piece.method, constants=self._constants,
        )  # fmt: skip


def _run(asked: Asked, saying: Saying) -> Iterator[tuple[int, Value]]:
    limits = asked.piece.limits
    _limit_memory(limits.memory_bytes)
    for item in asked.piece.items:
        _limit_cpu(limits)
        try:
            yield item.index, Done(asked.run(item, saying))
        except Exception as error:
            if not isinstance(error, QCommonsError):
                traceback.print_exc()  # to the bounded buffer of the parent, not to the user
            yield item.index, outcome_of(error, limits.memory_bytes)
    _no_limits()


# sources


def _parse(call: Parse) -> Iterator[tuple[int, Value]]:
    limits = Limits(memory_bytes=call.memory_bytes, seconds=call.seconds)
    _limit_memory(call.memory_bytes)
    for place, source in enumerate(call.sources):
        _limit_cpu(limits)
        try:
            yield place, _parse_one(source, Caps(operations_max=call.operations_max))
        except Exception as error:
            if not isinstance(error, QCommonsError):
                traceback.print_exc()
            yield place, outcome_of(error, call.memory_bytes)
    _no_limits()


def _parse_one(source: Source, caps: Caps) -> Card:
    from qcommons.circuits.qasm import parse

    parsed = parse(source.text, filename=source.name, caps=caps)
    return card_of(parsed.program, source.name, tuple(parsed.notes))


def _calibrate(call: Calibrate) -> Iterator[tuple[int, Value]]:
    try:
        from qcommons.engines.calibrate import calibrate
        from qcommons.engines.registry import load_engines
        from qcommons.node.home import processor

        engines = load_engines()
        found = {name: engine.installed() for name, engine in sorted(engines.items())}
        versions = {name: version for name, version in found.items() if version is not None}
        machine = processor()
        if call.known is not None and (call.known.machine, call.known.engines) == (machine, versions):
            yield 0, call.known
        else:
            yield 0, Calibration(machine, versions, calibrate(engines, time.monotonic_ns, budget_s=call.budget_s))
    except Exception as error:
        traceback.print_exc()
        yield 0, outcome_of(error, 0)


def _planning(call: PlanJob | PutTogether, constants: Constants) -> Iterator[tuple[int, Value]]:
    try:
        from qcommons.node.plan_call import planned, put_together

        yield from planned(call, constants) if isinstance(call, PlanJob) else put_together(call)
    except Exception as error:
        traceback.print_exc()
        yield 0, outcome_of(error, 0)


# limits of this process


def _limit_memory(allowance_bytes: int) -> None:
    """Soft RLIMIT_AS: what is mapped now, libraries still to be imported, and the allowance."""
    limit = _mapped_bytes() + LIBRARIES_BYTES + allowance_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = min(limit, hard) if hard != resource.RLIM_INFINITY else limit
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _mapped_bytes() -> int:
    """Size of the address space; 0 where /proc is missing (then only the allowances count)."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:
        return 0
    return pages * resource.getpagesize()


def _limit_cpu(limits: Limits) -> None:
    """Soft RLIMIT_CPU (whole seconds of this process's life): SIGXCPU ends it."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    seconds = time.process_time() + CPU_FACTOR * limits.seconds + CPU_GRACE_S
    soft = int(min(seconds + 1, float(1 << 31)))
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _no_limits() -> None:
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU):
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (hard, hard))


def _die_with_parent() -> None:
    """No orphans: killed with the parent on Linux; elsewhere a thread looks once a second.

    On Linux the kernel is also asked to take this process first when memory runs out.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    parent = int(os.environ.get("QCOMMONS_WORKER_PARENT", os.getppid()))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


# pipes


def _claim_pipes() -> tuple[int, int]:
    """Private descriptors of the pipes; what a library prints goes to standard error instead."""
    inbox, outbox = os.dup(0), os.dup(1)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    return inbox, outbox


def _read_frame(inbox: int) -> bytes | None:
    header = _read(inbox, HEADER.size)
    return None if header is None else _read(inbox, HEADER.unpack(header)[0])


def _read(inbox: int, size: int) -> bytes | None:
    chunks: list[bytes] = []
    while size:
        chunk = os.read(inbox, min(size, 1 << 20))
        if not chunk:
            return None
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)


def _write(outbox: int, frame: bytes) -> None:
    view = memoryview(frame)
    while view:
        view = view[os.write(outbox, view) :]


if __name__ == "__main__":
    main()
