"""The shell with both halves of the door (`jobs_door`, `owner_door`), a real disk and workers that answer at once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.jobs.making import done

from qcommons.base.effects import Note
from qcommons.base.errors import Corrupt, QCommonsError, Unavailable, UsageError
from qcommons.circuits.program import Op, Program
from qcommons.circuits.wire import encode
from qcommons.jobs.outcomes import NotStarted, Outcome
from qcommons.node import config, jobs_door
from qcommons.node.api.answers import json_parts
from qcommons.node.api.records import NewToken, Pausing, PolicyChange, ProgramText, Submission
from qcommons.node.archives import Archivist
from qcommons.node.core import NodeCore
from qcommons.node.daemon import NodeDoor
from qcommons.node.frames import RunPiece
from qcommons.node.listeners import Listeners
from qcommons.node.logbook import Logbook
from qcommons.node.messages import Sensed
from qcommons.node.metrics import Metrics
from qcommons.node.owner import OwnerLimits, Sense
from qcommons.node.owner_door import NodeFacts
from qcommons.node.recent import Recent
from qcommons.node.recovery import kept
from qcommons.node.shell import Shell, SteadyClock
from qcommons.node.sources import GUESTS
from qcommons.node.store import Store
from qcommons.node.tokens import Tokens
from qcommons.node.workers import WorkerPool
from qcommons.pqc.identity import NodeKey

WIRE = encode(Program(2, (("c", 2),), (Op("h", (0,)), Op("cx", (0, 1)), Op("measure", (0,), (), (0,)))))
BELL = Submission(programs=(ProgramText(wire=WIRE),), shots=1000, seed=3)


class QuickPool:
    """Answers every piece from a thread-like callback at once; `hold` keeps them."""

    size = 2

    def __init__(self) -> None:
        self.constants: dict[str, dict[str, float]] = {}
        self.hold = False
        self.death: Outcome | None = None
        self.held: list[Callable[[], None]] = []
        self.stopped = 0

    def submit(
        self, call: RunPiece, on_ends: Any, on_over: Any, *, memory_bytes: int = 0, cpu_s: float = 0.0,
        on_trying: Any = None, lane: str = "run",
    ) -> object:  # fmt: skip
        def answer() -> None:
            if self.death is None:
                on_ends(tuple((item.index, done({"00": 1000})) for item in call.piece.items))
            on_over(self.death)

        if self.hold:
            self.held.append(answer)
        else:
            answer()
        return object()

    def stop(self, handle: object, outcome: Outcome) -> None:
        self.stopped += 1

    def pids(self) -> list[int]:
        return []

    def close(self) -> None: ...


class Scene:
    def __init__(self, home: Path, store: Store) -> None:
        self.pool, self.store = QuickPool(), store
        self.notes: list[Note] = []
        self.clock = SteadyClock()
        self.listeners, recent = Listeners(store, 0), Recent()
        self.shell = Shell(
            NodeCore(2, OwnerLimits(), Sense(minute_of_week=0)), store, self.pool, self.clock,  # type: ignore[arg-type]
            seal=lambda numbers: dict.fromkeys(numbers, b"signed"),
            on_note=self.notes.append, on_event=self.listeners.tell, on_ended=recent.keep,
        )  # fmt: skip
        tokens = Tokens("owner's", "home", [], self.clock.now_ns)
        facts = NodeFacts(node_id="qn1", home=str(home), url="http://x", started_ns=self.clock.now_ns())
        values = config.load({}, {}, home / "config.toml")
        owner = (
            self.shell,
            facts,
            tokens,
            Logbook(home / "log"),
            Metrics({}),
            lambda: values,
            lambda: values,
            Counter(),
        )
        archivist = Archivist(NodeKey(bytes(32)), "commons", store, home)
        self.door = NodeDoor((self.shell, self.listeners, recent, lambda: (60.0, None, 1000), archivist), owner)
        self.shell.deliver(kept(store, clean=True))


def play(tmp_path: Path, scene: Callable[[Scene], Awaitable[None]]) -> None:
    async def run() -> None:
        with Store(tmp_path / "node.db") as store:
            made = Scene(tmp_path, store)
            await scene(made)
            await made.shell.close()

    asyncio.run(asyncio.wait_for(run(), 30))


def test_a_job_goes_in_and_its_result_comes_out_from_memory_and_from_disk(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        taken = await s.door.submit(BELL, "home")
        view = await s.door.ended(taken.job, "home", 5)
        assert (view.state, view.runs, view.answered, view.n_qubits, view.shots) == ("done", 1, 1, 2, 1000)
        said = b"".join(json_parts(*s.door.result(taken.job, "home").read()))
        s.door._recent._ended.clear()
        stored = s.door.result(taken.job, "home")
        assert stored.size_bytes > 0 and b"".join(json_parts(*stored.read())) == said
        assert s.door.job(taken.job, "home") == view
        listed = await s.door.jobs("home", state="done", tag=None, limit=5, before=None)
        assert [job.id for job in listed.jobs] == [taken.job]
        assert s.door.why(taken.job, "home").who == "nobody"

    play(tmp_path, scene)


def test_the_same_request_makes_one_job_at_the_same_time_and_later(tmp_path: Path) -> None:
    import msgspec

    mine = msgspec.structs.replace(BELL, request="mine")

    async def scene(s: Scene) -> None:
        many = await asyncio.gather(*(s.door.submit(mine, "home") for _ in range(10)))
        assert len({one.job for one in many}) == 1 and sum(one.again for one in many) == 9
        await s.door.ended(many[0].job, "home", 5)
        assert (await s.door.submit(mine, "home")).again
        assert (await s.door.submit(mine, "alice")).job != many[0].job

    play(tmp_path, scene)


def test_others_see_their_own_jobs_only(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        taken = await s.door.submit(BELL, "alice")
        assert s.door.job(taken.job, "home").principal == "alice"
        with pytest.raises(UsageError, match="no job"):
            s.door.job(taken.job, "bob")
        assert (await s.door.jobs("bob", state=None, tag=None, limit=5, before=None)).jobs == ()

    play(tmp_path, scene)


def test_no_number_that_a_guest_sees_tells_of_what_is_others(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        own = []
        for number in range(5):
            for who in ("home", "bob", "home"):
                await s.door.submit(BELL, who)
            own.append((await s.door.submit(BELL, "alice")).job)
            await s.door.ended(own[-1], "alice", 5)
            listed = await s.door.jobs("alice", state=None, tag=None, limit=1, before=None)
            assert (listed.total, listed.more) == (number + 1, number or None)
            assert s.door.next_seq("alice") == 5 * (number + 1)  # accepted, planned, running, assembling, done
        first = await s.door.jobs("alice", state=None, tag=None, limit=3, before=None)
        second = await s.door.jobs("alice", state="done", tag=None, limit=3, before=first.more)
        assert [job.id for job in (*first.jobs, *second.jobs)] == own[::-1] and second.more is None
        assert (await s.door.jobs("alice", state="failed", tag=None, limit=3, before=None)).jobs == ()
        assert (await s.door.jobs("carol", state=None, tag=None, limit=3, before=None)).total == 0
        assert (await s.door.jobs("home", state=None, tag=None, limit=3, before=None)).total == 20

    play(tmp_path, scene)


def test_a_guests_list_costs_as_much_as_it_has(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        for who in ["home"] * 30 + ["alice"]:
            await s.door.submit(BELL, who)
        await s.door.ended((await s.door.submit(BELL, "home")).job, "home", 5)
        read = 0
        rows = s.store._rows

        def counted(query: str, parameters: tuple[Any, ...]) -> list[Any]:
            nonlocal read
            found = rows(query, parameters)
            read += len(found)
            return found

        s.store._rows = counted  # type: ignore[method-assign]
        await s.door.jobs("bob", state=None, tag=None, limit=100, before=None)
        assert read == 0
        await s.door.jobs("alice", state=None, tag=None, limit=100, before=None)
        assert read <= 3

    play(tmp_path, scene)


def test_a_job_whose_answer_is_too_much_for_a_guest_is_refused_before_it_is_kept(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        wide = encode(Program(20, (), tuple(Op("h", (qubit,)) for qubit in range(20))))
        asked = Submission(programs=(ProgramText(wire=wide),) * 4, batch=True, statevector=True)
        with pytest.raises(Unavailable, match="a job of a guest may take 32 MiB") as refused:
            await s.door.submit(asked, "eve")
        assert refused.value.exit_code == 3
        assert (await s.door.jobs("eve", state=None, tag=None, limit=1, before=None)).total == 0

    play(tmp_path, scene)


def test_what_a_guest_sends_to_be_read_is_stopped_after_its_time(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        s.shell.pool = pool = WorkerPool(1)
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(jobs_door, "GUESTS", GUESTS._replace(all_s=0.01))  # a worker starts in no less
                asked = Submission(programs=(ProgramText(qasm="OPENQASM 3.0; qubit q; x q;"),))
                with pytest.raises(Unavailable, match=r"longer than 0.01 s") as refused:
                    await s.door.submit(asked, "eve")
                assert refused.value.exit_code == 3
        finally:
            await asyncio.to_thread(pool.close)

    play(tmp_path, scene)


def test_pages_of_jobs_follow_each_other(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        taken = [(await s.door.submit(BELL, "home")).job for _ in range(7)]
        first = await s.door.jobs("home", state=None, tag=None, limit=4, before=None)
        second = await s.door.jobs("home", state=None, tag=None, limit=4, before=first.more)
        assert [job.id for job in (*first.jobs, *second.jobs)] == taken[::-1]
        assert first.total == 7 and first.more is not None and second.more is None

    play(tmp_path, scene)


def test_a_waiting_job_says_why_and_a_cancelled_one_that_it_was(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        await s.door.pause(Pausing(for_s=60), "home")
        taken = await s.door.submit(BELL, "home")
        assert s.door.status().health == "yellow" and s.door.status().waiting == 1
        why = s.door.why(taken.job, "home")
        assert (why.who, why.action, why.ahead) == ("owner", "qcommons resume", 0)
        with pytest.raises(Unavailable, match="no result yet"):
            s.door.result(taken.job, "home")
        view = await s.door.cancel(taken.job, "home", "changed my mind")
        assert view.state == "cancelled" and "changed my mind" in s.door.why(taken.job, "home").cause
        await s.door.resume("home")
        assert s.door.status().health == "green"

    play(tmp_path, scene)


def test_running_work_is_given_back_at_a_pause_and_done_after(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        s.pool.hold = True
        taken = await s.door.submit(BELL, "home")
        assert s.door.why(taken.job, "home").state == "running"
        assert [now.job for now in s.door.status().running] == [taken.job]
        await s.door.pause(Pausing(), "home")
        assert s.pool.stopped == 1 and s.door.job(taken.job, "home").state == "accepted"
        s.pool.held.pop()()  # an answer that comes too late is not taken
        s.pool.hold = False
        await s.door.resume("home")
        assert (await s.door.ended(taken.job, "home", 5)).state == "done"

    play(tmp_path, scene)


def test_no_worker_is_red_until_one_starts(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        s.pool.death = NotStarted("no memory")
        taken = await s.door.submit(BELL, "home")
        assert (await s.door.ended(taken.job, "home", 5)).state == "failed"
        status = s.door.status()
        assert status.health == "red" and "no memory" in status.sentence
        s.pool.death = None
        await s.door.ended((await s.door.submit(BELL, "home")).job, "home", 5)
        assert s.door.status().health == "green"

    play(tmp_path, scene)


def test_rules_change_and_are_refused_where_they_mean_nothing(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        assert (await s.door.set_policy(PolicyChange(deny=("principal:bob",)), "home")).deny == ("principal:bob",)
        with pytest.raises(Unavailable) as caught:
            await s.door.submit(BELL, "bob")
        assert caught.value.exit_code == 3
        for bad in (PolicyChange(allow=("bob",)), PolicyChange(remove=("principal:eve",))):
            with pytest.raises(UsageError):
                await s.door.set_policy(bad, "home")
        assert (await s.door.set_policy(PolicyChange(remove=("principal:bob",)), "home")).deny == ()
        await s.door.submit(BELL, "bob")

    play(tmp_path, scene)


def test_tokens_are_kept_as_hashes_and_revoked(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        given = await s.door.new_token(NewToken(principal="alice"))
        assert s.door.principal_of(given.token) == "alice" and [one.id for one in s.door.tokens()] == [given.id]
        await s.door.revoke_token(given.id)
        assert s.door.principal_of(given.token) is None and s.store.get(f"token/{given.id}") is None

    play(tmp_path, scene)


def test_a_fault_of_the_core_stops_the_node_and_says_so_to_whoever_waits(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        s.shell.core.handle = lambda event, now_ns: 1 / 0  # type: ignore[method-assign,assignment,return-value]
        with pytest.raises((ZeroDivisionError, QCommonsError)):
            await s.door.submit(BELL, "home")
        with pytest.raises(Corrupt, match="fault of its own"):
            await s.door.submit(BELL, "home")
        assert s.shell.drained.is_set() and s.door.status().health == "red"

    play(tmp_path, scene)


def test_ended_jobs_get_their_receipts_within_a_second(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        await s.door.submit(BELL, "home")
        until_s = time.monotonic() + 5
        while s.store.get("receipt/000000000000") is None:
            assert time.monotonic() < until_s
            await asyncio.sleep(0.05)

    play(tmp_path, scene)


def test_what_sensors_see_reaches_the_gate(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        s.shell.core.gate.limits = OwnerLimits(idle_min=5)
        s.shell.deliver(Sensed(Sense(minute_of_week=0, idle_s=10)))
        taken = await s.door.submit(BELL, "home")
        assert "somebody used this machine" in s.door.why(taken.job, "home").cause
        s.shell.deliver(Sensed(Sense(minute_of_week=0, idle_s=1000)))
        assert (await s.door.ended(taken.job, "home", 5)).state == "done"

    play(tmp_path, scene)


def test_a_system_clock_that_is_set_is_yellow_and_moves_no_deadline(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        await s.door.pause(Pausing(), "home")
        taken = await s.door.submit(BELL, "home")
        before = s.door.job(taken.job, "home").deadline_ns
        s.clock.jumped_ns = lambda: 7200 * 10**9  # type: ignore[method-assign]
        troubles = {one.what: one for one in s.door.status().troubles}
        assert "set forward by 2 h" in troubles["the clock jumped"].cause and troubles["the clock jumped"].action
        assert s.door.job(taken.job, "home").deadline_ns == before and s.door.job(taken.job, "home").state == "accepted"

    play(tmp_path, scene)


def test_time_goes_on_where_the_systems_clock_was_set_back() -> None:
    ahead_ns = time.time_ns() + 3600 * 10**9
    clock = SteadyClock(not_before_ns=ahead_ns)
    assert clock.now_ns() >= ahead_ns and clock.set_back_ns > 3590 * 10**9
    assert abs(SteadyClock().jumped_ns()) < 10**9
