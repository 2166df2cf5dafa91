"""Hire: the worker's side of jobs over the mesh. One a node; every lease that others hold here, from offer to oblivion.

    state      event              then
    (none)     offer              declined by a rule or a bound, or offered; every other message: there is no such lease
    offered,   see hire_offers.py
    reading,
    placing
    placing    Engaged            kept, then granted: engaged. Refused by the node: declined
    engaged    collect            held; `Running` when its time is over, or when a later one comes
    engaged    HiredEnded         ended; who waits gets the report. Given up: over
    ended      collect            the report (replicas: their commitments), made from disk where it is not in memory
    ended      open               of a replica: the report and the salt
    ended      part               a part of the report; with the last one: reported
    reported   as ended           told again until it is forgotten
    any kept   offer              the same one: the same answer. Other terms, another peer: declined
    any kept   drop               over; a job that still runs is dismissed
    any kept   verdict            checked, kept, noted
    any kept   a day past the     forgotten; a job that still runs is dismissed
               deadline, no room
    over       anything           says that it is over, and why

What another peer asks about a lease is answered as if there were none. Whatever else comes in a state is ignored with a
`Note`. Every `Store` stands before the `Send` that rests on it.

Flow: mesh -> Came, Withdrew, Heard; threads -> WorkRead, ReportMade; job machines -> Engaged, HiredEnded; owner ->
Sharing => *Hire* => ToMesh, Run(ReadWork, MakeReport), Send(JOBS, Engage, Dismiss), Store. docs/protocol/jobs.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from qcommons.base.effects import Effect, Send, Woken, note
from qcommons.base.errors import PeerError, UsageError
from qcommons.base.text import line
from qcommons.base.units import NS_PER_S
from qcommons.jobs import hire_rows, hire_verdicts
from qcommons.jobs.hire_offers import BUSY_NS, Offers, Pending
from qcommons.jobs.hire_rows import KEPT_NS, Hired, HiredRow, Rows
from qcommons.jobs.hire_telling import UNKNOWN, Telling, question_of, refused
from qcommons.jobs.hire_terms import lease_of, not_served, refusal, said_of, terms_of
from qcommons.jobs.hire_verdicts import Check, Told
from qcommons.jobs.hire_waiting import Question, Waiting, answer, wakes
from qcommons.jobs.offer import Offer, read_offer
from qcommons.jobs.work import (
    COLLECT,
    DECLINED_KINDS,
    DROP,
    OFFER,
    OPEN,
    PART,
    VERDICT,
    Declined,
    DeclinedKind,
    Drop,
    Granted,
    Over,
    read,
)
from qcommons.jobs.work_events import (
    JOBS,
    Came,
    Dismiss,
    Engaged,
    Heard,
    HiredEnded,
    ReportMade,
    Sharing,
    Withdrew,
    WorkRead,
)
from qcommons.mesh.events import Asked, Failed
from qcommons.mesh.records import PeerId
from qcommons.mesh.timers import Deadlines
from qcommons.verify.records import Kind, Verdict

__all__ = ["KEYS", "Event", "Hire", "HiredView"]

KEYS = (hire_rows.KEY, hire_verdicts.KEY)  # of what is stored
SECRET_BYTES_MIN = 32
# Open leases a place: one that runs, one that waits so that no worker idles. Further ones wait for a turn in the node's
# queue, where principals take turns; a share is left for those who are not strangers, since strangers' names are free.
PEER_A_PLACE, STRANGERS_A_PLACE, ALL_A_PLACE = 2, 6, 8
PLACES_MAX = 256
NOT_YET = Declined("busy", "this node is starting: come again", BUSY_NS)
TAKEN = Declined("terms", "this lease was offered before, with other terms or by somebody else: draw another id")
ANSWER, FORGET = ("hire", "answer"), ("hire", "forget")  # tokens

Event = Sharing | Came | Withdrew | Heard | WorkRead | Engaged | HiredEnded | ReportMade | Woken


class HiredView(msgspec.Struct, frozen=True, kw_only=True):
    """A lease as `why` shows it at the worker.

    lease: id in hex. peer: who holds it; job, piece: its names there. state: as in the table; why: of one that is over,
    else the status of its job. runs: 0 where the work is not read yet. since_ns: of the grant, None before it.
    verdicts: what its holder found of the work, oldest first.
    """

    lease: str
    peer: PeerId
    job: str
    piece: str
    purpose: str
    state: str
    why: str
    runs: int
    since_ns: int | None
    until_ns: int
    price_per_giga: int
    verdicts: tuple[Kind, ...]


class Hire:
    """me: this node. secret: 32 random bytes of it that nobody else knows. kept: what is on disk under `KEYS`.
    check_verdict: `hire_verdicts.Check`. Call `begin` once, before any event.

    Raises:
        UsageError: a shorter secret. Corrupt: something kept is not what was written.
    """

    def __init__(self, me: PeerId, secret: bytes, kept: Mapping[str, bytes], *, check_verdict: Check) -> None:
        if len(secret) < SECRET_BYTES_MIN:
            raise UsageError(f"a secret of {len(secret)} bytes; {SECRET_BYTES_MIN} needed", where="secret")
        self._me = me
        self._sharing: Sharing | None = None
        self._rows = Rows.read({key: raw for key, raw in kept.items() if key.startswith(hire_rows.KEY)})
        self._told = Told(me, check_verdict)
        self._told.read({key: raw for key, raw in kept.items() if key.startswith(hire_verdicts.KEY)})
        self._waiting = Waiting(ANSWER)
        self._offers = Offers(self._waiting)
        self._telling = Telling(secret, self._rows, self._waiting)
        self._forget: Deadlines[bytes] = Deadlines(FORGET, lambda lease: self._rows.get(lease) is not None)
        self._doors: dict[str, Callable[[Asked, int], list[Effect]]] = {
            COLLECT: self._telling.collect, OPEN: self._telling.open, PART: self._telling.part, DROP: self._drop,
            VERDICT: self._verdict,
        }  # fmt: skip

    def begin(self, now_ns: int) -> list[Effect]:
        """The wake-ups for what was kept."""
        effects: list[Effect] = []
        for hired in self._rows:
            effects += wakes(self._forget.add(hired.row.until_ns + KEPT_NS, hired.row.lease.id))
        return effects

    def handle(self, event: Event, now_ns: int) -> list[Effect]:
        match event:
            case Sharing():
                self._sharing = event
                return []
            case Came():
                return self._came(event, now_ns)
            case Withdrew(withdrawn):
                question = self._waiting.withdrawn(withdrawn.peer, withdrawn.id)
                return self._offers.withdrawn(question) if question is not None and question.protocol == OFFER else []
            case Heard():
                return self._offers.heard(event, now_ns)
            case WorkRead():
                return self._offers.read(event, now_ns)
            case Engaged():
                return self._engaged(event, now_ns)
            case HiredEnded():
                return self._ended(event)
            case ReportMade():
                return self._telling.made(event)
            case Woken(token):
                return self._woken(token, now_ns)

    # doors

    def _came(self, came: Came, now_ns: int) -> list[Effect]:
        asked = came.asked
        if came.protocol == OFFER:
            return self._offer(asked, came.relation, now_ns)
        door = self._doors.get(came.protocol)
        if door is None:
            return refused(asked, Failed("usage", f"{came.protocol[:80]!r} is not spoken here", "protocol"))
        try:
            return door(asked, now_ns)
        except PeerError as error:
            return refused(asked, Failed("usage", said_of(error.what), error.where or ""))

    # offers

    def _offer(self, asked: Asked, relation: str, now_ns: int) -> list[Effect]:
        """Cheap rules first; what passes them all has parts pulled."""
        peer, sharing = asked.peer, self._sharing
        if sharing is None:
            return _declined(asked, None, NOT_YET)
        unserved = not_served(sharing, relation)
        if unserved is not None and not self._rows.has(peer) and not self._offers.has(peer):
            return _declined(asked, None, unserved)
        try:
            offer = read_offer(asked.body)
        except PeerError as error:
            return _declined(asked, None, Declined("work", said_of(f"no offer: {error}")))
        repeated = self._repeated(asked, offer, now_ns)
        if repeated is not None:
            return repeated
        is_stranger = relation == "stranger"
        declined = (
            unserved
            or refusal(sharing, offer, relation, now_ns // NS_PER_S)
            or self._no_place(sharing, peer, is_stranger)
            or self._offers.no_room(peer, offer.work_bytes)
        )
        if declined is not None:
            return _declined(asked, offer, declined)
        lease = lease_of(sharing.ask if offer.ask is not None else None, offer, self._me, peer, now_ns)
        return self._offers.admit(asked, offer, lease, is_stranger, now_ns)

    def _repeated(self, asked: Asked, offer: Offer, now_ns: int) -> list[Effect] | None:
        """The answer to an offer whose lease is known; None where it is new."""
        hired, pending = self._rows.get(offer.lease), self._offers.get(offer.lease)
        if hired is None and pending is None:
            return None
        holder, terms = (hired.peer, hired.row.terms) if hired is not None else (pending.peer, pending.terms)  # type: ignore[union-attr]
        if holder != asked.peer or terms != terms_of(offer):
            return _declined(asked, offer, TAKEN)
        if hired is None:
            assert pending is not None
            if pending.dropped is not None:
                return _declined(asked, offer, Declined("terms", said_of(f"this lease was dropped: {pending.dropped}")))
            return self._offers.wait(pending, asked, now_ns)
        if hired.row.state == "over":
            return _declined(asked, offer, Declined("terms", said_of(f"this lease is over: {hired.row.why}")))
        return [answer(question_of(asked), Granted(hired.row.lease))]

    def _no_place(self, sharing: Sharing, peer: PeerId, is_stranger: bool) -> Declined | None:
        """Why one more lease cannot be opened now; those that are offered count."""
        places = sharing.places if sharing.ask is None else min(sharing.places, sharing.ask.places)
        places = max(1, min(places, PLACES_MAX))
        rows, offers = self._rows, self._offers
        bounds = [("leases of yours", rows.open_of(peer) + offers.count_of(peer), PEER_A_PLACE * places)]
        if is_stranger:
            strangers = rows.open_strangers + offers.count_strangers()
            bounds.append(("leases of strangers", strangers, STRANGERS_A_PLACE * places))
        bounds.append(("leases", rows.open + len(offers), ALL_A_PLACE * places))
        for what, found, most in bounds:
            if found >= most:
                return Declined("busy", f"{found} {what} are open here; allowed {most}: come again", BUSY_NS)
        return None

    # grants

    def _engaged(self, event: Engaged, now_ns: int) -> list[Effect]:
        pending = self._offers.placed(event.lease)
        if pending is None:
            return [note("hire_event_ignored", event="Engaged", lease=event.lease.hex())]
        questions = self._waiting.take(event.lease, OFFER)
        if event.refused is not None:
            return _refused(pending, event.refused, questions)
        hired, kept, gone = self._rows.add(_row(pending, now_ns))
        for lease in gone:
            kept += self._telling.gone(lease)
        kept += wakes(self._forget.add(hired.row.until_ns + KEPT_NS, event.lease))
        if pending.dropped is not None:
            return [*kept, Send(JOBS, Dismiss(event.lease, hired.row.hired_job, hired.row.why))]
        facts = {"peer": pending.peer.hex(), "lease": event.lease.hex(), "job": pending.offer.job}
        said = note("hired", **facts, runs=pending.runs, price_per_giga=pending.lease.price_per_giga)
        return [*kept, said, *(answer(one, Granted(hired.row.lease)) for one in questions)]

    def _ended(self, event: HiredEnded) -> list[Effect]:
        """Its job has ended; told again after every start."""
        hired = self._rows.get(event.lease)
        if hired is None:
            return [note("hire_event_ignored", event="HiredEnded", lease=event.lease.hex())]
        hired.status = event.status
        if hired.row.state == "over":
            return []
        if event.given_up is not None:
            return self._telling.end(hired, "given up", event.given_up)
        if not hired.is_open:
            return []
        return [*self._rows.become(hired, "ended"), *self._telling.ended(hired)]

    # drop, verdict

    def _drop(self, asked: Asked, now_ns: int) -> list[Effect]:
        drop: Drop = read(Drop, asked.body)
        why = said_of(drop.why)
        pending = self._offers.get(drop.lease)
        if pending is not None and pending.peer == asked.peer:
            return [*self._offers.drop(pending, why), answer(question_of(asked), Over("dropped", why))]
        hired = self._rows.held_by(asked.peer, drop.lease)
        if hired is None:
            return refused(asked, UNKNOWN)
        effects: list[Effect] = []
        if hired.row.state != "over":
            said = f"dropped by who hired it: {why}"
            dismiss = [Send(JOBS, Dismiss(drop.lease, hired.row.hired_job, said))] if hired.is_open else []
            effects = [*self._telling.end(hired, "dropped", why), *dismiss]
        return [*effects, answer(question_of(asked), hired.over())]

    def _verdict(self, asked: Asked, now_ns: int) -> list[Effect]:
        """A signature is checked only for who has a lease here."""
        if not self._rows.has(asked.peer):
            return refused(asked, UNKNOWN)
        noted = answer(question_of(asked), Over("noted", ""))
        if self._told.has(asked.body):
            return [noted]
        verdict = self._told.check(asked.body, asked.peer)
        hired = self._rows.held_by(asked.peer, _lease_id(verdict))
        if hired is None:
            return refused(asked, UNKNOWN)
        return [*self._told.keep(asked.body, verdict, hired.row, now_ns), noted]

    # time

    def _woken(self, token: object, now_ns: int) -> list[Effect]:
        effects: list[Effect] = []
        if token == ANSWER:
            questions, again = self._waiting.due(now_ns)
            for question in questions:
                effects += self._offers.late(question) if question.protocol == OFFER else self._telling.late(question)
            return [*effects, *again]
        if token != FORGET:
            return [note("hire_event_ignored", event="Woken", token=str(token))]
        for lease in self._forget.due(now_ns):
            hired = self._rows.get(lease)
            if hired is not None and hired.row.until_ns + KEPT_NS <= now_ns:
                if hired.is_open:
                    effects.append(Send(JOBS, Dismiss(lease, hired.row.hired_job, "its lease ended a day ago")))
                effects += [*self._rows.forget(lease), *self._telling.gone(lease)]
        return [*effects, *wakes(self._forget.again())]

    # for people

    def view(self, now_ns: int) -> tuple[HiredView, ...]:
        """Every lease that others hold here or have offered, in the order of the grants."""
        kept = [_kept_view(one, self._told.kinds(one.row.lease.id)) for one in self._rows]
        return (*kept, *map(_coming_view, self._offers.all()))


def _kept_view(hired: Hired, verdicts: tuple[Kind, ...]) -> HiredView:
    row = hired.row
    return HiredView(
        lease=row.lease.id.hex(), peer=hired.peer, job=row.job, piece=row.piece, purpose=row.purpose, state=row.state,
        why=row.why or hired.status, runs=row.runs, since_ns=row.granted_ns, until_ns=row.until_ns,
        price_per_giga=row.lease.price_per_giga, verdicts=verdicts,
    )  # fmt: skip


def _coming_view(pending: Pending) -> HiredView:
    offer = pending.offer
    return HiredView(
        lease=offer.lease.hex(), peer=pending.peer, job=offer.job, piece=offer.piece, purpose=offer.purpose,
        state=pending.state, why="", runs=pending.runs, since_ns=None, until_ns=pending.until_ns,
        price_per_giga=pending.lease.price_per_giga, verdicts=(),
    )  # fmt: skip


def _row(pending: Pending, now_ns: int) -> HiredRow:
    """What is kept of a grant. One that was dropped meanwhile is over from the start."""
    offer, dropped = pending.offer, pending.dropped
    return HiredRow(
        lease=pending.lease, terms=pending.terms, task=offer.task, job=offer.job, piece=offer.piece,
        purpose=offer.purpose,
        commits=offer.commits, stranger=pending.is_stranger, runs=pending.runs, granted_ns=now_ns,
        until_ns=pending.until_ns, state="engaged" if dropped is None else "over",
        end=None if dropped is None else "dropped", why=dropped or "",
    )  # fmt: skip


def _refused(pending: Pending, refused: tuple[str, str], questions: list[Question]) -> list[Effect]:
    """The node did not take it as a job."""
    said, what = refused
    kind: DeclinedKind = next((one for one in DECLINED_KINDS if one == said), "owner")
    told = Declined(kind, said_of(what), BUSY_NS if kind == "busy" else None)
    facts = {"peer": pending.peer.hex(), "lease": pending.offer.lease.hex(), "kind": kind, "why": told.what}
    return [note("hire_declined", **facts), *(answer(one, told) for one in questions)]


def _declined(asked: Asked, offer: Offer | None, declined: Declined) -> list[Effect]:
    lease = "" if offer is None else offer.lease.hex()
    facts = {"peer": asked.peer.hex(), "lease": lease, "kind": declined.kind, "why": line(declined.what)}
    return [note("hire_declined", **facts), answer(question_of(asked), declined)]


def _lease_id(verdict: Verdict) -> bytes:
    try:
        return bytes.fromhex(verdict.lease)
    except ValueError:
        return b""
