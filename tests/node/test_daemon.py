"""A real node process: starts, serves, refuses what it must, drains, and comes back with everything it had."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.node.daemons import BELL, SLOW, Daemon, NotReady, submission

from qcommons.node.home import NETWORK
from qcommons.verify.receipt import check


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("node") / "home") as daemon:
        yield daemon


@pytest.fixture
def client(node: Daemon) -> Iterator[httpx.Client]:
    with node.client() as client:
        yield client


def run(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    job = client.post("/v1/jobs", json=submission(**fields)).json()["job"]
    view = client.get(f"/v1/jobs/{job}", params={"wait_s": 30}).json()
    assert view["ended_ns"], view
    return view


def test_a_job_goes_through_and_its_receipt_checks_offline(node: Daemon, client: httpx.Client) -> None:
    view = run(client, seed=7)
    assert [phase["state"] for phase in view["timeline"]] == ["accepted", "planned", "running", "assembling", "done"]
    result = client.get(f"/v1/jobs/{view['id']}/result").json()
    assert result["status"] == "done" and set(result["counts"]) <= {"00", "11"} and result["physics"] == "emulated"
    until = time.monotonic() + 10
    while (signed := client.get(f"/v1/jobs/{view['id']}/receipt")).status_code != 200:
        assert time.monotonic() < until, signed.text
        time.sleep(0.1)
    receipt = check(signed.content, node.ready["node_id"], NETWORK)
    assert receipt.job_id == view["id"] and receipt.seed == 7 and receipt.engine == result["engine"]


def test_files_of_the_home_are_private(node: Daemon) -> None:
    assert node.home.stat().st_mode & 0o077 == 0
    for path in node.home.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_second_daemon_on_one_home_is_refused_and_names_the_first(node: Daemon) -> None:
    with pytest.raises(NotReady) as caught:
        Daemon(node.home)
    assert caught.value.code == 4 and caught.value.error["who"] == "resources"
    assert str(node.process.pid) in caught.value.error["what"] and node.ready["url"] in caught.value.error["what"]


def test_a_taken_port_is_named_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(NotReady) as caught:
            Daemon(tmp_path / "home", {"port": port})
    assert caught.value.code == 4 and str(port) in caught.value.error["what"]


def test_a_public_address_needs_to_be_meant(tmp_path: Path) -> None:
    with pytest.raises(NotReady) as caught:
        Daemon(tmp_path / "home", {"host": "0.0.0.0"})
    assert caught.value.code == 2 and "--allow-remote" in caught.value.error["what"]


def test_a_damaged_database_is_named_and_not_served_from(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Daemon(home) as daemon:
        assert daemon.stop() == 0
    path = home / "node.db"
    data = bytearray(path.read_bytes())
    data[100:4096] = os.urandom(3996)
    path.write_bytes(data)
    with pytest.raises(NotReady) as caught:
        Daemon(home)
    assert caught.value.code == 5 and "node.db" in str(caught.value.error)
    assert path.read_bytes() == bytes(data), "left as it was"


def test_a_token_that_others_can_read_stops_the_start(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Daemon(home) as daemon:
        daemon.stop()
    (home / "token").chmod(0o644)
    with pytest.raises(NotReady) as caught:
        Daemon(home)
    assert "chmod 600" in caught.value.error["what"]


def test_a_home_that_others_can_write_stops_the_start_and_one_that_they_can_read_is_closed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o777)
    with pytest.raises(NotReady, match=f"chmod 700 {home}") as refused:
        Daemon(home)
    assert (refused.value.code, refused.value.error["who"]) == (2, "caller")
    assert list(home.iterdir()) == []
    home.chmod(0o755)
    with Daemon(home) as node:
        assert home.stat().st_mode & 0o7777 == 0o700
        closed = next(line for line in (home / "node.log").read_text().splitlines() if "home_closed" in line)
        assert json.loads(closed)["mode"] == "0755"
        assert node.stop() == 0


@pytest.mark.parametrize("name", ["node.log", "token", "node.lock", "node.db", "node.db-wal"])
def test_a_link_in_the_place_of_a_file_of_the_node_stops_the_start(tmp_path: Path, name: str) -> None:
    home, thesis = tmp_path / "home", tmp_path / "thesis.tex"
    home.mkdir(mode=0o700)
    thesis.write_text("years of work")
    (home / name).symlink_to(thesis)
    with pytest.raises(NotReady, match="links are not followed") as refused:
        Daemon(home)
    assert refused.value.code == 2 and refused.value.error["where"] == str(home / name)
    assert thesis.read_text() == "years of work"


def test_a_locked_database_is_said_and_work_goes_on_after(tmp_path: Path) -> None:
    with Daemon(tmp_path / "home") as daemon, daemon.client() as client:
        run(client)
        other = sqlite3.connect(tmp_path / "home" / "node.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with daemon.client() as second:
            said = second.post("/v1/jobs", json=submission(request="held"))
            assert said.status_code == 503 and "locked" in said.json()["error"]["what"]
        status = client.get("/v1/status").json()
        assert status["health"] == "red" and "locked" in str(status["troubles"])
        assert all(trouble[key] for trouble in status["troubles"] for key in ("cause", "who", "since_ns", "action"))
        other.execute("ROLLBACK")
        other.close()
        until = time.monotonic() + 20
        while client.get("/v1/status").json()["health"] != "green":
            assert time.monotonic() < until
            time.sleep(0.1)
        again = client.post("/v1/jobs", json=submission(request="held")).json()
        assert again["again"], "what had been asked was done when the disk was free; asking again makes no second"


def test_a_full_disk_takes_nothing_new_says_so_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """The home on a tmpfs of 12 MiB in a mount namespace of the daemon's own."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    mounts = 'mount -t tmpfs -o size=12m,mode=700 none "$0" && exec "$@"'
    wrapper = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounts, str(home))
    if not shutil.which("unshare") or subprocess.run([*wrapper, "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount in a namespace of their own")
    with Daemon(home, wrapper=wrapper) as daemon:
        inside = Path(f"/proc/{daemon.process.pid}/root{home}")
        token = (inside / "token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=daemon.ready["url"], headers=headers, timeout=30) as client:
            first = run(client)
            filler = inside / "filler"
            with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(1 << 14))
            refused = client.post("/v1/jobs", json=submission(BELL + "// " + "x" * 300_000, request="late"))
            assert refused.status_code == 503 and "full" in refused.json()["error"]["what"]
            status = client.get("/v1/status").json()
            assert status["health"] == "red" and status["troubles"][0]["action"]
            assert client.get(f"/v1/jobs/{first['id']}/result").status_code == 200, "what is there is still served"
            filler.unlink()
            until = time.monotonic() + 20
            while client.get("/v1/status").json()["health"] != "green":
                assert time.monotonic() < until
                time.sleep(0.1)
            assert run(client)["state"] == "done"


def test_a_worker_killed_from_outside_costs_no_job(node: Daemon, client: httpx.Client) -> None:
    job = client.post("/v1/jobs", json=submission(SLOW, shots=10)).json()["job"]
    time.sleep(0.7)
    children = subprocess.run(["pgrep", "-P", str(node.process.pid)], capture_output=True, text=True, check=True)
    for pid in children.stdout.split():
        os.kill(int(pid), signal.SIGKILL)
    assert client.get(f"/v1/jobs/{job}", params={"wait_s": 60}).json()["state"] == "done"
    assert run(client)["state"] == "done"


def test_sigterm_in_mid_job_leaves_it_for_the_next_start(tmp_path: Path) -> None:
    with Daemon(tmp_path / "home") as daemon:
        with daemon.client() as client:
            slow = submission(SLOW, shots=10)
            jobs = [client.post("/v1/jobs", json={**slow, "seed": seed}).json()["job"] for seed in range(2)]
            client.post("/v1/shutdown", json={"drain_s": 0})
        assert daemon.process.wait(20) == 0
        daemon.start()
        with daemon.client() as client:
            views = [client.get(f"/v1/jobs/{job}", params={"wait_s": 60}).json() for job in jobs]
            assert [view["state"] for view in views] == ["done", "done"]


def test_jobs_tokens_pause_and_policy_outlive_a_restart(tmp_path: Path) -> None:
    with Daemon(tmp_path / "home") as daemon:
        with daemon.client() as client:
            view = run(client)
            result = client.get(f"/v1/jobs/{view['id']}/result").json()
            given = client.post("/v1/tokens", json={"principal": "alice"}).json()
            brief = client.post("/v1/tokens", json={"principal": "bob", "for_s": 0.001}).json()
            client.post("/v1/policy", json={"deny": ["tag:mining"]})
            client.post("/v1/pause", json={})
        assert daemon.stop() == 0
        daemon.start()
        with daemon.client() as client:
            assert client.get(f"/v1/jobs/{view['id']}").json() == view
            assert client.get(f"/v1/jobs/{view['id']}/result").json() == result
            assert client.get("/v1/policy").json()["deny"] == ["tag:mining"]
            status = client.get("/v1/status").json()
            assert status["health"] == "yellow" and status["sentence"].startswith("Paused for ")
            client.post("/v1/resume")
        alice = httpx.Client(base_url=daemon.ready["url"], headers={"Authorization": f"Bearer {given['token']}"})
        with alice:
            mine = alice.post("/v1/jobs", json=submission()).json()["job"]
            assert alice.get(f"/v1/jobs/{mine}", params={"wait_s": 20}).json()["principal"] == "alice"
            assert [job["id"] for job in alice.get("/v1/jobs").json()["jobs"]] == [mine]
            assert alice.get(f"/v1/jobs/{view['id']}").status_code == 404, "somebody else's job"
            assert alice.post("/v1/pause", json={}).status_code == 403
            assert alice.post("/v1/jobs", json=submission(tags=["mining"])).status_code == 422
        expired = {"Authorization": f"Bearer {brief['token']}"}
        assert httpx.get(f"{daemon.ready['url']}/v1/status", headers=expired).status_code == 401
        assert given["token"] not in (tmp_path / "home" / "node.log").read_text()


def test_limits_apply_at_once_and_refuse_with_numbers(node: Daemon, client: httpx.Client) -> None:
    said = client.put("/v1/settings/limits.qubits", json={"value": "1"}).json()
    assert said["applies"] == "now" and said["origin"].startswith("file")
    refused = client.post("/v1/jobs", json=submission())
    assert refused.status_code == 422 and "2 qubits" in refused.json()["error"]["what"]
    client.put("/v1/settings/limits.qubits", json={"value": None})
    assert run(client)["state"] == "done"


def test_closed_hours_hold_jobs_back_and_say_until_when(node: Daemon, client: httpx.Client) -> None:
    now = time.localtime()
    opens = (now.tm_hour + 2) % 24
    client.put("/v1/settings/limits.hours", json={"value": f"{opens:02d}:00-{(opens + 1) % 24:02d}:00"})
    job = client.post("/v1/jobs", json=submission()).json()["job"]
    why = client.get(f"/v1/jobs/{job}/why").json()
    assert (why["state"], why["who"]) == ("accepted", "owner") and f"{opens:02d}:00" in why["cause"] and why["until_ns"]
    client.put("/v1/settings/limits.hours", json={"value": None})
    assert client.get(f"/v1/jobs/{job}", params={"wait_s": 30}).json()["state"] == "done"


def test_a_cancelled_job_ends_while_it_runs(client: httpx.Client) -> None:
    job = client.post("/v1/jobs", json=submission(SLOW, shots=10)).json()["job"]
    assert client.post(f"/v1/jobs/{job}/cancel", json={"cause": "changed my mind"}).json()["state"] == "cancelled"
    why = client.get(f"/v1/jobs/{job}/why").json()
    assert "changed my mind" in why["cause"]
    assert run(client)["state"] == "done", "the next one is unharmed"


def test_the_metrics_count_what_happened(client: httpx.Client) -> None:
    run(client)
    client.put("/v1/settings/limits.shots", json={"value": "10"})
    assert client.post("/v1/jobs", json=submission()).status_code == 422
    client.put("/v1/settings/limits.shots", json={"value": None})
    lines = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if line[0] != "#")
    assert float(lines['qcommons_job_seconds_count{state="done"}']) >= 1
    assert float(lines['qcommons_refusals_total{where="limits.shots"}']) >= 1
    assert float(lines["qcommons_health"]) == 2


def test_the_log_is_json_and_says_what_happened(node: Daemon, client: httpx.Client) -> None:
    run(client)
    lines = [json.loads(line) for line in client.get("/v1/logs", params={"last": 50}).json()["lines"]]
    assert any(line["event"] == "job" and line["state"] == "done" for line in lines)
    assert all("at_ns" in line for line in lines)


def test_programs_of_guests_that_take_long_to_read_hold_up_neither_the_owner_nor_the_end(tmp_path: Path) -> None:
    """A loop of a line can ask for any time. They were read in the threads that the end of the node needs too."""
    loops = "OPENQASM 3.0; qubit q; for int i in [0:1900000] { x q; }"
    with Daemon(tmp_path / "home") as node, node.client() as owner, contextlib.ExitStack() as stack:
        token = owner.post("/v1/tokens", json={"principal": "eve"}).json()["token"]
        run(owner, seed=1)
        port = int(node.ready["url"].rpartition(":")[2])
        body = json.dumps(submission(loops)).encode()
        head = f"POST /v1/jobs HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {token}\r\n"
        for _ in range(12):
            link = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            link.sendall(f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        time.sleep(1.0)
        begun = time.monotonic()
        run(owner, seed=2)
        assert time.monotonic() - begun < 5.0
        owner.post("/v1/shutdown", json={"drain_s": 0})
        assert node.process.wait(15.0) == 0
