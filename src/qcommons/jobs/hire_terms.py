"""Whether a node takes an offer: rules that depend on the offer, the owner's word and the time alone; and the lease.

Flow: Hire -> *refusal* (None, or a typed `Declined`) -> *lease_of* -> Granted. A rule is a row of `RULES`; the first
that holds is said, so they stand in the order of who must act: this owner, then the submitter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec

from qcommons.base.canonical import encode_record
from qcommons.base.text import line
from qcommons.base.units import NS_PER_S, bytes_text
from qcommons.jobs.asks import Ask, Lease, ask_hash, why_closed
from qcommons.jobs.offer import Offer
from qcommons.jobs.work import TEXT_MAX, Declined
from qcommons.jobs.work_events import Sharing
from qcommons.mesh.records import PeerId

__all__ = ["LEASE_NS_MAX", "UNITS_MAX", "lease_of", "not_served", "refusal", "said_of", "terms_of"]

LEASE_NS_MAX = 7 * 86_400 * NS_PER_S  # an ask lives 8 days; what takes longer is several jobs
UNITS_MAX = (1 << 63) - 1


def not_served(sharing: Sharing, relation: str) -> Declined | None:
    """Whose work is not taken at all: known before anything of the offer is read."""
    if not sharing.enabled:
        return Declined("owner", said_of(sharing.why or "this node shares nothing"))
    if relation == "stranger" and not sharing.strangers:
        return Declined("owner", "this node works for its owner's and allowed nodes only; ask its owner to allow yours")
    return None


def refusal(sharing: Sharing, offer: Offer, relation: str, now_s: int) -> Declined | None:
    """The first rule that an offer breaks, None where it may be taken. now_s: Unix."""
    return next((found for rule in RULES if (found := rule(sharing, offer, relation, now_s)) is not None), None)


def _purpose(sharing: Sharing, offer: Offer, relation: str, now_s: int) -> Declined | None:
    if offer.purpose in sharing.refuses:
        return Declined("purpose", f"the owner of this node refuses the purpose {offer.purpose!r}")
    if sharing.allows and offer.purpose not in sharing.allows:
        return Declined("purpose", f"the owner of this node works for {len(sharing.allows)} named purposes only")
    return None


def _memory(sharing: Sharing, offer: Offer, relation: str, now_s: int) -> Declined | None:
    if not 0 < sharing.memory_bytes < offer.memory_bytes:
        return None
    most, asked = bytes_text(sharing.memory_bytes), bytes_text(offer.memory_bytes)
    return Declined("owner", f"a run may take {asked}; {most} allowed here: cut it smaller, or ask another node")


def _cited(sharing: Sharing, offer: Offer, relation: str, now_s: int) -> Declined | None:
    """The owner's own nodes need no ask; others cite the one that holds now, where there is one."""
    ask = sharing.ask
    if offer.ask is None:
        if ask is None or relation == "own":
            return None
        price = f"{ask.price_per_giga} base units for 10^9 work units"
        return Declined("terms", f"this node asks {price}: cite its ask {ask_hash(ask).hex()}")
    if ask is None or ask_hash(ask) != offer.ask:
        return Declined("terms", "the ask that is cited is not this node's present one: look at its asks again")
    closed = why_closed(ask, now_s)
    return Declined("terms", closed, _opens_in_ns(ask, now_s)) if closed else None


def _price(sharing: Sharing, offer: Offer, relation: str, now_s: int) -> Declined | None:
    if sharing.ask is None or offer.ask is None or offer.price_max >= sharing.ask.price_per_giga:
        return None
    asked = sharing.ask.price_per_giga
    return Declined("terms", f"price at most {offer.price_max}; this node asks {asked} base units for 10^9 work units")


RULES: tuple[Callable[[Sharing, Offer, str, int], Declined | None], ...] = (_purpose, _memory, _cited, _price)


def lease_of(ask: Ask | None, offer: Offer, me: PeerId, holder: PeerId, now_ns: int) -> Lease:
    """What is agreed if the offer is taken at `now_ns` (event clock, ns since 1970): from then until the answer is no
    longer of use, LEASE_NS_MAX at most, inside of the cited ask's time. What outlasts the contact window that is open
    now is a lease of the whole window. ask: the one that the offer cites, None for none; it is open (`refusal`)."""
    from_s = now_ns // NS_PER_S
    until_s = -(-(now_ns + min(offer.within_ns, LEASE_NS_MAX)) // NS_PER_S)
    is_window = False
    if ask is not None:
        spans = ask.windows or ((ask.not_before_s, ask.until_s),)
        open_s, close_s = next(span for span in spans if span[0] <= from_s < span[1])
        is_window = bool(ask.windows) and until_s > close_s
        from_s, until_s = (open_s, close_s) if is_window else (from_s, min(until_s, close_s))
    return Lease(
        id=offer.lease, node=me, holder=holder, resource="work", units_max=UNITS_MAX,
        price_per_giga=0 if ask is None else ask.price_per_giga, during="window" if is_window else "span",
        from_s=from_s, until_s=until_s, transferable=ask is not None and ask.transferable,
        ask=None if ask is None else ask_hash(ask),
    )  # fmt: skip


def terms_of(offer: Offer) -> bytes:
    """SHA3-256 of all that an offer says, but for the time that is left and the part that its task covers: what must be
    the same when it is repeated."""
    return hashlib.sha3_256(encode_record(msgspec.structs.replace(offer, within_ns=1, first=b""))).digest()


def said_of(text: str) -> str:
    """A text that goes out: one line of at most TEXT_MAX characters."""
    return line(text)[:TEXT_MAX]


def _opens_in_ns(ask: Ask, now_s: int) -> int | None:
    starts = [from_s for from_s, _ in ask.windows] or [ask.not_before_s]
    return next(((start - now_s) * NS_PER_S for start in starts if start > now_s), None)
