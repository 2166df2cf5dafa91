"""Offers on their way to a grant: parts are pulled, the work is read, the node takes it as a job.

    state      event                        then
    offered    a part came                  the next is asked for; after the last: reading
    offered    a part did not come, or is   declined
               none; no time left to answer
    offered    nobody waits, dropped        forgotten
    reading    WorkRead                     Engage: placing. Declined where it cannot be read, its deadline has passed;
                                            forgotten where nobody waits
    reading    no time left to answer       declined; the offer repeated in time goes on from here
    placing    Engaged                      granted (`Hire` keeps the lease), or declined
    placing    no time left to answer       failed: whether it will be kept is not known, so the offer is to be repeated
    placing    dropped                      granted all the same when Engaged comes, and dismissed at once

Flow: Hire -> *Offers.admit* -> Ask("work.part/1"), Run(ReadWork), Send(JOBS, Engage) -> *placed* -> Hire. Until then
nothing is kept on disk. Bounds: offers of a peer and in all, and the bytes of their work, counted as announced.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal

import msgspec

from qcommons.base.clock import duration_text, left_s
from qcommons.base.effects import Effect, Run, Send, note
from qcommons.base.text import line
from qcommons.base.units import NS_PER_S, bytes_text
from qcommons.engines.records import Limits
from qcommons.jobs.asks import Lease
from qcommons.jobs.hire_terms import UNITS_MAX, said_of, terms_of
from qcommons.jobs.hire_waiting import Question, Waiting, answer, answer_by_ns
from qcommons.jobs.offer import PART_BYTES, WORK_BYTES_MAX, Offer
from qcommons.jobs.work import OFFER, PART, Declined, WantPart, part_count, said
from qcommons.jobs.work_events import HIRED, JOBS, MESH, Engage, Heard, ReadWork, ToMesh, WorkRead
from qcommons.mesh.events import Ask, Asked, Failed
from qcommons.mesh.records import PeerId

__all__ = ["BUSY_NS", "BYTES_MAX", "OFFERS_MAX", "OFFERS_PEER_MAX", "PEER_BYTES_MAX", "PULLS_MAX", "Offers", "Pending"]

OFFERS_PEER_MAX = 8  # two a place and a spare: an offer is on its way for a second or two
OFFERS_MAX = 64
PEER_BYTES_MAX = 2 * WORK_BYTES_MAX
BYTES_MAX = 8 * WORK_BYTES_MAX  # 128 MiB in memory while parts come, and once more while they are read
PULLS_MAX = 4  # parts under way at once: 2 MiB fill a link of 100 Mbit/s and 150 ms
PULL_NS_MAX = 60 * NS_PER_S
BUSY_NS = NS_PER_S  # most leases are of a second of work


class Pending(msgspec.Struct):
    """One offer that is neither granted nor declined yet. offer: without its first part. parts: what is here; asked: so
    many of them were asked for; pulls: ticket to number, of those under way. answer_by_ns: of the question that waits.
    dropped: why it is not wanted any more, though it may become a job. runs: once it was read."""

    peer: PeerId
    is_stranger: bool
    offer: Offer
    terms: bytes
    lease: Lease
    until_ns: int
    parts: list[bytes]
    asked: int
    pulls: dict[str, int]
    answer_by_ns: int
    state: Literal["offered", "reading", "placing"] = "offered"
    dropped: str | None = None
    runs: int = 0


class Offers:
    """State: the pending offers by lease id, and what each peer has of them. waiting: shared with `Hire`."""

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting
        self._pending: dict[bytes, Pending] = {}
        self._tickets: dict[str, bytes] = {}
        self._serial = 0
        self._count: Counter[PeerId] = Counter()
        self._bytes: Counter[PeerId] = Counter()
        self._all_bytes = 0

    def __len__(self) -> int:
        return len(self._pending)

    def get(self, lease: bytes) -> Pending | None:
        return self._pending.get(lease)

    def all(self) -> list[Pending]:
        return list(self._pending.values())

    def has(self, peer: PeerId) -> bool:
        return peer in self._count

    def count_of(self, peer: PeerId) -> int:
        return self._count[peer]

    def count_strangers(self) -> int:
        return sum(one.is_stranger for one in self._pending.values())

    # one more

    def no_room(self, peer: PeerId, work_bytes: int) -> Declined | None:
        """Why one more of this peer cannot come in now."""
        own_bytes, all_bytes = self._bytes[peer] + work_bytes, self._all_bytes + work_bytes
        for what, found, most in (
            ("offers of yours are", self._count[peer] + 1, OFFERS_PEER_MAX),
            ("offers are", len(self._pending) + 1, OFFERS_MAX),
        ):
            if found > most:
                return Declined("busy", f"{found - 1} {what} on their way; allowed {most}: come again", BUSY_NS)
        for what, found, most in (("yours", own_bytes, PEER_BYTES_MAX), ("all", all_bytes, BYTES_MAX)):
            if found > most:
                sizes = f"{bytes_text(found)} of work of {what}; allowed {bytes_text(most)}"
                return Declined("busy", f"{sizes} on its way at once: come again", BUSY_NS)
        return None

    def admit(self, asked: Asked, offer: Offer, lease: Lease, is_stranger: bool, now_ns: int) -> list[Effect]:
        """It may be taken; `no_room` was asked. lease: what will be granted."""
        until_ns = min(now_ns + offer.within_ns, lease.until_s * NS_PER_S)
        count = part_count(offer.work_bytes)
        pending = Pending(
            peer=asked.peer, is_stranger=is_stranger, offer=msgspec.structs.replace(offer, first=b""),
            terms=terms_of(offer), lease=lease, until_ns=until_ns, parts=[offer.first, *[b""] * (count - 1)], asked=1,
            pulls={}, answer_by_ns=0,
        )  # fmt: skip
        self._pending[offer.lease] = pending
        self._count[asked.peer] += 1
        self._bytes[asked.peer] += offer.work_bytes
        self._all_bytes += offer.work_bytes
        return [*self.wait(pending, asked, now_ns), *self._go_on(pending, now_ns)]

    def wait(self, pending: Pending, asked: Asked, now_ns: int) -> list[Effect]:
        """Its submitter asks, or asks again: the newest question is answered when it is decided, older ones now."""
        older = Failed("unavailable", "the offer was repeated since: the later question is answered", "offer")
        lease = pending.offer.lease
        effects = [answer(one, older) for one in self._waiting.take(lease, OFFER)]
        pending.answer_by_ns = answer_by_ns(asked.until_ns, now_ns)
        return [*effects, *self._waiting.hold(asked, Question(asked.peer, asked.id, lease, OFFER), now_ns)]

    # parts

    def _go_on(self, pending: Pending, now_ns: int) -> list[Effect]:
        effects: list[Effect] = []
        lease = pending.offer.lease
        within_ns = max(1, min(PULL_NS_MAX, pending.answer_by_ns - now_ns))
        while len(pending.pulls) < PULLS_MAX and pending.asked < len(pending.parts):
            number, ticket = pending.asked, f"hire/{self._serial}"
            self._serial += 1
            pending.asked += 1
            pending.pulls[ticket] = number
            self._tickets[ticket] = lease
            ask = Ask(ticket, pending.peer, PART, said(WantPart(lease, "work", number)), within_ns)
            effects.append(Send(MESH, ToMesh(ask, HIRED, pending.peer)))
        if pending.pulls:
            return effects
        pending.state = "reading"
        work, pending.parts = b"".join(pending.parts), []
        limits = Limits(memory_bytes=pending.offer.memory_bytes, seconds=left_s(pending.until_ns, now_ns))
        read = ReadWork(lease=lease, peer=pending.peer, work=work, task=pending.offer.task, limits=limits)
        return [Run(f"hire.work.{lease.hex()}", read)]

    def heard(self, event: Heard, now_ns: int) -> list[Effect]:
        """A part, or why it does not come."""
        lease = self._tickets.pop(event.ticket, None)
        if lease is None:
            return [note("hire_event_ignored", event="Heard", ticket=event.ticket)]
        pending = self._pending[lease]
        number = pending.pulls.pop(event.ticket)
        if event.failed is not None:
            kind: Literal["busy", "work"] = "busy" if event.failed.who == "unavailable" else "work"
            return self._declined(pending, kind, f"part {number} of the work did not come: {event.failed.what}")
        needed = min(PART_BYTES, pending.offer.work_bytes - number * PART_BYTES)
        if len(event.body) != needed:
            return self._declined(pending, "work", f"part {number} has {len(event.body)} bytes; {needed} needed")
        pending.parts[number] = event.body
        return self._go_on(pending, now_ns)

    # reading, placing

    def read(self, event: WorkRead, now_ns: int) -> list[Effect]:
        pending = self._pending.get(event.lease)
        if pending is None or pending.state != "reading":
            return [note("hire_event_ignored", event="WorkRead", lease=event.lease.hex())]
        if not self._waiting.of(event.lease, OFFER):
            return self._forget(pending, "nobody waits for the grant any more")
        if event.piece is None:
            what, where = event.fault or ("it gave no piece", "work")
            if where == "node":
                return self._declined(pending, "busy", f"this node could not read the work: {what}")
            return self._declined(pending, "work", f"{where}: {what}")
        if now_ns >= pending.until_ns:
            late = duration_text(now_ns - pending.until_ns)
            return self._declined(
                pending, "terms", f"its deadline passed {late} ago, while its work was fetched and read"
            )
        pending.state, pending.runs = "placing", len(event.piece.items)
        units = min(event.work_units, UNITS_MAX) or UNITS_MAX
        pending.lease = msgspec.structs.replace(pending.lease, units_max=units)
        return [Send(JOBS, Engage(pending.peer, pending.offer, event.piece, left_s(pending.until_ns, now_ns)))]

    def placed(self, lease: bytes) -> Pending | None:
        """The node has said whether it is a job: taken out, None where nothing was asked of it."""
        pending = self._pending.get(lease)
        if pending is None or pending.state != "placing":
            return None
        self._out(pending)
        return pending

    # it ends before

    def late(self, question: Question) -> list[Effect]:
        """A question must be answered now."""
        pending = self._pending.get(question.lease)
        if pending is not None and pending.state == "placing":
            what = "the work is here and not on disk yet: repeat the offer, it is answered at once"
            return [answer(question, Failed("unavailable", what, "offer"))]
        told = Declined("busy", "the work was not here and read in the time for an answer: come again", BUSY_NS)
        left = [] if pending is None or pending.state != "offered" else self._forget(pending, told.what)
        return [answer(question, told), *left]

    def withdrawn(self, question: Question) -> list[Effect]:
        pending = self._pending.get(question.lease)
        if pending is None or pending.state != "offered":
            return []
        return self._forget(pending, "who offered it no longer waits")

    def drop(self, pending: Pending, why: str) -> list[Effect]:
        """Its submitter does not want it any more."""
        told = Declined("terms", said_of(f"dropped by who offered it: {why}"))
        effects = [answer(one, told) for one in self._waiting.take(pending.offer.lease, OFFER)]
        if pending.state == "placing":
            pending.dropped = why
            return effects
        return effects if pending.state == "reading" else [*effects, *self._forget(pending, told.what)]

    def _declined(self, pending: Pending, kind: Literal["busy", "work", "terms"], what: str) -> list[Effect]:
        told = Declined(kind, said_of(what), BUSY_NS if kind == "busy" else None)
        questions = self._waiting.take(pending.offer.lease, OFFER)
        return [*(answer(one, told) for one in questions), *self._forget(pending, told.what)]

    def _forget(self, pending: Pending, why: str) -> list[Effect]:
        self._out(pending)
        return [note("hire_offer_ended", peer=pending.peer.hex(), lease=pending.offer.lease.hex(), why=line(why))]

    def _out(self, pending: Pending) -> None:
        del self._pending[pending.offer.lease]
        for ticket in pending.pulls:
            del self._tickets[ticket]
        peer = pending.peer
        self._all_bytes -= pending.offer.work_bytes
        self._bytes[peer] -= pending.offer.work_bytes
        self._count[peer] -= 1
        if not self._count[peer]:
            del self._count[peer], self._bytes[peer]
