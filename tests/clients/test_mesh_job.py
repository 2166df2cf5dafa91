"""What is said of a job on the mesh: leases line by line, and one sentence at its end."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from qcommons.clients.cli.mesh_job import mesh_lines, mesh_sentence
from qcommons.jobs.work_views import LeaseRow
from qcommons.node.api.work_records import MeshWork

ANN, BEN, EVE = (f"qn1{name * 10}" for name in ("ann", "ben", "eve"))
LEASE = LeaseRow(
    lease="ab" * 16, peer=ANN, state="accepted", since_s=1, runs=6, answered=6, accepted=6, is_hedge=False, role="runs",
    price_per_giga=0, why="its answers were used", verdicts=1, checked=2, found=("right",),
)  # fmt: skip


def lease(**fields: Any) -> LeaseRow:
    return msgspec.structs.replace(LEASE, **fields)


def work(*leases: LeaseRow, assurance: str = "audit") -> MeshWork:
    return MeshWork(
        assurance=assurance, egress="public", peers=None, budget=None, purpose=None, plan="", why="", priced=(),
        parts=0, parts_answered=0, leases=leases,
    )  # fmt: skip


LIED = lease(peer=EVE, state="ended", accepted=0, found=("wrong",), why="it was found lying: none of its runs is used")
TAKEN = lease(peer=EVE, accepted=0, checked=0, found=(), why="6 answers of it taken back and run again elsewhere")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (LEASE, "6 runs, 6 used, 2 checked, found right: its answers were used"),
        (LIED, "6 runs, 0 used, 2 checked, found wrong: it was found lying"),
        (TAKEN, "6 runs, 0 used: 6 answers of it taken back and run again elsewhere"),
        (lease(runs=1, accepted=0, checked=0, found=(), role="computes again", why=""),
         "1 run computed again for a check, 0 used"),
        (lease(is_hedge=True, checked=0, found=()), "6 runs, 6 used, as another was slow"),
        (lease(work_units=60, overstated=300),
         "its receipts name 300 work units, more than the 60 that it takes and is paid for"),
    ],
)  # fmt: skip
def test_a_lease_says_what_was_used_of_it_and_what_was_found(row: LeaseRow, says: str) -> None:
    assert any(says in line for line in mesh_lines(work(row), None))


def test_the_sentence_names_who_ran_it_and_who_was_found_wrong() -> None:
    said = mesh_sentence(work(LEASE, lease(peer=BEN, accepted=4, checked=1), LIED, TAKEN))
    assert said == (
        "10 runs by 2 peers; 5 computed again here; 1 peer answered wrongly (qn1eveeveeveevee), "
        "its runs were done again by others"
    )


@pytest.mark.parametrize(
    ("rows", "assurance", "says"),
    [
        ((LEASE,), "none", "6 runs by 1 peer; nothing was checked (assurance none)"),
        ((LEASE, lease(peer=BEN, accepted=0, why="it was a replica of the answers used")), "replicate",
         "6 runs by 2 peers; each compared with that of a second peer"),
        ((LEASE, lease(peer=BEN, role="computes again", runs=2, accepted=0, checked=0)), "audit",
         "6 runs by 1 peer; 2 computed again by another peer"),
        ((LEASE, lease(peer=BEN, state="ended", accepted=0, checked=0, found=("silent",))), "audit",
         "6 runs by 1 peer; 2 computed again here; 1 peer fell silent (qn1benbenbenbenb), "
         "its runs were done again by others"),
    ],
)  # fmt: skip
def test_the_sentence_says_how_it_was_checked(rows: tuple[LeaseRow, ...], assurance: str, says: str) -> None:
    assert mesh_sentence(work(*rows, assurance=assurance)) == says
