"""Asks on a running node: the bazaar with its disk, gossip, doors and clock; what the API shows of it.

Flow: disk -> *Asks.start* -> Bazaar; API -> *set, withdraw, listed*; gossip, neighbours -> *Asks* -> Bazaar -> book ->
*of* -> place. After the first link, and then every ten minutes, one neighbour is asked for the asks that are not known
here: gossip repeats nothing that is older than five minutes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from qcommons.base.clock import duration_text
from qcommons.base.effects import Effect, Note, Send, Store, note
from qcommons.base.errors import Corrupt, PeerError, Unavailable
from qcommons.base.units import NS_PER_S, s_to_ns
from qcommons.jobs.asks import RESOURCES, Ask, Resource, why_closed
from qcommons.jobs.market import Standing
from qcommons.jobs.place import STATES
from qcommons.mesh.events import Answer, Arrived, Asked, Failed, Got, OpenDoor, OpenTopic
from qcommons.mesh.events import Ask as AskPeer
from qcommons.mesh.records import PeerId
from qcommons.node.api.ask_records import AskAsked, AskList, AskRow, OwnAsk
from qcommons.node.api.mesh_records import Window
from qcommons.node.keys import past
from qcommons.node.mesh.bazaar import PAGES_MAX, PROTOCOL, TOPIC, Bazaar, Own, Wish
from qcommons.node.mesh.driver import Driver
from qcommons.node.store import Store as Disk
from qcommons.pqc.identity import NodeKey, node_id_of_hash

__all__ = ["Asks"]

PREFIX = "asks/"
ASK_S = 20.0  # an answer of 1 MiB over a slow link
SYNC_S = 600.0  # between two looks at what a neighbour knows: 8 KB where nothing is new
RETRY_S = 15.0  # after one that did not answer
SLICE = 16  # files checked at a time, 0.3 ms each; others are served in between
BARRED_MAX = 1_024
KNOWN: dict[Standing, Literal["stranger", "proven", "trusted"]] = {
    Standing.STRANGER: "stranger", Standing.PROVEN: "proven", Standing.TRUSTED: "trusted"
}  # fmt: skip
UNKNOWN = "unknown"  # state of a peer of which no record is here
TURN_ON = "qcommons config set share.enabled true, then restart the node"


class Asks:
    """Of one node. sharing: as the settings say. is_proven: whether this node's checks found a peer's work right; set
    by whoever knows."""

    def __init__(
        self, key: NodeKey, network: str, sharing: bool, driver: Driver, disk: Disk, rng: np.random.Generator,
        on_note: Callable[[Note], None],
    ) -> None:  # fmt: skip
        self._driver, self._disk, self._rng, self._on_note = driver, disk, rng, on_note
        self.is_proven: Callable[[PeerId], bool] = lambda peer: False
        self.bazaar = Bazaar(key, network, sharing=sharing, standing=self._standing, source=self._source)
        self._loop = asyncio.get_running_loop()
        self._barred: dict[PeerId, None] = {}
        self._task: asyncio.Task[None] | None = None
        self._linked = asyncio.Event()

    def start(self) -> None:
        """Own asks as they were kept; the topic and the door open."""
        driver = self._driver
        driver.doors[f"topic/{TOPIC}"] = lambda send: self._heard(send.message)
        driver.doors[f"door/{PROTOCOL}"] = lambda send: self._asked(send.message)
        driver.deliver(OpenTopic(TOPIC, self.bazaar.accept))
        driver.deliver(OpenDoor(PROTOCOL))
        kept = dict(self._disk.scan(PREFIX, past(PREFIX)))
        self._carry_out(self.bazaar.begin(kept, driver.now_ns()))
        self._task = self._loop.create_task(self._follow())

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def of(self, peer: PeerId, now_s: int) -> Ask | None:
        """A peer's ask for work that counts now, for placing. now_s: Unix seconds."""
        return self.bazaar.book.of(peer, "work", now_s)

    def offered(self, resource: Resource) -> Ask | None:
        """This node's own ask, as others have it, while it is offered; None where nothing is."""
        now_s = self._driver.now_ns() // NS_PER_S
        own = next((own for own in self.bazaar.own() if own.resource == resource), None)
        if own is None or own.signed is None or not own.signed.places or own.signed.until_s <= now_s:
            return None
        return own.signed

    # the API

    def listed(self, resource: Resource | None, *, everything: bool) -> AskList:
        self._driver.check()
        now_ns = self._driver.now_ns()
        states = {view.peer: view.state for view in self._driver.core.peers_view(now_ns)}
        wanted = (resource,) if resource else tuple(RESOURCES)
        rows = [
            self._row(ask, why, states.get(PeerId(ask.node), UNKNOWN), now_ns // NS_PER_S)
            for kind in wanted
            for ask, why in self.bazaar.book.held(kind, now_ns // NS_PER_S)
        ]
        shown = [row for row in rows if everything or not row.why]
        own = [self._own(one) for one in self.bazaar.own() if one.resource in wanted]
        return AskList(
            now_ns=now_ns, asks=tuple(shown), own=tuple(own), hidden=len(rows) - len(shown),
            units={kind: RESOURCES[kind] for kind in wanted},
        )  # fmt: skip

    async def set(self, resource: Resource, asked: AskAsked) -> OwnAsk:
        self._driver.check()
        windows = tuple((window.from_s, window.until_s) for window in asked.windows)
        wish = Wish(
            resource=resource, price_per_giga=asked.price_per_giga, capacity_per_s=asked.capacity_per_s,
            places=asked.places, fidelity_ppm=asked.fidelity_ppm, from_s=asked.from_s, until_s=asked.until_s,
            windows=windows, transferable=asked.transferable,
        )  # fmt: skip
        await self._durable(self.bazaar.set(wish, self._driver.now_ns()))
        return self._own_of(resource)

    async def withdraw(self, resource: Resource) -> OwnAsk:
        self._driver.check()
        await self._durable(self.bazaar.withdraw(resource, self._driver.now_ns()))
        return self._own_of(resource)

    def _own_of(self, resource: Resource) -> OwnAsk:
        return next(self._own(own) for own in self.bazaar.own() if own.resource == resource)

    def _own(self, own: Own) -> OwnAsk:
        now_s = self._driver.now_ns() // NS_PER_S
        state, signed = self.bazaar.state(own, now_s), own.signed
        shown = own.wish or (None if signed is None else _wish_of(signed))
        assert shown is not None  # a row has one of the two
        told = signed if signed is not None and signed.until_s > now_s and signed.places else None
        cause, action = _why(state, own, now_s)
        return OwnAsk(
            resource=own.resource, state=state, cause=cause, action=action, price_per_giga=shown.price_per_giga,
            capacity_per_s=shown.capacity_per_s, places=shown.places, fidelity_ppm=shown.fidelity_ppm,
            from_s=shown.from_s, until_s=shown.end_s(), windows=_windows(shown.windows),
            transferable=shown.transferable, told_until_s=None if told is None else told.until_s,
            made_ns=None if told is None else told.seq * 1_000_000,
        )  # fmt: skip

    def _row(self, ask: Ask, why: str, state: str, now_s: int) -> AskRow:
        why = why or why_closed(ask, now_s) or _why_away(state)
        return AskRow(
            node=node_id_of_hash(ask.node), resource=ask.resource, price_per_giga=ask.price_per_giga,
            capacity_per_s=ask.capacity_per_s, places=ask.places, fidelity_ppm=ask.fidelity_ppm,
            from_s=ask.not_before_s, until_s=ask.until_s, windows=_windows(ask.windows),
            transferable=ask.transferable, made_ns=ask.seq * 1_000_000, known=KNOWN[self._standing(PeerId(ask.node))],
            peer=state, why=why,
        )  # fmt: skip

    # how a peer is known

    def _standing(self, peer: PeerId) -> Standing:
        if self._driver.core.relation(peer) in ("own", "allowed"):
            return Standing.TRUSTED
        return Standing.PROVEN if self.is_proven(peer) else Standing.STRANGER

    def _source(self, peer: PeerId) -> str:
        """The prefix by which its record came; all that are in no book are one source, and push out each other."""
        entry = self._driver.core.book.entries.get(peer)
        return "unknown" if entry is None else entry.prefix or "unknown"

    # others

    def met(self, peer: PeerId) -> None:
        """A link with a peer came about."""
        self._linked.set()

    def _heard(self, arrived: Any) -> None:
        if isinstance(arrived, Arrived):
            self._carry_out(self.bazaar.learn(arrived.payload, self._driver.now_ns())[0])

    def _asked(self, asked: Any) -> None:
        if not isinstance(asked, Asked):
            return
        page = self.bazaar.page(asked.body, self._driver.now_ns())
        failed = page if isinstance(page, Failed) else None
        self._driver.deliver(Answer(asked.peer, asked.id, b"" if isinstance(page, Failed) else page, failed=failed))

    async def _follow(self) -> None:
        """Renew own asks, and look at what a neighbour knows, for as long as the node runs."""
        was_alone = True
        while True:
            await self._linked.wait()
            wait_s = RETRY_S
            try:
                now_ns = self._driver.now_ns()
                peers = [peer for peer in sorted(self._driver.core.linked()) if peer not in self._barred]
                if not peers:
                    self._linked.clear()
                    was_alone = True
                    continue
                self._carry_out(self.bazaar.refreshed(now_ns) if was_alone else self.bazaar.looked(now_ns))
                was_alone = False
                if await self._sync(peers[int(self._rng.integers(len(peers)))]):
                    wait_s = SYNC_S * (0.75 + 0.5 * self._rng.random())  # nodes that began together drift apart
            except Unavailable as error:
                self._on_note(note("asks_not_followed", why=str(error)))
            except Corrupt:  # the mesh stopped by a fault of ours, which is said
                return
            await asyncio.sleep(wait_s)

    async def _sync(self, peer: PeerId) -> bool:
        """Ask one neighbour for what is not known here; False where it did not answer."""
        for _ in range(PAGES_MAX):
            answer: Any = await self._driver.ask(
                lambda ticket: AskPeer(
                    ticket, peer, PROTOCOL, self.bazaar.request(self._driver.now_ns()), s_to_ns(ASK_S)
                ),
                ASK_S,
            )
            if not isinstance(answer, Got):
                return False
            known = len(self.bazaar.book)
            if not await self._take(peer, answer.body):
                return True
            if len(self.bazaar.book) == known:  # what it has more is of no use here
                return True
        return True

    async def _take(self, peer: PeerId, body: bytes) -> bool:
        """Learn a neighbour's files; whether it has more. One that tells what it could have seen to be false is not
        asked again before the next start."""
        try:
            files, is_more = self.bazaar.files_of(body)
        except PeerError as error:
            self._bar(peer, f"no page of asks: {error}")
            return False
        for at in range(0, len(files), SLICE):
            for raw in files[at : at + SLICE]:
                effects, is_false = self.bazaar.learn(raw, self._driver.now_ns())
                self._carry_out(effects)
                if is_false:
                    self._bar(peer, "it passed on an ask that is malformed or forged")
                    return False
            await asyncio.sleep(0)
        return is_more

    def _bar(self, peer: PeerId, why: str) -> None:
        self._barred[peer] = None
        if len(self._barred) > BARRED_MAX:
            del self._barred[next(iter(self._barred))]
        self._on_note(note("asks_teller_barred", peer=peer.hex(), why=why))

    # effects

    def _carry_out(self, effects: list[Effect], then: Callable[[], None] | None = None) -> None:
        """Stores together, and what is told once they are on disk."""
        changes: list[tuple[str, bytes | None]] = []
        later: list[Send] = []
        for effect in effects:
            if isinstance(effect, Store):
                changes.append((effect.key, effect.value))
            elif isinstance(effect, Send):
                later.append(effect)
            elif isinstance(effect, Note):
                self._on_note(effect)

        def told() -> None:
            for send in later:
                self._driver.deliver(send.message)
            if then is not None:
                then()

        if changes:
            self._disk.apply(changes, lambda: self._from_thread(told))
        else:
            told()

    def _from_thread(self, told: Callable[[], None]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(told)

    async def _durable(self, effects: list[Effect]) -> None:
        done = self._loop.create_future()
        self._carry_out(effects, lambda: None if done.done() else done.set_result(None))
        await done


def _windows(windows: tuple[tuple[int, int], ...]) -> tuple[Window, ...]:
    return tuple(Window(*window) for window in windows)


def _wish_of(ask: Ask) -> Wish:
    """What is shown of a resource that was withdrawn."""
    return Wish(
        resource=ask.resource, price_per_giga=0, capacity_per_s=0, places=0, fidelity_ppm=ask.fidelity_ppm,
        until_s=ask.until_s,
    )  # fmt: skip


def _why_away(state: str) -> str:
    """Why nothing can be sent to a peer in this state of the mesh."""
    if state == UNKNOWN:
        return "no record of its node is here, so it cannot be reached yet"
    return "away as planned; see `qcommons peers`" if state == "away" else STATES.get(state, "")


def _why(state: str, own: Own, now_s: int) -> tuple[str, str]:
    """(cause, what to do) where a resource is not offered."""
    if state == "off":
        return "sharing is off, so nothing is offered and strangers' work is refused", TURN_ON
    if state == "over" and own.wish is not None:
        ago = duration_text((now_s - (own.wish.end_s() or now_s)) * NS_PER_S)
        return f"it ended {ago} ago", f"qcommons ask set {own.resource} ..."
    if state == "later" and own.wish is not None:
        return f"it begins in {duration_text((own.wish.from_s - now_s) * NS_PER_S)}", ""
    if state == "withdrawn":
        return "withdrawn", f"qcommons ask set {own.resource} ..."
    return "", ""
