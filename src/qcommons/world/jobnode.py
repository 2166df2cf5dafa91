"""A node of a world that has jobs: mesh core, Spread, Hire and a desk as one machine, wired as `node.core` wires them.

Flow: simulator -> *JobNode.handle* -> the machine of that event -> its effects -> the next machine, or the simulator.

    event                                      goes to
    Begin                                      all, with what each of them kept
    Submit                                     desk -> JobMachine
    Asked, Withdrawn of work's protocols       Hire; parts of the work: Spread
    Got, Failed of a "spread" or "hire" ticket Spread, Hire
    Woken                                      by the first word of its token
    any other                                  the mesh core

What a `Run` computes is computed here and heard of after `After`; doubles stand for engines and signatures alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from qcommons.base.canonical import decode_record, encode_record
from qcommons.base.effects import Effect, Run, Send, Stop, Store, WakeAt, Woken
from qcommons.base.errors import PeerError
from qcommons.base.units import NS_PER_S
from qcommons.jobs import hire, spread
from qcommons.jobs.hire import Hire
from qcommons.jobs.machine import Doubted, ItemsEnded, JobEnded, JobMachine, PieceEnded
from qcommons.jobs.offer import piece_of
from qcommons.jobs.place import Candidate
from qcommons.jobs.records import Piece
from qcommons.jobs.report import read_report
from qcommons.jobs.spread import Spread
from qcommons.jobs.work import PART, PROTOCOLS, WantPart
from qcommons.jobs.work import read as read_said
from qcommons.jobs.work_events import (
    JOBS,
    MESH,
    Came,
    Candidates,
    Dismiss,
    Engage,
    Engaged,
    Heard,
    HiredEnded,
    JobOver,
    MakeReport,
    ReadReport,
    ReadWork,
    ReportMade,
    ReportRead,
    Sharing,
    Unwanted,
    Wanted,
    Withdrew,
    WorkRead,
)
from qcommons.mesh.events import Asked, Begin, Failed, Got, News, OpenDoor, Withdrawn
from qcommons.mesh.records import PeerId
from qcommons.pqc.identity import node_hash, node_id_of_hash
from qcommons.verify.records import SignedVerdict, Verdict
from qcommons.verify.verdict import OBJECT_TYPE as VERDICT_TYPE
from qcommons.verify.verdict import SIGNED_VERDICT_BYTES_MAX, VERDICT_ITEMS_MAX
from qcommons.world import trades
from qcommons.world.host import After, Host
from qcommons.world.jobdesk import KEY, UNITS, Desk, HiredDone, Submit, done, price_of
from qcommons.world.trades import HONEST, TRADES

__all__ = ["JobNode", "Seen"]

READ_NS = 5_000_000  # of work or a report, in a thread
LOOK = ("jobs", "look")
LOOK_NS = NS_PER_S // 4
PLACES = 2
DOOR = "door/"


class Seen:
    """What the world is told of work, for its checkers. All methods may be left as they are."""

    def accepted(self, host: Host, machine: JobMachine) -> None:
        """A job is on disk."""

    def answered(self, host: Host, machine: JobMachine, run: int, was_known: bool) -> None:
        """A run was handed back."""

    def ended(self, host: Host, ended: JobEnded) -> None:
        """A job has its result."""

    def lied(self, host: Host, lease: bytes, place: int) -> None:
        """A worker answered something else than is true."""

    def verdict(self, host: Host, verdict: Verdict) -> None:
        """A node signs what it found."""

    def kept_lease(self, host: Host, key: str, value: bytes | None) -> None:
        """A submitter wrote down the state of a lease."""


class JobNode:
    """mesh: the core. host: where it runs. sign: past the core, with the key of the host. key_of: public key of a peer.
    seed: of the world."""

    def __init__(
        self, mesh: Any, crypto: Any, host: Host, seed: int, seen: Seen, key_of: Callable[[bytes], bytes]
    ) -> None:  # fmt: skip
        self.mesh = mesh
        self._crypto, self._host, self._seed, self._seen, self._key_of = crypto, host, seed, seen, key_of
        self._me = PeerId(host.peer)
        self._secret = seed.to_bytes(8, "big").rjust(32, b"\0")[:24] + host.index.to_bytes(8, "big")
        self._trade = TRADES.get(host.trade, HONEST)
        self._is_dirty = True
        self._todo: deque[Any] = deque()
        self._spread: Spread
        self._hire: Hire
        self._desk: Desk
        self._takes: dict[type, Callable[[Any, int], Iterable[Any]]] = {
            Begin: self._begin,
            Submit: self._submit,
            Woken: self._woken,
            Came: self._came,
            Heard: self._heard,
            HiredDone: lambda event, now_ns: self._desk.done(event, now_ns),
            Engage: lambda event, now_ns: self._desk.engage(event, now_ns),
            Dismiss: lambda event, now_ns: self._desk.dismiss(event, now_ns),
            ItemsEnded: self._items_ended,
            PieceEnded: self._piece_ended,
            Doubted: self._doubted,
        }
        self._takes |= dict.fromkeys((Wanted, Unwanted, JobOver, Candidates, ReportRead), self._to_spread)
        self._takes |= dict.fromkeys((Withdrew, WorkRead, Engaged, HiredEnded, ReportMade, Sharing), self._to_hire)
        self._computes: dict[type, Callable[[Any], Any]] = {
            ReadWork: self._read_work,
            ReadReport: self._read_report,
            MakeReport: lambda piece: self._desk.report(piece),
        }

    # as the mesh core is seen

    @property
    def cores(self) -> tuple[Any, ...]:
        """What a real node holds as well: for measuring."""
        return self.mesh, self._spread, self._hire

    def peers_view(self, now_ns: int) -> Any:
        return self.mesh.peers_view(now_ns)

    def neighbours(self) -> Any:
        return self.mesh.neighbours()

    # routing

    def handle(self, event: Any, now_ns: int) -> list[Any]:
        out: list[Any] = []
        todo = self._todo
        todo.append(event)
        while todo:
            event = todo.popleft()
            take = self._takes.get(type(event))
            effects = self.mesh.handle(event, now_ns) if take is None else take(event, now_ns)
            for effect in effects:
                self._route(effect, out)
        return out

    def _route(self, effect: Any, out: list[Any]) -> None:
        kind = type(effect)
        if kind is Send:
            self._sent(effect, out)
        elif kind is Run:
            out += self._run(effect)
        elif kind is Store and effect.key.startswith("lease/"):
            self._seen.kept_lease(self._host, effect.key, effect.value)
            out.append(effect)
        elif kind is not Stop:
            out.append(effect)

    def _sent(self, effect: Send, out: list[Any]) -> None:
        to, message = effect.to, effect.message
        if to == MESH and type(message) is not News:
            self._todo.append(message.message)
        elif to == JOBS:
            self._todo.append(message)
        elif type(message) is JobEnded:
            self._seen.ended(self._host, message)
            out.append(self._desk.over(message))
            self._todo.append(JobOver(message.job_id))
        elif type(message) in (Asked, Withdrawn) and to.removeprefix(DOOR) in PROTOCOLS:
            what = Came(to.removeprefix(DOOR), message) if type(message) is Asked else Withdrew(message)
            self._todo.append(what)
        elif type(message) in (Got, Failed) and to.startswith(("spread", "hire")):
            heard = Heard(to, message.body) if type(message) is Got else Heard(to, failed=message)
            self._todo.append(heard)
        else:
            self._is_dirty |= type(message) is News
            out.append(effect)

    def _to_spread(self, event: Any, now_ns: int) -> list[Effect]:
        return self._spread.handle(event, now_ns)

    def _to_hire(self, event: Any, now_ns: int) -> list[Effect]:
        return self._hire.handle(event, now_ns)

    def _came(self, event: Came, now_ns: int) -> list[Effect]:
        if event.protocol == PART:
            try:
                if read_said(WantPart, event.asked.body).of == "work":
                    return self._to_spread(event, now_ns)
            except PeerError:
                pass  # Hire refuses it
        return self._to_hire(event, now_ns)

    def _heard(self, event: Heard, now_ns: int) -> list[Effect]:
        return (self._to_spread if event.ticket.startswith("spread") else self._to_hire)(event, now_ns)

    def _woken(self, event: Woken, now_ns: int) -> Iterable[Any]:
        token = event.token
        if isinstance(token, str):  # a job's deadline
            machine = self._desk.jobs.get(token)
            return [] if machine is None else self._of_job(machine, machine.handle(event, now_ns), now_ns)
        what = token[0] if isinstance(token, tuple) and token else None
        if token == LOOK:
            return self._look(now_ns)
        if what == "spread":
            return self._to_spread(event, now_ns)
        effects: Iterable[Any] = self._to_hire(event, now_ns) if what == "hire" else self.mesh.handle(event, now_ns)
        return effects

    # a start

    def _begin(self, event: Begin, now_ns: int) -> list[Any]:
        kept = dict(event.kept)
        self._spread = Spread(
            self._me, self._secret, _under(kept, spread.KEYS), price=price_of, sign=self._sign
        )  # fmt: skip
        self._hire = Hire(self._me, self._secret, _under(kept, hire.KEYS), check_verdict=self._check_verdict)
        lied = self._lied
        self._desk = Desk(self._seed, self._me, self._crypto, self._trade, lied, _under(kept, (KEY,)).items())
        out = [*self.mesh.handle(event, now_ns)]
        for protocol in PROTOCOLS:
            out += self.mesh.handle(OpenDoor(protocol), now_ns)
        out += [*self._spread.begin(now_ns), *self._hire.begin(now_ns)]
        out += self._hire.handle(Sharing(True, places=PLACES), now_ns)
        hired, own = self._desk.begin(now_ns)
        out += hired
        for machine in own:
            out += self._of_job(machine, self._desk.start(machine, now_ns), now_ns)
        return [*out, WakeAt(now_ns + LOOK_NS, LOOK)]

    def _lied(self, lease: bytes, place: int) -> None:
        self._seen.lied(self._host, lease, place)

    def _look(self, now_ns: int) -> list[Any]:
        """Peers have changed: Spread is told, once for all that came together."""
        again = WakeAt(now_ns + LOOK_NS, LOOK)
        if not self._is_dirty:
            return [again]
        self._is_dirty = False
        rows = tuple(
            Candidate(
                peer=row.peer, node_id=node_id_of_hash(row.peer), relation="stranger", state=row.state,
                round_trip_ns=row.round_trip_ns, offers=_offers(row.offers), version=row.version, places=PLACES,
            )
            for row in self.mesh.peers_view(now_ns)
        )  # fmt: skip
        return [*self._to_spread(Candidates(rows, now_ns // NS_PER_S), now_ns), again]

    # own jobs

    def _submit(self, event: Submit, now_ns: int) -> list[Any]:
        stored, machine = self._desk.submit(event, now_ns)
        self._seen.accepted(self._host, machine)
        return [stored, *self._of_job(machine, self._desk.start(machine, now_ns), now_ns)]

    def _of_job(self, machine: JobMachine, effects: Iterable[Any], now_ns: int) -> list[Any]:
        """Where a job says Run or Stop, peers are meant."""
        found: list[Any] = []
        until_ns = machine.history[0].since_ns + int(machine.job.deadline_s * NS_PER_S)
        for effect in effects:
            if isinstance(effect, Run):
                self._todo.append(Wanted(machine.job, effect.piece, until_ns))
            elif isinstance(effect, Stop):
                self._todo.append(Unwanted(effect.piece_id))
            else:
                found.append(effect)
        return found

    def _items_ended(self, event: ItemsEnded, now_ns: int) -> list[Any]:
        if event.piece_id.startswith("audit."):
            return self._to_spread(event, now_ns)
        machine = self._desk.jobs[event.piece_id.partition(".")[0]]
        for run, _ in event.ends:
            self._seen.answered(self._host, machine, run, machine.outcomes[run] is not None)
        kept = self._desk.kept(machine.job.id, event.ends)
        return [*kept, *self._of_job(machine, machine.handle(event, now_ns), now_ns)]

    def _piece_ended(self, event: PieceEnded, now_ns: int) -> list[Any]:
        if event.piece_id.startswith("audit."):
            return self._to_spread(event, now_ns)
        machine = self._desk.jobs[event.piece_id.partition(".")[0]]
        return self._of_job(machine, machine.handle(event, now_ns), now_ns)

    def _doubted(self, event: Doubted, now_ns: int) -> list[Any]:
        machine = self._desk.jobs.get(event.job_id)
        if machine is None or machine.ended:
            return []
        forgotten = self._desk.forgotten(event.job_id, event.runs)
        return [*forgotten, *self._of_job(machine, machine.handle(event, now_ns), now_ns)]

    # what workers and threads do

    def _run(self, effect: Run) -> list[After]:
        piece = effect.piece
        if isinstance(piece, Piece):  # an audit: this node's own engine is honest to itself
            read = [trades.read(wire) for wire in piece.programs]
            answers = [trades.answer(read[one.program], piece.wants[one.program], one.seed) for one in piece.items]
            ends = tuple((one.index, done(found)) for one, found in zip(piece.items, answers, strict=True))
            takes_ns = int(price_of(piece).seconds * NS_PER_S)
            return [After(takes_ns, ItemsEnded(piece.id, ends)), After(takes_ns, PieceEnded(piece.id))]
        return [After(READ_NS, self._computes[type(piece)](piece))]

    def _read_work(self, asked: ReadWork) -> WorkRead:
        try:
            piece = piece_of(asked.work, asked.task, f"hired.{asked.lease.hex()}", asked.limits)
        except PeerError as error:
            return WorkRead(asked.lease, None, (error.what, error.where or ""))
        return WorkRead(asked.lease, piece, None, UNITS * len(piece.items))

    def _read_report(self, asked: ReadReport) -> ReportRead:
        key = self._key_of(asked.peer)

        def check(key: bytes, kind: str, network: str, signed: bytes) -> bytes:
            return bytes(self._crypto.verify(key, kind, signed))

        try:
            reported = read_report(asked.data, asked.piece, key, self._host.network, check)
        except PeerError as error:
            return ReportRead(asked.lease, None, (error.what, error.where or ""))
        return ReportRead(asked.lease, reported, None, key)

    # verdicts: `verify.verdict` with the double's signatures

    def _sign(self, verdict: Verdict) -> bytes:
        self._seen.verdict(self._host, verdict)
        signed = self._crypto.sign(VERDICT_TYPE, encode_record(verdict))
        return encode_record(SignedVerdict(signed, self._host.key))

    def _check_verdict(self, data: bytes, judge: PeerId) -> Verdict:
        file = decode_record(data, SignedVerdict, bytes_max=SIGNED_VERDICT_BYTES_MAX, items_max=8)
        if node_hash(file.public_key) != judge:
            raise PeerError("signed by another node", where="judge")
        payload = self._crypto.verify(file.public_key, VERDICT_TYPE, file.signed)
        return decode_record(payload, Verdict, bytes_max=len(payload), items_max=VERDICT_ITEMS_MAX)


def _under(kept: dict[str, bytes], heads: tuple[str, ...]) -> dict[str, bytes]:
    return {key: raw for key, raw in kept.items() if key.startswith(heads)}


def _offers(texts: tuple[str, ...]) -> dict[str, int]:
    return {name: int(qubits) for name, _, qubits in (text.partition(":") for text in texts)}
