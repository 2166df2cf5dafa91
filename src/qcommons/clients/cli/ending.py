"""The process of a node that does not end when it is asked: SIGTERM, then SIGKILL.

Flow: down --now -> *end* -> signals -> the lock of the home is free. Only the process that holds the home's lock is
signalled, as long as it does: in another namespace of processes (a container) its number is somebody else's here.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from qcommons.base.clock import deadline_ns, is_past
from qcommons.base.errors import Unavailable
from qcommons.node.lock import Holder, read_lock

__all__ = ["SIGNALS", "end"]

TERM_S = 5.0  # a node that still turns its loop ends within one
KILL_S = 10.0  # the system frees the memory of what it held
PAUSE_S = 0.02
SIGNALS = ((signal.SIGTERM, TERM_S), (signal.SIGKILL, KILL_S))


def end(lock: Path, holder: Holder) -> str:
    """End the process that holds the lock; the name of the signal that did it.

    Raises:
        Unavailable: it is not to be seen from here, another user's, or stays even so.
    """
    if not _is_here(holder.pid, lock):
        what = f"process {holder.pid} holds this home, but is not to be seen from here (in a container, perhaps)"
        raise Unavailable(f"{what}: end it there", where=str(lock.parent))
    for number, patience_s in SIGNALS:
        try:
            os.kill(holder.pid, number)
        except ProcessLookupError:
            pass
        except PermissionError:
            what = f"process {holder.pid} is another user's, or the system protects it: end it as that user"
            raise Unavailable(what, where=str(lock.parent)) from None
        if _gone(lock, holder, patience_s):
            return number.name
    what = f"process {holder.pid} is there {KILL_S:g} s after SIGKILL: the system keeps it, for a disk perhaps"
    raise Unavailable(what, where=str(lock.parent))


def _gone(lock: Path, holder: Holder, patience_s: float) -> bool:
    until_ns = deadline_ns(time.monotonic_ns(), patience_s)
    while True:
        now = read_lock(lock)
        if now is None or now.pid not in (0, holder.pid):
            return True
        if is_past(until_ns, time.monotonic_ns()):
            return False
        time.sleep(PAUSE_S)


def _is_here(pid: int, lock: Path) -> bool:
    """Whether the process of that number has the lock's file open; on systems without /proc, whether there is one."""
    if pid <= 1:
        return False
    if sys.platform != "linux":
        return True
    try:
        wanted = lock.stat()
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                if os.path.samestat(descriptor.stat(), wanted):
                    return True
            except OSError:  # closed meanwhile
                continue
    except OSError:  # gone, or another user's
        return False
    return False
