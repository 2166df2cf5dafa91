"""The papers of a node: what its key vouches for beside its record, shown to peers and asked of them.

Flow: disk, home, clock -> *Papers* -> doors "prekey/1" and "papers/1" -> peers; a peer's papers -> checked -> whoever
wants to seal something to it or to know whose node it is.

    prekey/1   body: empty; answer: the signed record of the present prekey (docs/protocol/sealed.md)
    papers/1   body: empty; answer: canonical CBOR [certificate, [succession, ...]], the certificate empty if nobody
               certifies the node (docs/protocol/certificates.md, succession.md)
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from qcommons.base.canonical import decode_record, encode_record
from qcommons.base.effects import Effect, Note, Send, Store, WakeAt, Woken
from qcommons.base.errors import Corrupt, PeerError, Unavailable
from qcommons.base.units import NS_PER_S, ns_to_s, s_to_ns
from qcommons.mesh.events import Answer, Ask, Asked, Failed, Got, MyOwner, OpenDoor
from qcommons.mesh.records import PeerId
from qcommons.node.backup import successions
from qcommons.node.keys import past
from qcommons.node.mesh.driver import Driver
from qcommons.node.ownership import Ownership
from qcommons.node.store import Store as Disk
from qcommons.pqc.certificates import LINK_BYTES_MAX, Certificate, check_certificate, decode_link, encode_link
from qcommons.pqc.identity import NodeKey, node_hash
from qcommons.pqc.prekey_ring import PREFIX, Kept, PrekeyRing
from qcommons.pqc.prekeys import Prekey, PrekeyPair, check_prekey
from qcommons.pqc.secret_files import Entropy
from qcommons.pqc.succession import RECORD_BYTES_MAX, Succession, check_succession

__all__ = ["PAPERS", "PREKEY", "Papers", "Seen"]

PREKEY, PAPERS = "prekey/1", "papers/1"
ASK_S = 10.0
SUCCESSIONS_SHOWN = 8  # the newest ones: 86 KB
PAPERS_BYTES_MAX = LINK_BYTES_MAX + SUCCESSIONS_SHOWN * RECORD_BYTES_MAX + 1024
TIMER_MAX_S = 3_600.0
LOOK_S = 60.0  # between two looks at the home's papers


class _Shown(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    certificate: bytes
    successions: tuple[bytes, ...]


class Seen(msgspec.Struct, frozen=True):
    """A peer's papers, checked. certificate: None if nobody certifies it. older: the keys it had before."""

    certificate: Certificate | None
    older: tuple[Succession, ...]


class Papers:
    """Of one node. on_note: notes of the prekeys. on_log: name and facts of a line of the log."""

    def __init__(
        self, key: NodeKey, network: str, driver: Driver, disk: Disk, home: Path, entropy: Entropy,
        on_note: Callable[[Note], None], on_log: Callable[..., None],
    ) -> None:  # fmt: skip
        self._key, self._network, self._driver, self._disk, self._home = key, network, driver, disk, home
        self._on_note, self._on_log = on_note, on_log
        self._ring = PrekeyRing(key, network, entropy)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.TimerHandle | None = None
        self._prekey = b""  # the signed record, once it is on disk
        self._shown = encode_record(_Shown(b"", ()))

    def start(self) -> None:
        """Prekeys as they were kept, the owner's certificate and the successions of the home; doors open."""
        driver = self._driver
        driver.doors[f"door/{PREKEY}"] = lambda send: self._answer(send.message, self._prekey)
        driver.doors[f"door/{PAPERS}"] = lambda send: self._answer(send.message, self._shown)
        for protocol in (PREKEY, PAPERS):
            driver.deliver(OpenDoor(protocol))
        items = tuple((name, value) for name, value in self._disk.scan(PREFIX, past(PREFIX)))
        self._carry_out(self._ring.handle(Kept(items), driver.now_ns()))
        self._show(driver.now_ns() // NS_PER_S)

    def stop(self) -> None:
        for timer in (self._timer, self._looking):
            if timer is not None:
                timer.cancel()

    # for this node

    def pair(self, prekey_id: bytes) -> PrekeyPair:
        """For `sealed.unseal`. Raises Unavailable."""
        return self._ring.pair(prekey_id, self._driver.now_ns() // NS_PER_S)

    async def prekey_of(self, peer: PeerId, public_key: bytes) -> Prekey:
        """The present prekey of a peer, for `sealed.seal`. Raises PeerError, Unavailable."""
        signed = await self._ask(peer, PREKEY)
        return check_prekey(public_key, self._network, signed, self._driver.now_ns() // NS_PER_S)

    async def seen(self, peer: PeerId) -> Seen:
        """A peer's papers. Raises PeerError where one of them is false, Unavailable."""
        shown = decode_record(
            await self._ask(peer, PAPERS), _Shown, bytes_max=PAPERS_BYTES_MAX, items_max=8 + SUCCESSIONS_SHOWN
        )
        if len(shown.successions) > SUCCESSIONS_SHOWN:
            limit = f"{SUCCESSIONS_SHOWN}"
            raise PeerError(f"{len(shown.successions)} successions; allowed {limit}", where="successions", limit=limit)
        now_s = self._driver.now_ns() // NS_PER_S
        link = decode_link(shown.certificate) if shown.certificate else None
        certificate = None
        if link is not None:
            owner = node_hash(link.public_key)
            revocations = Ownership(self._home, network=self._network).revocations(owner)
            certificate = check_certificate(link, self._network, peer, now_s, revocations)
        older = tuple(check_succession(raw, self._network) for raw in shown.successions)
        if older and older[-1].new != peer:
            raise PeerError("the last succession leads to another node", where="successions")
        for before, after in itertools.pairwise(older):
            if before.new != after.old:
                raise PeerError("the successions are no chain", where="successions")
        return Seen(certificate, older)

    async def _ask(self, peer: PeerId, protocol: str) -> bytes:
        answer: Any = await self._driver.ask(lambda ticket: Ask(ticket, peer, protocol, b"", s_to_ns(ASK_S)), ASK_S)
        if isinstance(answer, Got):
            return answer.body
        raise Unavailable(answer.what if isinstance(answer, Failed) else "no answer", where=protocol)

    # for others

    def _answer(self, asked: Any, body: bytes) -> None:
        if not isinstance(asked, Asked):
            return
        if asked.body or not body:
            what = "nothing to send with this request" if asked.body else "not ready; try again in a moment"
            failed = Failed("usage" if asked.body else "unavailable", what)
            self._driver.deliver(Answer(asked.peer, asked.id, failed=failed))
        else:
            self._driver.deliver(Answer(asked.peer, asked.id, body))

    def _show(self, now_s: int) -> None:
        """What the home holds; a damaged file is said and costs its paper, not the node's start."""
        certificate, raws, owner = b"", tuple[bytes, ...](), b""
        try:
            found = Ownership(self._home, network=self._network).of_node(self._key.hash, now_s)
            if found is not None:
                owner, certificate = found[0].owner, encode_link(found[1])
        except (Corrupt, Unavailable) as error:
            self._on_log("mesh_paper_damaged", paper="certificate", why=str(error))
        try:
            raws = self._chain(successions(self._home, self._key.hash, self._network))
        except (Corrupt, Unavailable) as error:
            self._on_log("mesh_paper_damaged", paper="successions", why=str(error))
        try:
            nodes = self._certified(now_s)
        except (Corrupt, Unavailable) as error:
            nodes = ()
            self._on_log("mesh_paper_damaged", paper="certified nodes", why=str(error))
        self._driver.deliver(MyOwner(owner, nodes))
        self._shown = encode_record(_Shown(certificate, raws))
        self._looking = self._loop.call_later(LOOK_S, self._look)

    def _certified(self, now_s: int) -> tuple[PeerId, ...]:
        """The other nodes of the owner whose key is in this home."""
        rows = Ownership(self._home, network=self._network).issued()
        own = {PeerId(row.certificate.node) for row in rows if not row.revoked and now_s < row.certificate.until_s}
        return tuple(sorted(own - {PeerId(self._key.hash)}))

    def _look(self) -> None:
        """A certificate that was accepted meanwhile is shown without a restart."""
        self._show(self._driver.now_ns() // NS_PER_S)

    def _chain(self, raws: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """In order, up to the present key, the newest few."""
        by_new = {check_succession(raw, self._network).new: raw for raw in raws}
        chain: list[bytes] = []
        at = self._key.hash
        while at in by_new and len(chain) < SUCCESSIONS_SHOWN:
            raw = by_new.pop(at)
            chain.append(raw)
            at = check_succession(raw, self._network).old
        return tuple(reversed(chain))

    # effects of the ring

    def _carry_out(self, effects: list[Effect]) -> None:
        changes = [(effect.key, effect.value) for effect in effects if isinstance(effect, Store)]
        for effect in effects:
            if isinstance(effect, WakeAt):
                self._wake(effect)
            elif isinstance(effect, Note):
                self._on_note(effect)
            elif isinstance(effect, Send):
                signed = effect.message.signed
                if changes:
                    self._disk.apply(changes, partial(self._from_thread, signed))
                else:
                    self._prekey = signed

    def _from_thread(self, signed: bytes) -> None:
        self._loop.call_soon_threadsafe(self._publish, signed)

    def _publish(self, signed: bytes) -> None:
        self._prekey = signed

    def _wake(self, wake: WakeAt) -> None:
        left_s = ns_to_s(wake.at_ns - self._driver.now_ns())
        self._timer = self._loop.call_later(min(max(0.0, left_s), TIMER_MAX_S), self._woken, wake)

    def _woken(self, wake: WakeAt) -> None:
        if self._driver.now_ns() < wake.at_ns:
            self._wake(wake)
        else:
            self._carry_out(self._ring.handle(Woken(wake.token), self._driver.now_ns()))
