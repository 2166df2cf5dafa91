"""Checkers: what must hold at every moment, seen from outside the cores.

Flow: simulator -> *checkers* (watchers) -> violations. They believe no core: what was published, asked, signed and
dialled is noted when it happens, and compared with what is told. What must hold after the faults is in `afterwards.py`.
"""

from __future__ import annotations

import hashlib
from typing import Any

from qcommons.base.canonical import decode
from qcommons.mesh.events import Arrived, Ask, Dial, Failed, Got, News, Publish
from qcommons.mesh.messages import Hello
from qcommons.mesh.records import PEER_TYPE
from qcommons.world.host import Host, Life
from qcommons.world.simulator import Simulator, Watcher

__all__ = ["RULES", "AskRule", "Checkers", "NewsRule"]

S_NS = 10**9
LATE_NS = S_NS  # an answer may come so much after its deadline: the asker was busy
DIALS_MAX = 16  # of one node under way: twice what cores allow themselves
NEAR = ("linked", "alive")
RECORD_ITEMS = 96

# name -> what holds; shown by `qcommons world` and docs/world.md
RULES: dict[str, str] = {
    "news once": "no news is delivered twice to one life of a node",
    "answered once": "every request ends once, with an answer or a cause, by its deadline",
    "right answer": "an answer is the one that the asked node gave to that request",
    "no honest banned": "no honest node bans or blames to death an honest one",
    "one network": "no node of another network is linked or counted as alive",
    "one record": "no honest node signs two records with one sequence number",
    "stored first": "no node shows a record of its own that a crash could undo",
    "numbers": "the number of a dial is even and new, at most 16 dials are under way",
    "core raised": "no event makes a core raise",
    "effect": "a core asks for nothing that no driver does",
    "ended": "nothing is transmitted on a connection that has ended",
}


class NewsRule(Watcher):
    """Each published thing: by whom, when, and which lives heard it."""

    def __init__(self, world: Simulator) -> None:
        self.published: dict[bytes, tuple[Life, int]] = {}
        self.heard: dict[bytes, set[Life]] = {}
        self._world = world

    def told(self, life: Life, event: Any, at_ns: int) -> None:
        if isinstance(event, Publish):
            self.published[event.payload] = (life, at_ns)
            self.heard[event.payload] = set()

    def arrived(self, life: Life, to: str, message: Arrived, at_ns: int) -> None:
        """News reached a life."""
        heard = self.heard.get(message.payload)
        if heard is None:
            return  # a liar's noise
        if life in heard:
            self._world.violated("news once", life.host.index, f"{message.payload!r} came again")
        heard.add(life)


class AskRule(Watcher):
    """Each request: who asked, until when, and what came. The time runs from when the core hears of it: one that is
    frozen hears late."""

    def __init__(self, world: Simulator) -> None:
        self.asked: dict[str, tuple[Life, int, bytes]] = {}
        self.got: dict[str, bool] = {}
        self._world = world

    def told(self, life: Life, event: Any, at_ns: int) -> None:
        if isinstance(event, Ask):
            self.begun(life, event, at_ns)

    def begun(self, life: Life, event: Ask, at_ns: int) -> None:
        """The core hears of it."""
        self.asked[event.ticket] = (life, at_ns + event.within_ns, event.body)

    def ended(self, life: Life, to: str, message: Got | Failed, at_ns: int) -> None:
        """An answer, or why there is none."""
        if to not in self.asked:
            return
        asker, until_ns, body = self.asked[to]
        if to in self.got or asker is not life:
            self._world.violated("answered once", life.host.index, f"{to} ended again")
        if at_ns > max(until_ns, life.busy_ns) + LATE_NS:
            self._world.violated("answered once", life.host.index, f"{to} ended {(at_ns - until_ns) / S_NS:.1f} s late")
        if isinstance(message, Got) and message.body != body[::-1]:
            self._world.violated("right answer", life.host.index, f"{to}: {len(message.body)} bytes of something else")
        self.got[to] = isinstance(message, Got)

    def died(self, life: Life, at_ns: int) -> None:
        """Nobody waits for its answers any more."""
        self.asked = {ticket: row for ticket, row in self.asked.items() if row[0] is not life or ticket in self.got}

    def finish(self) -> None:
        """What has not ended by now."""
        for ticket, (life, until_ns, _) in self.asked.items():
            if ticket not in self.got and self._world.now_ns > until_ns + LATE_NS:
                self._world.violated("answered once", life.host.index, f"{ticket} never ended")


class _PeerRule:
    """What is said of peers: bans and strangers."""

    def __init__(self, world: Simulator) -> None:
        self.bans = 0  # of liars
        self._world = world
        self._hosts: dict[bytes, Host] = {host.peer: host for host in world.hosts}

    def told_of(self, life: Life, to: str, message: News, at_ns: int) -> None:
        """A peer's state changed."""
        if not life.host.honest:
            return
        host = self._hosts.get(message.peer)
        if message.state == "banned":
            if host is not None and host.honest and host.network == life.host.network:
                what = f"bans honest node {host.index}: {message.cause}"
                self._world.violated("no honest banned", life.host.index, what)
            else:
                self.bans += 1
        elif message.state in NEAR and (host is None or host.network != life.host.network):
            whom = "nobody" if host is None else f"node {host.index} of network {host.network!r}"
            self._world.violated("one network", life.host.index, f"counts {whom} as {message.state}")


class _RecordRule:
    """Own records: stored before they are shown, and one a sequence number."""

    def __init__(self, world: Simulator) -> None:
        self._world = world
        self._signed: dict[tuple[bytes, int], bytes] = {}

    def signed(self, public_key: bytes, object_type: str, payload: bytes) -> None:
        """The oracle made a signature for an honest core."""
        if object_type != PEER_TYPE:
            return
        seq = decode(payload, bytes_max=1 << 16, items_max=RECORD_ITEMS)[1]
        digest = hashlib.sha3_256(payload).digest()
        if self._signed.setdefault((public_key, seq), digest) != digest:
            node = next((host.index for host in self._world.hosts if host.key == public_key), -1)
            self._world.violated("one record", node, f"signed two records with seq {seq}")

    def shown(self, life: Life, message: Hello) -> None:
        """Everybody hears of a record by the Hello first: by then it survives a crash."""
        if life.host.honest and message.record not in life.host.disk.values():
            self._world.violated("stored first", life.host.index, "shows a record of its own that is not on its disk")


class Checkers:
    """All of them, put into a world. counted: how many things each looked at."""

    def __init__(self, world: Simulator) -> None:
        self.news = NewsRule(world)
        self.asks = AskRule(world)
        self.peers = _PeerRule(world)
        self.records = _RecordRule(world)
        self._world = world
        world.watchers += [self.news, self.asks]
        world.heard |= {
            Arrived: [self.news.arrived], Got: [self.asks.ended], Failed: [self.asks.ended],
            News: [self.peers.told_of],
        }  # fmt: skip
        world.handed[Ask] = [self.asks.begun]
        world.network.on_dial = self._dialled
        world.network.watched[Hello] = self.records.shown

    def finish(self) -> None:
        """At the end of the run."""
        self.asks.finish()
        for what, count in self._world.network.misused.items():
            self._world.violated("ended", -1, f"{count} times {what}")

    def _dialled(self, life: Life, dial: Dial) -> None:
        if dial.conn % 2 or dial.conn <= life.used:
            self._world.violated("numbers", life.host.index, f"dial number {dial.conn} after {life.used}")
        if len(life.dialling) >= DIALS_MAX:
            self._world.violated("numbers", life.host.index, f"{len(life.dialling) + 1} dials under way")
