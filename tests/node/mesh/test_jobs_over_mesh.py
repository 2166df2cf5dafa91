"""Real node processes on loopback: a job given to one is run by the others, checked, and survives whoever dies."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.node.daemons import Daemon, submission
from tests.node.mesh.test_real_mesh import ENV, all_know_all, asked, log, until

from qcommons.verify.receipt import check

SHARING = {**ENV, "QCOMMONS_SHARE": "true"}
RESULT_S = 60.0
SWEEP = 'OPENQASM 3.0; include "stdgates.inc"; input float t; qubit[3] q; bit[3] c; ry(t) q[0]; cx q[0], q[1]; ' \
        "cx q[1], q[2]; c = measure q;"  # fmt: skip
LONG = (  # about a second each: the job lasts long enough to kill somebody meanwhile
    'OPENQASM 3.0; include "stdgates.inc"; input float t; qubit[20] q; bit[20] c;'
    + "".join(f"ry(t + {at}) q[{k}]; cx q[{k}], q[{(k + 1 + at) % 20}];" for at in range(10) for k in range(20))
    + "c = measure q;"
)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Daemon]]:
    """Four that know each other; the first submits and shares nothing, the others share."""
    folder = tmp_path_factory.mktemp("work")
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda n: Daemon(folder / f"{n}", env=SHARING if n else ENV), range(4)))
    invite = asked(made[0], "GET", "/invite")["invite"]
    for node in made[1:]:
        asked(node, "POST", "/join", json={"invite": invite})
    until(lambda: all_know_all(made))
    yield made
    for node in made:
        node.__exit__()


def sweep(qasm: str, count: int, **fields: Any) -> dict[str, Any]:
    points = [{"t": 0.1 + 0.05 * place} for place in range(count)]
    return submission(qasm, points=points, **{"on": "mesh", "egress": "public", "deadline_s": RESULT_S, **fields})


def ended(node: Daemon, job: str) -> dict[str, Any]:
    """The job's view once it has ended, however often the node dies meanwhile."""
    until_s = time.monotonic() + RESULT_S
    while True:
        with node.client() as client:
            view: dict[str, Any] = client.get(f"/v1/jobs/{job}", params={"wait_s": 2.0}).json()
        if view["ended_ns"] is not None or time.monotonic() > until_s:
            return view


def counts(node: Daemon, job: str) -> list[dict[str, int]]:
    with node.client() as client:
        said = client.get(f"/v1/jobs/{job}/result")
    assert said.status_code == 200, said.text
    return [run["counts"] for run in said.json()["results"]]


def submit(node: Daemon, body: dict[str, Any]) -> str:
    """Again while it is told that no peer is known: jobs hear of new peers twice a second."""
    until_s = time.monotonic() + 10.0
    with node.client() as client:
        said = client.post("/v1/jobs", json=body)
        while said.status_code == 503 and time.monotonic() < until_s:
            time.sleep(0.2)
            said = client.post("/v1/jobs", json=body)
    assert said.status_code == 202, said.text
    return str(said.json()["job"])


def test_forty_audited_runs_come_back_as_this_node_would_have_answered_them(nodes: list[Daemon]) -> None:
    home = submit(nodes[0], sweep(SWEEP, 40, on="here", egress=None))
    job = submit(nodes[0], sweep(SWEEP, 40, assurance="audit"))
    view = ended(nodes[0], job)
    assert view["state"] == "done", view
    assert ended(nodes[0], home)["state"] == "done"
    assert counts(nodes[0], job) == counts(nodes[0], home), "the same seeds and engines give the same counts"
    peers = {lease["peer"] for lease in view["mesh"]["leases"] if lease["accepted"]}
    assert peers <= {node.ready["node_id"] for node in nodes[1:]} and peers
    assert sum(lease["accepted"] for lease in view["mesh"]["leases"]) == 40, "each run is counted once"
    until(lambda: receipt(nodes[0], job, 39) is not None)
    signed = receipt(nodes[0], job, 39)
    assert signed is not None and check(signed, nodes[0].ready["node_id"], "commons").run == 39


def receipt(node: Daemon, job: str, run: int) -> bytes | None:
    with node.client() as client:
        said = client.get(f"/v1/jobs/{job}/receipt", params={"run": run})
    return said.content if said.status_code == 200 else None


def test_why_tells_both_sides(nodes: list[Daemon]) -> None:
    job = submit(nodes[0], sweep(SWEEP, 12, assurance="none", purpose="folding-2027"))
    assert ended(nodes[0], job)["state"] == "done"
    with nodes[0].client() as client:
        said = client.get(f"/v1/jobs/{job}/why").json()["mesh"]
    assert said["assurance"] == "none" and said["purpose"] == "folding-2027" and said["plan"] in ("whole", "batch")
    lease = next(lease for lease in said["leases"] if lease["accepted"])
    worker = next(node for node in nodes if node.ready["node_id"] == lease["peer"])
    with worker.client() as client:
        jobs = client.get("/v1/jobs").json()["jobs"]
        mine = [one["id"] for one in jobs if one["principal"] == nodes[0].ready["node_id"]]
        hired = [client.get(f"/v1/jobs/{one}/why").json()["hired"] for one in mine]
    found = next(one for one in hired if one["lease"] == lease["lease"])
    assert (found["node"], found["job"], found["purpose"]) == (nodes[0].ready["node_id"], job, "folding-2027")
    words = [sys.executable, "-m", "qcommons.clients.cli.main", "why", job]
    shown = subprocess.run(words, env=nodes[0].env, capture_output=True, text=True)
    assert shown.returncode == 0 and "assurance none, egress public" in shown.stdout, shown.stdout + shown.stderr


def test_replicas_agree(nodes: list[Daemon]) -> None:
    job = submit(nodes[0], sweep(SWEEP, 6, assurance="replicate"))
    view = ended(nodes[0], job)
    assert view["state"] == "done", view
    assert {len(counts(nodes[0], job)), sum(counts(nodes[0], job)[0].values())} == {6, 100}


def test_a_plan_of_other_runs_is_put_together(nodes: list[Daemon]) -> None:
    wide = (
        'OPENQASM 3.0; include "stdgates.inc"; qubit[60] q;'
        + "".join(f"ry(0.{k + 10}) q[{k}]; " for k in range(60))
        + "".join(f"cx q[{k}], q[{k + 1}];" for k in range(0, 60, 2))
    )
    body = submission(wide, shots=None, observables=["Z0 Z1", "Z10"], scalar=False, on="mesh", egress="public",
                      plan="lightcone", deadline_s=RESULT_S)  # fmt: skip
    view = ended(nodes[0], job := submit(nodes[0], body))
    assert view["state"] == "done" and view["runs"] == 1, view
    assert view["mesh"]["plan"] == "lightcone" and view["mesh"]["parts"] == view["mesh"]["parts_answered"] > 0
    with nodes[0].client() as client:
        values = [one["value"] for one in client.get(f"/v1/jobs/{job}/result").json()["expectations"]]
    import math

    # ry(a) q0, ry(b) q1, cx: <Z0 Z1> = <Z1> before the cx = cos b; q10 is a control: <Z10> = cos of its own angle
    assert values == pytest.approx([math.cos(0.11), math.cos(0.20)], abs=1e-12)


def test_what_may_not_leave_is_refused_with_the_flag_that_would_help(nodes: list[Daemon]) -> None:
    with nodes[0].client() as client:
        said = client.post("/v1/jobs", json=sweep(SWEEP, 2, egress=None))
        assert said.status_code == 503 and "--egress public" in said.text, said.text
        assert client.post("/v1/jobs", json=sweep(SWEEP, 2, egress="home")).status_code == 400
        assert client.post("/v1/jobs", json=sweep(SWEEP, 2, on="here", egress=None, budget=3)).status_code == 400


def test_whoever_shares_nothing_is_left_alone(nodes: list[Daemon]) -> None:
    """The first node offers no engine: jobs of the others go past it."""
    job = submit(nodes[1], sweep(SWEEP, 6, assurance="none"))
    view = ended(nodes[1], job)
    assert view["state"] == "done"
    assert nodes[0].ready["node_id"] not in {lease["peer"] for lease in view["mesh"]["leases"]}


def test_a_job_ends_though_a_worker_is_killed_on_the_way(nodes: list[Daemon]) -> None:
    job = submit(nodes[0], sweep(LONG, 9, assurance="none"))
    until(lambda: any(log(node, "hired") and works(node) for node in nodes[1:]), RESULT_S)
    victim = next(node for node in nodes[1:] if works(node))
    victim.kill()
    view = ended(nodes[0], job)
    victim.start()
    assert view["state"] == "done", view
    assert sum(lease["accepted"] for lease in view["mesh"]["leases"]) == 9
    until(lambda: all_know_all(nodes), 30.0)


def works(node: Daemon) -> bool:
    with node.client() as client:
        return bool(client.get("/v1/jobs", params={"state": "running"}).json()["jobs"])


def test_a_job_ends_though_its_submitter_and_then_a_worker_are_killed_and_come_back(nodes: list[Daemon]) -> None:
    job = submit(nodes[0], sweep(LONG, 6, assurance="none"))
    until(lambda: any(works(node) for node in nodes[1:]), RESULT_S)
    nodes[0].kill()
    victim = next(node for node in nodes[1:] if works(node))
    victim.kill()
    victim.start()
    nodes[0].start()
    view = ended(nodes[0], job)
    assert view["state"] == "done", view
    assert any("started again" in phase["cause"] for phase in view["timeline"])
    assert sum(lease["accepted"] for lease in view["mesh"]["leases"]) == 6, "nothing is counted twice"
