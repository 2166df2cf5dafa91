"""What `job`, `why` and `run` say of work between nodes: plan, leases, peers; of a hired job, for whom it is.

Flow: JobView, Why -> *mesh_lines*, *say_who* -> text.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from qcommons.base.clock import duration_text
from qcommons.base.errors import QCommonsError
from qcommons.base.text import line, printable
from qcommons.clients.cli.asking import count

if TYPE_CHECKING:
    from qcommons.clients.http.node import Job
    from qcommons.jobs.work_views import LeaseRow
    from qcommons.node.api.work_records import HiredWork, MeshWork

__all__ = ["mesh_lines", "mesh_sentence", "say_who"]

LEASES_SHOWN = 12
ID_SHOWN = 16  # characters of a node's id
HELPS = "computes again"  # role of a lease for an audit


def mesh_lines(mesh: MeshWork | None, hired: HiredWork | None) -> Iterator[str]:
    """Nothing of a job that runs here for somebody of this node."""
    if mesh is not None:
        yield from _mesh(mesh)
    if hired is not None:
        yield f"  hired by   {hired.node}, as {hired.job}" + (f" for {hired.purpose}" if hired.purpose else "")
        price = f"{hired.price_per_giga} base units for 10^9 work units" if hired.price_per_giga else "no price"
        verdicts = f"; its verdicts: {', '.join(hired.verdicts)}" if hired.verdicts else ""
        why = f" ({hired.why})" if hired.why else ""
        yield f"  lease      {hired.lease[:12]} {hired.state}{why}, {price}{verdicts}"


def _mesh(mesh: MeshWork) -> Iterator[str]:
    purpose = f", for {mesh.purpose}" if mesh.purpose else ""
    budget = f", at most {mesh.budget} base units" if mesh.budget is not None else ""
    yield f"  on mesh    assurance {mesh.assurance}, egress {mesh.egress}{budget}{purpose}"
    if mesh.plan:
        yield f"  plan       {mesh.why}"
    if mesh.parts:
        yield f"  parts      {mesh.parts_answered} of {count(mesh.parts, 'run')} of the plan"
    for lease in mesh.leases[-LEASES_SHOWN:]:
        yield f"  lease      {_lease(lease)}"
    if len(mesh.leases) > LEASES_SHOWN:
        yield f"             and {len(mesh.leases) - LEASES_SHOWN} before these: --json has all"
    free = sum(row.why is None for row in mesh.considered)
    if mesh.considered:
        yield f"  peers      {free} of {len(mesh.considered)} could take more"
    for why, times in Counter(row.why for row in mesh.considered if row.why).most_common():
        yield f"             {times}: {why}"


def _lease(lease: LeaseRow) -> str:
    since = duration_text(max(0, time.time_ns() - lease.since_s * 10**9))
    hedge = ", as another was slow" if lease.is_hedge else ""
    why = f": {lease.why}" if lease.why else ""
    again = " computed again for a check" if lease.role == HELPS else ""
    checked = f", {lease.checked} checked" if lease.checked else ""
    found = f", found {' and '.join(dict.fromkeys(lease.found))}" if lease.found else ""
    named = f"; its receipts name {lease.overstated:.3g} work units, more than the {lease.work_units:.3g} that it takes"
    too_much = f"{named} and is paid for" if lease.overstated else ""
    return (
        f"{lease.lease[:12]} {lease.peer[:ID_SHOWN]} {lease.state} {since} ago, {count(lease.runs, 'run')}{again}, "
        f"{lease.accepted} used{checked}{found}{hedge}{why}{too_much}"
    )


def mesh_sentence(mesh: MeshWork) -> str:
    """Who ran a job that has ended, what was checked, and whose answers were not used."""
    ran = [lease for lease in mesh.leases if lease.role != HELPS]
    used = sum(lease.accepted for lease in ran)
    replicated = mesh.assurance == "replicate"
    peers = {lease.peer for lease in ran if lease.accepted or (replicated and "right" in lease.found)}
    said = [f"{count(used, 'run')} by {count(len(peers), 'peer')}", _checked(mesh, ran)]
    for kind, words in (("wrong", "answered wrongly"), ("malformed", "sent what no honest node sends"),
                        ("silent", "fell silent"), ("late", "was late")):  # fmt: skip
        found = dict.fromkeys(lease.peer for lease in mesh.leases if kind in lease.found)
        if found:
            names = ", ".join(peer[:ID_SHOWN] for peer in found)
            whose = "its runs were" if len(found) == 1 else "their runs were"
            said.append(f"{count(len(found), 'peer')} {words} ({names}), {whose} done again by others")
    return "; ".join(said)


def say_who(job: Job) -> None:
    """Print it beneath the answer of a job on the mesh; where the node is gone meanwhile, the answer is enough."""
    with contextlib.suppress(QCommonsError):
        view = job.view()
        if view.mesh is not None:
            print(printable(line(f"mesh       {mesh_sentence(view.mesh)}")))


def _checked(mesh: MeshWork, ran: list[LeaseRow]) -> str:
    checked = sum(lease.checked for lease in ran)
    if mesh.assurance == "none":
        return "nothing was checked (assurance none)"
    if mesh.assurance == "replicate":
        return "each compared with that of a second peer"
    where = "by another peer" if any(lease.role == HELPS for lease in mesh.leases) else "here"
    return f"{checked} computed again {where}"
