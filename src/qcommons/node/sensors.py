"""What the machine is doing besides our work: input of people, load of others, battery, memory, local time.

Flow: shell's timer -> *Sensors.read* -> Sense -> owner (verdicts). Everything comes from files of the kernel; what is
not there or cannot be read is None. A reading takes about a millisecond, waits for nobody and never raises.

load      Busy time of all cores between two readings (`/proc/stat`) less that of our own processes
          (`/proc/PID/stat`), averaged over the last minute. What ended workers used is in their parent's sums, so
          nothing is lost or counted twice. The first reading has nothing to compare with: it takes the load average of
          the last minute. (A load average less our running processes was dropped: it counts waiting for disks, and
          moves so slowly that our own workers' past counts as others' work for minutes.)
idle      The newest access time of a terminal (`/dev/pts/N`, `/dev/ttyN`), which the kernel sets when a program
          reads input from it, to 8 seconds (tty_update_time in Linux, drivers/tty/tty_io.c). Serial lines do not
          count: devices talk there as well as people. A desktop reads its keyboard past the terminals: its session
          tells logind when it is idle (IdleHint), and `loginctl` is asked in the background, every ten seconds at
          most and only where there are sessions. Not seen: input on desktops without logind; on desktops that never set
          the hint (they count as in use while somebody is logged in); from inside a container what is outside.
battery   `/sys/class/power_supply` (Linux, Documentation/ABI/testing/sysfs-class-power). Batteries of mice and
          headsets (scope "Device") do not count; several batteries count with their mean charge.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

from qcommons.node.memory import free_bytes
from qcommons.node.owner import Sense

__all__ = ["Sensors"]

LOAD_WINDOW_S = 60.0  # a compiler's burst of some seconds is no reason to hold work back
LOAD_INTERVAL_MIN_S = 0.5  # the kernel counts in hundredths of a second: shorter intervals are noise
ASK_EVERY_S = 10.0
ASK_LIMIT_S = 5.0
OUTPUT_BYTES_MAX = 1 << 16  # what a pipe holds, so that loginctl never waits for us
AHEAD_MAX_S = 10.0  # a time further in the future is a clock that was set back, not somebody's input
TERMINALS = re.compile(r"tty[0-9]*")
SESSION = re.compile(r"[A-Za-z0-9_]{1,64}")  # not the .ref pipes beside them
GRAPHICAL = frozenset({"x11", "wayland", "mir"})  # session types of org.freedesktop.login1(5)
ASKED = ("Type", "Class", "Active", "IdleHint", "IdleSinceHint")

T = TypeVar("T")


class _Ticks(NamedTuple):
    """Clock ticks since the start: of all cores together, the busy ones among them, and our own."""

    total: int
    busy: int
    own: int


class Sensors:
    """Reads the machine; keeps what a reading needs of the one before.

    root: folder in which proc, sys, dev and run are looked for (tests). own_pid: the daemon, parent of its workers.
    loginctl: the program and its leading arguments.
    """

    def __init__(
        self, root: Path = Path("/"), *, own_pid: int | None = None, loginctl: tuple[str, ...] = ("loginctl",)
    ) -> None:
        self._root = root
        self._own_pid = os.getpid() if own_pid is None else own_pid
        self._desktop = _Desktop(root / "run/systemd/sessions", loginctl)
        self._ticks: _Ticks | None = None
        self._load = 0.0  # cores used by others, averaged over the cores
        self._input_s = -math.inf  # newest input seen, seconds since 1970; its terminal may be gone by now

    def read(self, now: datetime, worker_pids: Iterable[int] = (), *, idle: bool = True) -> Sense:
        """What can be told now.

        Args:
            now: local time with its zone (`datetime.now().astimezone()`).
            worker_pids: our workers' processes (`WorkerPool.pids`); the daemon's own is known.
            idle: False where nobody asks for `idle_s`: spares the look at the terminals and at logind.
        """
        now_s = now.timestamp()
        pids = tuple(worker_pids)
        on_battery, percent = _told(lambda: _battery(self._root / "sys/class/power_supply")) or (None, None)
        return Sense(
            minute_of_week=(now.weekday() * 24 + now.hour) * 60 + now.minute,
            idle_s=_told(lambda: self._idle_s(now_s)) if idle else None,
            load_milli=_told(lambda: self._load_milli(pids)),
            on_battery=on_battery,
            battery_percent=percent,
            free_memory_bytes=_told(free_bytes),
        )

    def close(self) -> None:
        """End what still runs in the background."""
        self._desktop.close()

    def _load_milli(self, worker_pids: tuple[int, ...]) -> int:
        proc = self._root / "proc"
        cores, total, busy = _all_ticks(proc)
        ticks = _Ticks(total, busy, _own_ticks(proc, self._own_pid, worker_pids))
        before = self._ticks
        if before is None or ticks.total < before.total:
            self._load = float((proc / "loadavg").read_text().split()[0]) / cores
            self._ticks = ticks
            return round(1000 * self._load)
        elapsed = ticks.total - before.total
        elapsed_s = elapsed / cores / os.sysconf("SC_CLK_TCK")
        if elapsed_s >= LOAD_INTERVAL_MIN_S:
            others = ticks.busy - before.busy - (ticks.own - before.own)
            share = min(max(others / elapsed, 0.0), 1.0)
            self._load += (share - self._load) * -math.expm1(-elapsed_s / LOAD_WINDOW_S)
            self._ticks = ticks
        return round(1000 * self._load)

    def _idle_s(self, now_s: float) -> int | None:
        seen = [self._input_s, *_terminal_inputs(self._root / "dev")]
        self._input_s = max((at_s for at_s in seen if at_s <= now_s + AHEAD_MAX_S), default=-math.inf)
        desktop_s = self._desktop.input_s(now_s)
        if desktop_s is None:
            return None
        newest_s = max(self._input_s, desktop_s)
        return None if newest_s == -math.inf else max(0, int(now_s - newest_s))


def _told(look: Callable[[], T]) -> T | None:
    """A file that is not there, or not in the form known, tells nothing."""
    try:
        return look()
    except (OSError, ValueError, IndexError, ArithmeticError):
        return None


def _all_ticks(proc: Path) -> tuple[int, int, int]:
    """Cores, ticks of them all, busy ticks among them. Fields: proc_stat(5); guests are in `user` already."""
    with (proc / "stat").open("rb") as file:
        lines = [line.split() for line in iter(file.readline, b"") if line.startswith(b"cpu")]
    user, nice, system, idle, iowait, irq, softirq, steal = map(int, lines[0][1:9])
    busy = user + nice + system + irq + softirq
    return len(lines) - 1, busy + idle + iowait + steal, busy


def _own_ticks(proc: Path, own_pid: int, worker_pids: Iterable[int]) -> int:
    """Of the daemon with the workers it has outlived (cutime, cstime), and of the living ones. proc_pid_stat(5)."""
    ticks = sum(_process_ticks(proc, own_pid, 4))
    for pid in worker_pids:
        try:
            ticks += sum(_process_ticks(proc, pid, 2))
        except (OSError, ValueError):  # it has ended in the meantime: its time is the daemon's now
            continue
    return ticks


def _process_ticks(proc: Path, pid: int, count: int) -> list[int]:
    """The first `count` of utime, stime, cutime, cstime: fields 14 to 17, the second one in parentheses."""
    fields = (proc / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    return [int(field) for field in fields[11 : 11 + count]]


def _terminal_inputs(dev: Path) -> list[float]:
    """Access times of the terminals, seconds since 1970; empty where a machine (or a container) has none.

    `/dev/tty` is every process's own terminal: older kernels note input read through it there alone.
    """
    inputs: dict[str, float] = {}
    for folder, matches in ((dev, TERMINALS.fullmatch), (dev / "pts", str.isdigit)):
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if matches(entry.name):
                        inputs[entry.name] = entry.stat(follow_symlinks=False).st_atime
        except OSError:  # no such folder, or a terminal closed while we looked
            continue
    return [] if inputs.keys() <= {"tty"} else list(inputs.values())


def _battery(folder: Path) -> tuple[bool | None, int | None]:
    """(on battery, mean charge in percent); (False, None) without a battery."""
    batteries: list[Path] = []
    mains: list[bool] = []
    for supply in sorted(folder.iterdir()):
        kind = _word(supply / "type")
        if _word(supply / "scope") == "Device":
            continue
        if kind in ("Battery", "UPS") and _word(supply / "present") != "0":
            batteries.append(supply)
        elif kind not in ("", "Battery", "UPS"):  # Mains, USB, Wireless
            mains.append(_word(supply / "online") not in ("", "0"))
    if not batteries:
        return False, None
    charges = [int(word) for word in (_word(battery / "capacity") for battery in batteries) if word.isdigit()]
    percent = round(sum(charges) / len(charges)) if charges else None
    if any(mains):
        return False, percent
    # without a word from a charger the batteries say it; "Unknown" and "Full" are no discharge
    discharging = any(_word(battery / "status") == "Discharging" for battery in batteries)
    return bool(mains) or discharging, percent


def _word(path: Path) -> str:
    """One value of sysfs, "" where the driver does not have it."""
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""


class _Desktop:
    """Newest input in a graphical session, from logind; asked in the background.

    Times are seconds since 1970; inf: somebody is there now; -inf: no desktop is in use; None: it does not tell.
    """

    def __init__(self, sessions: Path, loginctl: tuple[str, ...]) -> None:
        self._sessions = sessions  # its names are ids of sessions (as sd_get_sessions(3) lists them)
        self._loginctl = loginctl
        self._process: subprocess.Popen[bytes] | None = None
        self._asked_s = -math.inf
        self._answer: float | None = math.inf  # until the first answer somebody may be there

    def input_s(self, now_s: float) -> float | None:
        """Newest input, at most `now_s`."""
        self._asked_s = min(self._asked_s, now_s)  # the clock may have been set back
        self._collect(now_s)
        try:
            names = sorted(path.name for path in self._sessions.iterdir() if SESSION.fullmatch(path.name))
        except OSError:  # no logind
            names = []
        if not names:
            return -math.inf
        if self._process is None and now_s - self._asked_s >= ASK_EVERY_S:
            self._ask(names, now_s)
        return None if self._answer is None else min(self._answer, now_s)

    def close(self) -> None:
        if self._process is not None:
            self._end(self._process)

    def _ask(self, names: list[str], now_s: float) -> None:
        self._asked_s = now_s
        command = [*self._loginctl, "show-session", *(f"--property={name}" for name in ASKED), "--", *names]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError:  # not installed
            self._answer = None

    def _collect(self, now_s: float) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is not None:
            output = process.stdout.read(OUTPUT_BYTES_MAX) if process.stdout else b""
            self._answer = _newest_input(output.decode(errors="replace"))
            self._end(process)
        elif now_s - self._asked_s >= ASK_LIMIT_S:
            self._answer = None
            self._end(process)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()  # nothing where it has ended
        process.wait()
        if process.stdout:
            process.stdout.close()
        self._process = None


def _newest_input(output: str) -> float | None:
    """From `loginctl show-session`: blocks of NAME=VALUE with an empty line between; desktops of people count."""
    sessions = [dict(_pairs(block)) for block in output.split("\n\n") if block.strip()]
    if not sessions:
        return None
    newest_s = -math.inf
    for session in sessions:
        person = session.get("Class", "").startswith("user") and session.get("Active") == "yes"
        if session.get("Type") not in GRAPHICAL or not person:  # terminals speak for themselves
            continue
        since_us = session.get("IdleSinceHint", "")
        idle = session.get("IdleHint") == "yes" and since_us.isdigit()
        newest_s = max(newest_s, int(since_us) / 1e6 if idle else math.inf)
    return newest_s


def _pairs(block: str) -> Iterator[tuple[str, str]]:
    for line in block.splitlines():
        name, _, value = line.partition("=")
        yield name, value
