"""Spread among workers that are honest, slow, silent, gone, or lie: every run comes back once, right, with evidence."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import msgspec
import pytest
from tests.jobs.meshwork import NETWORK, START_S, Crash, Meshwork, job, lie

from qcommons.base.canonical import decode_record
from qcommons.base.effects import Send, Store
from qcommons.circuits.program import Op, Program
from qcommons.circuits.wire import encode as program_bytes
from qcommons.jobs.asks import Ask
from qcommons.jobs.choosing import LEASES_PEER_MAX
from qcommons.jobs.leases import KEY, LeaseRecord, read_kept
from qcommons.jobs.offer import PART_BYTES
from qcommons.jobs.outcomes import Done, Outcome, Unserved
from qcommons.jobs.place import EGRESS
from qcommons.jobs.records import Card, Job
from qcommons.jobs.spread import NOBODY_S, Spread
from qcommons.jobs.spread_board import OPEN_MAX
from qcommons.jobs.work import OFFER, PROTOCOLS, VERDICT, Declined, Ready, WantPart, said
from qcommons.jobs.work_events import HIRED, Came, Candidates, Heard, JobOver, Offline, ReportRead, Unwanted, Wanted
from qcommons.mesh.events import Answer, Asked, Failed
from qcommons.mesh.events import Ask as MeshAsk
from qcommons.mesh.peer_record import payload_of
from qcommons.pqc.identity import node_id_of_hash
from qcommons.verify.audit import choose
from qcommons.verify.records import BatchRoot
from qcommons.verify.verdict import check_verdict

ASSURANCES = ("none", "audit", "replicate")


def mesh(*how: dict[str, Any], **net: Any) -> Meshwork:
    made = Meshwork(**net)
    for number, one in enumerate(how, 1):
        made.add(number, **one)
    return made


def played(made: Meshwork, *jobs: Job) -> Meshwork:
    made.start(*jobs)
    made.run_all()
    return made


def records(made: Meshwork) -> list[LeaseRecord]:
    return [read_kept(raw) for name, raw in made.disk.items() if name.startswith(KEY)]


def kinds(made: Meshwork) -> list[Counter[str]]:
    """Of the verdicts that each worker was told."""
    return [Counter(verdict.kind for verdict in worker.verdicts) for worker in made.workers.values()]


# honest peers


@pytest.mark.parametrize("assurance", ASSURANCES)
def test_every_run_comes_back_once_and_right(assurance: str) -> None:
    made = played(mesh({}, {}, {}), one := job(60, assurance=assurance))
    assert made.right(one) and made.results[one.id].phase.state == "done"
    assert not made.noted("peer_struck") and not made.spread._board.leases and not made.spread._board.peers.open


def test_the_records_name_each_run_once_and_prove_it() -> None:
    made = played(mesh({}, {}), job(60, assurance="audit"))
    accepted = Counter(run for record in records(made) for run in record.accepted)
    assert accepted == Counter(range(60))
    for record in records(made):
        assert record.receipts and record.signed_root and record.public_key and record.agreed is not None
        top = decode_record(payload_of(record.signed_root), BatchRoot, bytes_max=256, items_max=8).root
        places = choose(record.audit_secret, top, range(len(record.runs)), record.rate_ppm)
        assert record.checked == tuple(record.runs[place] for place in places), "anyone can choose again"
        for file in record.verdicts:
            assert check_verdict(file, node_id_of_hash(made.me), NETWORK).lease == record.lease.hex()


def test_small_pieces_travel_together_and_large_ones_alone() -> None:
    """1,000 runs of 2 ms over one peer: leases of about a second; 20 runs of 2 s: one each."""
    small = played(mesh({}, run_s=0.002), one := job(1_000))
    assert max(row.runs for row in small.spread.view(one.id, 0)) > 300
    large = played(mesh({}, {}, run_s=2.0), two := job(20, shots=500_000_000))
    assert {row.runs for row in large.spread.view(two.id, 0)} == {1}


def test_a_worker_does_not_wait_for_its_next_lease() -> None:
    """One worker, 400 runs of 10 ms: 4 s of work are done in little more, though each report takes its way."""
    made = played(mesh({}, delay_s=0.02), job(400))
    assert 4.0 <= made.now_ns / 1e9 < 4.4


def test_work_beyond_a_part_is_fetched_by_the_worker() -> None:
    """A program of 800 kB: the offer holds the first 512 KiB."""
    ops = (Op("h", (0,)), Op("cx", (0, 1)), *[Op("rz", (0,), (0.1 * k,)) for k in range(80_000)])
    ends = (Op("measure", (0,), (), (0,)), Op("measure", (1,), (), (1,)))
    wire = program_bytes(Program(2, (("c", 2),), (*ops, *ends)))
    assert len(wire) > PART_BYTES
    card = Card(wire, hashlib.sha3_256(wire).hexdigest(), 2, (("c", 2),), (), 80_004)
    made = played(mesh({}), one := job(3, programs=(card,)))
    assert made.right(one) and {sent.egress for sent in made.sent if isinstance(sent.message, Answer)} == {"public"}


def test_a_part_is_given_to_the_holder_of_the_lease_alone() -> None:
    made = mesh({}, {}).start(job(10))
    made.go(0.002)
    lease = next(iter(made.spread._board.leases.values()))
    other = next(peer for peer in made.workers if peer != lease.peer)
    for peer, body, where in (
        (other, said(WantPart(lease.id, "work", 0)), "there is no such lease"),
        (lease.peer, said(WantPart(b"x" * 16, "work", 0)), "there is no such lease"),
        (lease.peer, said(WantPart(lease.id, "work", 1)), "the work has 1 parts"),
        (lease.peer, b"nonsense", ""),
    ):  # fmt: skip
        effects = made.spread.handle(Came("work.part/1", Asked(peer, 1, body, 10**9)), made.now_ns)
        answer = effects[-1].message.message  # type: ignore[union-attr]
        assert answer.failed is not None and where in answer.failed.what and not answer.body


def test_ten_thousand_honest_pieces_raise_no_alarm() -> None:
    """10,000 runs, a twentieth or more computed again: at most 1e-3 may be refused, and nobody is struck."""
    made = played(mesh({}, {}, {}, run_s=1e-4, priced_s=1e-3), one := job(10_000, assurance="audit"))
    assert made.right(one) and sum(len(piece.items) for piece in made.own_runs) > 300
    refused = sum(row.runs - row.accepted for row in made.spread.view(one.id, 0) if "another lease" not in row.why)
    assert refused <= 10 and not made.noted("peer_struck") and not made.noted("verdict_without_strike")
    assert all(found.keys() <= {"right"} for found in kinds(made))


# liars


def liar(outcome: Outcome, number: int) -> Outcome:
    return lie(outcome)


@pytest.mark.parametrize("assurance", ["audit", "replicate"])
def test_a_liar_is_proved_barred_and_none_of_its_answers_is_used(assurance: str) -> None:
    made = played(mesh({}, {"answer": liar}, {}), one := job(200, assurance=assurance))
    assert made.lies(one) == 0
    assert kinds(made)[1]["wrong"] and not kinds(made)[1]["right"]
    assert all(found.keys() == {"right"} for found in (kinds(made)[0], kinds(made)[2]))
    peers = list(made.workers)
    assert made.spread.quarantine.standing(peers[1]).lies and made.spread.quarantine.standing(peers[0]).right
    assert not any(record.accepted for record in records(made) if record.peer == peers[1])


def test_what_came_unchecked_before_a_lie_is_doubted_and_run_again() -> None:
    """It is right for 100 runs and lies from then on: what was not looked at goes to others."""
    late = {"answer": lambda outcome, number: lie(outcome) if number > 100 else outcome}
    made = played(mesh({}, late, {}), one := job(600, assurance="audit"))
    assert made.lies(one) == 0 and made.doubted
    assert all(count == 1 for count in made.handed.values())
    taken = [row for row in made.spread.view(one.id, made.now_ns) if "taken back" in row.why]
    assert taken and all("run again elsewhere" in row.why and row.accepted < row.runs for row in taken)


@pytest.mark.parametrize("assurance", ["audit", "replicate"])
def test_where_we_cannot_compute_other_peers_decide_and_nobody_is_struck(assurance: str) -> None:
    made = played(mesh({}, {"answer": liar}, {}, {}, here=False), one := job(60, assurance=assurance))
    assert made.lies(one) == 0 and not made.noted("peer_struck")
    assert not any(set(piece.id) for piece in made.own_runs)
    assert not any(kinds(made)[place]["wrong"] for place in (0, 2, 3))


def test_assurance_none_takes_what_reads() -> None:
    made = played(mesh({"answer": liar}), one := job(20))
    assert made.lies(one) == 20 and not made.workers[next(iter(made.workers))].verdicts


def test_a_replica_that_opens_something_else_is_malformed() -> None:
    made = played(mesh({"commits_to": lambda told: bytes(len(told))}, {}, {}), one := job(40, assurance="replicate"))
    assert made.right(one) and kinds(made)[0].keys() == {"malformed"}


def test_a_failure_at_one_peer_is_tried_at_another() -> None:
    broken = {"answer": lambda outcome, number: Unserved("broken")}
    for assurance in ASSURANCES:
        assert (made := played(mesh(broken, {}, {}), one := job(40, assurance=assurance))).right(one)
        assert not made.noted("peer_struck"), "a failure with its reason is no lie"


def test_a_failure_that_two_peers_state_stands() -> None:
    broken = {"answer": lambda outcome, number: Unserved("broken")}
    made = played(mesh(broken, broken), one := job(5))
    assert {type(outcome) for outcome in made.results[one.id].outcomes} == {Unserved}
    assert "the peer says: broken" in str(made.results[one.id].outcomes[0]) and made.now_ns < 5e9


# bad input


@pytest.mark.parametrize("spoil", [
    lambda report: report[:-1] + bytes([report[-1] ^ 1]), lambda report: report[:-1], lambda report: b"",
    lambda report: b"\x80", lambda report: bytes(3_000_000),
])  # fmt: skip
def test_a_report_that_cannot_be_read_costs_its_peer_and_not_the_job(spoil: Any) -> None:
    made = played(mesh({"spoil": spoil}, {}), one := job(40))
    assert made.right(one) and kinds(made)[0].keys() == {"malformed"} and made.noted("peer_struck")


@pytest.mark.parametrize(
    "body", [b"", b"\x00", b"\xff" * 100, said(Ready(1, bytes(32), b"xx")), said(Declined("busy", "x"))]
)
def test_nonsense_instead_of_an_answer_is_malformed(body: bytes) -> None:
    made = mesh({}, {})
    first = next(iter(made.workers.values()))
    honest = first._collect
    first._collect = lambda protocol, lease, answer, until: answer(body)  # type: ignore[method-assign]
    assert played(made, one := job(40)).right(one)
    assert kinds(made)[0].keys() == {"malformed"} and honest


def test_the_report_of_another_lease_is_refused() -> None:
    """The same runs, answered and signed before, under another lease: each receipt names the lease it is for."""
    made = mesh({}, {})
    first = next(iter(made.workers.values()))
    honest = first._work

    def replays(offer: Any, piece: Any) -> None:
        honest(msgspec.structs.replace(offer, lease=b"o" * 16), piece)
        first.reports[offer.lease] = first.reports[b"o" * 16]

    first._work = replays  # type: ignore[method-assign]
    assert played(made, one := job(40)).right(one)
    assert kinds(made)[0].keys() == {"malformed"}


def test_a_lease_on_other_terms_than_offered_is_malformed() -> None:
    made = mesh({}, {})
    other = made.me
    first = next(iter(made.workers.values()))
    first.peer, kept = other, first.peer  # it grants in another's name
    first.row["state"] = "alive"
    made.workers = {kept: first} | {peer: worker for peer, worker in made.workers.items() if peer != kept}
    candidate = first.candidate

    def as_itself() -> Any:
        return msgspec.structs.replace(candidate(), peer=kept, node_id=node_id_of_hash(kept))

    first.candidate = as_itself  # type: ignore[method-assign]
    assert played(made, one := job(20)).right(one)
    assert made.noted("peer_broke_the_protocol")[0].facts["where"] == "node"


def test_events_that_mean_nothing_are_noted() -> None:
    spread = mesh({}).spread
    for event in (
        Heard("spread/00/1"), Heard("spread/xx/1"), Heard(""), ReportRead(b"x", None), Unwanted("job_x.0"),
        Unwanted(""), "nonsense",
    ):  # fmt: skip
        effects = spread.handle(event, 0)  # type: ignore[arg-type]
        assert [type(effect).__name__ for effect in effects] == ["Note"], event
    assert spread.handle(JobOver("job_" + "z" * 16), 0) == []


# refusals, silence, distance


def test_who_declines_rests_and_nothing_is_kept_of_it() -> None:
    made = played(mesh({"declines": Declined("busy", "no room", None)}, {}), one := job(60))
    assert made.right(one) and {record.peer for record in records(made)} == {list(made.workers)[1]}


def test_a_purpose_that_was_refused_is_not_offered_again() -> None:
    made = played(mesh({"declines": Declined("purpose", "not for mining", None)}, {}), one := job(60, purpose="mining"))
    offers = [
        sent.message for sent in made.sent if isinstance(sent.message, MeshAsk) and sent.message.protocol == OFFER
    ]
    first = next(iter(made.workers))
    assert made.right(one) and sum(offer.to == first for offer in offers) <= 3
    rows = made.spread.considered(msgspec.structs.replace(one, id="job_" + "b" * 16), made.now_ns)
    assert [row.why for row in rows if row.peer == node_id_of_hash(first)] == ["its owner refuses the purpose 'mining'"]


def test_where_nobody_can_take_it_the_job_ends_with_the_reasons_counted() -> None:
    made = mesh({}, {}, {"state": "lost"})
    made.spread._board.price = lambda piece: msgspec.structs.replace(
        made._price(piece), engine="stim", method="tableau"
    )
    played(made, one := job(60))
    outcome = made.results[one.id].outcomes[0]
    assert isinstance(outcome, Unserved) and made.now_ns == pytest.approx(NOBODY_S * 1e9, rel=0.01)
    assert "3 peers considered: 2 x it offers numpy; stim is needed; unreachable" in outcome.what


def test_a_mesh_that_is_off_ends_the_job_at_once_and_says_so() -> None:
    made = mesh({}).start(one := job(60))
    made.go(0.005)
    made.give(Offline("the owner stopped it"))
    assert {type(outcome) for outcome in made.results[one.id].outcomes} == {Unserved}
    assert "the mesh is off: the owner stopped it" in str(made.results[one.id].outcomes[0])


def test_a_silent_peer_is_hedged_and_judged_by_the_clock() -> None:
    made = played(mesh({"mute_after": 0}, {}), one := job(100))
    assert made.right(one) and made.noted("lease_hedged") and made.now_ns < 10e9


def test_silence_until_the_deadline_of_the_lease_is_a_verdict() -> None:
    """The only peer falls silent for two minutes, then another comes."""
    made = mesh({"mute_after": 0}).start(one := job(10))
    made.go(80)
    assert made.noted("peer_struck")[0].facts["kind"] == "silent" and kinds(made)[0]["silent"]
    made.add(2)
    made.tell()
    made.run_all()
    assert made.right(one)


def test_a_peer_that_goes_away_is_hedged_at_once() -> None:
    made = mesh({}, {}, run_s=1.0).start(one := job(2, shots=500_000_000))
    made.go(0.1)
    gone = next(iter(made.workers.values()))
    gone.is_up, gone.row["state"] = False, "lost"
    made.tell()
    made.run_all()
    assert made.right(one) and made.now_ns < 5e9


def test_links_that_lose_and_repeat_do_not_lose_or_repeat_runs() -> None:
    for seed in range(8):
        made = played(mesh({}, {}, {}, loss=0.1, twice=0.2, seed=seed), one := job(100, assurance=ASSURANCES[seed % 3]))
        assert made.lies(one) == 0, seed
        assert not any(found["wrong"] or found["malformed"] for found in kinds(made))


def test_the_first_answer_counts_and_the_other_is_dropped() -> None:
    made = played(mesh({"speed": 0.01}, {}, run_s=1.0), one := job(4, shots=500_000_000))
    assert made.right(one)
    slow = next(iter(made.workers.values()))
    assert slow.dropped and made.now_ns < 15e9
    assert all(not record.accepted for record in records(made) if record.peer == slow.peer)


def test_short_work_that_another_answered_first_is_left_to_end() -> None:
    """Stopping it would end a worker process for a few milliseconds of work."""
    made = played(mesh({"speed": 0.01}, {}), one := job(40))
    slow = next(iter(made.workers.values()))
    assert made.right(one) and slow.offers
    assert not slow.dropped and made.now_ns < 5e9


# limits


def ask(worker: Any, price: int) -> Ask:
    return Ask(
        node=worker.peer, resource="work", price_per_giga=price, capacity_per_s=10**9, places=1, not_before_s=1,
        until_s=START_S + 600_000, transferable=False, seq=START_S * 1000,
    )  # fmt: skip


def test_a_budget_is_of_the_whole_job() -> None:
    """10 units of work a run at 10^8 base units each: 40 base units pay for 40 runs and no more."""
    made = mesh({}, {})
    for worker in made.workers.values():
        worker.row["ask"] = ask(worker, 100_000_000)
    played(made, one := job(60, budget=40))
    ended = made.results[one.id]
    done = sum(isinstance(outcome, Done) for outcome in ended.outcomes)
    assert 30 <= done <= 40
    left = next(outcome for outcome in ended.outcomes if not isinstance(outcome, Done))
    assert "are left of the budget" in str(left)


def test_receipts_that_name_more_work_than_it_takes_are_noted_with_the_lease() -> None:
    """10 units a run by the cost model; four times that may be the state's doing, five times is overstated."""
    made = played(mesh({"units": 50}, {"units": 40}), one := job(40, assurance="audit"))
    rows = {row.lease: row for row in made.spread.view(one.id, made.now_ns)}
    greedy, careful = (node_id_of_hash(peer) for peer in made.workers)
    assert made.right(one) and {row.peer for row in rows.values()} == {greedy, careful}
    for row in rows.values():
        assert row.work_units == 10 * row.runs
        assert row.overstated == (50 * row.runs if row.peer == greedy else 0)
    noted = made.noted("work_overstated")
    assert {note.facts["peer"] for note in noted} == {greedy} and len(noted) == sum(
        row.peer == greedy for row in rows.values()
    )
    assert all(verdict.kind == "right" for worker in made.workers.values() for verdict in worker.verdicts)


def test_a_job_runs_at_no_more_peers_than_it_says() -> None:
    made = played(mesh({}, {}, {}, {}), one := job(200, peers=2))
    assert made.right(one) and len({record.peer for record in records(made)}) == 2


def test_every_message_carries_the_egress_of_its_job() -> None:
    made = played(
        mesh({"relation": "allowed"}, {"relation": "own"}, {}), one := job(60, egress="peers", assurance="audit")
    )
    assert made.right(one) and {sent.egress for sent in made.sent} <= {"peers", HIRED}
    reached = {sent.message.to for sent in made.sent if isinstance(sent.message, MeshAsk)}
    assert reached == set(list(made.workers)[:2]) and "stranger" not in EGRESS["peers"]
    assert {sent.message.protocol for sent in made.sent if isinstance(sent.message, MeshAsk)} <= set(PROTOCOLS)


def test_a_job_that_stays_home_is_offered_to_nobody() -> None:
    made = played(mesh({}, {"relation": "own"}), job(10, egress="home"))
    assert not made.sent


def test_leases_are_bounded_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qcommons.jobs.spread_placing.OPEN_MAX", 7)
    made = mesh({"places": 40}, {"places": 40}, run_s=5.0).start(job(50, shots=500_000_000))
    made.go(0.5)
    assert len(made.spread._board.leases) == 7
    assert LEASES_PEER_MAX < OPEN_MAX


# on disk


def test_a_lease_is_on_disk_before_its_offer_goes_out() -> None:
    made = mesh({}, {})
    spread = made.spread
    spread.handle(Candidates(tuple(worker.candidate() for worker in made.workers.values()), START_S), 0)
    made.start(job(40))
    kept: set[str] = set()
    for effect in spread._placing.place(0):
        if isinstance(effect, Store):
            kept.add(effect.key.rpartition("/")[2])
        if isinstance(effect, Send) and effect.message.message.protocol == OFFER:
            assert effect.message.message.ticket.split("/")[1] in kept
    assert kept


@pytest.mark.parametrize("assurance", ASSURANCES)
def test_a_crash_at_any_store_loses_and_repeats_nothing(assurance: str) -> None:
    """A liar among the peers; the submitter dies at its n-th write, for every n, and starts from its disk."""
    crashes = 0
    while True:
        made = mesh({}, {"answer": liar} if assurance != "none" else {}, {})
        made.crash_at = crashes + 1
        try:
            made.start(one := job(24, assurance=assurance))
        except Crash:
            made.restart()
        made.run_all()
        if made.crash_at != -1:
            break
        crashes += 1
        assert made.lies(one) == 0, crashes
        if assurance == "none":
            assert sum(worker.answered for worker in made.workers.values()) == 24, "no run is done twice"
    assert crashes > 5


def test_after_a_restart_open_leases_are_collected_not_run_again() -> None:
    made = mesh({}, {}, run_s=0.05).start(one := job(40))
    made.go(0.3)
    made.restart()
    made.run_all()
    assert made.right(one) and sum(worker.answered for worker in made.workers.values()) == 40


def test_at_the_end_only_evidence_stays() -> None:
    made = played(mesh({"speed": 0.01}, {}), one := job(40))
    assert all(record.accepted or record.verdicts for record in records(made))
    assert made.spread.view(one.id, 0), "the leases of an ended job are still shown"


def test_a_job_that_is_cancelled_drops_what_peers_do() -> None:
    made = mesh({}, {}, run_s=1.0).start(one := job(10, deadline_s=2.0))
    made.run_all()
    assert made.results[one.id].phase.state == "failed" and not made.spread._board.leases
    made.go(5)
    assert all(worker.dropped for worker in made.workers.values())


def test_what_the_chooser_learnt_is_kept() -> None:
    made = played(mesh({}, {}), job(60, assurance="audit"))
    made.go(70)
    again = Spread(made.me, b"n" * 32, made.disk, price=made._price, sign=lambda verdict: b"")
    assert again.chooser.kept() == made.spread.chooser.kept()


def test_the_order_of_hashes_changes_nothing() -> None:
    """Same seeds, same conversation: sets are never walked in their own order."""
    one, two = (played(mesh({}, {"answer": liar}, {}), job(80, assurance="audit")) for _ in range(2))
    assert one.now_ns == two.now_ns and one.disk.keys() == two.disk.keys()
    heads = [[(sent.message.ticket, sent.message.to) for sent in made.sent] for made in (one, two)]  # type: ignore[union-attr]
    assert heads[0] == heads[1]


def test_verdicts_go_to_the_peer_they_are_about() -> None:
    made = played(mesh({}, {"answer": liar}), job(40, assurance="audit"))
    told = [
        sent.message for sent in made.sent if isinstance(sent.message, MeshAsk) and sent.message.protocol == VERDICT
    ]
    assert told and all(check_verdict(one.body, node_id_of_hash(made.me), NETWORK).peer == one.to for one in told)


def test_a_peer_that_cannot_be_asked_is_left_in_peace_for_a_while() -> None:
    made = mesh({}, {}).start(one := job(60))
    made.go(0.0015)
    lease = next(iter(made.spread._board.leases.values()))
    ticket = next(iter(lease.tickets))
    made.give(Heard(ticket, failed=Failed("unavailable", "no link")))
    rows = {row.peer: row.why for row in made.spread.considered(one, made.now_ns)}
    assert rows[node_id_of_hash(lease.peer)] == "it could not be asked (no link); asked again in 5 s"
    made.run_all()
    assert made.right(one)


def test_wanted_for_a_job_that_waits_beyond_the_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qcommons.jobs.spread.WAITING_MAX", 50)
    made = mesh().start(one := job(100, shots=1_000_000))
    assert made.noted("spread_full") and Wanted and any("wait for peers already" in str(o) for o in
                                                       made.machines[one.id].outcomes)  # fmt: skip
