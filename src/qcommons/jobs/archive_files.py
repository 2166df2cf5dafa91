"""An archive's files: what a job says as names and bytes, and back.

Flow: Contents -> *made* -> (crate, signature) -> *sealed* -> archive_zip; archive_zip -> names and bytes -> *opened* ->
Contents, what is wrong with its files and who signed. docs/archive.md lists the files.

Opening holds everything to its type, but believes nothing of it: that is for `archive_checks`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec

from qcommons.base.canonical import decode_record, encode_record
from qcommons.base.errors import PeerError, QCommonsError
from qcommons.base.typed import described
from qcommons.circuits.qasm.writer import dumps
from qcommons.circuits.wire import decode
from qcommons.jobs.archive import (
    OBJECT_TYPE,
    ArchiveRoot,
    Batch,
    Contents,
    JobFile,
    LeaseFile,
    PeerRow,
    PlanFile,
    RunLine,
    SignedArchive,
    Used,
    Versions,
)
from qcommons.jobs.archive_citations import citations
from qcommons.jobs.archive_crate import METADATA, SIGNATURE, Listed, Made, listed, metadata, uses_of
from qcommons.jobs.archive_result import check_shots
from qcommons.jobs.outcomes import Done, Outcome
from qcommons.jobs.plan.records import Plan
from qcommons.jobs.plan.row import OWN_CAPS
from qcommons.jobs.records import Card, Job
from qcommons.pqc.identity import NodeId, NodeKey, node_id
from qcommons.pqc.signing import OVERHEAD_BYTES_MAX, sign, verify
from qcommons.verify.receipt import read_receipt

__all__ = ["QASM_MAX", "Opened", "made", "opened", "sealed"]

T = TypeVar("T")
QASM_MAX = 1_000  # programs that are written as text too; the bytes are there for all
QASM_OPS_MAX = 20_000  # of one of them: about a megabyte of text
RUNS_MAX = 1 << 20
ROOT_BYTES_MAX = 256
CBOR, JSON, LINES, TEXT = "application/cbor", "application/json", "application/x-ndjson", "text/plain"
JOB, PLAN, OUTCOMES, RESULT, VERSIONS, PEERS = (
    "job.json", "plan.json", "outcomes.jsonl", "result.json", "versions.json", "peers.json",
)  # fmt: skip
OWN = "receipts/own.json"


class Opened(NamedTuple):
    """files: as they were packed. listed: as the metadata names them. signer: id of the node whose signature stands
    under the metadata; signature: why none does, "" where one does."""

    contents: Contents
    files: dict[str, bytes]
    listed: dict[str, Listed]
    signer: NodeId
    signature: str


# writing


def made(contents: Contents) -> Iterator[Made]:
    """Every file but metadata and signature, in their order. contents: cleaned, its `result` filled in."""
    head, plan = contents.head, contents.plan
    yield Made(JOB, _json(msgspec.structs.replace(head, job=_bare(head.job))), "What was asked", JSON)
    if plan is not None:
        own = None if not plan.parts else _bare(plan.job)
        file = PlanFile(row=plan.row, why=plan.why, priced=plan.priced, job=own, parts=plan.parts)
        yield Made(PLAN, _json(file), "How it was done: the ways priced, the one chosen, its runs", JSON)
    yield Made(RESULT, contents.result, "The answer, as `qcommons job result --json` prints it", JSON)
    lines = msgspec.json.Encoder().encode_lines(
        [RunLine(run=k, outcome=one) for k, one in enumerate(contents.outcomes)]
    )
    yield Made(OUTCOMES, bytes(lines), "How each run of the plan ended, one a line", LINES)
    versions = msgspec.structs.replace(contents.versions, used=_used(contents))
    yield Made(VERSIONS, _json(_versions(versions, contents)), "Versions of what was used, and what to cite", JSON)
    if contents.receipts is not None:
        yield Made(OWN, _json(contents.receipts), "Receipts of the node that was asked, a run each", JSON)
    if contents.leases:
        yield Made(PEERS, _json(_peers(contents)), "Who ran what, and what was found of them", JSON)
    for one in contents.leases:
        yield Made(f"leases/{one.lease}.json", _json(one), "A lease", JSON)
        if one.lease in contents.batches:
            batch = contents.batches[one.lease]
            yield Made(f"receipts/{one.lease}.json", _json(batch), "Receipts of the peer that had the lease", JSON)
        for number, verdict in enumerate(contents.verdicts.get(one.lease, ())):
            yield Made(f"verdicts/{one.lease}.{number}.cbor", verdict, "A signed verdict on the lease", CBOR)
    yield from _programs(contents)


def sealed(contents: Contents, files: Iterable[Made], key: NodeKey, licence: str = "") -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every file, metadata and signature first. Only the signature differs from one time to the
    next (`pqc.signing.sign`)."""
    known = tuple(files)
    filled = msgspec.structs.replace(
        contents, versions=msgspec.structs.replace(contents.versions, used=_used(contents))
    )
    described = metadata(filled, known, licence)
    root = ArchiveRoot(hashlib.sha3_256(described).digest(), contents.head.job.id, key.hash)
    signed = sign(key, OBJECT_TYPE, contents.head.network, encode_record(root))
    yield METADATA, described
    yield SIGNATURE, encode_record(SignedArchive(signed, key.public_key))
    for file in known:
        yield file.name, file.data


def _programs(contents: Contents) -> Iterator[Made]:
    cards = {card.program_id: card for job in (contents.runs, contents.head.job) for card in job.programs if card.wire}
    for number, (program_id, card) in enumerate(sorted(cards.items())):
        title = f"Program {card.name}" if card.name else "A program of the plan"
        yield Made(_program_file(card), card.wire, f"{title}: the bytes that were run", CBOR)
        text = _qasm(card) if number < QASM_MAX and card.n_ops <= QASM_OPS_MAX else None
        if text is not None:
            yield Made(f"programs/{program_id}.qasm", text, f"{title} as OpenQASM 3", TEXT)


def _qasm(card: Card) -> bytes | None:
    """None where it cannot be printed."""
    try:
        return dumps(decode(card.wire, OWN_CAPS), OWN_CAPS).encode()
    except QCommonsError:
        return None


def _program_file(card: Card) -> str:
    return f"programs/{card.program_id}.cbor"


def _bare(job: Job) -> Job:
    """Its programs stand in files of their own."""
    return msgspec.structs.replace(
        job, programs=tuple(msgspec.structs.replace(card, wire=b"") for card in job.programs)
    )


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


def _used(contents: Contents) -> tuple[Used, ...]:
    """From receipts: of the peers where there are any, else of the node itself."""
    batches = list(contents.batches.values()) or ([contents.receipts] if contents.receipts else [])
    found: Counter[tuple[str, str, str, str]] = Counter()
    for batch in batches:
        for leaf in batch.leaves:
            receipt = read_receipt(leaf.receipt)
            if receipt.engine:
                found[receipt.engine, receipt.engine_version, receipt.method, batch.node_id] += 1
    return tuple(
        Used(engine=engine, version=version, method=method, node_id=node, runs=runs)
        for (engine, version, method, node), runs in sorted(found.items())
    )


def _versions(versions: Versions, contents: Contents) -> dict[str, Any]:
    cited = citations(uses_of(msgspec.structs.replace(contents, versions=versions)))
    rows = [{"of": list(one.of), "text": one.text, "url": one.url} for one in cited]
    return {**msgspec.to_builtins(versions), "citations": rows}


def _peers(contents: Contents) -> list[PeerRow]:
    from qcommons.verify.verdict import check_verdict

    rows = []
    for node in sorted({one.node_id for one in contents.leases}):
        own = [one for one in contents.leases if one.node_id == node]
        kinds = Counter(
            check_verdict(file, contents.head.node_id, contents.head.network).kind
            for one in own
            for file in contents.verdicts.get(one.lease, ())
        )
        rows.append(
            PeerRow(
                node_id=node, leases=len(own), runs=sum(len(one.runs) for one in own),
                accepted=sum(len(one.accepted) for one in own), verdicts=dict(sorted(kinds.items())),
            )
        )  # fmt: skip
    return rows


# reading


def opened(files: dict[str, bytes]) -> Opened:
    """What the files of an archive say. files: as `read_zip` gives them, anybody's.

    Raises:
        PeerError: a file is missing, or is none of its kind; `where` names it.
    """
    described = _file(files, METADATA)
    head = _read(files, JOB, JobFile)
    head = msgspec.structs.replace(head, job=_whole(head.job, files, JOB))
    plan = None
    if PLAN in files:
        plan = _plan(_read(files, PLAN, PlanFile), head.job, files)
    leases = tuple(sorted(_each(files, "leases/", ".json", LeaseFile).values(), key=lambda one: one.serial))
    batches = _each(files, "receipts/", ".json", Batch)
    contents = Contents(
        head=head, plan=plan, outcomes=_outcomes(files), receipts=batches.pop("own", None),
        leases=leases, batches=batches,
        verdicts=_verdicts(files), versions=_read(files, VERSIONS, _VersionsRead).plain(), result=_file(files, RESULT),
    )  # fmt: skip
    signer, why = _signature(files, described, head)
    return Opened(contents, files, listed(described), signer, why)


class _VersionsRead(Versions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """With what is told for people alone."""

    citations: tuple[dict[str, Any], ...] = ()

    def plain(self) -> Versions:
        return Versions(qcommons=self.qcommons, python=self.python, engines=self.engines, used=self.used)


def _plan(file: PlanFile, asked: Job, files: Mapping[str, bytes]) -> Plan:
    job = asked if file.job is None else _whole(file.job, files, PLAN)
    return Plan(row=file.row, why=file.why, priced=file.priced, job=job, parts=file.parts)


def _whole(job: Job, files: Mapping[str, bytes], where: str) -> Job:
    """The job with its programs, and no place in it that points outside."""
    if len(job.wants) != len(job.programs):
        raise PeerError(f"{len(job.wants)} wants of {len(job.programs)} programs", where=where)
    if not 1 <= len(job.points) <= RUNS_MAX or any(not 0 <= p.program < len(job.programs) for p in job.points):
        raise PeerError("no runs, too many, or one of a program that is not there", where=where)
    cards = tuple(
        msgspec.structs.replace(card, wire=_file(files, _program_file(card)) if card.program_id else b"")
        for card in job.programs
    )
    return msgspec.structs.replace(job, programs=cards)


def _outcomes(files: Mapping[str, bytes]) -> tuple[Outcome, ...]:
    lines = _guarded(OUTCOMES, lambda: msgspec.json.Decoder(described(RunLine)).decode_lines(_file(files, OUTCOMES)))
    if [line.run for line in lines] != list(range(len(lines))):
        raise PeerError("the runs are not in order", where=OUTCOMES)
    for line in lines:
        if isinstance(line.outcome, Done):
            check_shots(line.outcome.execution.answer.counts, f"{OUTCOMES}, run {line.run}")
    return tuple(line.outcome for line in lines)


def _verdicts(files: Mapping[str, bytes]) -> dict[str, tuple[bytes, ...]]:
    found: dict[str, list[tuple[int, bytes]]] = {}
    for name in files:
        if name.startswith("verdicts/"):
            lease, _, number = name.removeprefix("verdicts/").removesuffix(".cbor").partition(".")
            if not number.isdigit() or len(number) > 6 or not name.endswith(".cbor"):
                raise PeerError("this is no name of a verdict", where=name)
            found.setdefault(lease, []).append((int(number), files[name]))
    return {lease: tuple(data for _, data in sorted(rows)) for lease, rows in found.items()}


def _each(files: Mapping[str, bytes], folder: str, end: str, kind: type[T]) -> dict[str, T]:
    return {
        name.removeprefix(folder).removesuffix(end): _read(files, name, kind)
        for name in files
        if name.startswith(folder)
    }


def _signature(files: Mapping[str, bytes], described: bytes, head: JobFile) -> tuple[NodeId, str]:
    """(who signed, "" or why that does not hold)."""
    try:
        bytes_max = ROOT_BYTES_MAX + OVERHEAD_BYTES_MAX + 2048
        file = decode_record(_file(files, SIGNATURE), SignedArchive, bytes_max=bytes_max, items_max=8)
        signer = node_id(file.public_key)
        payload = verify(file.public_key, OBJECT_TYPE, head.network, file.signed)
        root = decode_record(payload, ArchiveRoot, bytes_max=ROOT_BYTES_MAX, items_max=8)
    except QCommonsError as error:
        return NodeId(""), str(error)
    if root.metadata != hashlib.sha3_256(described).digest():
        return signer, "it is the signature of another description"
    if root.job_id != head.job.id or node_id(file.public_key) != head.node_id:
        return signer, f"it is of {root.job_id}, by {signer}; the archive says {head.job.id} of {head.node_id}"
    return signer, ""


def _file(files: Mapping[str, bytes], name: str) -> bytes:
    data = files.get(name)
    if data is None:
        raise PeerError("this file is missing", where=name)
    return data


def _read(files: Mapping[str, bytes], name: str, kind: type[T]) -> T:
    return _guarded(name, lambda: msgspec.json.decode(_file(files, name), type=described(kind)))


def _guarded(name: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, ValueError) as error:
        raise PeerError(f"it is not what it should be: {error}"[:300], where=name) from None
