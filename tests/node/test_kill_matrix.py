"""kill -9 at random moments of a busy node: what it acknowledged is there and ends, once."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import httpx
import pytest
from tests.node.daemons import Daemon, submission

from qcommons.base.seeds import stream
from qcommons.node.keys import past
from qcommons.node.store import Store

KILLS = 50
JOBS = 200
RESULT_S = 60.0


class Customer(threading.Thread):
    """Submits jobs one after the other, each with a name of its own, and again under that name after a failure."""

    def __init__(self, daemon: Daemon, names: list[str]) -> None:
        super().__init__(daemon=True)
        self.daemon_process, self.names = daemon, names
        self.acknowledged: dict[str, str] = {}  # name -> job
        self.results: dict[str, dict[str, int]] = {}  # job -> counts, as soon as they were seen
        self.broken: list[str] = []

    def run(self) -> None:
        for place, name in enumerate(self.names):
            while name not in self.acknowledged:
                try:
                    with self.daemon_process.client() as client:
                        said = client.post("/v1/jobs", json=submission(request=name, seed=place, shots=50))
                        if said.status_code == 202:
                            self.acknowledged[name] = said.json()["job"]
                            self._look(client, said.json()["job"])
                        elif said.status_code != 503:
                            self.broken.append(f"{said.status_code}: {said.text}")
                            return
                except (httpx.TransportError, OSError):
                    time.sleep(0.02)  # the node is down, or died while it answered: ask again

    def _look(self, client: httpx.Client, job: str) -> None:
        said = client.get(f"/v1/jobs/{job}/result", params={"wait_s": 0.05})
        if said.status_code == 200:
            self.results[job] = said.json()["counts"]


def test_fifty_kills_during_two_hundred_jobs_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    rng = stream(2026, "kill matrix")
    with Daemon(tmp_path / "home") as daemon:
        customers = [Customer(daemon, [f"{who}-{n}" for n in range(JOBS // 2)]) for who in "ab"]
        for customer in customers:
            customer.start()
        for _ in range(KILLS):
            time.sleep(float(rng.uniform(0.0, 0.5)))
            daemon.kill()
            daemon.start()
        for customer in customers:
            customer.join(120)
            assert not customer.is_alive() and not customer.broken, customer.broken
        acknowledged = {job for customer in customers for job in customer.acknowledged.values()}
        assert len(acknowledged) == JOBS, "each name made a job of its own, and only one"
        with daemon.client() as client:
            for customer in customers:
                for job in customer.acknowledged.values():
                    said = client.get(f"/v1/jobs/{job}/result", params={"wait_s": RESULT_S})
                    assert said.status_code == 200, said.text
                    assert customer.results.get(job, said.json()["counts"]) == said.json()["counts"], "two results"
                    assert sum(said.json()["counts"].values()) == 50
            assert client.get("/v1/jobs").json()["total"] == JOBS
        assert daemon.stop() == 0
        with Store(tmp_path / "home" / "node.db") as store:
            for prefix in ("job/", "result/", "id/"):
                assert store.count(prefix, past(prefix)) == JOBS, prefix
            assert store.count("open/", past("open/")) == 0


@pytest.mark.parametrize("moment_s", [0.0, 0.2])
def test_a_job_in_the_middle_of_its_run_is_run_again_after_a_kill(tmp_path: Path, moment_s: float) -> None:
    from tests.node.daemons import SLOW

    with Daemon(tmp_path / "home") as daemon:
        with daemon.client() as client:
            job = client.post("/v1/jobs", json=submission(SLOW, shots=10)).json()["job"]
        time.sleep(moment_s)
        daemon.kill()
        daemon.start()
        with daemon.client() as client:
            view = client.get(f"/v1/jobs/{job}", params={"wait_s": RESULT_S}).json()
            assert view["state"] == "done", view
            assert any("started again" in phase["cause"] for phase in view["timeline"])
