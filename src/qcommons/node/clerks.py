"""Clerks: threads that read what peers send and write what is sent to them: decoding and signatures off the loop.

Flow: core -> Run(ReadReport | ReadWork | MakeReport) -> shell -> *Clerks* -> ReportRead | WorkSeen | ReportMade.

One paper a peer at a time, peers in turns, so that whoever sends large ones waits for itself alone. How many may wait
is bounded by who asks for them (Spread, Hire). A fault whose `where` is "node" is this node's own, and nobody's lie.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from qcommons.base.effects import Note, note
from qcommons.base.errors import PeerError, raised_at
from qcommons.base.ids import piece_id
from qcommons.jobs.offer import piece_of
from qcommons.jobs.report import REPORT_BYTES_MAX, read_report, report_bytes
from qcommons.jobs.work import job_of, salt_of
from qcommons.jobs.work_events import MakeReport, ReadReport, ReadWork, ReportMade, ReportRead, WorkRead
from qcommons.mesh.records import PeerId
from qcommons.node.card import card_of_wire
from qcommons.node.keys import id_key, job_key, receipt_key, result_key
from qcommons.node.messages import WorkEvent, WorkSeen
from qcommons.node.records import Answered, Entry
from qcommons.node.recovery import Reading, decoded
from qcommons.node.sealing import SealedJob
from qcommons.verify.receipt import read_receipt
from qcommons.verify.replicate import commit_to

__all__ = ["Clerks", "Paper"]

THREADS = 2  # decoding holds the interpreter, signatures do not: more would not read faster
NO_RESULT = bytes(32)  # what a replica commits to where a run has no answer
Paper = ReadReport | ReadWork | MakeReport
KeyOf = Callable[[PeerId], bytes | None]


class Clerks:
    """me: this node's hash. network: its id. key_of: the public key of a peer, None where it is not known (any more);
    set while there is a mesh. The shell sets who hears of what was read, and `later`, which makes a call from a thread
    on the loop."""

    def __init__(self, me: bytes, network: str, store: Reading) -> None:
        self._me, self._network, self._store = me, network, store
        self.key_of: KeyOf = lambda peer: None
        self.on_event: Callable[[WorkEvent], None]
        self.on_note: Callable[[Note], None]
        self.later: Callable[..., None]
        self._threads = ThreadPoolExecutor(THREADS, "qcommons clerk")
        self._lines: OrderedDict[PeerId, deque[Paper]] = OrderedDict()  # whose turn is next first
        self._busy: set[PeerId] = set()

    def take(self, paper: Paper) -> None:
        """Queue it; on the loop."""
        self._lines.setdefault(paper.peer, deque()).append(paper)
        self._next()

    def close(self) -> None:
        self._lines.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _next(self) -> None:
        for peer in list(self._lines):
            if len(self._busy) >= THREADS:
                return
            if peer in self._busy:
                continue
            line = self._lines[peer]
            paper = line.popleft()
            self._lines.move_to_end(peer)
            if not line:
                del self._lines[peer]
            self._busy.add(peer)
            key = self.key_of(peer) if isinstance(paper, ReadReport) else b""
            self._threads.submit(self._work, paper, key).add_done_callback(partial(self._done, peer))

    def _done(self, peer: PeerId, future: Future[tuple[WorkEvent, Note | None]]) -> None:
        if not future.cancelled():
            self.later(self._tell, peer, *future.result())

    def _tell(self, peer: PeerId, event: WorkEvent, said: Note | None) -> None:
        self._busy.discard(peer)
        if said is not None:
            self.on_note(said)
        self.on_event(event)
        self._next()

    # in a thread

    def _work(self, paper: Paper, key: bytes | None) -> tuple[WorkEvent, Note | None]:
        """What came of a paper; a fault of ours is said, and held against nobody."""
        try:
            return self._read(paper, key), None
        except PeerError as error:
            return _failed(paper, (error.what, error.where or "")), None
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            said = note(
                "clerk_failed", paper=type(paper).__name__, peer=paper.peer.hex(), why=text, at=raised_at(error)
            )
            return _failed(paper, (f"this node could not read it: {text}"[:500], "node")), said

    def _read(self, paper: Paper, key: bytes | None) -> WorkEvent:
        match paper:
            case ReadReport(lease, data, piece):
                if key is None:
                    return _failed(paper, ("the key of this peer is not known here any more", "node"))
                if paper.is_checked:
                    import scipy.special  # noqa: F401  # 0.4 s the first time, which the loop need not wait for
                return ReportRead(lease, read_report(data, piece, key, self._network), None, key)
            case ReadWork():
                job = job_of(paper.lease, paper.peer, paper.task)
                piece = piece_of(paper.work, paper.task, piece_id(job, 0), paper.limits)
                cards = tuple(card_of_wire(program) for program in piece.programs)
                return WorkSeen(WorkRead(paper.lease, piece), cards, self._known(job))
            case MakeReport(lease):
                return self._made(lease, paper.job, paper.salt)

    def _known(self, job: str) -> Entry | None:
        """The job of that lease, holder and work, where it is here already."""
        raw = self._store.get(id_key(job))
        key = "" if raw is None else job_key(decoded(id_key(job), raw, int))
        return None if raw is None else decoded(key, self._store.get(key), Entry)

    def _made(self, lease: bytes, job: str, salt: bytes | None) -> ReportMade:
        raw = self._store.get(id_key(job))
        number = None if raw is None else decoded(id_key(job), raw, int)
        kept = None if number is None else self._store.get(receipt_key(number))
        if number is None or kept is None:
            return ReportMade(lease, None)
        answered: Answered = decoded(result_key(number), self._store.get(result_key(number)), Answered)
        sealed: SealedJob = decoded(receipt_key(number), kept, SealedJob)
        receipts = [receipt for receipt, _, _ in sealed.leaves]
        data = report_bytes(answered.outcomes, receipts, sealed.signed_root)
        if len(data) > REPORT_BYTES_MAX:
            return ReportMade(lease, None)
        commitments = b"" if salt is None else self._commitments(job, receipts, salt)
        return ReportMade(lease, data, commitments, hashlib.sha3_256(data).digest())

    def _commitments(self, job: str, receipts: list[bytes], salt: bytes) -> bytes:
        """One a run, joined."""
        found = []
        for run, receipt in enumerate(receipts):
            digest = read_receipt(receipt).result_hash or NO_RESULT
            found.append(commit_to(job, run, self._me, salt_of(salt, run), digest)[0])
        return b"".join(found)


def _failed(paper: Paper, fault: tuple[str, str]) -> WorkEvent:
    match paper:
        case ReadReport(lease):
            return ReportRead(lease, None, fault)
        case ReadWork(lease):
            return WorkSeen(WorkRead(lease, None, fault))
        case MakeReport(lease):
            return ReportMade(lease, None)
