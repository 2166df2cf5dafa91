"""Checks of an archive's leases: what was asked of peers, what they signed for, what was used of it, what was found.

Flow: Opened -> *Subject* -> a row of LEASE_CHECKS -> Finding. The work of a lease is made again from the plan, so that
its hash, its seeds and its receipts can be held to it; nothing is taken from the lease that the plan can say.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

from qcommons.base.canonical import decode_record
from qcommons.base.errors import PeerError
from qcommons.engines.records import Amplitudes, Counts, Expectations, Slices, Statevector, Want
from qcommons.jobs.archive import Batch, LeaseFile, unhex
from qcommons.jobs.archive_files import Opened
from qcommons.jobs.archive_finding import Finding
from qcommons.jobs.leases import audit_commitment, piece_for
from qcommons.jobs.offer import LEASE_BYTES, task_of, work_bytes
from qcommons.jobs.outcomes import Done, Outcome
from qcommons.jobs.plan.records import Part
from qcommons.jobs.records import Job, Piece
from qcommons.jobs.report import asked_of
from qcommons.jobs.work import job_of, salt_of
from qcommons.pqc.commit import COMMITMENT_BYTES, SALT_BYTES
from qcommons.pqc.identity import node_hash, node_id, parse_node_id
from qcommons.pqc.signing import verify
from qcommons.verify.answers import Question, fault
from qcommons.verify.audit import FLOOR_PPM, PPM, SECRET_BYTES, choose
from qcommons.verify.merkle import root_of_path
from qcommons.verify.receipt import OBJECT_TYPE, ROOT_BYTES_MAX, ROOT_ITEMS, read_receipt, result_hash
from qcommons.verify.records import BatchRoot, Receipt, Verdict
from qcommons.verify.replicate import commit_to
from qcommons.verify.verdict import check_verdict, receipt_hash

__all__ = ["LEASE_CHECKS", "NO_RESULT", "Subject", "check_batch", "root_of", "want_name"]

NO_RESULT = bytes(32)  # what a replica commits to for a run that it could not do (docs/protocol/verdict.md)
PIECES_KEPT = 64
WANTS = {
    Counts: "counts", Expectations: "expectations", Amplitudes: "amplitudes", Statevector: "statevector",
    Slices: "slices",
}  # fmt: skip


class Subject:
    """An archive while it is checked: what several checks need is made once."""

    def __init__(self, at: Opened) -> None:
        contents = at.contents
        self.at, self.asked, self.runs = at, contents.head.job, contents.runs
        self.outcomes, self.leases = contents.outcomes, contents.leases
        self.parts: tuple[Part, ...] = () if contents.plan is None else contents.plan.parts
        self.piece = lru_cache(maxsize=PIECES_KEPT)(self._piece)
        self.receipts = lru_cache(maxsize=None)(self._receipts)

    @property
    def jobs(self) -> tuple[Job, ...]:
        return (self.asked,) if self.runs is self.asked else (self.asked, self.runs)

    def _piece(self, lease: LeaseFile) -> Piece:
        """The work of a lease, made again from the plan. Raises PeerError: a run that the plan has not."""
        if not lease.runs or any(run >= len(self.runs.points) for run in lease.runs):
            raise PeerError("it is of no run, or of one that the plan has not", where="runs")
        return piece_for(self.runs, lease.runs, lease.lease, lease.engine, lease.method)

    def _receipts(self, lease: LeaseFile) -> tuple[Receipt, ...]:
        """By place in the work; empty where there are none. Whether they are signed for is another question."""
        batch = self.at.contents.batches.get(lease.lease)
        return () if batch is None else tuple(read_receipt(leaf.receipt) for leaf in batch.leaves)


def want_name(want: Want) -> str:
    """As receipts name it."""
    return WANTS[type(want)]


def root_of(batch: Batch, expected: str, network: str) -> BatchRoot:
    """The root under a batch, if the node with this id signed it. Raises PeerError, UsageError."""
    if batch.node_id != expected or node_id(batch.public_key) != expected:
        raise PeerError(f"signed by {node_id(batch.public_key)}; {expected} expected")
    payload = verify(batch.public_key, OBJECT_TYPE, network, batch.signed_root)
    top = decode_record(payload, BatchRoot, bytes_max=ROOT_BYTES_MAX, items_max=ROOT_ITEMS)
    if top.node != node_hash(batch.public_key):
        raise PeerError("the signed root names another node")
    return top


def check_batch(batch: Batch, expected: str, network: str, found: Finding, where: str) -> list[Receipt]:
    """The receipts of a batch that stand under the signature of `expected`; whatever else is a fault."""
    good: list[Receipt] = []
    with found.at(where):
        top = root_of(batch, expected, network)
        for leaf in batch.leaves:
            found.checked += 1
            with found.at(f"{where}, receipt {leaf.index}"):
                if root_of_path(leaf.receipt, leaf.index, top.size, leaf.path) != top.root:
                    raise PeerError("its path leads to another root than the signed one")
                good.append(read_receipt(leaf.receipt))
    return good


def _job_at_peer(subject: Subject, lease: LeaseFile) -> str:
    """The id of its job there. Raises PeerError: the file names no lease or no task."""
    holder = parse_node_id(subject.at.contents.head.node_id)
    return job_of(unhex(lease.lease, LEASE_BYTES, "lease"), holder, unhex(lease.task, 32, "task"))


# rows


def _terms(subject: Subject, found: Finding) -> None:
    """The work of each lease is that of the plan: its hash was offered, and stands in nothing else."""
    serials = [one.serial for one in subject.leases]
    if len(set(serials)) < len(serials):
        found.fault("leases", "two have one number")
    for lease in subject.leases:
        found.checked += 1
        with found.at(f"leases/{lease.lease}.json"):
            unhex(lease.lease, LEASE_BYTES, "lease")
            parse_node_id(lease.node_id)
            work = work_bytes(subject.piece(lease))
            if (task_of(work).hex(), len(work)) != (lease.task, lease.work_bytes):
                raise PeerError("the work that was offered is not that of these runs of the plan", where="task")
            if not set(lease.accepted) | set(lease.checked) <= set(lease.runs):
                raise PeerError("runs of it were used or checked that it has not", where="accepted")
            if lease.accepted and lease.lease not in subject.at.contents.batches:
                raise PeerError("its answers were used, and there are no receipts", where="receipts")
    for name in (subject.at.contents.batches.keys() | subject.at.contents.verdicts) - {
        one.lease for one in subject.leases
    }:
        found.fault(name[:80], "receipts or verdicts of a lease that is not there")


def _receipts(subject: Subject, found: Finding) -> None:
    """Each peer signed for each run of its lease, as it was asked."""
    network = subject.at.contents.head.network
    for lease in subject.leases:
        batch = subject.at.contents.batches.get(lease.lease)
        if batch is None:
            continue
        where = f"receipts/{lease.lease}.json"
        good = check_batch(batch, lease.node_id, network, found, where)
        if [leaf.index for leaf in batch.leaves] != list(range(len(lease.runs))):
            found.fault(where, f"{len(batch.leaves)} receipts of {len(lease.runs)} runs, or in another order")
        with found.at(where):
            piece = subject.piece(lease)
            asked, name = asked_of(piece), _job_at_peer(subject, lease)
            for place, (receipt, item) in enumerate(zip(good, piece.items, strict=True)):
                program, want = asked[item.program].program_id, piece.wants[item.program]
                rows = (
                    ("job", receipt.job_id, name), ("run", receipt.run, place), ("seed", receipt.seed, item.seed),
                    ("program", receipt.program_id, program), ("want", receipt.want, want_name(want)),
                )  # fmt: skip
                for what, one, two in rows:
                    if one != two:
                        found.fault(f"{where}, receipt {place}", f"{what} {str(one)[:80]}; {str(two)[:80]} was asked")
                used = (receipt.engine, receipt.method)
                if receipt.status == "done" and any(
                    a not in (None, b) for a, b in zip((lease.engine, lease.method), used, strict=True)
                ):
                    found.fault(f"{where}, receipt {place}", f"{'/'.join(used)} was used; the lease names another")


def _answers(subject: Subject, found: Finding) -> None:
    """The answers that were used are those that their peers signed for, each from one lease, each an answer at all."""
    used: dict[int, LeaseFile] = {}
    for lease in subject.leases:
        for run in lease.accepted:
            if run in used:
                found.fault(f"run {run}", f"used from lease {used[run].lease} and from {lease.lease}")
            used[run] = lease
    questions = _questions(subject)
    own = settled = 0
    for run, outcome in enumerate(subject.outcomes):
        found.checked += 1
        lease_of = used.get(run)
        with found.at(f"run {run}"):
            if isinstance(outcome, Done):
                why = fault(outcome.execution.answer, questions(run))
                if why is not None:
                    raise PeerError(why)
            if lease_of is not None:
                _signed_for(subject, lease_of, run, outcome)
            elif run in subject.runs.settled:
                settled += 1
            elif isinstance(outcome, Done):
                own += 1
    peers = sum(isinstance(subject.outcomes[run], Done) for run in used if run < len(subject.outcomes))
    found.note = f"{peers} of peers, {own} of the node itself" + (f", {settled} known before" if settled else "")


def _signed_for(subject: Subject, lease: LeaseFile, run: int, outcome: Outcome) -> None:
    receipt = subject.receipts(lease)[lease.runs.index(run)]
    answer = outcome.execution.answer if isinstance(outcome, Done) else None
    if receipt.result_hash != (None if answer is None else result_hash(answer)):
        raise PeerError(f"the answer is not the one that {lease.node_id} signed for under lease {lease.lease}")
    if answer is not None and (answer.engine, answer.method) != (receipt.engine, receipt.method):
        raise PeerError(f"it names another engine than the receipt of lease {lease.lease}")


def _questions(subject: Subject) -> Callable[[int], Question]:
    """The question of a run of the plan, by run; programs are read once."""
    runs = subject.runs
    first: dict[int, int] = {}
    for run, point in enumerate(runs.points):
        first.setdefault(point.program, run)

    @lru_cache(maxsize=PIECES_KEPT)
    def of(program: int) -> Question:
        return asked_of(piece_for(runs, (first[program],), "", runs.engine, runs.method))[0].question

    return lambda run: of(runs.points[run].program)


def _replicas(subject: Subject, found: Finding) -> None:
    """Who answered beside others had fixed its answer before: its commitments open to what it signed."""
    for lease in subject.leases:
        if not lease.commits or not subject.receipts(lease):
            continue
        with found.at(f"leases/{lease.lease}.json"):
            replica = lease.replica
            if replica is None:
                raise PeerError("it was to commit to its answers, and no commitment was kept", where="replica")
            salt = unhex(replica.salt, SALT_BYTES, "salt")
            told = unhex(replica.commitments, COMMITMENT_BYTES * len(lease.runs), "commitments")
            name, node = _job_at_peer(subject, lease), parse_node_id(lease.node_id)
            for place, receipt in enumerate(subject.receipts(lease)):
                found.checked += 1
                digest = receipt.result_hash or NO_RESULT
                again, _ = commit_to(name, place, node, salt_of(salt, place), digest)
                if again != told[COMMITMENT_BYTES * place : COMMITMENT_BYTES * (place + 1)]:
                    raise PeerError("the answer is not what it had committed to", where=f"run {lease.runs[place]}")


def _audits(subject: Subject, found: Finding) -> None:
    """The runs that were computed again follow from a secret that the offer had committed to, and from what the peer
    had signed by then."""
    head = subject.at.contents.head
    me = parse_node_id(head.node_id)
    for lease in subject.leases:
        if lease.audit is None:
            continue
        found.checked += 1
        with found.at(f"leases/{lease.lease}.json"):
            secret = unhex(lease.audit.secret, SECRET_BYTES, "secret")
            opened = audit_commitment(me, secret, unhex(lease.audit.salt, SALT_BYTES, "salt"))
            if opened.hex() != lease.audit.commitment:
                raise PeerError("the secret is not the one that the offer had committed to", where="audit")
            batch = subject.at.contents.batches.get(lease.lease)
            if lease.state == "accepted" and batch is not None and not lease.helps:
                root = root_of(batch, lease.node_id, head.network).root
                done = [place for place, one in enumerate(subject.receipts(lease)) if one.status == "done"]
                checked = {lease.runs.index(run) for run in lease.checked}
                _chosen(partial(choose, secret, root, done), checked)


def _chosen(at_rate: Callable[[int], tuple[int, ...]], checked: set[int]) -> None:
    """`checked` is what some rate chooses, none below the least that there is. Higher rates choose more."""
    low, high = FLOOR_PPM, PPM
    if not checked <= set(at_rate(PPM)):
        raise PeerError("a run was compared that had no answer", where="checked")
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if checked <= set(at_rate(middle)) else (middle + 1, high)
    if set(at_rate(low)) != checked:
        raise PeerError("the runs that were computed again are not those that the secret chooses", where="checked")


def _verdicts(subject: Subject, found: Finding) -> None:
    """Signed by the node that was asked, of this lease, resting on the receipts that are here; what was found wrong was
    not used."""
    head = subject.at.contents.head
    for lease in subject.leases:
        for number, file in enumerate(subject.at.contents.verdicts.get(lease.lease, ())):
            found.checked += 1
            with found.at(f"verdicts/{lease.lease}.{number}.cbor"):
                verdict = check_verdict(file, head.node_id, head.network)
                named = (verdict.lease, verdict.job_id, verdict.peer)
                if named != (lease.lease, _job_at_peer(subject, lease), parse_node_id(lease.node_id)):
                    raise PeerError("it is of another lease, or of another peer")
                if verdict.runs[-1] >= len(lease.runs):
                    raise PeerError(f"it is of run {verdict.runs[-1]} of {len(lease.runs)}", where="runs")
                about = {lease.runs[place] for place in verdict.runs}
                if verdict.kind in ("wrong", "malformed") and about & set(lease.accepted):
                    raise PeerError("its answers were used all the same", where=f"kind {verdict.kind}")
                _evidence(subject, lease, verdict)


def _evidence(subject: Subject, lease: LeaseFile, verdict: Verdict) -> None:
    """It rests on receipts that are here, and on the answers that they name. Answers that were not used are known by
    their hashes alone, so that the comparison itself is the judge's word (`check_evidence` needs the answers)."""
    known = {receipt_hash(receipt): receipt for receipt in subject.receipts(lease)}
    for item in verdict.evidence:
        for digest in item.receipts:
            receipt = known.get(digest)
            if receipt is None:
                raise PeerError("it names a receipt that is not here", where=f"run {item.run}", evidence=digest)
            if receipt.run != item.run:
                raise PeerError(f"it names the receipt of run {receipt.run}", where=f"run {item.run}")
            if item.method != "two receipts" and item.claimed not in (None, receipt.result_hash):
                raise PeerError("the receipt is of another result than the one it judges", where=f"run {item.run}")


LEASE_CHECKS: tuple[tuple[str, str, Callable[[Subject, Finding], None]], ...] = (
    ("leases", "what was asked of peers is what the plan needs", _terms),
    ("peers' receipts", "each peer signed for each run of its lease", _receipts),
    ("answers", "those used are those that were signed for", _answers),
    ("replicas", "commitments open to what was answered", _replicas),
    ("audits", "the committed secret chose the runs computed again", _audits),
    ("verdicts", "signed, and resting on the receipts that are here", _verdicts),
)
