"""Rows that people are shown of leases: what `row_of` makes of a record, and that nothing secret is in them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.jobs.test_leases import RECORD

from qcommons.base.units import NS_PER_S
from qcommons.jobs.leases import LeaseRecord, moved, row_of
from qcommons.jobs.work_views import ConsideredRow, LeaseRow


def record(state: Any = "leased", why: str = "", **changed: Any) -> LeaseRecord:
    return moved(RECORD, state, 1_700_000_000 * NS_PER_S + 5, why, **changed)


def test_an_open_lease_says_why_its_peer_was_chosen_and_how_far_it_is() -> None:
    row = row_of(record(), answered=1)
    assert (row.state, row.since_s, row.runs, row.answered, row.why) == ("leased", 1_700_000_000, 2, 1, "best of 1")
    assert (row.lease, row.peer, row.role) == (RECORD.lease.hex(), "qn1", "runs")


@pytest.mark.parametrize("state", ["accepted", "ended"])
def test_a_lease_that_is_over_says_why_and_no_more_why_its_peer_was_chosen(state: str) -> None:
    assert row_of(record(state)).why == "" and row_of(record(state, "it fell silent")).why == "it fell silent"


def test_what_was_reported_checked_found_and_used_is_counted() -> None:
    row = row_of(
        record("accepted", receipts=(b"a", b"b"), accepted=(4,), checked=(4, 5), verdicts=(b"v",), found=("unproven",))
    )
    assert (row.answered, row.accepted, row.checked, row.verdicts, row.found) == (2, 1, 2, 1, ("unproven",))


def test_a_lease_for_an_audit_and_a_hedge_are_told_apart() -> None:
    assert row_of(record(helps=b"l" * 16)).role == "computes again" and not row_of(record()).is_hedge
    assert row_of(record(is_hedge=True)).is_hedge


def test_work_beyond_the_cost_model_is_shown_beside_it() -> None:
    assert (row_of(record(overstated=90)).work_units, row_of(record(overstated=90)).overstated) == (20, 90)


def test_secrets_of_a_lease_are_in_no_row() -> None:
    kept = record(audit_secret=b"secret of the audit, 32 bytes...", audit_salt=b"salt of the audit", salt=b"opens all")
    shown = msgspec.json.encode(row_of(kept))
    for secret in (kept.audit_secret, kept.audit_salt, kept.salt):
        assert secret not in shown and secret.hex().encode() not in shown
    assert not {"audit_secret", "audit_salt", "salt", "receipts"} & set(LeaseRow.__struct_fields__)
    assert ConsideredRow.__struct_fields__ == ("peer", "relation", "why")
