"""The mesh's door for work between nodes: what goes out, what comes in, on whose clock, and who is there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from qcommons.base.effects import Send
from qcommons.base.errors import Unavailable
from qcommons.jobs.work import COLLECT, OFFER, PROTOCOLS
from qcommons.jobs.work_events import Came, Candidates, Heard, Offline, Sharing, ToMesh, Withdrew
from qcommons.mesh.events import Answer, Ask, Asked, Failed, Got, OpenDoor, Withdrawn
from qcommons.mesh.records import PeerId
from qcommons.mesh.views import PeerView
from qcommons.node.mesh import work_door
from qcommons.node.mesh.work_door import PLACES, WorkDoor, candidate, offered
from qcommons.pqc.identity import node_id_of_hash

PEER = PeerId(bytes([7]) * 32)
AHEAD_NS = 5_000  # of the mesh's clock


class Driver:
    """What the door sees of a mesh."""

    def __init__(self) -> None:
        self.doors: dict[str, Callable[[Any], None]] = {}
        self.delivered: list[Any] = []
        self.relation = "allowed"
        self.views: list[PeerView] = []
        self.trouble: Exception | None = None
        self.core = SimpleNamespace(
            relation=lambda peer: self.relation, peers_view=lambda now_ns: self.views,
            signed=lambda peer: SimpleNamespace(record=SimpleNamespace(key=b"key")) if peer == PEER else None,
        )  # fmt: skip

    def deliver(self, event: Any) -> None:
        self.delivered.append(event)

    def now_ns(self) -> int:
        return 1_000_000_000 + AHEAD_NS

    def check(self) -> None:
        if self.trouble is not None:
            raise self.trouble


def view(**fields: Any) -> PeerView:
    defaults: dict[str, Any] = dict.fromkeys(PeerView.__struct_fields__, "")
    numbers = ("since_ns", "linked_since_ns", "round_trip_ns", "bytes_in", "messages_in", "messages_out", "seq")
    defaults |= dict.fromkeys(numbers, 0) | {
        "peer": PEER, "state": "alive", "relation": "stranger", "via": None, "inbound": False, "is_neighbour": False,
        "offers": ("qulacs:25",), "addresses": (), "away": (), "owner": b"", "blame_points": 0.0,
    }  # fmt: skip
    return PeerView(**(defaults | fields))


def play(act: Callable[[WorkDoor, Driver, list[Any]], Awaitable[None]], sharing: Any = None) -> list[Any]:
    """What the core hears while `act` goes on."""
    heard: list[Any] = []

    async def run() -> None:
        driver = Driver()
        said = sharing or (lambda: Sharing(False, "off"))
        door = WorkDoor(driver, heard.append, lambda: 1_000_000_000, lambda peer, now_s: None, said)  # type: ignore[arg-type]
        driver.views = [view()]
        door.start()
        await act(door, driver, heard)
        await asyncio.sleep(0)
        door.close()

    asyncio.run(run())
    return heard


def test_every_protocol_has_its_door_and_the_peers_are_told_at_once() -> None:
    async def act(door: WorkDoor, driver: Driver, heard: list[Any]) -> None:
        assert [event.protocol for event in driver.delivered if isinstance(event, OpenDoor)] == list(PROTOCOLS)
        assert {f"door/{protocol}" for protocol in PROTOCOLS} <= set(driver.doors)

    heard = play(act)
    assert isinstance(heard[0], Sharing) and [one.peer for one in heard[1].rows] == [PEER]


def test_an_answer_finds_the_question_that_it_answers() -> None:
    async def act(door: WorkDoor, driver: Driver, heard: list[Any]) -> None:
        door.send(ToMesh(Ask("spread/7/2", PEER, OFFER, b"offer", 10), "public"))
        asked = driver.delivered[-1]
        driver.doors["work/"](Send(asked.ticket, Got(b"granted")))
        driver.doors["work/"](Send(asked.ticket, Failed("peer", "no")))

    heard = play(act)
    assert heard[-2:] == [Heard("spread/7/2", b"granted"), Heard("spread/7/2", failed=Failed("peer", "no"))]


def test_what_a_peer_waits_for_is_told_on_the_nodes_clock_with_its_relation() -> None:
    async def act(door: WorkDoor, driver: Driver, heard: list[Any]) -> None:
        driver.doors[f"door/{COLLECT}"](Send("door", Asked(PEER, 3, b"lease", 2_000_000_000 + AHEAD_NS)))
        driver.relation = "invited"
        driver.doors[f"door/{COLLECT}"](Send("door", Asked(PEER, 4, b"lease", 0)))
        driver.doors[f"door/{COLLECT}"](Send("door", Withdrawn(PEER, 3, "gone")))

    heard = play(act)
    assert heard[-3] == Came(COLLECT, Asked(PEER, 3, b"lease", 2_000_000_000), "allowed")
    assert heard[-2].relation == "stranger", "whoever invited this node is not thereby allowed to anything"
    assert heard[-1] == Withdrew(Withdrawn(PEER, 3, "gone"))


def test_a_mesh_that_is_gone_fails_what_is_asked_and_says_so() -> None:
    async def act(door: WorkDoor, driver: Driver, heard: list[Any]) -> None:
        driver.trouble = Unavailable("the mesh is shut down")
        door.send(ToMesh(Ask("hire/1", PEER, OFFER, b"", 10), "public"))
        door.send(ToMesh(Answer(PEER, 1, b""), "public"))
        door.stop("it stopped by its own fault")

    heard = play(act)
    assert [type(event) for event in heard[-2:]] == [Heard, Offline]
    assert heard[-2].failed.who == "unavailable"


def test_nothing_of_a_node_that_stops_is_told() -> None:
    """Peers that fall silent then are not lost: what is open goes on after the next start."""

    async def act(door: WorkDoor, driver: Driver, heard: list[Any]) -> None:
        await asyncio.sleep(0)
        heard.clear()
        door.close()
        driver.doors["work/"](Send("work/spread/1", Failed("unavailable", "the mesh is shut down")))

    assert play(act) == []


def test_peers_are_told_again_only_when_they_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_door, "LOOK_S", 0.005)

    async def act(door: WorkDoor, driver: Driver, heard: list[Any]) -> None:
        await asyncio.sleep(0.05)
        assert len([event for event in heard if isinstance(event, Candidates)]) == 1
        driver.views = [view(state="lost")]
        door.changed()
        await asyncio.sleep(0.05)

    told = [event for event in play(act) if isinstance(event, Candidates)]
    assert [event.rows[0].state for event in told] == ["alive", "lost"]


def test_what_the_owner_says_is_told_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_door, "LOOK_S", 0.005)
    said = [Sharing(False, "off")]

    async def act(door: WorkDoor, driver: Driver, heard: list[Any]) -> None:
        await asyncio.sleep(0.03)
        said[0] = Sharing(True, places=4)
        await asyncio.sleep(0.03)

    told = [event for event in play(act, lambda: said[0]) if isinstance(event, Sharing)]
    assert told == [Sharing(False, "off"), Sharing(True, places=4)]


def test_a_peer_as_placing_sees_it() -> None:
    row = view(relation="own", round_trip_ns=5, version="1.0", away=((0, 50), (100, 200)))
    found = candidate(row, lambda peer, now_s: None, 120)
    assert (found.node_id, found.relation, found.places, found.away_until_s) == (
        node_id_of_hash(PEER),
        "own",
        PLACES,
        200,
    )
    assert candidate(row, lambda peer, now_s: None, 60).away_until_s == 0, "an absence to come is none yet"
    assert candidate(msgspec.structs.replace(row, relation="invited"), lambda *_: None, 0).relation == "stranger"


def test_offers_that_are_none_are_left_out() -> None:
    assert offered(("qulacs:25", "stim:1000", "no", "x:", "y:-3", ":5", "z:1e3", "w:99999999999")) == {
        "qulacs": 25, "stim": 1000,
    }  # fmt: skip


def test_the_key_of_a_peer_is_that_of_its_record() -> None:
    async def act(door: WorkDoor, driver: Driver, heard: list[Any]) -> None:
        assert door.key_of(PEER) == b"key" and door.key_of(PeerId(bytes(32))) is None

    play(act)
