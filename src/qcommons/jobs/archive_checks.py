"""Checks of an archive: each a row of one table, each redone from the bytes, none of them trusting another file's word.

Flow: Opened -> *check_all* -> a Check a row (how much was checked, what is wrong and where) -> CLI. Offline: nothing is
asked of anybody, and no circuit is run (that is `archive_again`). docs/archive.md says what the rows prove together.

Whoever made the archive may lie in it: a fault is never an exception, and one fault hides no other. What does not
hold is said with its place; checks of leases are in `archive_leases`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from qcommons.base.errors import PeerError
from qcommons.base.seeds import derive_each
from qcommons.circuits.qasm.reader import parse
from qcommons.circuits.wire import decode_columns, encode
from qcommons.jobs.archive_crate import METADATA, SIGNATURE
from qcommons.jobs.archive_files import Opened
from qcommons.jobs.archive_finding import Check, Finding
from qcommons.jobs.archive_leases import LEASE_CHECKS, Subject, check_batch, want_name
from qcommons.jobs.archive_result import answer_read, read_result, rederived, result_bytes, same
from qcommons.jobs.outcomes import status_of
from qcommons.jobs.plan.records import Combine, CountsSum, Same
from qcommons.jobs.plan.row import OWN_CAPS
from qcommons.verify.receipt import result_hash
from qcommons.verify.replicate import nonce_of, seed_of

__all__ = ["check_all"]

FACTORS_MAX = 1_000  # of one term; errors of pairs of them are added up
TERMS_MAX = 1_000_000  # of all parts


def check_all(at: Opened) -> tuple[Check, ...]:
    """Every row, in order. Raises nothing."""
    subject = Subject(at)
    found = []
    for row in CHECKS:
        finding = Finding()
        with finding.at(""):
            row.check(subject, finding)
        found.append(finding.check(row.name, row.says))
    return tuple(found)


# what the archive is


def _files(subject: Subject, found: Finding) -> None:
    files, listed = subject.at.files, subject.at.listed
    for name, data in files.items():
        if name in (METADATA, SIGNATURE):
            continue
        found.checked += 1
        row = listed.get(name)
        if row is None:
            found.fault(name, f"{METADATA} does not list it")
        elif (hashlib.sha256(data).hexdigest(), len(data)) != row:
            found.fault(name, f"its SHA-256 is not the one that {METADATA} names")
    for name in sorted(listed.keys() - files.keys()):
        found.fault(name, "it is listed and not there")


def _signature(subject: Subject, found: Finding) -> None:
    found.checked = 1
    if subject.at.signature:
        found.fault(SIGNATURE, subject.at.signature)


def _programs(subject: Subject, found: Finding) -> None:
    cards = {card.program_id: card for job in {id(one): one for one in subject.jobs}.values() for card in job.programs}
    for program_id, card in cards.items():
        if not program_id:  # it did not parse: there is none
            continue
        name = f"programs/{program_id}.cbor"
        found.checked += 1
        with found.at(name):
            if hashlib.sha3_256(card.wire).hexdigest() != program_id:
                raise PeerError("its SHA3-256 is not its name")
            columns = decode_columns(card.wire, OWN_CAPS)
            if (columns.n_qubits, tuple(columns.inputs)) != (card.n_qubits, card.inputs):
                raise PeerError(f"it has {columns.n_qubits} qubits and inputs {list(columns.inputs)[:5]}")
        text = subject.at.files.get(f"programs/{program_id}.qasm")
        if text is not None:
            with found.at(f"programs/{program_id}.qasm"):
                if encode(parse(text.decode()).program) != card.wire:
                    raise PeerError("read again it is another program than the bytes that were run")


# seeds


def _seeds(subject: Subject, found: Finding) -> None:
    """As docs/archive.md says: a single run has the job's seed, one of several its own from it, a replicated one from
    it and its program; shares have seeds of their own, else the same shots would count twice."""
    job = subject.asked
    if subject.at.contents.head.hired:
        found.note = "the peer that hired this node chose them"
    else:
        count = len(job.points)
        expected: Iterable[int] = iter((job.seed,)) if count == 1 else derive_each(job.seed, "run", count=count)
        if job.assurance == "replicate":
            nonce = nonce_of(job.seed)
            ids = [job.programs[point.program].program_id for point in job.points]
            expected = [seed_of(name, run, nonce) for run, name in enumerate(ids)]
        for run, (point, seed) in enumerate(zip(job.points, expected, strict=True)):
            found.checked += 1
            if point.seed != seed:
                found.fault(f"run {run}", f"seed {point.seed}; {seed} follows from the job's seed {job.seed}")
        told = nonce_of(job.seed).hex() if job.assurance == "replicate" else ""
        for lease in subject.at.contents.leases:
            if lease.nonce != told and not lease.helps:
                found.fault(f"lease {lease.lease}", f"nonce {lease.nonce or 'none'}; {told or 'none'} follows")
    for run, part in enumerate(subject.parts):
        if isinstance(part, Same) and subject.runs.points[part.point].seed != job.points[run].seed:
            found.fault(f"run {run}", "the plan runs it as it is, with another seed")
        if isinstance(part, CountsSum):
            seeds = [subject.runs.points[point].seed for point in part.points]
            if len(set(seeds)) < len(seeds) or len(set(part.points)) < len(part.points):
                found.fault(f"run {run}", "shares of its shots have one seed, so one sample counts twice")


# the node's own word


def _own(subject: Subject, found: Finding) -> None:
    """Signed by the node that was asked, a receipt for each run that was asked, of the numbers in result.json."""
    head, batch = subject.at.contents.head, subject.at.contents.receipts
    if batch is None:
        found.fault("receipts/own.json", "the node signed none")
        return
    receipts = check_batch(batch, head.node_id, head.network, found, "receipts/own.json")
    answered = rederived(subject.at.contents)
    shown = read_result(subject.at.contents)
    due = [k for k, point in enumerate(subject.asked.points) if subject.asked.programs[point.program].program_id]
    if [receipt.run for receipt in receipts] != due:
        found.fault("receipts/own.json", f"receipts of {len(receipts)} runs; {len(due)} are due, in their order")
    for receipt in receipts:
        run = receipt.run
        with found.at(f"run {run}"):
            point = subject.asked.points[run]
            want, outcome = subject.asked.wants[point.program], answered[run]
            card = subject.asked.programs[point.program]
            _equal("job", receipt.job_id, head.job.id)
            _equal("program", receipt.program_id, card.program_id)
            _equal("want", receipt.want, want_name(want))
            _equal("seed", receipt.seed, point.seed)
            _equal("status", receipt.status, status_of(outcome))
            _equal("end", receipt.ended_at_ns, head.ended_ns)
            hashes = {None if (one := answer_read(answer, want)) is None else result_hash(one)
                      for answer in (outcome, shown[run])}  # fmt: skip
            if receipt.result_hash not in hashes:
                raise PeerError("the receipt is of another answer than the one in result.json")


def _equal(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise PeerError(f"the receipt says {what} {str(found)[:80]}; {str(wanted)[:80]} expected")


# the result


def _result(subject: Subject, found: Finding) -> None:
    contents = subject.at.contents
    _bounded(subject)
    found.checked = len(subject.asked.points)
    again = result_bytes(contents)
    if again != contents.result:  # mostly they are the very bytes
        for where, what in same(msgspec.json.decode(again), msgspec.json.decode(contents.result)):
            found.fault(f"result.json{where}", what)
    peers = (
        f"{len(contents.outcomes)} runs of plan {contents.plan.row}" if contents.plan else "the runs as they were asked"
    )
    found.note = f"from {peers}"


def _bounded(subject: Subject) -> None:
    """What is put together must end: a plan is anybody's."""
    if len(subject.parts) not in (0, len(subject.asked.points)):
        raise PeerError(f"{len(subject.parts)} parts for {len(subject.asked.points)} runs", where="plan.json")
    sums = [terms for part in subject.parts if isinstance(part, Combine) for terms in part.sums]
    if sum(map(len, sums)) > TERMS_MAX or any(len(term.factors) > FACTORS_MAX for terms in sums for term in terms):
        raise PeerError("a plan of so many terms is not put together", where="plan.json")


class Row(NamedTuple):
    name: str
    says: str
    check: Callable[[Subject, Finding], None]


CHECKS: tuple[Row, ...] = (
    Row("files", "every file is listed, with its SHA-256", _files),
    Row("signature", "the node that was asked signed the list", _signature),
    Row("programs", "the bytes are those that their ids name, the text is theirs", _programs),
    Row("seeds", "they follow from the job's seed", _seeds),
    *(Row(name, says, check) for name, says, check in LEASE_CHECKS),
    Row("own receipts", "the node signed for each run that was asked", _own),
    Row("result", "put together again from the answers, it is the same", _result),
)
