"""The prekeys of this node: one present, a few past, none for long.

Flow: what was stored, the clock -> *PrekeyRing* -> Store (before anything is sent), Send("prekey", Fresh), WakeAt;
`pair` gives `sealed.unseal` the secret half that a box names.

    made -- EVERY_S --> replaced -- until VALID_S after it was made: others may still seal to it
                                 -- GRACE_S more: boxes under way can still be opened --> destroyed

A crash loses at most a prekey that nobody has heard of, since each is on disk before its record is sent; one that was
to be destroyed meanwhile is destroyed at the start. Destroyed means deleted from the store: an old copy of the disk
together with the node's key can still open what was sealed to it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from qcommons.base.effects import Effect, Send, Store, WakeAt, Woken, note
from qcommons.base.errors import Corrupt, Unavailable
from qcommons.base.units import NS_PER_S
from qcommons.pqc.identity import NodeKey
from qcommons.pqc.prekeys import CLOCKS_APART_S, PREKEY_SEED_BYTES, Prekey, PrekeyPair, keep, kept, publish
from qcommons.pqc.secret_files import Entropy

__all__ = ["EVERY_S", "GRACE_S", "PREFIX", "VALID_S", "Fresh", "Kept", "PrekeyRing"]

PREFIX = "prekey/"  # of the keys of the store, then the prekey id in hex
TOKEN = "prekeys"
EVERY_S = 86_400
VALID_S = 7 * 86_400  # so that a box can be sealed to a node that is away for some days
GRACE_S = 2 * 86_400  # for boxes that relays hold
RING_MAX = 24  # 10 where the clock runs evenly; a clock that jumps makes more, and the oldest go


class Kept(msgspec.Struct, frozen=True):
    """First event after every start: what was stored under `PREFIX`, key -> value."""

    items: tuple[tuple[str, bytes], ...]


class Fresh(msgspec.Struct, frozen=True):
    """Send("prekey", Fresh): the signed record of the present prekey, for whoever asks."""

    signed: bytes


class _Held(msgspec.Struct, frozen=True):
    signed: bytes
    prekey: Prekey
    pair: PrekeyPair


class PrekeyRing:
    """One machine for one node; see the drawing above. entropy: gives fresh secret bytes."""

    def __init__(
        self, key: NodeKey, network: str, entropy: Entropy, *, every_s: int = EVERY_S, valid_s: int = VALID_S,
        grace_s: int = GRACE_S,
    ) -> None:  # fmt: skip
        self._key, self._network, self._entropy = key, network, entropy
        self._every_s, self._valid_s, self._grace_s = every_s, valid_s, grace_s
        self._held: dict[bytes, _Held] = {}  # by prekey id
        self._present: _Held | None = None

    def handle(self, event: Kept | Woken, now_ns: int) -> list[Effect]:
        """Take what was stored, or look at the clock. now_ns: since 1970."""
        effects: list[Effect] = []
        if isinstance(event, Kept):
            for name, value in event.items:
                effects += self._restore(name, value)
        elif event.token != TOKEN:
            return [note("prekey_token_unknown", token=repr(event.token)[:60])]
        return effects + self._look(now_ns // NS_PER_S)

    @property
    def signed(self) -> bytes:
        """The signed record of the present prekey, empty before the first event."""
        return b"" if self._present is None else self._present.signed

    def pair(self, prekey_id: bytes, now_s: int) -> PrekeyPair:
        """Both halves of the prekey that a box names.

        Raises:
            Unavailable: it is past its grace, or unknown here.
        """
        held = self._held.get(prekey_id)
        if held is None:
            what = (
                f"prekey {prekey_id.hex()} is unknown here: it was destroyed {self._grace_s} s after it expired, or "
                "is another node's; ask for the box to be sealed again, to the present prekey"
            )
            raise Unavailable(what, where="prekey")
        over_s = now_s - self._end_s(held.prekey)
        if over_s >= 0:
            what = (
                f"prekey {prekey_id.hex()} expired, its grace ended {over_s} s ago; ask for the box to be sealed again"
            )
            raise Unavailable(what, where="prekey")
        return held.pair

    def _restore(self, name: str, value: bytes) -> list[Effect]:
        try:
            signed, prekey, pair = kept(self._key, self._network, value)
        except Corrupt as error:  # also after the node's key was rotated
            return [note("prekey_lost", key=name, why=error.what), Store(name, None)]
        if name != _name(prekey):
            return [note("prekey_lost", key=name, why="it is stored under another name"), Store(name, None)]
        self._held[prekey.id] = _Held(signed, prekey, pair)
        return []

    def _look(self, now_s: int) -> list[Effect]:
        over = [held.prekey for held in self._held.values() if now_s >= self._end_s(held.prekey)]
        effects = self._destroy(over)
        # where the clock was set back, those of the future stay for when it is right again, but peers refuse them
        usable = [held for held in self._held.values() if held.prekey.from_s - CLOCKS_APART_S <= now_s]
        present = max(usable, key=lambda held: held.prekey.from_s, default=None)
        if present is None or now_s >= present.prekey.from_s + self._every_s:
            present, made = self._make(now_s)
            effects += made
        self._present = present
        next_s = min([present.prekey.from_s + self._every_s, *(self._end_s(h.prekey) for h in self._held.values())])
        return [*effects, Send("prekey", Fresh(present.signed)), WakeAt(next_s * NS_PER_S, TOKEN)]

    def _make(self, now_s: int) -> tuple[_Held, list[Effect]]:
        by_age = sorted((held.prekey for held in self._held.values()), key=lambda prekey: prekey.from_s)
        effects = self._destroy(by_age[: max(0, len(by_age) - RING_MAX + 1)])
        pair = PrekeyPair(self._entropy(PREKEY_SEED_BYTES))
        prekey = Prekey(self._key.hash, pair.id, pair.public, now_s, now_s + self._valid_s)
        held = _Held(publish(self._key, self._network, pair, prekey.from_s, prekey.until_s), prekey, pair)
        self._held[pair.id] = held
        value = keep(self._key, held.signed, pair, self._entropy)
        made = note("prekey_made", prekey=pair.id.hex(), until_s=prekey.until_s)
        return held, [*effects, Store(_name(prekey), value), made]

    def _destroy(self, going: Iterable[Prekey]) -> list[Effect]:
        effects: list[Effect] = []
        for prekey in going:
            del self._held[prekey.id]
            effects += [Store(_name(prekey), None), note("prekey_destroyed", prekey=prekey.id.hex())]
        return effects

    def _end_s(self, prekey: Prekey) -> int:
        return prekey.until_s + self._grace_s


def _name(prekey: Prekey) -> str:
    return PREFIX + prekey.id.hex()
