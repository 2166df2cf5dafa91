"""A quote with something of everything, for tests of the API and of its clients."""

from __future__ import annotations

from typing import Any

import msgspec

from qcommons.node.api.quote_records import (
    Quote,
    QuotedAudits,
    QuotedCheck,
    QuotedPeer,
    QuotedPrice,
    QuotedRow,
    QuotedTime,
)

NODES = tuple(f"qn1{name * 58}" for name in "abcd")


def a_quote(**fields: Any) -> Quote:
    """40 runs at two of four peers, audited. fields: other than that."""
    found = Quote(
        refused="", on="mesh", assurance="audit", egress="public", max_peers=None, purpose=None, plan="batch",
        why="batch: about 4 s at 2 places", rows=(_row("batch", wall_s=4.0), _row("whole", wall_s=8.0), _no("cut")),
        asked_runs=40, runs=40, leases=8, engines=("qulacs/statevector",), seconds=8.0, certain=True,
        memory_bytes=1 << 20,
        time=QuotedTime(expected_s=4.1, places=2, peers=2, deadline_s=60.0, in_time=True),
        peers=(_peer(0, due=100, ask="ab" * 32), _peer(1, due=250, ask="cd" * 32, round_trip_ns=None),
               _peer(2, why=f"a stranger; allow {NODES[2]}"), _peer(3, why=f"a stranger; allow {NODES[3]}")),
        price=QuotedPrice(work_units=4 * 10**9, least=100, most=250, least_ask="ab" * 32, most_ask="cd" * 32,
                          budget=300, within="all"),
        audits=QuotedAudits(runs=10.0, seconds=2.0, where="here"),
        checks=(_check(0.3, "alone", 0.01), _check(0.1, "alone", 0.4)),
        better="71 runs at each peer (now 20)", physics="emulated", not_claimed="that predictions hold",
    )  # fmt: skip
    return msgspec.structs.replace(found, **fields)


def _row(name: str, wall_s: float) -> QuotedRow:
    return QuotedRow(
        row=name, applies=True, why="it can", nearest="", seconds=8.0, wall_s=wall_s, places=2, work_units=4e9,
        memory_bytes=1 << 20, runs=40, refused=0, shots_factor=1.0, certain=True,
    )  # fmt: skip


def _no(name: str) -> QuotedRow:
    return QuotedRow(
        row=name, applies=False, why="no observables", nearest="ask for observables", seconds=0.0, wall_s=0.0, places=0,
        work_units=0.0, memory_bytes=0, runs=0, refused=0, shots_factor=1.0, certain=True,
    )  # fmt: skip


def _peer(
    number: int, due: int = 0, ask: str | None = None, why: str | None = None, round_trip_ns: int | None = 10**6
) -> QuotedPeer:
    return QuotedPeer(
        node=NODES[number], relation="stranger", why=why, ask=ask, price_per_giga=due or None, due=due,
        round_trip_ns=round_trip_ns, places=1, right=0, audit_ppm=250_000,
    )  # fmt: skip


def _check(share: float, cheat: str, high: float) -> QuotedCheck:
    says = f"a peer that fakes {100 * share:.0f} % of its shots passes with probability <= {100 * high:g} %"
    return QuotedCheck(
        share=share, check="repeat", cheat=cheat, runs=20, passes=high / 2, low=0.0, high=high, says=says
    )  # fmt: skip
