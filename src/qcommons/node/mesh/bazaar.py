"""Bazaar: the market as this node sees it: its own asks, and the book of others'. Pure.

Flow: owner -> *Bazaar.set, withdraw* -> Store, Publish => gossip "asks.1" => others: *accept*, *learn* -> Book ->
quote, place. A neighbour asks "work.asks/1" -> *page*; this node asks one -> *request*, *files_of*, *learn*.
docs/protocol/asks.md has the messages; `asks.py` beside it drives this one.

What the owner wishes is kept apart from what was signed last, for each resource:

    the wish                              what stands signed
    is there, and sharing is on           an ask for it; signed again at each start, once a day, when links come back
                                          after a while without any, and never beyond the owner's end
    is there, sharing is off              nothing; what was told before is taken back
    is over, or was withdrawn             the same

An ask is taken back by a newer one with no places, which holds as long as the one before would have.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Literal, NamedTuple

import msgspec

from qcommons.base.canonical import decode_record, encode_record
from qcommons.base.effects import Effect, Send, Store, note
from qcommons.base.errors import PeerError, UsageError
from qcommons.base.typed import described
from qcommons.base.units import NS_PER_S, PPM
from qcommons.jobs.asks import (
    ASK_FILE_BYTES_MAX,
    LIFE_S_MAX,
    PLACES_MAX,
    RESOURCES,
    WINDOWS_MAX,
    Ask,
    Resource,
    Window,
    ask_hash,
    check_ask,
    read_ask,
    sign_ask,
)
from qcommons.jobs.market import ASKS_MAX, EVIDENCE_KEY, KNOWN_BYTES, Book, Standing
from qcommons.mesh.bucket import Bucket, Rate
from qcommons.mesh.events import Failed, Publish
from qcommons.mesh.messages import Gossip
from qcommons.mesh.records import PeerId
from qcommons.pqc.identity import NodeKey

__all__ = ["MESH", "OWN_KEY", "PAGES_MAX", "PROTOCOL", "TOPIC", "Bazaar", "Own", "State", "Wish"]

TOPIC = "asks.1"
PROTOCOL = "work.asks/1"
MESH = "mesh"  # who gets what is to be published
OWN_KEY = "asks/own/"  # and the resource
RENEW_S = 86_400  # an ask holds 8 days at most: seven renewals may be missed
AGAIN_S = 240  # gossip gives what is younger than 5 minutes to new neighbours by itself
PAGE_FILES_MAX = 120  # of at most 8 KiB each, in an answer of 1 MiB
PAGES_MAX = ASKS_MAX // PAGE_FILES_MAX + 1
PAGE_BYTES_MAX = PAGE_FILES_MAX * (ASK_FILE_BYTES_MAX + 8) + 64
REQUEST_BYTES_MAX = KNOWN_BYTES * (ASKS_MAX + len(RESOURCES)) + 16
ALL_PAGES = Rate(4, 32)  # to all that ask; `mesh.pacing` holds each of them to one a second
AHEAD_S_MAX = 366 * 86_400  # what an owner plans beyond a year is no plan
INT63 = (1 << 63) - 1

State = Literal["offered", "later", "off", "over", "withdrawn"]


class Wish(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What the owner wants for a resource, as in `Ask`. from_s: 0 for at once. until_s: None until it is withdrawn; of
    asks with windows, until the last one ends."""

    resource: Resource
    price_per_giga: int
    capacity_per_s: int
    places: int
    fidelity_ppm: int = 0
    from_s: int = 0
    until_s: int | None = None
    windows: tuple[Window, ...] = ()
    transferable: bool = False

    def end_s(self) -> int | None:
        """From then on nothing is wished; None where there is no end."""
        last = self.windows[-1][1] if self.windows else None
        return last if self.until_s is None else self.until_s if last is None else min(last, self.until_s)


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    """One resource on disk. raw: the file that was signed last, empty if none was."""

    wish: Wish | None
    raw: bytes


class Own(NamedTuple):
    """One resource of this node. wish: None once withdrawn. signed: the ask that others have, if one was signed."""

    resource: Resource
    wish: Wish | None
    signed: Ask | None
    raw: bytes


class _Request(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    known: Annotated[bytes, msgspec.Meta(max_length=REQUEST_BYTES_MAX)]


class _Page(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    files: Annotated[tuple[bytes, ...], msgspec.Meta(max_length=PAGE_FILES_MAX)]
    is_more: bool


class Bazaar:
    """Of one node. sharing: whether it takes work of strangers; without, nothing is offered.

    standing, source: of an ask's author, as `Book.learn` takes them: how well its node is known here, and the prefix
    of the address by which that came, the same for all of whom nothing is known.
    """

    def __init__(
        self, key: NodeKey, network: str, *, sharing: bool,
        standing: Callable[[PeerId], Standing], source: Callable[[PeerId], str],
    ) -> None:  # fmt: skip
        self.sharing = sharing
        self._key, self._network = key, network
        self._standing, self._source = standing, source
        self._own: dict[Resource, Own] = {}
        self._told_ns = 0  # when all own asks were published last
        self._pages = Bucket()
        self.book = Book(key.hash, network)

    def begin(self, kept: dict[str, bytes], now_ns: int) -> list[Effect]:
        """What was stored before, key -> value; own asks are signed anew, for old news do not pass."""
        names = [key.removeprefix(EVIDENCE_KEY) for key in kept if key.startswith(EVIDENCE_KEY)]
        self.book = Book(self._key.hash, self._network, names)
        out: list[Effect] = []
        for key, value in sorted(kept.items()):
            if key.startswith(OWN_KEY):
                out += self._load(key, value)
        return [*out, *self.refreshed(now_ns)]

    def _load(self, key: str, value: bytes) -> list[Effect]:
        try:
            row = msgspec.msgpack.decode(value, type=described(_Kept))
            signed = read_ask(row.raw) if row.raw else None
            resource = row.wish.resource if row.wish else None if signed is None else signed.resource
            if resource is None or key != OWN_KEY + resource:
                raise PeerError("neither wish nor ask of this resource")
        except (msgspec.MsgspecError, PeerError) as error:
            return [Store(key, None), note("asks_row_damaged", key=key, why=str(error))]
        if signed is not None and signed.node != self._key.hash:  # the node's key was rotated: it is another's ask now
            signed, row = None, _Kept(row.wish, b"")
        self._own[resource] = Own(resource, row.wish, signed, row.raw)
        return []

    # this node's own

    def own(self) -> list[Own]:
        """In the order of `RESOURCES`."""
        return [self._own[resource] for resource in RESOURCES if resource in self._own]

    def state(self, own: Own, now_s: int) -> State:
        if own.wish is None:
            return "withdrawn"
        end_s = own.wish.end_s()
        if end_s is not None and end_s <= now_s:
            return "over"
        if not self.sharing:
            return "off"
        return "later" if own.wish.from_s > now_s else "offered"

    def set(self, wish: Wish, now_ns: int) -> list[Effect]:
        """Wish it from now on, in place of what was wished before. Raises UsageError, with ranges."""
        _check_wish(wish, now_ns // NS_PER_S)
        before = self._own.get(wish.resource)
        own = Own(wish.resource, wish, None, b"") if before is None else before._replace(wish=wish)
        return self._settle(own, now_ns, is_new=True)

    def withdraw(self, resource: Resource, now_ns: int) -> list[Effect]:
        """Wish nothing any more. Raises UsageError where nothing was."""
        own = self._own.get(resource)
        if own is None or own.wish is None:
            raise UsageError(f"this node has no ask for {resource}; see: qcommons ask show", where="resource")
        return self._settle(own._replace(wish=None), now_ns)

    def looked(self, now_ns: int) -> list[Effect]:
        """Now and then: renew what is due, and take back what is over."""
        return [effect for own in self.own() for effect in self._settle(own, now_ns)]

    def refreshed(self, now_ns: int) -> list[Effect]:
        """Sign and tell all own asks again: after a start, and once a node has links again; nothing where they were
        told a moment ago."""
        if self._told_ns and now_ns - self._told_ns < AGAIN_S * NS_PER_S:
            return []
        self._told_ns = now_ns
        return [effect for own in self.own() for effect in self._settle(own, now_ns, is_new=True)]

    def _settle(self, own: Own, now_ns: int, *, is_new: bool = False) -> list[Effect]:
        """Keep it, with an ask signed where one is due. is_new: sign what is wished in any case."""
        now_s = now_ns // NS_PER_S
        ask: Ask | None = None
        seq = max(now_ns // 1_000_000, own.signed.seq + 1 if own.signed is not None else 1)
        if own.wish is not None and self.state(own, now_s) in ("offered", "later"):
            fresh = _ask_of(own.wish, self._key.hash, seq)
            if is_new or own.signed is None or _is_due(own.signed, fresh):
                ask = fresh
        elif own.signed is not None and own.signed.places and own.signed.until_s > now_s:
            ask = msgspec.structs.replace(
                own.signed, price_per_giga=0, capacity_per_s=0, places=0, windows=(), transferable=False, seq=seq
            )
        was = self._own.get(own.resource)
        if ask is not None:
            own = own._replace(signed=ask, raw=sign_ask(self._key, self._network, ask))
        self._own[own.resource] = own
        if own == was:
            return []
        out: list[Effect] = [Store(OWN_KEY + own.resource, msgspec.msgpack.encode(_Kept(own.wish, own.raw)))]
        if ask is not None:
            out.append(Send(MESH, Publish(TOPIC, own.raw, ask.seq)))
        return out

    def _told(self, now_s: int) -> list[tuple[Ask, bytes]]:
        """Own asks that hold, one that takes back included, with their files."""
        return [(own.signed, own.raw) for own in self.own() if own.signed is not None and own.signed.until_s > now_s]

    # others'

    def accept(self, news: Gossip) -> str:
        """The check of the topic (`mesh.gossip.Accept`): an ask is signed by its origin, with the seq of the news."""
        try:
            ask = check_ask(news.payload, self._network)
        except PeerError as error:
            return f"no ask: {error}"
        if ask.node != news.origin or ask.seq != news.seq:
            return "an ask of another node, or of another seq, than the news says"
        return ""

    def learn(self, raw: bytes, now_ns: int) -> tuple[list[Effect], bool]:
        """Take the file of an ask, however it came. Second: whether it was false, which who told it could have seen."""
        try:
            author = PeerId(read_ask(raw).node)
        except PeerError:
            author = PeerId(b"")  # the book says what is wrong
        if author == self._key.hash:  # from before the last change
            return [], False
        learnt = self.book.learn(raw, self._source(author), now_ns // NS_PER_S, self._standing(author))
        return list(learnt.effects), learnt.fault == "teller"

    def request(self, now_ns: int) -> bytes:
        """What to ask a neighbour for: whatever is not known here."""
        now_s = now_ns // NS_PER_S
        own = [ask_hash(ask)[:KNOWN_BYTES] for ask, _ in self._told(now_s)]
        return encode_record(_Request(b"".join([*own, *self.book.known(now_s)])))

    def page(self, body: bytes, now_ns: int, files_max: int = PAGE_FILES_MAX) -> bytes | Failed:
        """The answer to a neighbour's `request`: asks that it lacks, this node's own first."""
        try:
            known = decode_record(body, _Request, bytes_max=REQUEST_BYTES_MAX, items_max=4).known
        except PeerError as error:
            return Failed("usage", f"no request for asks: {error}", PROTOCOL)
        if len(known) % KNOWN_BYTES:
            return Failed("usage", f"{len(known)} bytes of known asks; a multiple of {KNOWN_BYTES} needed", PROTOCOL)
        if not self._pages.take(ALL_PAGES, now_ns):
            limit = f"{ALL_PAGES.per_s:g} answers a second to all"
            return Failed("unavailable", f"others ask for asks; allowed {limit}: ask later", PROTOCOL, limit)
        there = {known[at : at + KNOWN_BYTES] for at in range(0, len(known), KNOWN_BYTES)}
        now_s = now_ns // NS_PER_S
        files = [raw for ask, raw in self._told(now_s) if ask_hash(ask)[:KNOWN_BYTES] not in there]
        files += self.book.beyond(there, now_s, files_max + 1)
        return encode_record(_Page(tuple(files[:files_max]), len(files) > files_max))

    def files_of(self, body: bytes) -> tuple[tuple[bytes, ...], bool]:
        """The files of a neighbour's answer, nothing of them checked, and whether it has more. Raises PeerError."""
        page = decode_record(body, _Page, bytes_max=PAGE_BYTES_MAX, items_max=PAGE_FILES_MAX + 8)
        return page.files, page.is_more


def _is_due(signed: Ask, fresh: Ask) -> bool:
    """Whether an ask must be signed again though nothing new is wished."""
    same = msgspec.structs.replace(fresh, seq=signed.seq, until_s=signed.until_s)
    if same != signed:  # it was taken back meanwhile, or a window is over
        return True
    return fresh.until_s > signed.until_s and fresh.seq - signed.seq >= RENEW_S * 1000


def _ask_of(wish: Wish, node: bytes, seq: int) -> Ask:
    """The ask that says what is wished, from now on."""
    now_s, end_s = seq // 1000, wish.end_s()
    until_s = now_s + LIFE_S_MAX if end_s is None else min(end_s, now_s + LIFE_S_MAX)
    return Ask(
        node=node, resource=wish.resource, price_per_giga=wish.price_per_giga, capacity_per_s=wish.capacity_per_s,
        places=wish.places, fidelity_ppm=wish.fidelity_ppm, not_before_s=wish.from_s, until_s=until_s,
        windows=tuple(window for window in wish.windows if window[1] > now_s), transferable=wish.transferable, seq=seq,
    )  # fmt: skip


def _check_wish(wish: Wish, now_s: int) -> None:
    """Raises UsageError whose `where` is the field."""
    rows = (
        ("price_per_giga", wish.price_per_giga, 0, INT63, "base units per 10^9 units"),
        ("capacity_per_s", wish.capacity_per_s, 1, INT63, "units a second, over all places"),
        ("places", wish.places, 1, PLACES_MAX, "leases at once"),
    )
    for where, value, low, high, unit in rows:
        if not low <= value <= high:
            limit = f"{low} to {high} {unit}"
            raise UsageError(f"{value}; allowed {limit}", where=where, limit=limit)
    if wish.resource == "ebits" and not 0 < wish.fidelity_ppm <= PPM:
        limit = f"1 to {PPM} ppm"
        what = f"e-bits need a fidelity, as in 950000 ppm (0.95); {wish.fidelity_ppm or 'none'} given"
        raise UsageError(what, where="fidelity_ppm", limit=limit)
    if wish.resource != "ebits" and wish.fidelity_ppm:
        raise UsageError(f"only ebits have a fidelity, {wish.resource} has none", where="fidelity_ppm", limit="0")
    _check_times(wish, now_s)


def _check_times(wish: Wish, now_s: int) -> None:
    reach_s = now_s + LIFE_S_MAX
    until_s, now = wish.until_s, f"now is {_moment(now_s)}"
    if until_s is not None and not max(now_s, wish.from_s) < until_s <= now_s + AHEAD_S_MAX:
        limit = "after now and after its beginning, within 366 days"
        raise UsageError(f"until {_moment(until_s)} ({now}); allowed {limit}", where="until_s", limit=limit)
    if wish.from_s >= reach_s:
        limit = f"{LIFE_S_MAX // 86_400} days ahead"
        raise UsageError(f"begins {_moment(wish.from_s)} ({now}); allowed {limit}", where="from_s", limit=limit)
    if len(wish.windows) > WINDOWS_MAX:
        limit = f"{WINDOWS_MAX} windows"
        raise UsageError(f"{len(wish.windows)} windows; allowed {limit}", where="windows", limit=limit)
    before = wish.from_s
    for from_s, end_s in wish.windows:
        if not before <= from_s < end_s or end_s <= now_s or end_s > min(reach_s, until_s or reach_s):
            limit = f"in order, apart, not over, within the ask's time and {LIFE_S_MAX // 86_400} days ahead"
            what = f"a window from {_moment(from_s)} until {_moment(end_s)} ({now}); allowed {limit}"
            raise UsageError(what, where="windows", limit=limit)
        before = end_s


def _moment(second: int) -> str:
    """As people write it, UTC (RFC 3339)."""
    try:
        return datetime.fromtimestamp(second, UTC).isoformat(" ")
    except (OverflowError, ValueError, OSError):
        return str(second)
