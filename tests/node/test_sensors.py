"""What the sensors tell, from a made-up machine under a folder; and that the real one answers at once."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from qcommons.node import sensors as module
from qcommons.node.owner import Sense
from qcommons.node.sensors import Sensors

NOW = datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=5)))  # a Tuesday
NOW_S = NOW.timestamp()
HZ = os.sysconf("SC_CLK_TCK")
DAEMON = 100


class Machine:
    """Files of a machine with two cores, as the kernel writes them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("proc", "dev/pts", "sys/class/power_supply", "run/systemd/sessions"):
            (root / folder).mkdir(parents=True)
        self.write("proc/loadavg", "0.60 0.20 0.10 1/200 4242\n")
        self.ticks(0, 0)
        self.process(DAEMON)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def ticks(self, busy: int, idle: int) -> None:
        """Of both cores together, spread over the columns of proc_stat(5); a guest's are in `user` already."""
        columns = [busy // 2, busy - busy // 2, 0, idle - idle // 3, idle // 3, 0, 0, 0, busy // 2, 0]
        halves = "".join(f"cpu{core} {' '.join(str(c // 2) for c in columns)}\n" for core in range(2))
        self.write("proc/stat", f"cpu  {' '.join(map(str, columns))}\n{halves}intr 5 0 0\nctxt 9\n")

    def process(self, pid: int, ticks: int = 0, children: int = 0) -> None:
        fields = [0] * 10 + [ticks - ticks // 3, ticks // 3, children, 0] + [0] * 20
        self.write(f"proc/{pid}/stat", f"{pid} (a) b (c) S {' '.join(map(str, fields))}\n")

    def terminal(self, name: str, idle_s: float) -> None:
        self.write(f"dev/{name}", "")
        os.utime(self.root / "dev" / name, (NOW_S - idle_s, NOW_S))

    def supply(self, name: str, **words: str) -> None:
        for word, value in words.items():
            self.write(f"sys/class/power_supply/{name}/{word}", value + "\n")

    def sensors(self, *loginctl: str) -> Sensors:
        return Sensors(self.root, own_pid=DAEMON, loginctl=loginctl or ("/no/such/program",))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_local_time_counts_from_monday(machine: Machine) -> None:
    assert machine.sensors().read(NOW).minute_of_week == 1440 + 3 * 60 + 4


def test_an_empty_machine_tells_nothing_and_raises_nothing(tmp_path: Path) -> None:
    sense = Sensors(tmp_path / "nothing").read(NOW)
    assert sense == Sense(minute_of_week=1440 + 184, free_memory_bytes=sense.free_memory_bytes)


@pytest.mark.parametrize("junk", ["", "cpu\n", "cpu a b c d e f g h\ncpu0\n", "cpu 1 2 3 4 5 6 7 8\n", "\xff\x00"])
def test_junk_in_the_files_tells_nothing(machine: Machine, junk: str) -> None:
    for name in ("proc/stat", "proc/loadavg", "sys/class/power_supply/BAT0/type", "sys/class/power_supply/BAT0/scope"):
        machine.write(name, junk)
    sensors = machine.sensors()
    assert [sensors.read(NOW).load_milli for _ in range(2)] == [None, None]
    assert sensors.read(NOW).on_battery is False


# load


def test_the_first_reading_is_the_load_average_a_core(machine: Machine) -> None:
    assert machine.sensors().read(NOW).load_milli == 300


def test_our_own_work_is_not_load_and_others_work_is(machine: Machine) -> None:
    """An hour in which one core of two is busy: with our worker first, then with somebody else."""
    sensors = machine.sensors()
    machine.process(200)
    sensors.read(NOW, [200])
    hour = 3600 * HZ
    machine.ticks(hour, hour)
    machine.process(200, hour)
    assert sensors.read(NOW, [200]).load_milli == 0
    machine.ticks(2 * hour, 2 * hour)
    assert sensors.read(NOW, [200]).load_milli == 500


def test_a_worker_that_ends_takes_no_time_with_it(machine: Machine) -> None:
    """Its ticks move to `cutime` of the daemon when it is waited for: neither lost nor counted twice."""
    sensors = machine.sensors()
    machine.process(200)
    sensors.read(NOW, [200])
    hour = 3600 * HZ
    machine.ticks(hour, hour)
    (machine.root / "proc/200/stat").unlink()
    machine.process(DAEMON, 0, hour)
    assert sensors.read(NOW, [200]).load_milli == 0
    machine.process(201, hour // 2)  # a new one that was born in between
    machine.ticks(hour + hour // 2, hour + 3 * hour // 2)
    assert sensors.read(NOW, [201]).load_milli == 0


def test_the_load_follows_in_a_minute(machine: Machine) -> None:
    """Step from 0.3 to 1.0: after one time constant 1 - 0.7/e = 0.742."""
    sensors = machine.sensors()
    sensors.read(NOW)
    for second in range(6, 66, 6):
        machine.ticks(second * 2 * HZ, 0)
        load = sensors.read(NOW).load_milli
    assert load == pytest.approx(742, abs=1)


def test_readings_in_quick_succession_repeat_the_value(machine: Machine) -> None:
    sensors = machine.sensors()
    sensors.read(NOW)
    machine.ticks(HZ // 10, 0)
    assert sensors.read(NOW).load_milli == 300


def test_counters_that_start_again_start_the_load_again(machine: Machine) -> None:
    machine.ticks(10**9, 10**9)
    sensors = machine.sensors()
    sensors.read(NOW)
    machine.ticks(5, 5)
    assert sensors.read(NOW).load_milli == 300
    machine.ticks(3600 * HZ, 0)
    assert sensors.read(NOW).load_milli == 1000


# idle


def test_idle_counts_from_the_newest_input_of_a_terminal(machine: Machine) -> None:
    machine.terminal("tty1", 5000)
    machine.terminal("pts/3", 700)
    machine.terminal("pts/ptmx", 1)  # read by terminal programs when something is printed
    machine.terminal("ttyS0", 1)  # a modem talks there
    assert machine.sensors().read(NOW).idle_s == 700
    assert machine.sensors().read(NOW, idle=False).idle_s is None


def test_input_is_remembered_when_its_terminal_closes(machine: Machine) -> None:
    machine.terminal("tty1", 5000)
    machine.terminal("pts/3", 700)
    sensors = machine.sensors()
    sensors.read(NOW)
    (machine.root / "dev/pts/3").unlink()
    assert sensors.read(NOW + timedelta(seconds=60)).idle_s == 760


def test_times_in_the_future_are_no_input(machine: Machine) -> None:
    machine.terminal("tty1", 5000)
    machine.terminal("pts/3", -7200)
    machine.terminal("pts/4", -5)  # clocks differ by some seconds
    assert machine.sensors().read(NOW).idle_s == 0
    (machine.root / "dev/pts/4").unlink()
    assert machine.sensors().read(NOW).idle_s == 5000


def test_a_container_sees_nobody(machine: Machine) -> None:
    machine.terminal("tty", 5000)
    machine.terminal("pts/ptmx", 5000)
    assert machine.sensors().read(NOW).idle_s is None


BLOCK = "Type={}\nClass={}\nActive={}\nIdleHint={}\nIdleSinceHint={}\n"
AWAY_US = int((NOW_S - 900) * 1e6)


@pytest.mark.parametrize(
    ("blocks", "idle_s"),
    [
        ([("wayland", "user", "yes", "yes", AWAY_US)], 900),
        ([("x11", "user", "yes", "no", AWAY_US)], 0),
        ([("x11", "user", "yes", "yes", AWAY_US), ("tty", "user", "yes", "no", 0)], 900),
        ([("x11", "user", "yes", "yes", AWAY_US), ("x11", "user", "yes", "no", 0)], 0),
        ([("x11", "greeter", "yes", "no", 0)], 5000),  # nobody is logged in: the terminals say
        ([("x11", "user", "no", "no", 0)], 5000),
        ([], None),
    ],
)
def test_a_desktop_says_when_it_is_idle(machine: Machine, blocks: list[tuple[str | int, ...]], idle_s: int) -> None:
    machine.terminal("tty1", 5000)
    machine.write("run/systemd/sessions/2", "private")
    machine.write("run/systemd/sessions/2.ref", "")
    text = "\n".join(BLOCK.format(*block) for block in blocks)
    script = _script(machine.root, f"cat <<'END'\n{text}END\necho \"$@\" > {machine.root}/asked\n")
    sensors = machine.sensors(script)
    assert sensors.read(NOW).idle_s == 0  # not yet answered: somebody may be there
    deadline = time.monotonic() + 20
    while sensors._desktop._process is not None:
        assert time.monotonic() < deadline
        sense = sensors.read(NOW)
    assert sense.idle_s == idle_s
    assert (machine.root / "asked").read_text().split()[-2:] == ["--", "2"]
    sensors.close()


def test_logind_is_asked_every_ten_seconds_and_not_waited_for(machine: Machine) -> None:
    machine.terminal("tty1", 5000)
    machine.write("run/systemd/sessions/2", "")
    sensors = machine.sensors(_script(machine.root, "exec sleep 60"))
    start = time.perf_counter()
    idle = [sensors.read(NOW + timedelta(seconds=s)).idle_s for s in (0, 4, 5, 6)]
    assert idle == [0, 0, None, None]  # given up after five seconds: it cannot be told
    sensors.read(NOW + timedelta(seconds=10))
    process = sensors._desktop._process
    assert process is not None and process.poll() is None
    sensors.close()
    assert process.poll() is not None
    assert time.perf_counter() - start < 10


def test_a_clock_set_back_does_not_stop_the_asking(machine: Machine) -> None:
    machine.write("run/systemd/sessions/2", "")
    sensors = machine.sensors(_script(machine.root, "exec sleep 60"))
    past = NOW - timedelta(hours=1)
    assert [sensors.read(at).idle_s for at in (NOW, past, past + timedelta(seconds=6))] == [0, 0, None]
    sensors.close()


def test_without_loginctl_a_desktop_cannot_be_told_and_without_sessions_nobody_asks(machine: Machine) -> None:
    machine.terminal("tty1", 5000)
    assert machine.sensors().read(NOW).idle_s == 5000
    machine.write("run/systemd/sessions/2", "")
    assert machine.sensors().read(NOW).idle_s is None


def _script(folder: Path, body: str) -> str:
    path = folder / "loginctl"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


# battery

AC, NO_AC = {"type": "Mains", "online": "1"}, {"type": "Mains", "online": "0"}


@pytest.mark.parametrize(
    ("supplies", "told"),
    [
        ({}, (False, None)),
        ({"AC": AC}, (False, None)),
        ({"AC": NO_AC, "BAT0": {"type": "Battery", "status": "Discharging", "capacity": "71"}}, (True, 71)),
        ({"AC": NO_AC, "BAT0": {"type": "Battery", "status": "Not charging", "capacity": "71"}}, (True, 71)),
        ({"AC": AC, "BAT0": {"type": "Battery", "status": "Discharging", "capacity": "71"}}, (False, 71)),
        ({"AC": NO_AC, "usb": {"type": "USB", "online": "1"}, "BAT0": {"type": "Battery", "capacity": "9"}},
         (False, 9)),
        ({"BAT0": {"type": "Battery", "status": "Discharging", "capacity": "9"}}, (True, 9)),
        ({"BAT0": {"type": "Battery", "status": "Full", "capacity": "100"}}, (False, 100)),
        ({"AC": NO_AC, "BAT0": {"type": "Battery", "capacity": "20"}, "BAT1": {"type": "Battery", "capacity": "91"}},
         (True, 56)),
        ({"AC": NO_AC, "BAT0": {"type": "Battery", "status": "Discharging"}}, (True, None)),
        ({"mouse": {"type": "Battery", "scope": "Device", "status": "Discharging", "capacity": "5"}}, (False, None)),
        ({"AC": NO_AC, "BAT0": {"type": "Battery", "present": "0", "status": "Unknown"}}, (False, None)),
        ({"ups": {"type": "UPS", "status": "Discharging", "capacity": "80"}}, (True, 80)),
    ],
)  # fmt: skip
def test_the_battery(machine: Machine, supplies: dict[str, dict[str, str]], told: tuple[bool, int | None]) -> None:
    for name, words in supplies.items():
        machine.supply(name, **words)
    sense = machine.sensors().read(NOW)
    assert (sense.on_battery, sense.battery_percent) == told


# this machine


@pytest.fixture
def busy() -> Iterator[int]:
    """A child of this process that keeps a core busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield process.pid
    process.kill()
    process.wait()


def test_this_machine_answers_in_milliseconds() -> None:
    sensors = Sensors()
    took_s = []
    for _ in range(20):
        start = time.perf_counter()
        sense = sensors.read(datetime.now().astimezone(), [os.getpid()])
        took_s.append(time.perf_counter() - start)
    sensors.close()
    assert sense.free_memory_bytes is not None and sense.free_memory_bytes > 1 << 20
    assert sorted(took_s)[10] < 0.005


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="Linux only")
def test_on_this_machine_a_busy_child_is_ours_or_others(busy: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same second is measured twice: with the child's pid named, its core is not others' load."""
    monkeypatch.setattr(module, "LOAD_WINDOW_S", 1e-3)
    ours, others = Sensors(), Sensors()
    ours.read(datetime.now().astimezone(), [busy])
    others.read(datetime.now().astimezone())
    time.sleep(1.0)
    with_it = ours.read(datetime.now().astimezone(), [busy]).load_milli
    without = others.read(datetime.now().astimezone()).load_milli
    cores = os.cpu_count() or 1
    assert with_it is not None and without is not None
    assert without - with_it > 100 / cores  # a tenth of a core, even where others crowd the machine
