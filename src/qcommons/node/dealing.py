"""Dealing: the core's side of work between nodes. It owns Spread (who submits) and Hire (who works), and translates.

Flow: core -> *Dealing* -> Spread, Hire -> *Dealing* -> core, shell.

    of a job on the mesh   Run(piece) -> Wanted, Stop -> Unwanted, its end -> JobOver; what Spread sends to JOBS goes to
                           the job's machine, as what workers answer does
    of a hired job         Engage -> Submit -> Engaged; Dismiss -> CancelJob; its end and receipts -> HiredEnded
    Send(MESH, ...)        held to its egress here, where it leaves: what may not go is noted, refused, never sent

Whatever is said inside the node is settled before `handle` of the core returns, so that all of it is one transaction.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from qcommons.base.effects import Effect, Run, Send, Stop, Woken, note
from qcommons.base.errors import PeerError, Unavailable, raised_at
from qcommons.base.units import NS_PER_S
from qcommons.jobs.hire import HiredView
from qcommons.jobs.machine import ItemsEnded, PieceEnded
from qcommons.jobs.place import EGRESS, PROVEN_RIGHT, Candidate, Relation
from qcommons.jobs.plan.records import Price
from qcommons.jobs.quarantine import Barred, Quarantine
from qcommons.jobs.records import Card, Job, Piece, Point
from qcommons.jobs.work import PART, WantPart, job_of, read
from qcommons.jobs.work_events import (
    HIRED,
    JOBS,
    MESH,
    Came,
    Candidates,
    Dismiss,
    Doubted,
    Engage,
    Engaged,
    Heard,
    HiredEnded,
    JobOver,
    Offline,
    ReportRead,
    ToMesh,
    Unwanted,
    Wanted,
)
from qcommons.jobs.work_views import ConsideredRow, LeaseRow
from qcommons.mesh.events import Answer, Ask, Failed
from qcommons.mesh.records import PeerId
from qcommons.node.answered import check_answer
from qcommons.node.card import card_of_wire
from qcommons.node.desk import Held
from qcommons.node.egress import nobody, receiver, why_not
from qcommons.node.messages import Begin, CancelJob, Event, Refusal, Seal, Sealed, Submit, Taken, WorkEvent, WorkSeen
from qcommons.node.owner import HOME
from qcommons.node.records import Entry, Form, Spec
from qcommons.pqc.identity import node_id_of_hash

__all__ = ["SELF", "Dealing", "Give", "HirePart", "Part", "Parts", "SpreadPart", "price_of"]

SELF = "core"  # an event for the core itself, once what stands before it is on disk
SEAL = "seal hired"  # token: the result of a hired job is on disk
AUDIT = "audit."  # names of Spread's pieces that are run here
ABROAD_MAX = 1_000  # open jobs on the mesh: their programs and outcomes are in memory
FAULTS_MAX = 16  # contained, one forgotten each FAULT_NS; a node with more is not to be trusted with its own state
FAULT_TEXT_MAX = 200
FAULT_NS = 3_600 * NS_PER_S  # else one odd message a month would stop a node that is left alone
CARDS_MAX = 64  # works that were read and are not engaged yet
WAIT = "the mesh is not started yet; try again in a moment"
Give = Callable[[Event, int], list[Effect]]


class Part(Protocol):
    """Spread or Hire."""

    def begin(self, now_ns: int) -> list[Effect]: ...

    def handle(self, event: Any, now_ns: int) -> list[Effect]: ...


class SpreadPart(Part, Protocol):
    quarantine: Quarantine

    def view(self, job_id: str, now_ns: int) -> tuple[LeaseRow, ...]: ...

    def considered(self, job: Job, now_ns: int) -> tuple[ConsideredRow, ...]: ...


class HirePart(Part, Protocol):
    def view(self, now_ns: int) -> tuple[HiredView, ...]: ...


Parts = Callable[[Mapping[str, bytes], Callable[[Piece], Price]], tuple[SpreadPart, HirePart]]


class Dealing:
    """make: Spread and Hire of what was kept (key -> value), and of what prices a piece. None: this node sends nothing
    out and hires itself to nobody. offline: why nobody can be asked now, "" while the mesh is there. candidates: the
    peers as they were told last."""

    def __init__(self, make: Parts | None = None) -> None:
        self._make = make
        self.spread: SpreadPart | None = None
        self.hire: HirePart | None = None
        self.offline = WAIT
        self.candidates: tuple[Candidate, ...] = ()
        self._relations: dict[PeerId, Relation] = {}
        self._pieces: dict[str, set[str]] = {}  # by job: wanted of Spread, not answered yet
        self._specs: dict[str, Spec] = {}  # of jobs of which Spread has pieces
        self._cards: OrderedDict[bytes, tuple[tuple[Card, ...], Entry | None]] = OrderedDict()
        self._engaging: dict[str, bytes] = {}  # ticket -> lease
        self._faults, self._faults_ns = 0, 0  # contained, and since when the next one wears off
        self._sealing: dict[int, HiredEnded] = {}  # by number of the job: told once its receipts are on disk

    # events

    def begin(self, kept: Begin, now_ns: int) -> list[Effect]:
        """What was kept; hired jobs that ended before Hire heard of it are told again."""
        if self._make is None:
            return []
        self.spread, self.hire = self._make(dict(kept.work), self.price)
        effects = [*self.spread.begin(now_ns), *self.hire.begin(now_ns)]
        for job in kept.hired:
            if job.entry is None:
                effects += self.hire.handle(HiredEnded(job.lease, "", "its job is not here any more"), now_ns)
            elif job.sealed:
                effects += self.hire.handle(_hired_ended(job.entry), now_ns)
            elif job.entry.ended_ns is not None:
                effects += self.hired_over(job.entry)
        return effects

    def take(self, event: Event, now_ns: int) -> list[Effect] | None:
        """What an event for Spread or Hire leads to; None: it is for neither."""
        if isinstance(event, Woken) and isinstance(event.token, tuple) and event.token[0] == SEAL:
            return [Run(f"seal.{event.token[1]}", Seal((event.token[1],)))]
        part, told = self._for(event)
        if part is None:
            return [] if isinstance(told, WorkEvent) else None
        try:
            return part.handle(told, now_ns)
        except Exception as error:
            return self._contained(event, error, now_ns)

    def _contained(self, event: Event, error: Exception, now_ns: int) -> list[Effect]:
        """A fault of ours that a peer's message met costs that message and its lease, not the node; raises where there
        were too many, or where no peer is behind it. As the mesh's driver does."""
        worn = (now_ns - self._faults_ns) // FAULT_NS
        self._faults_ns = self._faults_ns + worn * FAULT_NS if worn < self._faults else now_ns
        self._faults = max(0, self._faults - worn) + 1
        if not isinstance(event, Came | Heard | ReportRead | WorkSeen) or self._faults > FAULTS_MAX:
            raise error
        what, kind = f"{type(error).__name__}: {error}", type(event).__name__
        said: list[Effect] = [note("work_fault_contained", event=kind, error=what, at=raised_at(error))]
        if isinstance(event, Came):
            answer = Answer(event.asked.peer, event.asked.id, failed=Failed("corrupt", "a fault of this node"))
            said.append(Send(MESH, ToMesh(answer, HIRED, event.asked.peer)))
        lease = _lease_of(event)
        if lease is not None and self.spread is not None:  # what it left half done is not gone on with
            closing = ReportRead(lease, None, (what[:FAULT_TEXT_MAX], "fault"))
            try:
                said += self.spread.handle(closing, now_ns)
            except Exception as second:
                said.append(note("work_fault_contained", event="its lease", error=repr(second), at=raised_at(second)))
        return said

    def _for(self, event: Event) -> tuple[Part | None, Any]:
        match event:
            case ItemsEnded(piece_id) | PieceEnded(piece_id) if piece_id.startswith(AUDIT):
                return self.spread, event
            case Woken((str() as whose, *_)):
                return self._named(whose), event
            case Heard(ticket):
                return self._named(ticket), event
            case Candidates(rows):
                self.candidates, self.offline = rows, ""
                self._relations = {one.peer: one.relation for one in rows}
                return self.spread, event
            case Offline(why):
                self.candidates, self._relations, self.offline = (), {}, why
                return self.spread, event
            case ReportRead():
                return self.spread, event
            case Came(protocol, asked) if protocol == PART:  # of work: from who submits; of a report: from who worked
                return self.spread if _part_of(asked.body) == "work" else self.hire, event
            case WorkSeen(read, cards, known):
                self._cards[read.lease] = cards, known
                if len(self._cards) > CARDS_MAX:
                    self._cards.popitem(last=False)
                return self.hire, read
            case _:
                return (self.hire, event) if isinstance(event, WorkEvent) else (None, event)

    def _named(self, name: str) -> Part | None:
        return self.spread if name.startswith("spread") else self.hire if name.startswith("hire") else None

    def settle(self, effects: list[Effect], abroad: Mapping[str, Held], give: Give, now_ns: int) -> list[Effect]:
        """What is left for the shell once all that is said inside the node is said. abroad: open jobs on the mesh.
        give: an event for the core itself."""
        if self.spread is None:
            return effects
        out: list[Effect] = []
        left = deque(effects)
        while left:
            effect = left.popleft()
            inside = self._inside(effect, abroad, give, now_ns)
            if inside is None:
                out.append(effect)
            else:
                left.extendleft(reversed(inside))
        return out

    def _inside(self, effect: Effect, abroad: Mapping[str, Held], give: Give, now_ns: int) -> list[Effect] | None:
        """What an effect that does not leave the node leads to; None: it is the shell's."""
        assert self.spread is not None
        match effect:
            case Run(piece_id, Piece() as piece):
                held = abroad.get(_job_of_piece(piece_id))
                if held is None:
                    return None
                self._pieces.setdefault(held.entry.id, set()).add(piece_id)
                self._specs[held.entry.id] = held.spec
                return self.spread.handle(Wanted(held.spec.runs, piece, held.entry.deadline_ns), now_ns)
            case Stop(piece_id) if piece_id in self._pieces.get(_job_of_piece(piece_id), ()):
                self._pieces[_job_of_piece(piece_id)].discard(piece_id)
                return self.spread.handle(Unwanted(piece_id), now_ns)
            case Send(to, message) if to == JOBS:
                return self._to_jobs(message, give, now_ns)
            case Send(to, ToMesh() as message) if to == MESH:
                return self._leaving(message, now_ns)
            case Send(ticket, Taken() | Refusal() as said) if ticket in self._engaging:
                return self._engaged(self._engaging.pop(ticket), said, now_ns)
        return None

    def _engaged(self, lease: bytes, said: Taken | Refusal, now_ns: int) -> list[Effect]:
        """Hire hears whether it is a job here; of one that was here before and has ended also that it has, since
        nothing else will say so."""
        assert self.hire is not None
        effects = self.hire.handle(Engaged(lease, _refused(said, lease)), now_ns)
        if isinstance(said, Taken) and said.again and said.entry.lease == lease.hex():
            entry = said.entry
            if entry.ended_ns is not None and not self.is_hired(entry.number):
                effects += self.hire.handle(_hired_ended(entry), now_ns)
        return effects

    def _to_jobs(self, message: Any, give: Give, now_ns: int) -> list[Effect]:
        match message:
            case PieceEnded(piece_id):
                self._pieces.get(_job_of_piece(piece_id), set()).discard(piece_id)
                return give(message, now_ns)
            case ItemsEnded() | Doubted():
                return give(message, now_ns)
            case Engage():
                submit = self._submit_of(message)
                try:
                    check_answer(submit.job)
                except Unavailable as error:
                    assert self.hire is not None
                    return self.hire.handle(Engaged(message.offer.lease, ("work", error.what)), now_ns)
                self._engaging[submit.ticket] = message.offer.lease
                return give(submit, now_ns)
            case Dismiss(_, job, why):
                return give(CancelJob("", job, why), now_ns)
        return [note("work_not_understood", message=type(message).__name__)]

    # jobs

    def over(self, job_id: str, now_ns: int) -> list[Effect]:
        """A job on the mesh has its result."""
        self._pieces.pop(job_id, None)
        self._specs.pop(job_id, None)
        return [] if self.spread is None else self.spread.handle(JobOver(job_id), now_ns)

    def hired_over(self, entry: Entry) -> list[Effect]:
        """A hired job has its result: sealed as soon as that is on disk, in a batch of its own, since the receipt is
        the commitment to it and the report shows that batch whole."""
        self._sealing[entry.number] = _hired_ended(entry)
        return [Send(SELF, Woken((SEAL, entry.number)))]

    def is_hired(self, number: int) -> bool:
        """Whether an ended job that waits for its receipts was hired."""
        return number in self._sealing

    def sealed(self, event: Sealed) -> list[Effect]:
        """Hire hears of the end of its jobs once their receipts are on disk."""
        effects: list[Effect] = []
        for number in event.asked:
            ended = self._sealing.pop(number, None)
            if ended is not None and number not in event.receipts:
                ended = HiredEnded(ended.lease, ended.status, "its receipts could not be signed here")
            if ended is not None:
                effects.append(Send(SELF, ended))
        return effects

    def refusal(self, job: Job, open_jobs: int) -> Refusal | None:
        """Why a job cannot be given to the mesh now. open_jobs: on the mesh already."""
        if self._make is None or self.offline:
            return Refusal("resources", self.offline, "on")
        if job.principal != HOME:
            what = "only the owner's own jobs go from this node to the mesh; leave --on mesh out, it is run here then"
            return Refusal("owner", what, "on")
        if open_jobs >= ABROAD_MAX:
            what = f"{open_jobs} jobs of this node are on the mesh; allowed {ABROAD_MAX}; try later"
            return Refusal("resources", what, "on", f"{ABROAD_MAX} jobs")
        if not any(one.relation in EGRESS[job.egress] for one in self.candidates):
            return Refusal("resources", nobody(job.egress, len(self.candidates)), "egress", job.egress)
        return None

    def price(self, piece: Piece) -> Price:
        """What a piece of a job on the mesh takes."""
        return price_of(piece, self._specs.get(_job_of_piece(piece.id)))

    def considered(self, spec: Spec, now_ns: int) -> tuple[ConsideredRow, ...]:
        """A row for each peer: may it get pieces of this job, and if not, why. For `why`, and for quotes of jobs that
        are not submitted."""
        if self.spread is None:
            return ()
        is_new = spec.job.id not in self._specs
        self._specs.setdefault(spec.job.id, spec)
        try:
            return self.spread.considered(spec.runs, now_ns)
        finally:
            if is_new:
                del self._specs[spec.job.id]

    def is_proven(self, peer: PeerId) -> bool:
        """Whether checks of this node found work of a peer right, often enough since its last lie."""
        return self.spread is not None and self.spread.quarantine.standing(peer).right >= PROVEN_RIGHT

    def barred(self, peer: PeerId, now_s: int) -> Barred | None:
        """Until when a peer gets no work of this node, and why. now_s: Unix seconds."""
        return None if self.spread is None else self.spread.quarantine.barred(peer, now_s)

    def leases(self, job_id: str, now_ns: int) -> tuple[LeaseRow, ...]:
        """The leases of a job on the mesh."""
        return () if self.spread is None else self.spread.view(job_id, now_ns)

    def hired(self, now_ns: int) -> tuple[HiredView, ...]:
        """What others leased of this node."""
        return () if self.hire is None else self.hire.view(now_ns)

    def _submit_of(self, engage: Engage) -> Submit:
        offer, piece = engage.offer, engage.piece
        cards, known = self._cards.pop(offer.lease, ((), None))
        cards = cards or tuple(card_of_wire(program) for program in piece.programs)
        job = Job(
            id=job_of(offer.lease, engage.peer, offer.task), programs=cards, wants=piece.wants,
            points=tuple(Point(item.program, item.values, item.seed) for item in piece.items),
            seed=piece.items[0].seed, limits=piece.limits, deadline_s=engage.deadline_s, noise=piece.noise,
            engine=piece.engine, method=piece.method, principal=node_id_of_hash(engage.peer),
            purpose=offer.purpose or None,
        )  # fmt: skip
        lease = offer.lease.hex()
        return Submit(
            ticket=f"hire {lease}", job=job, form=Form((len(piece.items),), True, False), request=job.id,
            title=offer.piece, lease=lease, known=known,
        )  # fmt: skip

    # what leaves

    def _leaving(self, leaving: ToMesh, now_ns: int) -> list[Effect] | None:
        """None: it may go. Else it is refused, and whoever asked hears so."""
        said, peer, why = leaving.message, receiver(leaving), why_not(leaving, self._relations)
        if not why:
            return None
        refused = note("egress_refused", peer=peer.hex(), egress=leaving.egress, message=type(said).__name__, why=why)
        part = self._named(said.ticket) if isinstance(said, Ask) else None
        if part is None or not isinstance(said, Ask):
            return [refused]
        return [refused, *part.handle(Heard(said.ticket, failed=Failed("usage", why, "egress")), now_ns)]


def _job_of_piece(piece_id: str) -> str:
    return piece_id.partition(".")[0]


def _lease_of(event: Event) -> bytes | None:
    """The lease given out that an answer or a report is of."""
    if isinstance(event, ReportRead):
        return event.lease
    if not isinstance(event, Heard) or not event.ticket.startswith("spread/"):
        return None
    try:
        return bytes.fromhex(event.ticket.split("/")[1])
    except ValueError:
        return None  # a word that needs no answer


def _part_of(body: bytes) -> str:
    """Of a request for a part: "work" or "report"; "" where it cannot be read."""
    try:
        wanted: WantPart = read(WantPart, body)
    except PeerError:
        return ""
    return wanted.of


def _hired_ended(entry: Entry) -> HiredEnded:
    return HiredEnded(bytes.fromhex(entry.lease), entry.state, entry.cause if entry.state == "cancelled" else None)


def _refused(said: Taken | Refusal, lease: bytes) -> tuple[str, str] | None:
    """As `work.Declined` has it. A job that is another lease's is none of this one: 80 bits of a hash are no proof."""
    if isinstance(said, Taken):
        is_its = said.entry.lease == lease.hex()
        return None if is_its else ("terms", "this lease has the job id of another one: draw another id")
    kind = "busy" if said.who != "owner" else "purpose" if said.where == "policy.purpose" else "owner"
    return kind, said.what


def price_of(piece: Piece, spec: Spec | None) -> Price:
    """What a piece takes by the prices of its job's plan; by its limits where there are none. Engine and method are
    named where all its runs agree."""
    prices = () if spec is None or spec.plan is None else spec.plan.prices
    times: Counter[int] = Counter()
    if spec is not None and prices:
        times.update(spec.runs.points[item.index].program for item in piece.items)
    if not times:
        return Price(seconds=piece.limits.seconds, work_units=1, memory_bytes=piece.limits.memory_bytes)
    rows = [(prices[number], count) for number, count in times.items()]
    names = {(row.engine, row.method) for row, _ in rows}
    engine, method = names.pop() if len(names) == 1 else (piece.engine, piece.method)
    return Price(
        seconds=math.fsum(count * row.seconds for row, count in rows),
        work_units=sum(count * row.work_units for row, count in rows),
        memory_bytes=max(row.memory_bytes for row, _ in rows), engine=engine, method=method,
        here=all(row.here for row, _ in rows),
    )  # fmt: skip
