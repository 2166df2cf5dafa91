"""What people are shown of work between nodes: rows for `why`, of both sides. Plain data, nothing secret.

Flow: Spread.view, Spread.considered, Hire.view -> *rows* -> API, CLI.
"""

from __future__ import annotations

import msgspec

__all__ = ["ConsideredRow", "LeaseRow"]


class LeaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """One lease of a job, as its submitter knows it.

    lease: hex. peer: node id. state: offered, leased, committed, reported, checked, accepted, ended. since_s: Unix
    seconds when it came into that state. runs: how many; answered: of these, as far as the peer told. accepted: runs
    whose outcomes the job took from it. is_hedge: it was given because another lease was slow. price_per_giga: base
    units for 10^9 work units. why: the cause of the state, and of the choice of the peer while it is open.
    verdicts: files kept; found: what they say (right, wrong, late, silent, malformed, unproven). checked: runs that
    were compared with another answer. work_units: by the cost model, at most these are paid; overstated: what its
    receipts name where that is more, else 0.
    """

    lease: str
    peer: str
    state: str
    since_s: int
    runs: int
    answered: int
    accepted: int
    is_hedge: bool
    role: str
    price_per_giga: int
    why: str
    verdicts: int
    checked: int = 0
    found: tuple[str, ...] = ()
    work_units: int = 0
    overstated: int = 0


class ConsideredRow(msgspec.Struct, frozen=True):
    """One peer as it was looked at for a job. why: the reason it is left out, None where it could be chosen."""

    peer: str
    relation: str
    why: str | None
