"""Work between nodes as the core routes it: jobs on the mesh, hired jobs, and what may leave for whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest
from tests.jobs.making import card, done
from tests.jobs.making import job as make_job
from tests.node.small_world import Crash, Disk, S, SmallWorld

from qcommons.base.canonical import encode_record
from qcommons.base.effects import Effect, Run, Send, Store, Woken
from qcommons.base.ids import job_id
from qcommons.jobs.asks import Lease
from qcommons.jobs.hire_rows import HiredRow
from qcommons.jobs.machine import ItemsEnded, PieceEnded
from qcommons.jobs.offer import Offer
from qcommons.jobs.outcomes import Unserved
from qcommons.jobs.place import Candidate, Relation
from qcommons.jobs.plan.records import CountsSum, Price
from qcommons.jobs.records import Item, Job, Piece
from qcommons.jobs.work import COLLECT, DROP, OFFER, PART, PROTOCOLS, WantPart, job_of, said
from qcommons.jobs.work_events import (
    HIRED,
    JOBS,
    MESH,
    Came,
    Candidates,
    Dismiss,
    Doubted,
    Engage,
    Engaged,
    Heard,
    HiredEnded,
    JobOver,
    Offline,
    ReportRead,
    ToMesh,
    Unwanted,
    Wanted,
    WorkRead,
)
from qcommons.mesh.events import Answer, Ask, Asked, Failed
from qcommons.mesh.records import PeerId
from qcommons.node.dealing import ABROAD_MAX, FAULT_NS, FAULTS_MAX, Dealing
from qcommons.node.keys import derived_key, past, result_key
from qcommons.node.messages import CancelJob, Drain, Drained, PauseAsked, PolicySet, Refusal, Submit, Taken, WorkSeen
from qcommons.node.owner import OwnerLimits, Pause, Policy
from qcommons.node.records import Answered, Chosen, Entry, Form, Spec
from qcommons.pqc.identity import node_id_of_hash

OWN, ALLOWED, STRANGER, UNHEARD = (PeerId(bytes([n]) * 32) for n in range(1, 5))
LEASE = b"lease-of-16bytes"
HIRED_JOB = job_of(LEASE, STRANGER, bytes(32))


class Double:
    """Spread or Hire: remembers what it is told, says what the test wants."""

    def __init__(self, answer: Callable[[Any], list[Effect]] = lambda event: []) -> None:
        self.heard: list[Any] = []
        self.answer = answer

    def begin(self, now_ns: int) -> list[Effect]:
        return []

    def handle(self, event: Any, now_ns: int) -> list[Effect]:
        self.heard.append(event)
        return self.answer(event)

    def view(self, *_: Any) -> tuple[Any, ...]:
        return ()

    def considered(self, *_: Any) -> tuple[Any, ...]:
        return ()

    def told(self, kind: type) -> list[Any]:
        return [event for event in self.heard if isinstance(event, kind)]


def candidate(peer: PeerId, relation: Relation) -> Candidate:
    return Candidate(
        peer=peer, node_id=node_id_of_hash(peer), relation=relation, state="alive", offers={"qulacs": 20}
    )  # fmt: skip


PEERS = Candidates((candidate(OWN, "own"), candidate(ALLOWED, "allowed"), candidate(STRANGER, "stranger")), 0)


def world(disk: Disk | None = None, spread: Double | None = None, hire: Double | None = None, **fields: Any) -> Any:
    spread, hire = spread or Double(), hire or Double()
    made = SmallWorld(disk or Disk(), dealing=Dealing(lambda kept, price: (spread, hire)), **fields)
    made.spread, made.hire = spread, hire  # type: ignore[attr-defined]
    made.give(PEERS)
    return made


def mesh_job(number: int = 0, runs: int = 3, **fields: Any) -> Job:
    made = make_job(runs, deadline_s=fields.pop("deadline_s", 1000.0))
    terms = {"on": "mesh", "egress": "public", "assurance": "none", **fields}
    return msgspec.structs.replace(made, id=job_id(b"%016d" % number), **terms)


def submit(number: int = 0, runs: int = 3, plan: Chosen | None = None, **fields: Any) -> Submit:
    chosen = plan or Chosen("whole", "it is small")
    return Submit(ticket=f"t{number}", job=mesh_job(number, runs, **fields), form=Form(), plan=chosen)


def entry(disk: Disk, number: int) -> Entry:
    return msgspec.msgpack.decode(disk.table[f"job/{number:012d}"], type=Entry)


# what may leave

# egress of the job -> whose nodes it may reach: docs/decisions/0013-jobs-over-the-mesh.md
MAY = {"home": set(), "peers": {OWN, ALLOWED}, "public": {OWN, ALLOWED, STRANGER, UNHEARD}, "nowhere": set()}


@pytest.mark.parametrize("egress", sorted(MAY))
@pytest.mark.parametrize("peer", [OWN, ALLOWED, STRANGER, UNHEARD])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_message_of_any_protocol_leaves_beyond_its_jobs_egress(protocol: str, peer: PeerId, egress: str) -> None:
    asked = ToMesh(Ask("spread/1", peer, protocol, b"body", S), egress)
    answer = ToMesh(Answer(peer, 7, b"body"), egress)
    made = world()
    made.spread.answer = lambda event: [Send(MESH, asked), Send(MESH, answer)] if event == Heard("spread/go") else []
    made.give(Heard("spread/go"))
    if peer in MAY[egress]:
        assert made.left == [asked, answer]
        return
    assert made.left == []
    refused = [one for one in made.notes if one.name == "egress_refused"]
    assert [one.facts["message"] for one in refused] == ["Ask", "Answer"]
    assert {one.facts["peer"] for one in refused} == {peer.hex()}
    (heard,) = [one for one in made.spread.told(Heard) if one.ticket == "spread/1"]
    assert heard.failed.where == "egress", "who asked is not left waiting"


@pytest.mark.parametrize("peer", [OWN, ALLOWED, STRANGER, UNHEARD])
@pytest.mark.parametrize("holder", [OWN, STRANGER, None])
def test_what_a_worker_tells_goes_to_the_holder_of_the_lease_and_to_no_other(
    peer: PeerId, holder: PeerId | None
) -> None:
    made = world()
    leaving = [
        ToMesh(Answer(peer, 7, b"report"), HIRED, holder),
        ToMesh(Ask("hire/1", peer, PART, b"", S), HIRED, holder),
    ]
    made.hire.answer = lambda event: [Send(MESH, one) for one in leaving] if isinstance(event, Came) else []
    made.give(Came(COLLECT, Asked(peer, 7, b"", S)))
    assert made.left == (leaving if peer == holder else [])


def test_other_protocols_are_not_spoken_for_jobs() -> None:
    made = world()
    made.spread.answer = lambda event: (
        [Send(MESH, ToMesh(Ask("spread/1", OWN, "papers/1", b"", S), "public"))] if isinstance(event, Offline) else []
    )
    made.give(Offline("off"))
    assert made.left == [] and "papers/1" in str(made.notes[-1].facts["why"])


def test_an_owner_who_takes_an_allowance_back_is_obeyed_at_once() -> None:
    made = world()
    made.give(Candidates((candidate(ALLOWED, "stranger"),), 1))
    made.spread.answer = lambda event: (
        [Send(MESH, ToMesh(Ask("spread/1", ALLOWED, OFFER, b"", S), "peers"))] if event == Heard("spread/go") else []
    )
    made.give(Heard("spread/go"))
    assert made.left == []


@pytest.mark.parametrize(("of", "whose"), [("work", "spread"), ("report", "hire"), (None, "hire")])
def test_parts_of_work_are_asked_of_the_submitter_and_parts_of_reports_of_the_worker(of: Any, whose: str) -> None:
    made = world()
    body = b"\xff" if of is None else said(WantPart(LEASE, of, 0))
    came = Came(PART, Asked(OWN, 1, body, S))
    made.give(came)
    assert (made.spread.told(Came), made.hire.told(Came)) == (([came], []) if whose == "spread" else ([], [came]))


def test_a_fault_of_ours_that_a_peer_meets_costs_its_message_and_not_the_node() -> None:
    made = world()

    def broken(event: Any) -> list[Effect]:
        raise KeyError("a mistake of ours")

    made.hire.answer = made.spread.answer = broken
    for number in range(FAULTS_MAX):
        made.give(Came(COLLECT, Asked(STRANGER, number, b"", S)) if number else Heard("spread/told/1"))
    assert [one.message.failed.who for one in made.left] == ["corrupt"] * (FAULTS_MAX - 1)
    assert [one.name for one in made.notes].count("work_fault_contained") == FAULTS_MAX
    with pytest.raises(KeyError):
        made.give(Came(COLLECT, Asked(STRANGER, 99, b"", S)))


def test_contained_faults_wear_off_one_by_one() -> None:
    dealing = Dealing(lambda kept, price: (Double(), Double()))
    event = Came(COLLECT, Asked(STRANGER, 1, b"", S))
    start_ns = 10 * FAULT_NS
    for hour in range(3 * FAULTS_MAX):
        dealing._contained(event, KeyError("a mistake of ours"), start_ns + hour * FAULT_NS)
    for _ in range(FAULTS_MAX - 1):
        dealing._contained(event, KeyError("a mistake of ours"), start_ns + 3 * FAULTS_MAX * FAULT_NS)
    with pytest.raises(KeyError):
        for _ in range(2):
            dealing._contained(event, KeyError("a mistake of ours"), start_ns + 3 * FAULTS_MAX * FAULT_NS)


def test_a_fault_ends_the_lease_whose_answer_it_met() -> None:
    made = world()
    closed = []

    def broken(event: Any) -> list[Effect]:
        if isinstance(event, ReportRead):
            closed.append((event.lease, event.fault))
            return []
        raise KeyError("a mistake of ours")

    made.spread.answer = broken
    made.give(Heard(f"spread/{LEASE.hex()}/3"))
    assert closed == [(LEASE, ("KeyError: 'a mistake of ours'", "fault"))]


def test_a_fault_that_no_peer_is_behind_stops_the_node() -> None:
    made = world()

    def broken(event: Any) -> list[Effect]:
        raise KeyError("a mistake of ours")

    made.spread.answer = broken
    with pytest.raises(KeyError):
        made.give(Woken(("spread", "ask", "x")))


# jobs on the mesh


def answering(runs: Mapping[int, Any] | None = None) -> Callable[[Any], list[Effect]]:
    """A Spread that answers each piece at once."""

    def answer(event: Any) -> list[Effect]:
        if not isinstance(event, Wanted):
            return []
        ends = tuple((item.index, (runs or {}).get(item.index, done({"00": 1000}))) for item in event.piece.items)
        return [Send(JOBS, ItemsEnded(event.piece.id, ends)), Send(JOBS, PieceEnded(event.piece.id))]

    return answer


def test_the_runs_of_a_mesh_job_are_asked_of_spread_and_no_worker_gets_any() -> None:
    made = world(spread=Double(answering()))
    made.give(submit())
    assert isinstance(made.answers("t0")[0], Taken) and made.ran == []
    assert entry(made.disk, 0).state == "done" and entry(made.disk, 0).on == "mesh"
    assert made.spread.told(JobOver) == [JobOver(mesh_job().id)]
    made.run()
    assert made.disk.table["receipt/000000000000"] == b"signed"


def test_mesh_jobs_take_no_place_and_go_on_while_the_owner_pauses() -> None:
    made = world(workers=1)
    made.give(PauseAsked("", Pause(0, None, False, "home")))
    for number in range(20):
        made.give(submit(number))
    assert len(made.spread.told(Wanted)) >= 20 and not made.core.desk.running
    assert {entry(made.disk, number).state for number in range(20)} == {"running"}


def test_only_so_many_are_open_at_once_and_only_the_owners() -> None:
    made = world()
    for number in range(ABROAD_MAX):
        made.give(submit(number, runs=1))
    made.give(submit(ABROAD_MAX, runs=1))
    (refusal,) = made.answers(f"t{ABROAD_MAX}")
    assert isinstance(refusal, Refusal) and str(ABROAD_MAX) in refusal.what
    made.give(submit(ABROAD_MAX + 1, runs=1, principal="guest"))
    assert isinstance(made.answers(f"t{ABROAD_MAX + 1}")[0], Refusal)


@pytest.mark.parametrize(
    ("told", "egress", "says"),
    [
        (Candidates((candidate(STRANGER, "stranger"),), 0), "peers", "--egress public"),
        (Candidates((), 0), "public", "join"),
        (Offline("the mesh is off; turn it on"), "public", "turn it on"),
    ],
)
def test_a_job_that_nobody_may_get_is_refused_with_what_would_help(told: Any, egress: str, says: str) -> None:
    made = world()
    made.give(told)
    made.give(submit(egress=egress))
    (refusal,) = made.answers("t0")
    assert isinstance(refusal, Refusal) and says in refusal.what and made.spread.told(Wanted) == []
    assert not made.disk.scan("job/", past("job/"))


def test_limits_of_this_machine_hold_what_runs_here_and_not_what_peers_run() -> None:
    made = world(limits=OwnerLimits(shots_max=10))
    made.give(submit())
    assert isinstance(made.answers("t0")[0], Taken)
    made.give(PolicySet("", Policy(deny=("principal:home",))))
    made.give(submit(1))
    assert isinstance(made.answers("t1")[0], Refusal), "the owner's rules hold for both"


def test_without_a_mesh_there_are_no_mesh_jobs() -> None:
    made = SmallWorld(Disk())
    made.give(submit())
    assert isinstance(made.answers("t0")[0], Refusal)


def test_a_cancelled_job_and_one_past_its_deadline_are_wanted_no_more() -> None:
    made = world()
    made.give(submit(0, deadline_s=50.0))
    made.give(submit(1))
    made.give(CancelJob("c", mesh_job(1).id, "no longer needed"))
    assert entry(made.disk, 1).state == "cancelled"
    made.run(until_ns=60 * S)
    assert entry(made.disk, 0).state == "failed"
    over = {event.job_id for event in made.spread.told(JobOver)}
    assert over == {mesh_job(0).id, mesh_job(1).id}


def test_a_piece_that_nobody_waits_for_is_said_to_spread() -> None:
    made = world()
    made.give(submit(0, runs=2))
    (wanted,) = made.spread.told(Wanted)
    made.spread.answer = lambda event: []
    made.give(CancelJob("c", mesh_job(0).id, "no"))
    assert made.spread.told(JobOver) and made.spread.told(Unwanted) in ([], [Unwanted(wanted.piece.id)])


def test_the_node_stops_without_waiting_for_the_mesh_and_goes_on_after() -> None:
    disk = Disk()
    made = world(disk)
    made.give(submit())
    made.give(Drain(100 * S))
    assert any(isinstance(send.message, Drained) for _, send in made.sent)
    again = world(disk, spread=Double(answering()), now_ns=10 * S)
    assert entry(disk, 0).state == "done" and again.spread.told(Wanted)


def test_after_a_crash_only_what_is_not_on_disk_is_wanted_again() -> None:
    disk = Disk()
    made = world(disk)
    made.give(submit(runs=3))
    (wanted,) = made.spread.told(Wanted)
    made.spread.answer = lambda event: [Send(JOBS, ItemsEnded(wanted.piece.id, ((1, done({"11": 1000})),)))]
    made.give(Heard("spread/1"))
    assert made.core.desk.abroad[mesh_job().id].entry.answered == 1
    again = world(disk, now_ns=S)
    assert [item.index for event in again.spread.told(Wanted) for item in event.piece.items] == [0, 2]
    assert "1 of 3 runs kept" in str(disk.scan("phase/", past("phase/")))


def test_a_doubted_answer_is_taken_back_on_disk_and_run_again() -> None:
    disk = Disk()
    made = world(disk)
    made.give(submit(runs=3))
    (wanted,) = made.spread.told(Wanted)
    told = {
        "spread/1": Send(JOBS, ItemsEnded(wanted.piece.id, ((0, done({"11": 1000})), (1, done({"11": 1000}))))),
        "spread/2": Send(JOBS, Doubted(wanted.job.id, (0,), "its peer lied")),
    }
    made.spread.answer = lambda event: [told[event.ticket]] if getattr(event, "ticket", "") in told else []
    made.give(Heard("spread/1"))
    made.give(Heard("spread/2"))
    assert made.core.desk.abroad[mesh_job().id].entry.answered == 1
    assert 0 in [item.index for event in made.spread.told(Wanted)[1:] for item in event.piece.items]
    again = world(disk, now_ns=S)
    assert [item.index for event in again.spread.told(Wanted) for item in event.piece.items] == [0, 2], (
        "not after a crash"
    )


def test_own_audits_are_run_by_the_workers_and_told_to_spread() -> None:
    made = world()
    piece = Piece(
        id="audit.1", programs=(b"wire",), wants=make_job().wants, items=(Item(0, 0, {}, 1),), limits=make_job().limits
    )  # fmt: skip
    made.spread.answer = lambda event: [Run("audit.1", piece)] if event == Heard("spread/go") else []
    made.give(Heard("spread/go"))
    made.run()
    assert [name for _, name in made.ran] == ["audit.1"]
    assert [type(event) for event in made.spread.heard if getattr(event, "piece_id", "") == "audit.1"] == [
        ItemsEnded, PieceEnded,
    ]  # fmt: skip


def test_timers_go_to_whose_they_are() -> None:
    made = world()
    made.give(Woken(("spread", "ask", "x")))
    made.give(Woken(("hire", "forget")))
    assert made.spread.told(Woken) == [Woken(("spread", "ask", "x"))]
    assert made.hire.told(Woken) == [Woken(("hire", "forget"))]


# plans of other runs


def halved() -> Submit:
    """One run of 1,000 shots, planned as two of 500 each."""
    asked = mesh_job(0, 1)
    derived = msgspec.structs.replace(mesh_job(0, 2), id=asked.id)
    return submit(0, 1, Chosen("batch", "two halves", (), derived, (CountsSum((0, 1)),)))


def test_the_answers_asked_are_put_together_and_both_are_kept() -> None:
    halves = {0: done({"00": 300, "11": 200}), 1: done({"00": 100, "11": 400})}
    made = world(spread=Double(answering(halves)))
    made.give(halved())
    assert entry(made.disk, 0).state == "assembling" and entry(made.disk, 0).parts_answered == 2
    made.run()
    assert entry(made.disk, 0).state == "done" and entry(made.disk, 0).runs == 1
    answered = msgspec.msgpack.decode(made.disk.table[result_key(0)], type=Answered)
    assert answered.outcomes[0].execution.answer.counts == {"00": 400, "11": 600}  # type: ignore[union-attr]
    kept = msgspec.msgpack.decode(made.disk.table[derived_key(0)], type=tuple[Any, ...])
    assert len(kept) == 2, "an archive needs the runs of the plan too"
    states = [phase for _, phase in made.disk.scan("phase/", past("phase/"))]
    assert len(states) == 5, "accepted, planned, running, assembling, done: each once"


def test_a_job_whose_parts_fail_ends_with_their_cause() -> None:
    made = world(spread=Double(answering({1: Unserved("nobody took it")})))
    made.give(halved())
    made.run()
    answered = msgspec.msgpack.decode(made.disk.table[result_key(0)], type=Answered)
    assert "shares gave Unserved" in str(answered.outcomes[0]) and entry(made.disk, 0).state == "done"


def test_a_crash_anywhere_in_a_planned_job_loses_nothing() -> None:
    halves = {0: done({"00": 500}), 1: done({"11": 500})}
    steps = 0
    while True:
        disk = Disk()
        try:
            made = world(disk, spread=Double(answering(halves)), crash_at=steps)
            made.give(halved())
            made.run()
        except Crash:
            acknowledged = bool(disk.scan("job/", past("job/")))
            world(disk, spread=Double(answering(halves)), now_ns=S).run()
            if acknowledged:
                assert entry(disk, 0).state == "done", f"after a crash at step {steps}"
                assert disk.writes[result_key(0)] == 1
            steps += 1
            continue
        break
    assert steps > 5


# hired jobs


def engage(lease: bytes = LEASE, peer: PeerId = STRANGER, runs: int = 2, purpose: str = "") -> Engage:
    items = tuple(Item(place, 0, {}, 100 + place) for place in range(runs))
    job = make_job()
    piece = Piece(
        id=f"{job_of(lease, peer, bytes(32))}.0", programs=(b"wire",), wants=job.wants, items=items, limits=job.limits
    )
    offer = Offer(
        lease=lease, job="job_of_theirs", piece="piece_of_theirs", task=bytes(32), work_bytes=4, first=b"wire",
        within_ns=S, memory_bytes=1 << 20, commits=False, price_max=0, ask=None, audit=None, purpose=purpose,
    )  # fmt: skip
    return Engage(peer, offer, piece, 100.0)


@pytest.fixture(autouse=True)
def _cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs of these tests are no programs: their cards are given."""
    monkeypatch.setattr("qcommons.node.dealing.card_of_wire", lambda wire: card())


def row(lease: bytes) -> bytes:
    """Of a lease that `engage` leads to."""
    agreed = Lease(
        id=lease, node=OWN, holder=STRANGER, resource="work", units_max=1, price_per_giga=0, during="span",
        from_s=1, until_s=2, transferable=False, ask=None,
    )  # fmt: skip
    return encode_record(
        HiredRow(
            lease=agreed, terms=bytes(32), task=bytes(32), job="theirs", piece="theirs", purpose="", commits=False,
            stranger=True, runs=2, granted_ns=0, until_ns=S,
        )
    )  # fmt: skip


def hiring(*orders: Any) -> Double:
    """A Hire that engages once a peer came, and keeps a row when it is engaged, as the real one does."""

    def answer(event: Any) -> list[Effect]:
        if isinstance(event, Came):
            return [Send(JOBS, order) for order in orders]
        if isinstance(event, Engaged) and event.refused is None:
            return [Store(f"hired/{event.lease.hex()}", row(event.lease))]
        return []

    return Double(answer)


CAME = Came(OFFER, Asked(STRANGER, 1, b"", S))


def test_a_hired_piece_is_a_job_of_this_node_and_its_end_is_told_once_its_receipts_are_on_disk() -> None:
    made = world(hire=hiring(engage()))
    made.give(CAME)
    assert made.hire.told(Engaged) == [Engaged(LEASE)]
    found = entry(made.disk, 0)
    assert (found.id, found.principal) == (HIRED_JOB, node_id_of_hash(STRANGER))
    assert (found.request, found.lease) == (HIRED_JOB, LEASE.hex())
    sealed: list[bool] = []
    made.hire.answer = lambda event: sealed.append("receipt/000000000000" in made.disk.table) or []
    made.run()
    assert made.hire.told(HiredEnded) == [HiredEnded(LEASE, "done")] and sealed == [True]


def test_hired_jobs_are_sealed_each_by_itself_and_before_the_half_second_of_the_others() -> None:
    made = world(hire=hiring(engage(), engage(b"another-16-bytes")))
    made.give(CAME)
    home = msgspec.structs.replace(make_job(1, deadline_s=900.0), id=job_id(b"%016d" % 9))
    made.give(Submit(ticket="t", job=home, form=Form()))
    made.run()
    assert len(made.hire.told(HiredEnded)) == 2
    assert {f"receipt/{number:012d}" for number in range(3)} <= set(made.disk.table)


def test_the_owners_rules_hold_for_hired_work_and_are_told_as_such() -> None:
    made = world(hire=hiring(engage(purpose="folding")))
    made.give(PolicySet("", Policy(deny=(f"principal:{node_id_of_hash(STRANGER)}",))))
    made.give(CAME)
    (engaged,) = made.hire.told(Engaged)
    assert engaged.refused is not None and engaged.refused[0] == "owner" and "denies" in engaged.refused[1]
    made.give(PolicySet("", Policy(deny=("purpose:folding",))))
    made.give(CAME)
    refused = made.hire.told(Engaged)[1].refused
    assert refused is not None and refused[0] in ("purpose", "owner") and "folding" in refused[1]
    assert not made.disk.scan("job/", past("job/"))


def test_a_node_that_stops_takes_no_more_and_says_busy() -> None:
    made = world(hire=hiring(engage()))
    made.give(Drain(S))
    made.give(CAME)
    (engaged,) = made.hire.told(Engaged)
    assert engaged.refused is not None and engaged.refused[0] == "busy"


def test_a_dropped_lease_cancels_its_job_and_gives_no_report() -> None:
    made = world(hire=hiring(engage(runs=1)))
    made.give(CAME)
    made.hire.answer = lambda event: (
        [Send(JOBS, Dismiss(LEASE, HIRED_JOB, "dropped"))] if isinstance(event, Came) else []
    )
    made.give(Came(DROP, Asked(STRANGER, 2, b"", S)))
    made.run()
    (ended,) = made.hire.told(HiredEnded)
    assert ended.status == "cancelled" and ended.given_up and entry(made.disk, 0).state == "cancelled"


def test_the_same_lease_again_makes_no_second_job() -> None:
    made = world(hire=hiring(engage()))
    made.give(CAME)
    made.give(CAME)
    assert made.hire.told(Engaged) == [Engaged(LEASE), Engaged(LEASE)]
    assert len(made.disk.scan("job/", past("job/"))) == 1


def test_an_ended_job_that_is_offered_again_is_told_to_have_ended() -> None:
    """Hire forgot the lease; its job is remembered here, or was found on disk when the work was read."""
    made = world(hire=hiring(engage()))
    made.give(CAME)
    made.run()
    made.hire.heard.clear()
    made.give(CAME)
    assert made.hire.told(Engaged) == [Engaged(LEASE)] and made.hire.told(HiredEnded) == [HiredEnded(LEASE, "done")]
    later = world(hire=hiring(engage()))
    later.give(WorkSeen(WorkRead(LEASE, engage().piece), (card(),), entry(made.disk, 0)))
    later.give(CAME)
    assert later.hire.told(HiredEnded) == [HiredEnded(LEASE, "done")] and not later.disk.scan("job/", past("job/"))


def test_another_leases_job_is_none_of_this_one() -> None:
    first = world(hire=hiring(engage(b"another-16-bytes")))
    first.give(CAME)
    made = world(hire=hiring(engage()))
    made.give(WorkSeen(WorkRead(LEASE, engage().piece), (card(),), entry(first.disk, 0)))
    made.give(CAME)
    (engaged,) = made.hire.told(Engaged)
    assert engaged.refused == ("terms", "this lease has the job id of another one: draw another id")


def test_a_crash_anywhere_leaves_one_job_that_ends_and_is_told() -> None:
    """Before each transaction and each effect of a hired job's life; afterwards its peer asks again."""
    steps = 0
    while True:
        disk = Disk()
        try:
            made = world(disk, hire=hiring(engage()), crash_at=steps)
            made.give(CAME)
            made.run()
        except Crash:
            again = world(disk, hire=hiring(engage()), now_ns=S)
            if not disk.scan("hired/", past("hired/")):  # it was never granted: the same offer comes again
                again.give(CAME)
            again.run()
            assert len(disk.scan("job/", past("job/"))) == 1, f"after a crash at step {steps}"
            assert again.hire.told(HiredEnded)[-1] == HiredEnded(LEASE, "done"), f"after a crash at step {steps}"
            steps += 1
            continue
        break
    assert steps > 10


def test_a_lease_without_a_job_is_said_to_be_given_up() -> None:
    disk = Disk()
    disk.apply([Store(f"hired/{LEASE.hex()}", row(LEASE))])
    made = world(disk)
    (ended,) = made.hire.told(HiredEnded)
    assert ended.lease == LEASE and ended.given_up


# prices


def test_a_piece_costs_what_its_plan_says_and_names_an_engine_where_all_agree() -> None:
    spread = Double()
    prices: list[Callable[[Piece], Price]] = []
    made = SmallWorld(Disk(), dealing=Dealing(lambda kept, price: prices.append(price) or (spread, Double())))
    made.give(PEERS)
    row = Price(seconds=0.5, work_units=10, memory_bytes=64, engine="qulacs", method="statevector")
    made.give(submit(0, 3, Chosen("whole", "", prices=(row,))))
    found = [prices[0](event.piece) for event in spread.told(Wanted)]
    assert sum(one.seconds for one in found) == 1.5 and sum(one.work_units for one in found) == 30
    assert {(one.engine, one.method, one.memory_bytes) for one in found} == {("qulacs", "statevector", 64)}


def test_a_failure_of_an_ask_finds_whom_it_is_for() -> None:
    made = world()
    failed = Failed("unavailable", "nobody there")
    made.give(Heard("hire/7", failed=failed))
    assert made.hire.told(Heard) == [Heard("hire/7", failed=failed)] and not made.spread.told(Heard)


def test_specs_know_which_runs_are_done() -> None:
    asked, derived = mesh_job(0, 1), mesh_job(0, 2)
    assert Spec(asked, Form()).runs is asked
    assert Spec(asked, Form(), Chosen("whole", "")).runs is asked
    assert Spec(asked, Form(), Chosen("batch", "", (), derived)).runs is derived
