"""A worker whose engine does what the method asked says: answers, crashes, hangs, eats memory.

Started by tests as the pool's command; everything around the engine is the real worker.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Callable

from qcommons.base.errors import Unavailable, UsageError
from qcommons.engines.execute import Execution, Request
from qcommons.engines.records import Answer, Cost, Counts, Estimate, Expectations
from qcommons.engines.select import Choice
from qcommons.node.worker import serve


def execute(request: Request, clock_ns: Callable[[], int], watch: Callable[[Choice], None]) -> Execution:
    FAULTS.get(request.method or "", lambda request: None)(request)
    bits = "0" * max(1, request.program.n_clbits)
    if isinstance(request.want, Counts):
        answer = Answer("stand-in", "fixed", counts={bits: request.want.shots})
    elif isinstance(request.want, Expectations):
        angle = sum(p for op in request.program.ops for p in getattr(op, "params", ()) if isinstance(p, float))
        answer = Answer("stand-in", "fixed", estimates=tuple(Estimate(angle) for _ in request.want.observables))
    else:
        answer = Answer("stand-in", "fixed", amplitudes=tuple((1.0, 0.0) for _ in range(2**request.program.n_qubits)))
    cost = Cost(1e-6, 1000, 1.0)
    return Execution(answer=answer, reason="only one", predicted=cost, seconds=1e-6, cregs=request.program.cregs)


def hang(request: Request) -> None:
    time.sleep(60)


def spin(request: Request) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (1, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    while True:
        pass


def segfault(request: Request) -> None:
    ctypes.string_at(0)


def leave(request: Request) -> None:
    os.write(2, b"the library gave up\n")
    os._exit(7)


def kill(request: Request) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_once(request: Request) -> None:
    marker = os.environ["QCOMMONS_TEST_MARKER"]
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    kill(request)


def eat(request: Request) -> None:
    bytearray(request.limits.memory_bytes + (8 << 30))


def bad_alloc(request: Request) -> None:
    os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
    os.abort()


def refuse(request: Request) -> None:
    raise Unavailable("needs 4.1 TiB; limit 12 GiB", limit="12 GiB")


def misuse(request: Request) -> None:
    raise UsageError("unknown engine", where="engine")


def fault(request: Request) -> None:
    raise ZeroDivisionError("division by zero")


def chatter(request: Request) -> None:
    os.write(1, b"an engine's banner on standard output\n" * 100)
    sys.stderr.write("x" * 300_000)


def odd_seed_segfault(request: Request) -> None:
    if request.program.n_qubits == 3:
        segfault(request)


FAULTS: dict[str, Callable[[Request], None]] = {
    "hang": hang, "spin": spin, "segfault": segfault, "leave": leave, "kill": kill, "kill_once": kill_once,
    "eat": eat, "bad_alloc": bad_alloc, "refuse": refuse, "misuse": misuse, "fault": fault, "chatter": chatter,
    "segfault_on_three_qubits": odd_seed_segfault,
}  # fmt: skip

if __name__ == "__main__":
    serve(execute)
