"""Quoting: what a job would take, cost and prove, of its plan and of the peers as they are now. Pure; nothing runs.

Flow: door (planned in a worker, as at acceptance) -> *looked* (on the loop: peers, reasons, standings) -> *mesh_quote*
(in a thread) -> Quote -> api; of a job for this node *quote_here*. Leases are cut by the very code that would give them
out (`jobs.issuing`), so that what is due is rounded up as often as it would be.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from qcommons.base.errors import Unavailable
from qcommons.base.units import NS_PER_S, PPM
from qcommons.engines.select import plural
from qcommons.jobs.asks import ask_hash, due_units
from qcommons.jobs.issuing import LEASE_S, HeldJob, bundles_of
from qcommons.jobs.place import Candidate
from qcommons.jobs.plan.pieces import plan as pieces_of
from qcommons.jobs.plan.records import Price, Priced
from qcommons.jobs.plan.row import PLACE_S
from qcommons.jobs.records import Job
from qcommons.jobs.work_views import ConsideredRow
from qcommons.node.api.quote_records import Quote, QuotedAudits, QuotedPeer, QuotedPrice, QuotedRow, QuotedTime
from qcommons.node.dealing import Dealing, price_of
from qcommons.node.frames import Planned
from qcommons.node.planner import Planner
from qcommons.node.quoted_checks import REPLICAS, Asked, better, checks_of, kinds_of
from qcommons.node.records import Spec
from qcommons.verify.audit import NEW_PPM, Standing, rate_ppm

__all__ = ["Seen", "leased_units", "looked", "mesh_quote", "quote_here"]

PHYSICS = "emulated"
NOT_CLAIMED = "that predictions hold, a speed-up over classical computers, or secrecy from whoever runs it"
PIECES_CUT_MAX = 2_000  # beyond, leases are counted by their size: cutting takes the square of it
REASONS_SHOWN = 3


class Seen(NamedTuple):
    """A peer as it stands: why is None where it could be chosen."""

    peer: Candidate
    why: str | None
    standing: Standing

    @property
    def places(self) -> int:
        ask = self.peer.ask
        return self.peer.places if ask is None else min(self.peer.places, ask.places)

    @property
    def price_per_giga(self) -> int:
        return 0 if self.peer.ask is None else self.peer.ask.price_per_giga


def looked(dealing: Dealing, spec: Spec, now_ns: int) -> tuple[Seen, ...]:
    """Each peer for a job that is not submitted; on the loop, since the core is asked."""
    if dealing.offline or dealing.spread is None:
        return ()
    rows: dict[str, ConsideredRow] = {row.peer: row for row in dealing.considered(spec, now_ns)}
    standing = dealing.spread.quarantine.standing
    return tuple(
        Seen(one, rows[one.node_id].why, standing(one.peer)) for one in dealing.candidates if one.node_id in rows
    )


# on the mesh


def mesh_quote(spec: Spec, seen: Sequence[Seen], workers: int, refused: str = "") -> Quote:
    """The quote of a planned job for the mesh. workers: of this node, which compute audits. refused: why it would not
    be accepted now, as far as that is known already."""
    job, derived, plan = spec.job, spec.runs, spec.plan
    assert plan is not None
    able = [one for one in seen if one.why is None]
    need = REPLICAS if job.assurance == "replicate" else 1
    used = sorted(able, key=lambda one: -one.places)[: job.peers]  # those with the most places, where few are allowed
    each = [plan.prices[point.program] for point in derived.points]
    units = leased_units(spec, sum(one.places for one in used))
    used = used[: need * len(units)]
    audits = _audits(job, each, used)
    peers = tuple(sorted((_peer(one, units) for one in seen), key=lambda row: (row.why is not None, row.due, row.node)))
    price = _price(job, peers, units, audits)
    asked = Asked(
        job.assurance, kinds_of(derived, plan.prices), _rate_ppm(used), max(1, need * len(each) // max(len(used), 1)),
        len(used), len(able),
    )  # fmt: skip
    checks = checks_of(asked)
    return Quote(
        refused=refused or _nobody(seen, len(able), need) or _too_dear(price), on="mesh", assurance=job.assurance,
        egress=job.egress, max_peers=job.peers, purpose=job.purpose, plan=plan.row, why=plan.why,
        rows=tuple(_row(one) for one in plan.priced), asked_runs=len(job.points), runs=len(each),
        leases=need * len(units), engines=_engines(plan.prices), seconds=math.fsum(one.seconds for one in each),
        certain=all(one.certain for one in plan.priced if one.row == plan.row),
        memory_bytes=max(one.memory_bytes for one in each), time=_time(job, each, used, audits, need, workers),
        peers=peers, price=price, audits=audits, checks=checks, better=better(asked, checks), physics=PHYSICS,
        not_claimed=NOT_CLAIMED,
    )  # fmt: skip


def leased_units(spec: Spec, places: int) -> tuple[int, ...]:
    """Work units of each lease that would be given out, once."""
    job = spec.runs
    pieces = pieces_of(job, 1)
    prices = [price_of(piece, spec) for piece in pieces]
    if len(pieces) > PIECES_CUT_MAX:
        count = min(len(pieces), math.ceil(math.fsum(price.seconds for price in prices) / LEASE_S))
        return (math.ceil(sum(price.work_units for price in prices) / count),) * count
    held = HeldJob(job, 0)
    for piece, price in zip(pieces, prices, strict=True):
        held.wait(bundles_of(job, piece.id, held.want(piece), price))
    found = []
    while (parcel := held.next_parcel(places)) is not None:
        held.take(parcel)
        found.append(parcel.price.work_units)
    return tuple(found)


def _peer(one: Seen, units: Sequence[int]) -> QuotedPeer:
    peer, ask = one.peer, one.peer.ask
    return QuotedPeer(
        node=peer.node_id, relation=peer.relation, why=one.why, ask=None if ask is None else ask_hash(ask).hex(),
        price_per_giga=None if ask is None else ask.price_per_giga,
        due=sum(due_units(one.price_per_giga, count) for count in units),
        round_trip_ns=peer.round_trip_ns or None, places=one.places, right=one.standing.right,
        audit_ppm=rate_ppm(one.standing),
    )  # fmt: skip


def _price(job: Job, peers: Sequence[QuotedPeer], units: Sequence[int], audits: QuotedAudits | None) -> QuotedPrice:
    """peers: the cheapest first. Replicas are at different peers."""
    need = REPLICAS if job.assurance == "replicate" else 1
    able = [row for row in peers if row.why is None]
    is_third = audits is not None and audits.where != "here"
    again = math.ceil(sum(units) * audits.runs / max(1, len(job.points))) if is_third and audits is not None else 0
    work_units = need * sum(units) + again
    if len(able) < need:
        return QuotedPrice(work_units=work_units, least=None, most=None, least_ask=None, most_ask=None,
                           budget=job.budget, within=None)  # fmt: skip
    least, most = (
        sum(row.due for row in rows) + due_units(rows[0].price_per_giga or 0, again)
        for rows in (able[:need], able[-need:])
    )
    budget = job.budget
    within = None if budget is None else "all" if most <= budget else "some" if least <= budget else "none"
    return QuotedPrice(
        work_units=work_units, least=least, most=most, least_ask=able[0].ask, most_ask=able[-1].ask, budget=budget,
        within=within,  # type: ignore[arg-type]  # one of the words of its type
    )  # fmt: skip


def _rate_ppm(used: Sequence[Seen]) -> int:
    """Of the peer that is looked at least."""
    return min((rate_ppm(one.standing) for one in used), default=NEW_PPM)


def _audits(job: Job, each: Sequence[Price], used: Sequence[Seen]) -> QuotedAudits | None:
    if job.assurance != "audit":
        return None
    rates = [rate_ppm(one.standing) for one in used] or [NEW_PPM]
    share = sum(rates) / len(rates) / PPM
    return QuotedAudits(
        runs=share * len(each), seconds=share * math.fsum(one.seconds for one in each),
        where="here" if all(one.here for one in each) else "a third peer",
    )  # fmt: skip


def _time(
    job: Job, each: Sequence[Price], used: Sequence[Seen], audits: QuotedAudits | None, need: int, workers: int
) -> QuotedTime:
    """The longest run, or all of them shared out, and what offer, transfer and check take; this node's own audits go on
    beside that."""
    places = min(sum(one.places for one in used), need * len(each))
    expected_s = None
    if len(used) >= need:
        seconds = math.fsum(one.seconds for one in each)
        trips_s = max(one.peer.round_trip_ns for one in used) / NS_PER_S
        expected_s = max(max(one.seconds for one in each), need * seconds / places) + PLACE_S + trips_s
        if audits is not None and audits.where == "here":
            expected_s = max(expected_s, audits.seconds / workers)
    in_time = expected_s is not None and expected_s <= job.deadline_s
    return QuotedTime(expected_s=expected_s, places=places, peers=len(used), deadline_s=job.deadline_s, in_time=in_time)


def _nobody(seen: Sequence[Seen], able: int, need: int) -> str:
    if able >= need:
        return ""
    reasons = Counter(one.why.replace(one.peer.node_id, "it") for one in seen if one.why)
    most = "; ".join(f"{count}: {why}" for why, count in reasons.most_common(REASONS_SHOWN))
    few = f"{able} could" if able else "nobody can"
    needs = f", and assurance replicate needs {need}" if need > 1 else ""
    return f"of {plural(len(seen), 'peer')} {few} take it now{needs}" + (f" ({most})" if most else "")


def _too_dear(price: QuotedPrice) -> str:
    if price.within != "none":
        return ""
    return (
        f"it costs {price.least} base units at the cheapest ask; the budget is {price.budget}: --budget {price.least}"
    )


# here


def quote_here(planner: Planner, job: Job, workers: int) -> Quote:
    """Plan a job that runs on this node, and its quote. workers: how many run at once at most.

    Raises:
        Unavailable: no engine here answers it, with the numbers.
    """
    try:
        planned = planner.here(job, workers)
    except Unavailable as error:
        raise _refused_here(error) from None
    return _here(job, planned, workers)


def _here(job: Job, planned: Planned, workers: int) -> Quote:
    each = [planned.prices[point.program] for point in job.points]
    (row,) = planned.plan.priced
    places = min(workers, len(each))
    expected_s = max(max(one.seconds for one in each), math.fsum(one.seconds for one in each) / places)
    why = f"{plural(len(each), 'run')} on this node, {plural(places, 'worker')} at once"
    return Quote(
        refused="", on="here", assurance=job.assurance, egress=job.egress, max_peers=None, purpose=job.purpose,
        plan=row.row, why=why, rows=(_row(row),), asked_runs=len(each), runs=len(each), leases=0,
        engines=_engines(planned.prices), seconds=math.fsum(one.seconds for one in each), certain=row.certain,
        memory_bytes=max(one.memory_bytes for one in each),
        time=QuotedTime(expected_s=expected_s, places=places, peers=0, deadline_s=job.deadline_s,
                        in_time=expected_s <= job.deadline_s),
        physics=PHYSICS, not_claimed=NOT_CLAIMED,
    )  # fmt: skip


def _refused_here(error: Unavailable) -> Unavailable:
    """The planner names the row that it was told to use; who asks for a run here named none."""
    if error.where != "plan" or not error.tried:
        return error
    what = f"{error.tried[0][2]}; other plans may answer it on the mesh: --on mesh"
    told = Unavailable(what, where="plan", limit=error.limit, tried=error.tried)
    told.exit_code = error.exit_code
    return told


# both


def _row(one: Priced) -> QuotedRow:
    return QuotedRow(
        row=one.row, applies=one.applies, why=one.why, nearest=one.nearest, seconds=one.seconds, wall_s=one.wall_s,
        places=one.places, work_units=one.work_units, memory_bytes=one.memory_bytes, runs=one.runs,
        refused=one.refused, shots_factor=one.shots_factor, certain=one.certain,
    )  # fmt: skip


def _engines(prices: Sequence[Price]) -> tuple[str, ...]:
    return tuple(sorted({f"{one.engine}/{one.method}" for one in prices if one.engine and one.method}))
