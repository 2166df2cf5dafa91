"""One worker process as its parent sees it: started, spoken to, watched, buried.

Flow: workers (a slot's thread) -> *WorkerProcess* -> pipe -> worker. Its death becomes a typed
outcome; what it wrote to standard error is kept, bounded, for diagnosis.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from qcommons.base.typed import described
from qcommons.jobs.outcomes import STDERR_CHARS, CpuLimit, Crashed, Killed, Outcome, OutOfMemory
from qcommons.node.frames import FRAME_BYTES_MAX, HEADER, Call, Ended, pack

__all__ = ["WORKER_COMMAND", "WorkerProcess"]

WORKER_COMMAND = (sys.executable, "-P", "-m", "qcommons.node.worker")  # -P: the user's folder shadows nothing
READ_BYTES = 1 << 18
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "QULACS_NUM_THREADS")


class WorkerProcess:
    """Used by one thread at a time, but for `kill`.

    Linux ends a worker when the thread that started it ends (PR_SET_PDEATHSIG): start it from a
    thread that lives as long as the worker may.
    """

    def __init__(self, command: Sequence[str] = WORKER_COMMAND) -> None:
        """Raises OSError if the process cannot be started."""
        self._oom_kills = _oom_kills()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=_environment(),
            process_group=0,  # Ctrl-C in the terminal reaches the parent alone, which decides
        )
        pipes = (self._process.stdin, self._process.stdout, self._process.stderr)
        self._stdin, self._stdout, self._stderr = (pipe.fileno() for pipe in pipes if pipe is not None)
        self._poll = select.poll()
        for descriptor in (self._stdout, self._stderr):
            self._poll.register(descriptor, select.POLLIN)
        self._buffer = bytearray()
        self._last_words = bytearray()
        self._decoder = msgspec.msgpack.Decoder(described(Ended))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def last_words(self) -> str:
        """The end of its standard error."""
        return self._last_words.decode(errors="replace")[-STDERR_CHARS:]

    def send(self, call: Call) -> bool:
        """Write one call; False if the worker is gone. What it said before is forgotten."""
        self._last_words.clear()
        view = memoryview(pack(call))
        try:
            while view:
                view = view[os.write(self._stdin, view) :]
        except BrokenPipeError:
            return False
        return True

    def receive(self) -> Ended | None:
        """Wait for the next reply; None when the worker has closed its pipe (it died)."""
        while (frame := self._frame()) is None:
            for descriptor, _ in self._poll.poll():
                data = os.read(descriptor, READ_BYTES)
                if descriptor == self._stderr:
                    self._hear(data)
                elif data:
                    self._buffer += data
                else:
                    return None
        return self._decoder.decode(frame)

    def _frame(self) -> bytes | None:
        if len(self._buffer) < HEADER.size:
            return None
        (size,) = HEADER.unpack_from(self._buffer)
        end = HEADER.size + size
        if size > FRAME_BYTES_MAX:
            self.kill()  # its next read finds the end of the pipe
            return None
        if len(self._buffer) < end:
            return None
        frame = bytes(self._buffer[HEADER.size : end])
        del self._buffer[:end]
        return frame

    def _hear(self, data: bytes) -> None:
        if data:
            self._last_words += data
            del self._last_words[: -4 * STDERR_CHARS]
        else:
            self._poll.unregister(self._stderr)

    def kill(self) -> None:
        """From any thread: SIGKILL, if it still runs."""
        self._process.kill()

    def bury(self) -> int:
        """Kill if needed, wait, close the pipes; its return code (negative: the signal). Twice is fine."""
        self._process.kill()
        code = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        return code

    def death(self, memory_bytes: int, cpu_s: float) -> Outcome:
        """How it died, after `receive` returned None and before `bury`; limits of the call it was at."""
        try:
            code = self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:  # it closed its pipe but lives: broken all the same
            self._process.kill()
            code = self._process.wait()
        self._drain()
        number = -code if code < 0 else 0
        if number == signal.SIGXCPU:
            return CpuLimit(cpu_s)
        if number in (signal.SIGKILL, signal.SIGTERM):
            return Killed(number, oom_kills=max(0, _oom_kills() - self._oom_kills))
        said = self.last_words.lower()
        if any(words in said for words in OUT_OF_MEMORY_WORDS):
            return OutOfMemory(memory_bytes)
        return Crashed(number, max(code, 0), self.last_words)

    def _drain(self) -> None:
        os.set_blocking(self._stderr, False)
        try:
            while data := os.read(self._stderr, READ_BYTES):
                self._hear(data)
        except BlockingIOError:
            pass


# what C++ and Python libraries say when an allocation fails and they give up
OUT_OF_MEMORY_WORDS = ("bad_alloc", "memoryerror", "cannot allocate memory", "out of memory")


def _environment() -> dict[str, str]:
    """The parent's, with one thread a task; a source checkout is found by the child as well."""
    environment = {**os.environ, **dict.fromkeys(ONE_THREAD, "1"), "QCOMMONS_WORKER_PARENT": str(os.getpid())}
    root = Path(__file__).parents[2]
    if not {"site-packages", "dist-packages"} & set(root.parts):
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    return environment


def _oom_kills() -> int:
    """Processes the kernel ended for want of memory since boot; 0 where it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
