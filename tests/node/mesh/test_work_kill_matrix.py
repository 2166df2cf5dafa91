"""kill -9 at random moments of both ends of work between nodes: every job ends, each run is counted once."""

from __future__ import annotations

import time
from pathlib import Path

from tests.node.daemons import Daemon
from tests.node.mesh.test_jobs_over_mesh import LONG, SHARING, counts, ended, submit, sweep
from tests.node.mesh.test_real_mesh import all_know_all, asked, until

from qcommons.base.seeds import stream
from qcommons.node.keys import past
from qcommons.node.store import Store

KILLS = 6
JOBS = 3
RUNS = 4
SEED = 2026


def test_six_kills_of_submitter_and_worker_lose_no_job_and_count_no_run_twice(tmp_path: Path) -> None:
    rng = stream(SEED, "work kill matrix")
    with Daemon(tmp_path / "a", env=SHARING) as submitter, Daemon(tmp_path / "b", env=SHARING) as worker:
        invite = asked(worker, "GET", "/invite")["invite"]
        asked(submitter, "POST", "/join", json={"invite": invite})
        until(lambda: all_know_all([submitter, worker]))
        jobs = [submit(submitter, sweep(LONG, RUNS, assurance="none", deadline_s=300.0)) for _ in range(JOBS)]
        for _ in range(KILLS):
            time.sleep(float(rng.uniform(0.0, 1.0)))
            victim = (submitter, worker)[int(rng.integers(2))]
            victim.kill()
            victim.start()
        found = []
        for job in jobs:
            view = ended(submitter, job)
            assert view["state"] == "done", view
            assert sum(lease["accepted"] for lease in view["mesh"]["leases"]) == RUNS
            found.append(counts(submitter, job))
        assert found[0] == found[1] == found[2], "the same seeds: whatever was run again gave the same"
        assert submitter.stop() == 0 and worker.stop() == 0
        with Store(tmp_path / "a" / "node.db") as store:
            assert store.count("result/", past("result/")) == JOBS and store.count("open/", past("open/")) == 0
        with Store(tmp_path / "b" / "node.db") as store:
            leases = {key.removeprefix("hired/") for key, _ in store.scan("hired/", past("hired/"))}
            assert store.count("job/", past("job/")) == len(leases), "one job a lease"
            assert store.count("unsealed/", past("unsealed/")) == 0
