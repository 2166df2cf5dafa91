"""Every way one item of a job can end, as one typed record each.

Flow: worker (or the pool that watched it die) -> *Outcome* -> machine -> assemble -> Result.
`Done` carries the answer; each other record knows the status it gives the job, the error that a
caller sees and the exit code of the command line (docs/cli.md): 2 bad input, 3 refused with
numbers, 4 unavailable, 5 failed, 6 cancelled.
"""

from __future__ import annotations

import functools
import signal as signals  # names of signal numbers only; nothing is sent or caught here

import msgspec

from qcommons.base.errors import Corrupt, QCommonsError, Unavailable, UsageError
from qcommons.base.units import bytes_text
from qcommons.engines.execute import Execution

__all__ = [
    "WORKER_DEATHS", "Cancelled", "CpuLimit", "Crashed", "Done", "EngineFault", "ErrorInfo", "Killed", "Misused",
    "NotStarted", "OutOfMemory", "Outcome", "PastDeadline", "Refused", "TooLarge", "Tried", "Unserved", "error_of",
    "exception_of", "outcome_of", "status_of",
]  # fmt: skip

STDERR_CHARS = 2_000  # of a dead worker's last words kept in an outcome


class Done(msgspec.Struct, frozen=True, tag=True):
    """The item was answered."""

    execution: Execution


class Tried(msgspec.Struct, frozen=True):
    """One method of one engine, and why it gave no answer."""

    engine: str
    method: str
    why: str


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The planner said no before anything was harmed; `what` holds the numbers, `tried` those of each method."""

    what: str
    where: str | None = None
    limit: str | None = None
    tried: tuple[Tried, ...] = ()


class Misused(msgspec.Struct, frozen=True, tag=True):
    """The input cannot be run as it is: the caller must change it."""

    what: str
    where: str | None = None
    limit: str | None = None


class Unserved(msgspec.Struct, frozen=True, tag=True):
    """Something needed is not there (an engine that is not installed, ...)."""

    what: str
    where: str | None = None
    tried: tuple[Tried, ...] = ()


class Cancelled(msgspec.Struct, frozen=True, tag=True):
    """Stopped because somebody asked; `cause` says who or what."""

    cause: str


class Crashed(msgspec.Struct, frozen=True, tag=True):
    """The worker died of its own signal (SIGSEGV, SIGABRT, ...) or exit code; `stderr`: last words."""

    signal: int
    exit_code: int
    stderr: str = ""


class Killed(msgspec.Struct, frozen=True, tag=True):
    """SIGKILL or SIGTERM came from outside: a person, or the kernel where `oom_kills` > 0."""

    signal: int
    oom_kills: int = 0


class OutOfMemory(msgspec.Struct, frozen=True, tag=True):
    """The engine asked for more than `limit_bytes` beyond the warm worker (RLIMIT_AS)."""

    limit_bytes: int


class CpuLimit(msgspec.Struct, frozen=True, tag=True):
    """The backstop RLIMIT_CPU ended the worker after `limit_s` seconds of CPU."""

    limit_s: float


class PastDeadline(msgspec.Struct, frozen=True, tag=True):
    """Not finished `deadline_s` seconds after the job was accepted."""

    deadline_s: float


class EngineFault(msgspec.Struct, frozen=True, tag=True):
    """The engine raised something that is not one of our errors; `text`: type and message."""

    text: str


class NotStarted(msgspec.Struct, frozen=True, tag=True):
    """No worker process could be started; `what` says why."""

    what: str


class TooLarge(msgspec.Struct, frozen=True, tag=True):
    """The answers of the job take more than a node keeps of one job: this one was not kept, or not run any more."""

    limit_bytes: int


Outcome = (
    Done | Refused | Misused | Unserved | Cancelled | Crashed | Killed | OutOfMemory | CpuLimit | PastDeadline
    | EngineFault | NotStarted | TooLarge
)  # fmt: skip
WORKER_DEATHS = (Crashed, Killed, OutOfMemory, CpuLimit)  # the process ended; nothing says which item did it


class ErrorInfo(msgspec.Struct, frozen=True):
    """An error as the outside sees it: who must act, what, where and which limit.

    tried: of a refusal, each method that might have answered and why it could not.
    """

    who: str
    what: str
    where: str | None = None
    limit: str | None = None
    tried: tuple[Tried, ...] = ()


def status_of(outcome: Outcome) -> str:
    """`done`, `failed`, `refused` or `cancelled`."""
    match outcome:
        case Done():
            return "done"
        case Refused():
            return "refused"
        case Cancelled():
            return "cancelled"
        case _:
            return "failed"


def exception_of(outcome: Outcome) -> QCommonsError | None:
    """The error to raise for an outcome (None for `Done`), its `exit_code` set as in the table above."""
    if isinstance(outcome, Done):
        return None
    error, exit_code = _error(outcome)
    error.exit_code = exit_code
    return error


def error_of(outcome: Outcome) -> ErrorInfo | None:
    """The same as plain data."""
    return None if isinstance(outcome, Done) else _info(outcome)


@functools.lru_cache(maxsize=1024)  # a sweep past its deadline ends with one outcome 100,000 times
def _info(outcome: Outcome) -> ErrorInfo:
    error, _ = _error(outcome)
    tried = outcome.tried if isinstance(outcome, Refused | Unserved) else ()
    return ErrorInfo(error.who, error.what, error.where, error.limit, tried)


def outcome_of(error: Exception, limit_bytes: int) -> Outcome:
    """What an exception that came out of an engine or a parser means; `limit_bytes`: the memory limit."""
    match error:
        case UsageError():
            return Misused(error.what, error.where, error.limit)
        case Unavailable() if error.limit is not None or error.exit_code == 3:
            return Refused(error.what, error.where, error.limit, tuple(Tried(*row) for row in error.tried))
        case Unavailable():
            return Unserved(error.what, error.where, tuple(Tried(*row) for row in error.tried))
        case MemoryError():
            return OutOfMemory(limit_bytes)
        case _:
            return EngineFault(f"{type(error).__name__}: {error}"[:STDERR_CHARS])


def _error(outcome: Outcome) -> tuple[QCommonsError, int]:
    match outcome:
        case Refused(what, where, limit, tried):
            return Unavailable(what, where=where, limit=limit, tried=_rows(tried)), 3
        case Misused(what, where, limit):
            return UsageError(what, where=where, limit=limit), 2
        case Unserved(what, where, tried):
            return Unavailable(what, where=where, tried=_rows(tried)), 4
        case NotStarted(what):
            return Unavailable(f"no worker process could be started: {what}"), 4
        case Cancelled(cause):
            return Unavailable(f"cancelled: {cause}"), 6
        case Crashed():
            return Corrupt(_crash_text(outcome), where="worker"), 5
        case Killed():
            return Unavailable(_kill_text(outcome), where="worker"), 5
        case OutOfMemory(limit_bytes):
            text = f"{limit_bytes / 2**30:.3g} GiB"
            what = (
                f"the engine needed more memory than the limit of {text}; raise the memory limit or shrink the program"
            )
            return Unavailable(what, where="worker", limit=text), 5
        case CpuLimit(limit_s):
            what = f"stopped by the CPU limit of {limit_s:g} s; raise the deadline or shrink the program"
            return Unavailable(what, where="worker", limit=f"{limit_s:g} s CPU"), 5
        case PastDeadline(deadline_s):
            what = f"not finished within the deadline of {deadline_s:g} s; raise the deadline or shrink the program"
            return Unavailable(what, where="deadline", limit=f"{deadline_s:g} s"), 5
        case TooLarge(limit_bytes):
            text = bytes_text(limit_bytes)
            what = f"the answers of this job take more than {text}, which is what a node keeps of one job; ask for "
            return Unavailable(what + "fewer shots or points, or in several jobs", where="answer", limit=text), 5
        case EngineFault(text):
            return Corrupt(f"the engine failed: {text}; try another engine", where="engine"), 5
        case Done():
            raise AssertionError("Done is no error")


def _rows(tried: tuple[Tried, ...]) -> list[tuple[str, str, str]]:
    return [(row.engine, row.method, row.why) for row in tried]


def _crash_text(crash: Crashed) -> str:
    by_signal = f"signal {crash.signal} ({_signal_name(crash.signal)})"
    how = by_signal if crash.signal else f"exit code {crash.exit_code}"
    last = crash.stderr.strip().splitlines()[-1:]
    words = f"; its last words: {last[0][:200]}" if last else ""
    return f"the worker process running this died of {how}{words}; try another engine"


def _kill_text(killed: Killed) -> str:
    name = _signal_name(killed.signal)
    if killed.oom_kills:
        return f"the worker was ended by {name}, probably the kernel's out-of-memory killer; lower the memory limit"
    return f"the worker was ended from outside by {name}, twice in a row; submit the job again"


def _signal_name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"
