"""Quotes of planned jobs and of peers as they stand: leases, prices in base units, time, who is left out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.jobs.plan.making import brick, job_of, measured

from qcommons.engines.records import Counts
from qcommons.jobs.asks import Ask, ask_hash
from qcommons.jobs.place import Candidate
from qcommons.jobs.plan.records import Price, Priced
from qcommons.mesh.records import PeerId
from qcommons.node.api.quote_records import Quote
from qcommons.node.quoting import Seen, leased_units, mesh_quote
from qcommons.node.records import Chosen, Form, Spec
from qcommons.pqc.identity import node_id_of_hash
from qcommons.verify.audit import Standing

GIGA = 10**9
RUN = Price(seconds=0.5, work_units=2 * GIGA, memory_bytes=1 << 20, engine="qulacs", method="statevector")


def spec(runs: int = 40, price: Price = RUN, **fields: Any) -> Spec:
    """So many runs of half a second and 2 * 10^9 work units each."""
    made = job_of([(measured(brick(16, 40)), Counts(1024))], [{}] * runs, deadline_s=60.0)
    terms = {"on": "mesh", "egress": "public", "assurance": "audit", **fields}
    row = Priced(row="whole", applies=True, why="told so", seconds=20.0, runs=runs)
    return Spec(msgspec.structs.replace(made, **terms), Form(), Chosen("whole", "it is", (row,), prices=(price,)))


def peer(number: int, per_giga: int | None = None, why: str | None = None, **fields: Any) -> Seen:
    hash_ = PeerId(bytes([number]) * 32)
    places, standing = fields.pop("places", 1), fields.pop("standing", Standing())
    ask = None if per_giga is None else Ask(
        node=hash_, resource="work", price_per_giga=per_giga, capacity_per_s=GIGA, places=places, not_before_s=0,
        until_s=2000, transferable=False, seq=1,
    )  # fmt: skip
    one = Candidate(
        peer=hash_, node_id=node_id_of_hash(hash_), relation="stranger", state="alive", offers={"qulacs": 25},
        ask=ask, places=places, **fields,
    )  # fmt: skip
    return Seen(one, why, standing)


def quoted(*peers: Seen, workers: int = 2, refused: str = "", **fields: Any) -> Quote:
    return mesh_quote(spec(**fields), peers, workers, refused)


def test_leases_hold_all_the_work_once_and_about_a_second_each() -> None:
    units = leased_units(spec(), 2)
    assert sum(units) == 40 * RUN.work_units
    assert 20 <= len(units) <= 40, "two runs are a second; the last ones travel alone"
    assert len(leased_units(spec(runs=3), 1)) == 3


def test_many_pieces_are_counted_by_their_size() -> None:
    assert len(leased_units(spec(runs=3000), 2)) == 1500 and sum(leased_units(spec(runs=3000), 2)) == 6000 * GIGA


def test_the_price_is_that_of_the_cheapest_and_of_the_dearest_ask_and_cites_both() -> None:
    cheap, dear = peer(1, 5), peer(2, 7)
    price = quoted(dear, cheap).price
    assert price is not None
    assert (price.work_units, price.least, price.most) == (80 * GIGA, 400, 560)
    assert cheap.peer.ask and dear.peer.ask
    assert (price.least_ask, price.most_ask) == (ask_hash(cheap.peer.ask).hex(), ask_hash(dear.peer.ask).hex())


def test_what_is_due_is_rounded_up_once_a_lease() -> None:
    tiny = msgspec.structs.replace(RUN, work_units=1)
    found = quoted(peer(1, 5), price=tiny)
    assert found.price is not None and found.price.least == found.leases


@pytest.mark.parametrize(
    ("budget", "within"), [(399, "none"), (400, "some"), (559, "some"), (560, "all"), (None, None)]
)
def test_the_budget_is_held_against_the_asks(budget: int | None, within: str | None) -> None:
    found = quoted(peer(1, 5), peer(2, 7), budget=budget)
    assert found.price is not None and found.price.within == within
    assert found.refused == ("it costs 400 base units at the cheapest ask; the budget is 399: --budget 400"
                             if within == "none" else "")  # fmt: skip


def test_replicas_are_two_peers_both_paid() -> None:
    found = quoted(peer(1, 5), peer(2, 7), peer(3, 10), assurance="replicate")
    assert found.price is not None and (found.price.least, found.price.most) == (960, 1360)
    assert found.price.work_units == 160 * GIGA and found.audits is None
    alone = quoted(peer(1, 5), assurance="replicate")
    assert "1 could take it now, and assurance replicate needs 2" in alone.refused and alone.checks == ()
    assert alone.price is not None and alone.price.least is None and alone.time.expected_s is None


def test_audits_are_own_seconds_or_another_lease_where_this_node_cannot() -> None:
    found = quoted(peer(1, 5))
    assert found.audits is not None
    assert (found.audits.runs, found.audits.seconds, found.audits.where) == (10.0, 5.0, "here"), "a quarter of 40"
    elsewhere = quoted(peer(1, 5), price=msgspec.structs.replace(RUN, here=False))
    assert elsewhere.audits is not None and elsewhere.audits.where == "a third peer"
    assert elsewhere.price is not None and elsewhere.price.least == 500, "a quarter more work"


def test_time_is_all_runs_over_the_places_and_this_nodes_audits_beside() -> None:
    """20 s of runs at 4 places, 50 ms and the longest round trip on top."""
    far = quoted(peer(1, 5, places=3), peer(2, 5, round_trip_ns=200_000_000), assurance="none")
    assert far.time.expected_s == pytest.approx(5.25) and (far.time.places, far.time.peers) == (4, 2)
    assert far.time.in_time and not quoted(peer(1, 5), deadline_s=20.0).time.in_time
    many = quoted(*(peer(n, 5) for n in range(1, 41)), workers=1)
    assert many.time.expected_s == pytest.approx(5.0), "one worker of ours needs 5 s for the audits"


def test_few_peers_are_those_with_the_most_places() -> None:
    found = quoted(peer(1, 5), peer(2, 5, places=4), peers=1, assurance="none")
    assert (found.time.places, found.time.peers) == (4, 1)


def test_whoever_is_left_out_has_a_reason_and_no_part_in_the_price() -> None:
    out = peer(1, 1, why="a stranger; allow " + node_id_of_hash(bytes([1]) * 32))
    other = peer(3, 1, why="a stranger; allow " + node_id_of_hash(bytes([3]) * 32))
    found = quoted(out, peer(2, 5), other)
    assert [row.why is None for row in found.peers] == [True, False, False]
    assert found.price is not None and found.price.least == 400 and found.refused == ""
    nobody = quoted(out, other)
    assert nobody.refused == "of 2 peers nobody can take it now (2: a stranger; allow it)"
    assert quoted(refused="the mesh is off").refused == "the mesh is off"


def test_the_peer_that_is_looked_at_least_decides_what_a_liar_gets_past() -> None:
    """200 runs found right: one of sixteen of the quarter, but 5 % at least."""
    fresh = quoted(peer(1, 5), peer(2, 5), runs=80)
    known = quoted(peer(1, 5), peer(2, 5, standing=Standing(200)), runs=80)
    assert sorted(row.audit_ppm for row in known.peers) == [50_000, 250_000]
    assert known.checks[0].high > fresh.checks[0].high
    assert fresh.checks[0].runs == 40, "of 80 at two peers"
