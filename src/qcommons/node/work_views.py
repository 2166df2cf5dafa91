"""What people see of work between nodes: of a job on the mesh its plan and leases, of a hired one for whom. Pure.

Flow: Spec, Entry, rows of Spread and Hire -> *views* -> door -> api.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from qcommons.base.clock import duration_text
from qcommons.engines.select import plural
from qcommons.jobs.hire import HiredView
from qcommons.jobs.work_views import ConsideredRow, LeaseRow
from qcommons.node.api.records import Why
from qcommons.node.api.work_records import HiredWork, MeshWork, PeerRow, PricedRow
from qcommons.node.records import Entry, Spec
from qcommons.pqc.identity import node_id_of_hash

__all__ = ["hired_work", "mesh_work", "why_abroad"]

OPEN = frozenset({"offered", "leased", "committed", "reported"})
REASONS_SHOWN = 3


def mesh_work(spec: Spec, entry: Entry, leases: Sequence[LeaseRow], considered: Iterable[ConsideredRow]) -> MeshWork:
    """Of a job on the mesh."""
    job, plan = spec.job, spec.plan
    priced = () if plan is None else plan.priced
    return MeshWork(
        assurance=job.assurance, egress=job.egress, peers=job.peers, budget=job.budget, purpose=job.purpose,
        plan="" if plan is None else plan.row, why="" if plan is None else plan.why,
        priced=tuple(
            PricedRow(row=one.row, applies=one.applies, why=one.why, wall_s=one.wall_s, work_units=one.work_units,
                      runs=one.runs)
            for one in priced
        ),
        parts=entry.parts, parts_answered=entry.parts_answered, leases=tuple(leases),
        considered=tuple(PeerRow(node=row.peer, relation=row.relation, why=row.why) for row in considered),
    )  # fmt: skip


def hired_work(lease: str, rows: Iterable[HiredView]) -> HiredWork | None:
    """Of a job that a peer hired; None where its lease is forgotten."""
    found = next((row for row in rows if row.lease == lease), None)
    if found is None:
        return None
    return HiredWork(
        lease=lease, node=node_id_of_hash(found.peer), job=found.job, piece=found.piece, purpose=found.purpose,
        state=found.state, why=found.why, until_ns=found.until_ns, price_per_giga=found.price_per_giga,
        verdicts=tuple(found.verdicts),
    )  # fmt: skip


def why_abroad(entry: Entry, work: MeshWork, now_ns: int) -> Why:
    """How far a job on the mesh is, who has what of it, and where nobody has any, why."""
    ran = duration_text(max(0, now_ns - entry.since_ns))
    answered, runs = (work.parts_answered, work.parts) if work.parts else (entry.answered, entry.runs)
    out = [lease for lease in work.leases if lease.state in OPEN]
    said = f"{answered} of {plural(runs, 'run')} answered after {ran}; "
    if out:
        peers = len({lease.peer for lease in out})
        return Why(
            job=entry.id, state=entry.state, cause=f"{said}{plural(len(out), 'lease')} at {plural(peers, 'peer')}",
            who="peers", since_ns=entry.since_ns, until_ns=entry.deadline_ns,
        )  # fmt: skip
    return Why(
        job=entry.id, state=entry.state, cause=said + _nobody(work.considered), who="peers", since_ns=entry.since_ns,
        action="see them: qcommons peers; it is placed as soon as one is free", until_ns=entry.deadline_ns,
    )  # fmt: skip


def _nobody(considered: Sequence[PeerRow]) -> str:
    reasons = Counter(row.why for row in considered if row.why)
    if not reasons:
        return "nothing is leased now"
    most = "; ".join(f"{count}: {why}" for why, count in reasons.most_common(REASONS_SHOWN))
    return f"nothing is leased now, of {plural(len(considered), 'peer')} {most}"
