"""Asks: what a node wants for what it offers, signed and expiring; and the leases that cite them.

Flow: owner -> *Ask* -> *sign_ask* -> gossip, "work.asks/1" -> *check_ask* -> market (the book of others' asks) ->
quote, place -> *Lease* -> *check_lease*. docs/protocol/asks.md has the CDDL and every rule. Integers only: a price is
base units for 10^9 units of the resource, so that the cheapest of work has one; what is due is rounded up.

An ask lives at most LIFE_S_MAX after it was made: whoever remembers so long that a newer one was seen cannot be shown
an older one again.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec

from qcommons.base.canonical import decode_record, encode_record
from qcommons.base.clock import duration_text
from qcommons.base.errors import PeerError, UsageError
from qcommons.base.units import NS_PER_S, PPM
from qcommons.mesh.peer_record import payload_of
from qcommons.pqc.identity import PUBLIC_KEY_BYTES, NodeKey, node_hash, node_id_of_hash
from qcommons.pqc.prekeys import Seconds
from qcommons.pqc.signing import sign, verify
from qcommons.verify.records import Digest

__all__ = [
    "ASK_FILE_BYTES_MAX", "LIFE_S_MAX", "OBJECT_TYPE", "RESOURCES", "SKEW_S", "TERMS", "Ask", "Lease", "Resource",
    "SignedAsk", "ask_hash", "check_ask", "check_lease", "contradiction", "due_units", "read_ask", "sign_ask",
    "why_closed", "why_untimely",
]  # fmt: skip

OBJECT_TYPE = "qcommons/ask.1"
TERMS = 1  # of docs/market.md: what asks and leases promise
LIFE_S_MAX = 8 * 86_400  # as a peer record: a node away for a week still sells when it is back
SKEW_S = 600  # of two clocks, as for peer records
ASK_FILE_BYTES_MAX = 8_192  # key and signature take 5.3 KB, the ask at most 300 bytes
ASK_BYTES_MAX = 512
ASK_ITEMS_MAX = 64
WINDOWS_MAX = 8  # as of planned absences
PLACES_MAX = 1 << 16
LEASE_ID_BYTES = 16  # as of offers
GIGA = 10**9

Resource = Literal["work", "ebits", "key_bits", "slots"]
# what one unit of it is; capacity is so many of them a second
RESOURCES: dict[Resource, str] = {
    "work": "work unit (amplitude-update or tensor flop of the cost model)",
    "ebits": "entangled pair of at least the fidelity named",
    "key_bits": "bit of secret key",
    "slots": "second of one place",
}

UInt = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
Sequence53 = Annotated[int, msgspec.Meta(gt=0, lt=1 << 53)]
Window = tuple[Seconds, Seconds]


class Ask(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """What one node offers of one resource, and for how much. The newest `seq` of (node, resource) counts.

    node: its hash. price_per_giga: base units for 10^9 units of the resource. capacity_per_s: units a second, over all
    places; places: leases at once. Both 0: nothing is offered any more. fidelity_ppm: of e-bits, at least; else 0.
    not_before_s, until_s: when it can be leased, Unix seconds by the signer's clock, the end exclusive. windows:
    contact windows inside of that, in order, each [from_s, until_s); none: at any time. transferable: whether a holder
    may pass its lease on. terms: version of the rules that it is offered under. seq: milliseconds since 1970 when it
    was made.
    """

    node: Digest
    resource: Resource
    price_per_giga: UInt
    capacity_per_s: UInt
    places: Annotated[int, msgspec.Meta(ge=0, le=PLACES_MAX)]
    fidelity_ppm: Annotated[int, msgspec.Meta(ge=0, le=PPM)] = 0
    not_before_s: Seconds
    until_s: Seconds
    windows: Annotated[tuple[Window, ...], msgspec.Meta(max_length=WINDOWS_MAX)] = ()
    transferable: bool
    terms: Annotated[int, msgspec.Meta(ge=1, lt=1 << 16)] = TERMS
    seq: Sequence53


class SignedAsk(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="qcommons/ask-file.1"):
    """A signed `Ask` with the key of its node: all that is needed to check it offline."""

    signed: bytes
    public_key: Annotated[bytes, msgspec.Meta(min_length=PUBLIC_KEY_BYTES, max_length=PUBLIC_KEY_BYTES)]


class Lease(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """What was agreed: `holder` may use up to `units_max` of a node's resource in [from_s, until_s).

    id: drawn by the submitter. during: "span", or "window" where it is one whole contact window of the ask: work is
    then handed over and fetched when the two nodes meet in it. price_per_giga, transferable: as the ask says it.
    ask: hash of the ask that it cites, None where the node gives without one; the price is then 0.
    """

    id: Annotated[bytes, msgspec.Meta(min_length=LEASE_ID_BYTES, max_length=LEASE_ID_BYTES)]
    node: Digest
    holder: Digest
    resource: Resource
    units_max: Annotated[int, msgspec.Meta(ge=1, le=(1 << 63) - 1)]
    price_per_giga: UInt
    during: Literal["span", "window"]
    from_s: Seconds
    until_s: Seconds
    transferable: bool
    ask: Digest | None


def ask_hash(ask: Ask) -> bytes:
    """SHA3-256 of an ask's canonical bytes: what a lease and a quote cite."""
    return hashlib.sha3_256(encode_record(ask)).digest()


def due_units(price_per_giga: int, units: int) -> int:
    """Base units due for so many units of a resource, rounded up: 1 unit at any price above 0 is not free."""
    return -(-price_per_giga * units // GIGA)


def sign_ask(key: NodeKey, network: str, ask: Ask) -> bytes:
    """The file of an ask by the node of `key`.

    Raises:
        UsageError: the ask breaks a rule of `check_ask`.
    """
    payload = encode_record(ask)
    try:
        _rules(_ask(payload), key.hash)
    except PeerError as error:
        raise UsageError(error.what, where=error.where, limit=error.limit) from error
    return encode_record(SignedAsk(sign(key, OBJECT_TYPE, network, payload), key.public_key))


def check_ask(data: bytes, network: str) -> Ask:
    """The ask in a file, signed for `network` by the node that it names. Nothing is said of its times.

    Raises:
        UsageError: `network` is no network id.
        PeerError: the first rule that failed is in `where`.
    """
    file = _file(data)
    ask = _ask(verify(file.public_key, OBJECT_TYPE, network, file.signed))
    _rules(ask, node_hash(file.public_key))
    return ask


def read_ask(data: bytes) -> Ask:
    """The ask in a file, of the right form, its signature **not verified**: to see cheaply whether it says anything.

    Raises:
        PeerError: as `check_ask`, of the form.
    """
    file = _file(data)
    ask = _ask(payload_of(file.signed))
    _rules(ask, node_hash(file.public_key))
    return ask


def contradiction(first: bytes, second: bytes, network: str) -> bytes | None:
    """The hash of the node that signed these two files as different asks of one resource and one `seq`: proof against
    it for anybody. None where they do not contradict each other.

    Raises:
        PeerError: one of them does not hold.
    """
    one, two = check_ask(first, network), check_ask(second, network)
    same = (one.node, one.resource, one.seq) == (two.node, two.resource, two.seq)
    return one.node if same and one != two else None


def why_untimely(ask: Ask, now_s: int) -> str:
    """Why an ask does not count now by this node's clock; empty where it does. Nobody's lie: clocks may differ."""
    if ask.until_s <= now_s:
        return f"expired {_span(now_s - ask.until_s)} ago"
    if ask.seq // 1000 > now_s + SKEW_S:
        return f"made {_span(ask.seq // 1000 - now_s)} in the future; {SKEW_S} s are allowed: compare the clocks"
    return ""


def why_closed(ask: Ask, now_s: int) -> str:
    """Why nothing can be leased under an ask at `now_s`, with the time from which it can; empty where it can."""
    untimely = why_untimely(ask, now_s)
    if untimely:
        return f"its ask {untimely}"
    if not ask.places:
        return "its ask offers nothing at present"
    if ask.not_before_s > now_s:
        return f"its ask begins in {_span(ask.not_before_s - now_s)}"
    if ask.windows and not any(from_s <= now_s < until_s for from_s, until_s in ask.windows):
        coming = [from_s for from_s, _ in ask.windows if from_s > now_s]
        return (
            f"its next contact window opens in {_span(coming[0] - now_s)}" if coming else "its contact windows are over"
        )
    return ""


def check_lease(lease: Lease, ask: Ask | None) -> None:
    """Hold a lease to the ask that it cites (None: it cites none).

    Raises:
        PeerError: against who granted it; the first rule that failed is in `where`.
    """
    if lease.from_s >= lease.until_s:
        raise PeerError(f"from {lease.from_s} until {lease.until_s}: it is over before it begins", where="until_s")
    if lease.node == lease.holder:
        raise PeerError("a node holds no lease of itself", where="holder")
    if lease.ask is None or ask is None:
        if lease.ask is not None or ask is not None:
            raise PeerError("one of lease and ask is missing", where="ask")
        if lease.price_per_giga or lease.transferable or lease.during == "window":
            raise PeerError("a price, a transfer or a contact window needs an ask that grants it", where="ask")
        return
    for where, found, expected in (
        ("ask", lease.ask, ask_hash(ask)),
        ("node", lease.node, ask.node),
        ("resource", lease.resource, ask.resource),
        ("price_per_giga", lease.price_per_giga, ask.price_per_giga),
        ("transferable", lease.transferable, ask.transferable),
    ):
        if found != expected:
            raise PeerError(f"{_shown(found)}; the ask says {_shown(expected)}", where=where)
    if not ask.places:
        raise PeerError("the ask offers nothing", where="ask")
    _check_span(lease, ask)


def _check_span(lease: Lease, ask: Ask) -> None:
    span = (lease.from_s, lease.until_s)
    if lease.during == "window":
        if span not in ask.windows:
            raise PeerError(f"{span} is no contact window of the ask", where="from_s")
        return
    for from_s, until_s in ask.windows or ((ask.not_before_s, ask.until_s),):
        if from_s <= span[0] and span[1] <= until_s:
            return
    raise PeerError(f"{span} is not inside of the ask's times", where="from_s")


def _file(data: bytes) -> SignedAsk:
    return decode_record(data, SignedAsk, bytes_max=ASK_FILE_BYTES_MAX, items_max=8)


def _ask(payload: bytes) -> Ask:
    return decode_record(payload, Ask, bytes_max=ASK_BYTES_MAX, items_max=ASK_ITEMS_MAX)


def _rules(ask: Ask, signer: bytes) -> None:
    """What the types do not say. It depends on nothing but the bytes."""
    if ask.node != signer:
        raise PeerError(f"an ask of {node_id_of_hash(ask.node)}, signed by {node_id_of_hash(signer)}", where="node")
    if bool(ask.places) != bool(ask.capacity_per_s):
        what = f"{ask.places} places and {ask.capacity_per_s} units a second; both or none must be 0"
        raise PeerError(what, where="places")
    if bool(ask.fidelity_ppm) != (ask.resource == "ebits"):
        raise PeerError(f"fidelity {ask.fidelity_ppm} ppm of {ask.resource}; e-bits have one", where="fidelity_ppm")
    if ask.not_before_s >= ask.until_s:
        raise PeerError(f"from {ask.not_before_s} until {ask.until_s}: it never holds", where="until_s")
    if ask.until_s > ask.seq // 1000 + LIFE_S_MAX:
        what = f"holds until {ask.until_s}, made {ask.seq // 1000}: renew it after {LIFE_S_MAX} s at the latest"
        raise PeerError(what, where="until_s", limit=f"{LIFE_S_MAX} s")
    before = ask.not_before_s
    for from_s, until_s in ask.windows:
        if not before <= from_s < until_s <= ask.until_s:
            raise PeerError("windows must be in order, apart, not empty and inside of the ask's time", where="windows")
        before = until_s


def _span(seconds: int) -> str:
    return duration_text(seconds * NS_PER_S)


def _shown(value: bytes | str | int) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
