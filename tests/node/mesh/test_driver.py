"""The driver: order of effects, what waits for the disk and what does not, timers, tickets, a core that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from qcommons.base.effects import Note, Send, Store, WakeAt, Woken
from qcommons.base.errors import Corrupt, Unavailable
from qcommons.mesh.events import Came, Failed, Got, Hangup, Leave, Transmit, Unask
from qcommons.mesh.messages import Ping
from qcommons.node.mesh import driver as module
from qcommons.node.mesh.clock import MeshClock
from qcommons.node.mesh.driver import Driver


class Script:
    """A core that answers each event by what was scripted for its type, and keeps what it heard."""

    def __init__(self) -> None:
        self.answers: dict[type, Callable[[Any, int], list[Any]]] = {}
        self.heard: list[tuple[Any, int]] = []
        self.inside = False

    def handle(self, event: Any, now_ns: int) -> list[Any]:
        assert not self.inside, "entered twice"
        self.inside = True
        self.heard.append((event, now_ns))
        answer = self.answers.get(type(event), lambda event, now_ns: [])(event, now_ns)
        self.inside = False
        return answer


class Disk:
    """Keeps what waits until `sync`."""

    def __init__(self) -> None:
        self.changes: list[Any] = []
        self.then: list[Callable[[], None]] = []

    def keep(self, changes: Any, then: Callable[[], None]) -> None:
        self.changes.append(list(changes))
        self.then.append(then)

    def sync(self) -> None:
        for then in self.then:
            then()


class Hands:
    def __init__(self) -> None:
        self.done: list[Any] = []
        self.transmit = self.hang_up = self.dial = self.relay_in = self.blob = self.done.append


class Scene:
    def __init__(self) -> None:
        self.core, self.disk, self.hands = Script(), Disk(), Hands()
        self.notes: list[Note] = []
        self.faults: list[BaseException] = []
        self.driver = Driver(
            self.core, MeshClock(), self.disk, on_note=self.notes.append, on_fault=self.faults.append,  # type: ignore[arg-type]
        )  # fmt: skip
        self.driver.begin(self.hands)


def play(scene: Callable[[Scene], Awaitable[None]]) -> None:
    async def run() -> None:
        made = Scene()
        await scene(made)
        made.driver.close()

    asyncio.run(run())


LEAVE = Leave("test")
PING = Transmit(2, 0, Ping())


def test_what_follows_a_store_waits_for_the_disk_and_nothing_else_does() -> None:
    async def scene(s: Scene) -> None:
        before, after = Transmit(2, 1, Ping()), Transmit(2, 2, Ping())
        s.core.answers[Leave] = lambda *_: [
            before,
            Store("a", b"1"),
            after,
            Store("b", None),
            Note("n"),
            Hangup(2, "x"),
        ]
        s.driver.deliver(LEAVE)
        assert s.hands.done == [before] and s.disk.changes == [[("a", b"1"), ("b", None)]]
        assert [note.name for note in s.notes] == ["n"]
        s.core.answers[Leave] = lambda *_: [PING]
        s.driver.deliver(LEAVE)
        assert s.hands.done == [before, PING], "a later answer without a store does not wait"
        s.disk.sync()
        assert s.hands.done == [before, PING, after, Hangup(2, "x")]

    play(scene)


def test_an_event_that_comes_up_meanwhile_is_handled_after() -> None:
    async def scene(s: Scene) -> None:
        s.core.answers[Leave] = lambda *_: [PING, PING]
        s.hands.transmit = lambda effect: s.driver.deliver(Unask("x"))
        s.driver.begin(s.hands)
        s.driver.deliver(LEAVE)
        assert [type(event) for event, _ in s.core.heard] == [Leave, Unask, Unask]

    play(scene)


def test_a_wake_up_is_never_early_for_the_core() -> None:
    """Alarms ignore a wake-up before their time, so rounding between two clocks must not make one."""

    async def scene(s: Scene) -> None:
        wanted = [s.driver.now_ns() + span for span in (0, 1_000_003, 20_000_007, 49_999_999)]
        s.core.answers[Leave] = lambda *_: [WakeAt(at_ns, at_ns) for at_ns in wanted]
        s.driver.deliver(LEAVE)
        await asyncio.sleep(0.15)
        woken = [(event.token, now_ns) for event, now_ns in s.core.heard if isinstance(event, Woken)]
        assert sorted(token for token, _ in woken) == wanted and all(now_ns >= token for token, now_ns in woken)
        assert [now_ns for _, now_ns in s.core.heard] == sorted(now_ns for _, now_ns in s.core.heard)

    play(scene)


def test_a_long_timer_is_set_again_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMER_MAX_S", 0.01)

    async def scene(s: Scene) -> None:
        at_ns = s.driver.now_ns() + 60_000_000
        s.core.answers[Leave] = lambda *_: [WakeAt(at_ns, "late")]
        s.driver.deliver(LEAVE)
        await asyncio.sleep(0.03)
        assert len(s.core.heard) == 1
        await asyncio.sleep(0.1)
        assert s.core.heard[-1][0] == Woken("late")

    play(scene)


def test_a_ticket_is_answered_once_and_taken_back_when_nobody_waits() -> None:
    async def scene(s: Scene) -> None:
        tickets: list[str] = []

        def ask(ticket: str) -> Leave:
            tickets.append(ticket)
            return LEAVE

        s.core.answers[Leave] = lambda *_: [Send(tickets[-1], Got(b"yes")), Send(tickets[-1], Got(b"again"))]
        assert await s.driver.ask(ask, 1.0) == Got(b"yes")
        s.core.answers[Leave] = lambda *_: []
        waiting = asyncio.ensure_future(s.driver.ask(ask, 1.0))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert s.core.heard[-1][0] == Unask(tickets[-1])

    play(scene)


def test_doors_get_what_names_them() -> None:
    async def scene(s: Scene) -> None:
        came: list[str] = []
        s.driver.doors = {"mesh": lambda send: came.append("exact"), "topic/": lambda send: came.append("prefix")}
        s.core.answers[Leave] = lambda *_: [Send("mesh", 1), Send("topic/x", 2), Send("nobody", 3)]
        s.driver.deliver(LEAVE)
        assert came == ["exact", "prefix"]

    play(scene)


def test_a_fault_of_ours_stops_the_mesh_and_whoever_waits_hears_it() -> None:
    async def scene(s: Scene) -> None:
        waiting = asyncio.ensure_future(s.driver.ask(lambda ticket: Unask("nothing"), 1.0))
        await asyncio.sleep(0)
        error = RuntimeError("broken")

        def fail(*_: Any) -> list[Any]:
            s.core.inside = False
            raise error

        s.core.answers[Leave] = fail
        s.driver.deliver(LEAVE)
        assert s.faults == [error] and isinstance(await waiting, Failed)
        with pytest.raises(Corrupt, match="broken"):
            s.driver.check()
        s.driver.deliver(LEAVE)
        assert len(s.core.heard) == 2

    play(scene)


def test_after_the_end_nothing_is_taken() -> None:
    async def scene(s: Scene) -> None:
        s.driver.close()
        with pytest.raises(Unavailable, match="shut down"):
            await s.driver.ask(lambda ticket: LEAVE, 1.0)

    play(scene)


def test_a_fault_that_a_peers_message_met_costs_that_link_and_not_the_mesh() -> None:
    """Too many are another matter: then the core's state is not to be trusted."""

    async def scene(s: Scene) -> None:
        def fail(event: Any, now_ns: int) -> list[Any]:
            s.core.inside = False
            raise KeyError(event.conn)

        s.core.answers[Came] = fail
        s.driver.deliver(Came(3, 0, Ping(), 13))
        s.driver.check()
        assert s.hands.done == [Hangup(3, "a fault of this node")] and not s.faults
        (said,) = s.notes
        assert (
            said.name == "mesh_fault_contained"
            and said.facts["conn"] == 3
            and "test_driver.py" in str(said.facts["at"])
        )
        for _ in range(module.FAULTS_MAX):
            s.driver.deliver(Came(3, 0, Ping(), 13))
        assert len(s.faults) == 1
        with pytest.raises(Corrupt):
            s.driver.check()

    play(scene)
