"""Peers as the submitter sees them: who rests and for how long, how much room each had, who gets the next lease."""

from __future__ import annotations

from typing import Any

import pytest
from tests.jobs.meshwork import START_S, job

from qcommons.base.seeds import stream
from qcommons.base.units import NS_PER_S
from qcommons.jobs.choosing import LEASES_PEER_MAX, REST_NS_MAX, ROOM_NS, Peers, Row
from qcommons.jobs.issuing import HeldJob, Parcel
from qcommons.jobs.place import Candidate, Chooser
from qcommons.jobs.plan.records import Price
from qcommons.jobs.quarantine import Quarantine
from qcommons.mesh.records import PeerId

ANN, BEN, EVE = (PeerId(name * 32) for name in (b"a", b"b", b"e"))
PRICE = Price(seconds=0.1, work_units=100, memory_bytes=1 << 20, engines=("numpy",))


def peers(*rows: Candidate) -> Peers:
    made = Peers(Quarantine(b"m" * 32), Chooser())
    made.told(rows or (candidate(ANN), candidate(BEN)), START_S, 0)
    return made


def candidate(peer: PeerId, **fields: Any) -> Candidate:
    usual: dict[str, Any] = {"relation": "stranger", "state": "alive", "offers": {"numpy": 12}}
    return Candidate(peer=peer, node_id=peer.decode()[:4], **(usual | fields))


def work(**fields: Any) -> tuple[HeldJob, Parcel]:
    return HeldJob(job(4, **fields), 10**15), Parcel(0, (0, 1), ("p",), PRICE)


def why(made: Peers, peer: PeerId, now_ns: int = 0, *, ahead: int = 1, **fields: Any) -> str | None:
    held, parcel = work(**fields)
    rows = made.rows_for(held, made.needs(held, parcel, now_ns), parcel.avoid, now_ns, ahead)
    return {one.peer: reason for one, reason in rows}[peer]


# who rests


def test_a_peer_that_rests_is_left_out_with_the_reason_and_asked_again_then() -> None:
    made = peers()
    assert made.rest(ANN, 5 * NS_PER_S, "it could not be asked", 0) == 5 * NS_PER_S
    assert why(made, ANN, 2 * NS_PER_S) == "it could not be asked; asked again in 3 s" and why(made, BEN) is None
    assert why(made, ANN, 5 * NS_PER_S) is None


def test_nobody_rests_longer_than_the_bound_whatever_it_asks_for() -> None:
    made = peers()
    assert made.rest(ANN, 10**18, "it declined", 7) == made.full(BEN, 10**18, "busy", 7) == 7 + REST_NS_MAX


def test_a_passing_rest_is_no_reason_that_nobody_could_ever_take_it_and_a_lasting_one_is() -> None:
    made = peers()
    made.rest(ANN, 60 * NS_PER_S, "its link broke", 0)
    made.rest(BEN, 60 * NS_PER_S, "its owner declined", 0, is_lasting=True)
    found = {one.peer: reason for one, reason in made.could(*work(), 1)}
    assert found[ANN] is None and found[BEN] is not None and "its owner declined" in found[BEN]


def test_a_purpose_that_was_refused_is_not_offered_for_an_hour() -> None:
    made = peers()
    made.refused(ANN, "spin-glass", 0)
    assert why(made, ANN, purpose="spin-glass") == "its owner refuses the purpose 'spin-glass'"
    assert why(made, ANN) is None, "other work is"
    assert why(made, ANN, 3_600 * NS_PER_S, purpose="spin-glass") is None


# room


def test_a_full_peer_is_asked_again_when_a_lease_of_ours_ends_there() -> None:
    made = peers(candidate(ANN, places=4))
    made.open[ANN] = 2
    until_ns = made.full(ANN, 30 * NS_PER_S, "it declined (busy): no room", 0)
    assert until_ns == 30 * NS_PER_S and "it had no room for more than 2" in str(why(made, ANN, 1))
    made.open[ANN] = 1
    made.freed(ANN)
    assert why(made, ANN, 1) is None


def test_the_room_that_a_peer_had_is_believed_for_a_minute() -> None:
    made = peers(candidate(ANN, places=4))
    made.open[ANN] = 2
    made.full(ANN, 1, "busy", 0)
    assert why(made, ANN, ROOM_NS - 1) == "it had no room for more than 2 of our leases a moment ago"
    assert why(made, ANN, ROOM_NS) is None


def test_a_peer_that_is_full_without_a_lease_of_ours_rests_as_it_asked() -> None:
    """Nothing of ours ends there, so nothing else tells when to ask again."""
    made = peers()
    made.full(ANN, 30 * NS_PER_S, "busy", 0)
    made.freed(ANN)
    assert why(made, ANN, NS_PER_S) == "busy; asked again in 29 s"


def test_leases_at_one_peer_are_bounded_whatever_places_it_tells() -> None:
    made = peers(candidate(ANN, places=1_000))
    made.open[ANN] = LEASES_PEER_MAX
    assert why(made, ANN, ahead=2) == f"{LEASES_PEER_MAX} leases of ours are out there, as many as may be"


# who is left out


def test_peers_of_the_job_are_counted_where_it_says_how_many() -> None:
    made = peers()
    held, parcel = work(peers=1)
    held.used[ANN] = 1
    rows: dict[PeerId, str | None] = {one.peer: reason for one, reason in made.could(held, parcel, 0)}
    assert rows[ANN] is None and rows[BEN] == "the job may run at 1 peers, and others have it; raise --peers"


def test_who_failed_this_work_or_was_outvoted_in_this_job_is_not_asked_again() -> None:
    made = peers()
    held, parcel = work()
    parcel.avoid[ANN] = "its answer was not used"
    held.outvoted[BEN] = "in this job other peers contradicted it"
    rows = {one.peer: reason for one, reason in made.rows_for(held, made.needs(held, parcel, 0), parcel.avoid, 0)}
    assert rows == {ANN: "it failed this work before: its answer was not used", BEN: held.outvoted[BEN]}
    assert made.choose(held, parcel, stream(1, "t"), 0) is None


def test_who_left_the_mesh_is_forgotten() -> None:
    made = peers()
    made.rest(ANN, REST_NS_MAX, "x", 0)
    made.refused(ANN, "p", 0)
    made.learnt(ANN, 2.0)
    made.told((candidate(BEN),), START_S + 1, NS_PER_S)
    assert made.is_away(ANN) and not made.own
    made.told((candidate(ANN), candidate(BEN)), START_S + 2, 2 * NS_PER_S)
    assert why(made, ANN, 2 * NS_PER_S) is None and why(made, ANN, 2 * NS_PER_S, purpose="p") is None


@pytest.mark.parametrize(("state", "is_away"), [("alive", False), ("known", False), ("lost", True), ("banned", True)])
def test_places_are_counted_where_somebody_is(state: str, is_away: bool) -> None:
    made = peers(candidate(ANN, places=3), candidate(BEN, places=2, state=state))
    assert made.is_away(BEN) is is_away and made.places == (3 if is_away else 5) and made.is_away(EVE)


def test_time_is_what_the_node_said_and_what_has_passed_since() -> None:
    made = peers()
    made.told((), START_S, 5 * NS_PER_S)
    assert made.wall_s(9 * NS_PER_S) == START_S + 4 and made.wall_ns(5 * NS_PER_S) == START_S * NS_PER_S


# who is chosen


def test_an_idle_place_comes_before_a_second_lease_at_a_place() -> None:
    made = peers()
    made.open[ANN] = 1
    for seed in range(5):
        found = made.choose(*work(), stream(seed, "t"), 0)
        assert found is not None and found[0].peer == BEN
    made.open[BEN] = 1
    assert made.choose(*work(), stream(1, "t"), 0) is not None, "one more waits there while a report travels"
    made.open[ANN] = made.open[BEN] = 2
    assert made.choose(*work(), stream(1, "t"), 0) is None


def test_what_is_needed_is_of_the_widest_program_and_the_named_engine() -> None:
    held, parcel = work()
    made = peers()
    assert made.needs(held, parcel, 0).qubits == 2 and made.needs(held, parcel, 0).engines == ("numpy",)
    parcel.price = Price(seconds=0.1, work_units=1, memory_bytes=1, engines=("numpy", "stim"), engine="stim")
    assert made.needs(held, parcel, 0).engines == ("stim",)
    rows: list[Row] = made.could(held, parcel, 0)
    assert all(reason is not None and "stim is needed" in reason for _, reason in rows)
