"""The mesh's side of the API: what people ask of it, in their words.

Flow: routes -> *Door* -> driver (a ticket each) -> core; core.peers_view, reach -> *Door* -> rows. `views.py` makes the
rows; what is asked and waited for is here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from qcommons.base.errors import PeerError, QCommonsError, Unavailable, UsageError
from qcommons.base.units import s_to_ns
from qcommons.mesh.events import Failed, Got, MyAway, PeerBanned, PeerForgotten, ProbeNews, Reached
from qcommons.mesh.events import ProbeHeard as Heard
from qcommons.mesh.invite import parse as parse_invite
from qcommons.mesh.records import PeerId
from qcommons.node.api.mesh_records import (
    AwayAsked,
    AwayView,
    Before,
    InviteView,
    JoinAsked,
    Joined,
    MeasureAsked,
    Measured,
    MeshView,
    PapersView,
    PeerRow,
    ProbeAsked,
    Probed,
    ProbeHeard,
    SeverAsked,
    Severed,
    Verdict,
    Window,
)
from qcommons.node.mesh.asks import Asks
from qcommons.node.mesh.driver import Driver
from qcommons.node.mesh.invitations import Invitations
from qcommons.node.mesh.measuring import Measuring, quantile_s
from qcommons.node.mesh.papers import Papers
from qcommons.node.mesh.views import Views
from qcommons.pqc.certificates import owner_id
from qcommons.pqc.identity import node_id_of_hash, parse_node_id

__all__ = ["Door"]

ASK_S = 5.0
YEAR_S = 366 * 86_400  # an absence beyond is no absence
VERDICTS = {"allow": "allow", "deny": "deny", "neither": ""}


class Door:
    """views: makes the rows. sever: of development nodes, None on any other."""

    def __init__(
        self,
        driver: Driver,
        views: Views,
        measuring: Measuring,
        papers: Papers,
        asks: Asks,
        network: str,
        invitations: Invitations,
        sever: Callable[[frozenset[PeerId]], None] | None,
    ) -> None:
        self._driver, self._views, self._measuring, self._papers = driver, views, measuring, papers
        self.asks = asks
        self._network, self._invitations, self._sever = network, invitations, sever

    def view(self) -> MeshView:
        self._driver.check()
        return self._views.mesh()

    def invite(self) -> InviteView:
        self._driver.check()
        return self._views.invite()

    async def join(self, asked: JoinAsked) -> Joined:
        invite = parse_invite(asked.invite)
        if invite.network != self._network:
            what = (
                f"the invitation is for the network {invite.network!r}, this node is in {self._network!r}; change it "
                f"with: qcommons config set mesh.network {invite.network}, then restart the node"
            )
            raise UsageError(what, where="invite", limit=self._network)
        if invite.node == self._driver.core.me:
            raise UsageError("the invitation is this node's own; use it on another one", where="invite")
        self._invitations.take(invite, self._driver.now_ns(), self._views.alive())
        peer = invite.node
        tries = [
            asyncio.ensure_future(self._driver.ask(_reaching(address, peer), asked.wait_s))
            for address in invite.addresses
        ]
        linked, cause = await _first_good(tries, asked.wait_s)
        known = len(self._views.mesh().peers)
        return Joined(node=node_id_of_hash(peer), network=self._network, linked=linked, cause=cause, peers=known)

    async def decide(self, peer: str, verdict: Verdict) -> PeerRow:
        who = _peer(peer)
        await self._ask(lambda ticket: PeerBanned(ticket, who, VERDICTS[verdict]))
        return self._views.row_of(who)

    async def forget(self, peer: str) -> None:
        who = _peer(peer)
        await self._ask(lambda ticket: PeerForgotten(ticket, who))
        self._invitations.forget(who)

    async def measure(self, peer: str, asked: MeasureAsked) -> Measured:
        self._driver.check()
        return await self._measuring.measure(_peer(peer), peer, asked)

    async def papers(self, peer: str) -> PapersView:
        who = _peer(peer)
        signed = self._driver.core.signed(who)
        if signed is None:
            raise UsageError(f"no record of {peer} is known; see qcommons peers", where="peer")
        seen = await self._papers.seen(who)
        prekey = await self._papers.prekey_of(who, signed.record.key)
        certificate = seen.certificate
        return PapersView(
            node=node_id_of_hash(who),
            owner="" if certificate is None else owner_id(certificate.owner),
            owner_until_s=None if certificate is None else certificate.until_s,
            before=tuple(Before(node=node_id_of_hash(one.old), until_s=one.at_s) for one in seen.older),
            prekey_until_s=prekey.until_s,
        )

    async def probe(self, asked: ProbeAsked) -> Probed:
        alive = self._views.alive()
        answer = await self._driver.ask(lambda ticket: ProbeNews(ticket, s_to_ns(asked.wait_s)), asked.wait_s)
        heard = _answered(answer, Heard).heard
        times_ns = sorted(took_ns for _, took_ns in heard)
        return Probed(
            heard=tuple(ProbeHeard(node=node_id_of_hash(who), seconds=took_ns / 1e9) for who, took_ns in heard),
            silent=tuple(node_id_of_hash(who) for who in sorted(alive - {who for who, _ in heard})),
            p50_s=quantile_s(times_ns, 0.5) if times_ns else None,
            p99_s=quantile_s(times_ns, 0.99) if times_ns else None,
        )

    async def away(self, asked: AwayAsked) -> AwayView:
        now_s = self._driver.now_ns() // 10**9
        for window in asked.windows:
            start_s, until_s = window.from_s, window.until_s
            if until_s <= max(start_s, now_s) or until_s - now_s > YEAR_S:
                what = f"an absence from {_moment(start_s)} until {_moment(until_s)} must end after it begins"
                what = f"{what}, after now ({_moment(now_s)}), within a year"
                raise UsageError(what, where="windows", limit="a year")
        windows = tuple(sorted((window.from_s, window.until_s) for window in asked.windows))
        await self._ask(lambda ticket: MyAway(ticket, windows))
        return AwayView(windows=tuple(Window(*window) for window in windows))

    def sever(self, asked: SeverAsked) -> Severed:
        if self._sever is None:
            what = "only nodes of `qcommons dev up` can be cut off; deny a peer instead: qcommons peers deny NODE"
            raise UsageError(what, where="sever")
        peers = frozenset(_peer(node) for node in asked.nodes)
        self._sever(peers)
        return Severed(nodes=tuple(asked.nodes))

    async def _ask(self, make: Callable[[str], Any]) -> None:
        answer = await self._driver.ask(make, ASK_S)
        if isinstance(answer, Failed):
            raise _error(answer)


def _reaching(address: str, peer: PeerId) -> Callable[[str], Reached]:
    return lambda ticket: Reached(ticket, address, peer, bootstrap=True)


async def _first_good(tries: Sequence[asyncio.Future[Any]], wait_s: float) -> tuple[bool, str]:
    """Whether one of them answered well within the time, and else why not."""
    cause = f"no answer within {wait_s:g} s"
    try:
        for done in asyncio.as_completed(tries, timeout=wait_s):
            answer = await done
            if isinstance(answer, Got):
                return True, ""
            cause = answer.what
    except TimeoutError:
        pass
    finally:
        for one in tries:
            one.cancel()
        await asyncio.gather(*tries, return_exceptions=True)
    return False, cause


def _peer(text: str) -> PeerId:
    """Raises UsageError whose `where` is "peer"."""
    try:
        return PeerId(parse_node_id(text))
    except UsageError as error:
        raise UsageError(error.what, where="peer", limit=error.limit) from None


def _moment(second: int) -> str:
    """As people write it, UTC (RFC 3339)."""
    try:
        return datetime.fromtimestamp(second, UTC).isoformat(" ")
    except (OverflowError, ValueError, OSError):
        return str(second)


def _answered(answer: Any, kind: type[Any]) -> Any:
    if isinstance(answer, Failed):
        raise _error(answer)
    assert isinstance(answer, kind)
    return answer


def _error(failed: Failed) -> Exception:
    where, limit = failed.where or None, failed.limit or None
    kinds: dict[str, type[QCommonsError]] = {"usage": UsageError, "peer": PeerError}
    return kinds.get(failed.who, Unavailable)(failed.what, where=where, limit=limit)
