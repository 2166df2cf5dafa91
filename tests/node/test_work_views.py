"""What people see of work between nodes."""

from __future__ import annotations

from typing import Any

import msgspec
from tests.jobs.making import job as make_job

from qcommons.jobs.hire import HiredView
from qcommons.jobs.plan.records import Priced
from qcommons.jobs.work_views import ConsideredRow, LeaseRow
from qcommons.mesh.records import PeerId
from qcommons.node.records import Chosen, Entry, Form, Spec
from qcommons.node.work_views import hired_work, mesh_work, why_abroad
from qcommons.pqc.identity import node_id_of_hash

S = 1_000_000_000
PEER = PeerId(bytes([7]) * 32)
ENTRY = Entry(
    number=0, id="job_aaaaaaaaaaaaaaaa", principal="home", state="running", cause="", since_ns=0, submitted_ns=0,
    deadline_ns=100 * S, runs=40, answered=12, on="mesh",
)  # fmt: skip
TERMS = {"on": "mesh", "assurance": "audit", "egress": "public", "purpose": "folding"}
SPEC = Spec(
    msgspec.structs.replace(make_job(40), **TERMS), Form(),
    Chosen("whole", "whole: about 1 s", (Priced(row="whole", applies=True, why="fits", wall_s=1.0, runs=40),)),
)  # fmt: skip


def lease(state: str = "leased", peer: str = "qn1a", **fields: Any) -> LeaseRow:
    defaults: dict[str, Any] = {
        "lease": "ab" * 16, "since_s": 1, "runs": 9, "answered": 0, "accepted": 0, "is_hedge": False, "role": "runs",
        "price_per_giga": 0, "why": "", "verdicts": 0,
    }  # fmt: skip
    return LeaseRow(state=state, peer=peer, **(defaults | fields))


def test_a_mesh_job_tells_its_terms_its_plan_and_who_has_what() -> None:
    found = mesh_work(SPEC, ENTRY, [lease()], [ConsideredRow("qn1b", "stranger", "too narrow")])
    assert (found.assurance, found.egress, found.purpose, found.plan) == ("audit", "public", "folding", "whole")
    assert found.priced[0].runs == 40 and found.considered[0].why == "too narrow" and len(found.leases) == 1


def test_why_counts_the_leases_that_are_out() -> None:
    rows = [lease(), lease("reported"), lease("accepted", "qn1b"), lease("ended", "qn1c")]
    said = why_abroad(ENTRY, mesh_work(SPEC, ENTRY, rows, []), 5 * S)
    assert said.cause == "12 of 40 runs answered after 5 s; 2 leases at 1 peer" and said.who == "peers"
    assert said.until_ns == 100 * S


def test_why_names_the_reasons_where_nobody_has_anything() -> None:
    rows = [ConsideredRow(f"qn1{n}", "stranger", "no free place") for n in range(3)]
    rows += [ConsideredRow("qn1x", "own", "too narrow"), ConsideredRow("qn1y", "own", None)]
    said = why_abroad(ENTRY, mesh_work(SPEC, ENTRY, [lease("ended")], rows), 5 * S)
    assert said.cause.endswith("nothing is leased now, of 5 peers 3: no free place; 1: too narrow")
    assert "qcommons peers" in said.action


def test_runs_of_a_plan_are_counted_where_they_are_not_those_that_were_asked() -> None:
    entry = msgspec.structs.replace(ENTRY, runs=1, answered=0, parts=30, parts_answered=7)
    assert why_abroad(entry, mesh_work(SPEC, entry, [lease()], []), S).cause.startswith("7 of 30 runs answered")


def test_a_hired_job_tells_for_whom_it_is() -> None:
    row = HiredView(
        lease="ab" * 16, peer=PEER, job="job_theirs", piece="piece_theirs", purpose="folding", state="reported",
        why="done", runs=9, since_ns=1, until_ns=9, price_per_giga=3, verdicts=("right",),
    )  # fmt: skip
    found = hired_work("ab" * 16, [row])
    assert found is not None and (found.node, found.job, found.verdicts) == (
        node_id_of_hash(PEER),
        "job_theirs",
        ("right",),
    )
    assert hired_work("cd" * 16, [row]) is None
