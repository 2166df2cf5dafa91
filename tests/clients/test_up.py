"""`qcommons up` and `down`: a node that starts, is found, drains, and says why where it cannot."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.clients.a_node import BELL, LONG, a_home, body, command, long_circuit, text

from qcommons.base.errors import Unavailable
from qcommons.clients.cli import ending, start
from qcommons.node.lock import Holder, HomeLock, read_lock

SCRIPT = Path(sys.executable).parent / "qcommons"


@pytest.fixture(autouse=True)
def home(tmp_path: Path) -> Iterator[Path]:
    with a_home(tmp_path / "home") as path:
        yield path


def test_a_node_is_up_found_again_and_down(home: Path) -> None:
    started = body("up", "-d", "--port", "0")
    assert set(started) == {"url", "token_file", "pid", "home", "node_id", "already"} and not started["already"]
    assert started["home"] == str(home) and started["node_id"].startswith("qn1")
    assert stat.S_IMODE(Path(started["token_file"]).stat().st_mode) == 0o600
    assert os.getsid(started["pid"]) == started["pid"], "a closed terminal does not end it"
    assert body("up", "-d") == started | {"already": True}
    assert body("status")["pid"] == started["pid"]
    assert body("down") | {"seconds": 0} == {
        "stopped": True, "home": str(home), "seconds": 0, "left": 0,
    }  # fmt: skip
    assert read_lock(home / "node.lock") is None
    assert os.waitpid(started["pid"], 0)[1] == 0, "it ends by itself, without an error"


def test_without_a_node_status_ends_with_4_and_down_with_0(home: Path) -> None:
    assert "no node runs here" in text("status", code=4)
    assert body("status", code=4)["error"]["who"] == "resources"
    assert text("down") == f"No node runs for {home}.\n"
    assert "qcommons up -d" in text("logs", code=4)
    assert not home.exists(), "looking makes nothing"


def test_a_port_that_another_node_has_is_said_to_be_that(home: Path, tmp_path: Path) -> None:
    """Nobody is told to stop a node of their own."""
    first = body("up", "-d", "--port", "0")
    port = first["url"].rpartition(":")[2]
    with a_home(tmp_path / "second"):
        said = text("up", "-d", "--port", port, code=4)
    assert f"port {port} is taken by a qcommons node of another home (process {first['pid']})" in said
    assert "qcommons up -d --port 0" in said and "stop that" not in said


def test_a_taken_port_is_named_with_what_to_do(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        said = text("up", "-d", "--port", port, code=4)
    assert f"port {port} is taken" in said and "(0: any free one)" in said
    assert read_lock(home / "node.lock") is None, "nothing is left behind"


@pytest.mark.parametrize(
    ("words", "says"),
    [(("--host", "0.0.0.0"), "--allow-remote"), (("--port", "70000"), "from 0 to 65535"),
     (("--socket", "x", "--port", "1"), "leave one out"), (("--passphrase-fd", "999"), "cannot read descriptor 999")],
)  # fmt: skip
def test_a_wrong_option_ends_with_2(words: tuple[str, ...], says: str) -> None:
    assert says in text("up", "-d", *words, code=2)


def test_a_passphrase_comes_from_a_descriptor_and_is_asked_for_again() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"correct horse\n")
    os.close(writing)
    assert body("up", "-d", "--port", "0", "--passphrase-fd", str(reading))["pid"]
    os.close(reading)
    pid = body("status")["pid"]
    assert b"correct horse" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    text("down")
    assert "sealed by a passphrase" in text("up", "-d", "--port", "0", code=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QCOMMONS_PASSPHRASE", "wrong")
        assert "wrong passphrase" in text("up", "-d", "--port", "0", code=2)


def test_a_holder_that_does_not_answer_is_told_by_its_process(home: Path) -> None:
    """As in the first moments of a start, or when it hangs."""
    with HomeLock(home / "node.lock"):
        assert f"process {os.getpid()} holds this home" in text("up", "-d", code=4)
        assert "qcommons down --now" in text("down", code=4)


def test_a_daemon_that_dies_or_hangs_is_told(home: Path, tmp_path: Path) -> None:
    fake = tmp_path / "python"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(fake))
        fake.write_text("#!/bin/sh\nexit 7\n")
        fake.chmod(0o755)
        assert "before it was ready (exit code 7)" in text("up", "-d", code=4)
        fake.write_text("#!/bin/sh\nexec sleep 30\n")
        patch.setattr(start.start, "__defaults__", (0.3,))
        assert "not ready within 0.3 s" in text("up", "-d", code=4)
        fake.unlink()
        assert "cannot start a process" in text("up", "-d", code=4)


def test_what_is_open_when_the_node_stops_goes_on_with_the_next(tmp_path: Path) -> None:
    """A drain that is too short for a run: it is interrupted, kept, and begins anew."""
    text("up", "-d", "--port", "0")
    job = text("run", long_circuit(tmp_path), *LONG, "--detach").strip()
    while body("job", job)["state"] != "running":
        time.sleep(0.05)
    start_s = time.monotonic()
    stopped = command("down", "--drain", "1500ms")
    assert stopped.code == 0 and "kept for the next start: 1." in stopped.out
    assert "1 job still runs, for" in stopped.err and stopped.err.count("\n") == 1
    assert 1.5 <= time.monotonic() - start_s < 8
    text("up", "-d", "--port", "0")
    view = body("job", job)
    assert view["state"] in ("accepted", "planned", "running")
    assert any("shut down while it ran" in phase["cause"] for phase in view["timeline"])
    assert body("job", "cancel", job)["state"] == "cancelled"


def test_a_run_that_ends_within_the_drain_is_not_said_to_be_left(tmp_path: Path) -> None:
    text("up", "-d", "--port", "0")
    short = tmp_path / "short.qasm"
    short.write_text(Path(long_circuit(tmp_path)).read_text().replace("[0:100]", "[0:0]"))
    job = text("run", str(short), *LONG, "--detach").strip()
    while body("job", job)["state"] != "running":
        time.sleep(0.02)
    assert body("down", "--drain", "60s")["left"] == 0
    text("up", "-d", "--port", "0")
    assert body("job", job)["state"] == "done"


def test_ctrl_c_drains_and_a_second_one_stops_at_once(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [SCRIPT, "up", "--port", "0", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env=os.environ,
    )  # fmt: skip
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["pid"] == process.pid
    job = text("run", long_circuit(tmp_path), *LONG, "--detach").strip()
    while body("job", job)["state"] != "running":
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    while not body("status")["draining"]:
        time.sleep(0.05)
    assert "shutting down" in text("run", BELL, code=4)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=15)
    assert process.returncode == 0, err
    assert "draining: jobs that run: 1, for 30 s at most; Ctrl-C again stops at once" in err
    assert "stopping at once" in err and "Traceback" not in err


def test_a_node_on_all_addresses_answers_its_own_commands() -> None:
    """As in a container, whose health check is `status`; and by a name that it was given."""
    started = body("up", "-d", "--port", "0", "--host", "0.0.0.0", "--allow-remote", "--name", "node.example")
    assert body("status")["url"] == started["url"]
    port = started["url"].rpartition(":")[2]
    for host, status in ((f"node.example:{port}", 200), (f"evil.example:{port}", 403)):
        answer = httpx.get(f"http://127.0.0.1:{port}/v1/health", headers={"host": host})
        assert answer.status_code == status


def test_a_foreground_node_goes_on_when_nobody_reads_its_lines(tmp_path: Path) -> None:
    """`qcommons up 2>&1 | head`: what is dropped is text, not work."""
    process = subprocess.Popen(
        [SCRIPT, "up", "--port", "0", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env=os.environ,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    process.stderr.close()
    assert body("run", BELL)["status"] == "done"
    assert body("run", BELL)["status"] == "done"
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=15) == 0


def test_down_now_ends_a_node_that_does_not_answer_and_says_how(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped process takes no SIGTERM; its home is free afterwards, and the next node starts in it."""
    monkeypatch.setattr(ending, "SIGNALS", ((signal.SIGTERM, 0.2), (signal.SIGKILL, 10.0)))
    pid = body("up", "-d", "--port", "0")["pid"]
    os.kill(pid, signal.SIGSTOP)
    said = body("down", "--now")
    assert (said["stopped"], said["by"], said["left"]) == (True, "SIGKILL", None)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL and read_lock(home / "node.lock") is None
    assert "pid" in body("up", "-d", "--port", "0")


def test_only_the_process_that_holds_the_home_is_ended(home: Path) -> None:
    """What the file says may be of another namespace of processes, where the number is somebody else's."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        with HomeLock(home / "node.lock"), pytest.raises(Unavailable, match="is not to be seen from here"):
            ending.end(home / "node.lock", Holder(other.pid, "http://127.0.0.1:1"))
        assert other.poll() is None
        other.kill()
