"""Receipts of ended jobs: built from what is on disk, signed together, kept beside the results.

Flow: core -> Run(Seal(numbers)) -> shell's thread -> *Sealer* -> Sealed -> core -> Store(receipt/NUMBER). One
signature stands under the receipts of many jobs (verify/merkle): half a second's at most.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from qcommons.base.errors import UsageError
from qcommons.base.units import s_to_ns
from qcommons.engines.records import Amplitudes, Counts, Expectations, Slices, Statevector
from qcommons.engines.registry import load_engines
from qcommons.jobs.outcomes import Done, Outcome, status_of
from qcommons.jobs.records import Job
from qcommons.jobs.results import PHYSICS
from qcommons.node.answered import AnsweredParts, binary64_of, opened, read_answered
from qcommons.node.keys import result_key, spec_key
from qcommons.node.records import Answered, Spec
from qcommons.node.recovery import Reading, decoded
from qcommons.pqc.identity import NodeKey
from qcommons.verify.receipt import encode, result_hash, sign_batch
from qcommons.verify.records import Receipt, SignedReceipt

__all__ = ["SealedJob", "Sealer", "receipts_of", "signed_receipt"]

WANTS = {
    Counts: "counts", Expectations: "expectations", Amplitudes: "amplitudes", Statevector: "statevector",
    Slices: "slices",
}  # fmt: skip


class SealedJob(msgspec.Struct, frozen=True):
    """The receipts of one job as they are kept: what they share is there once."""

    leaves: tuple[tuple[bytes, int, tuple[bytes, ...]], ...]  # receipt, its index in the batch, its path
    signed_root: bytes
    public_key: bytes


class Sealer:
    """key: of this node. network: its id, so that a receipt cannot be shown elsewhere."""

    def __init__(self, key: NodeKey, network: str, store: Reading) -> None:
        self._key, self._network, self._store = key, network, store

    def seal(self, numbers: Iterable[int], now_ns: int) -> dict[int, bytes]:
        """number of a job -> its `SealedJob` as msgpack."""
        receipts: list[Receipt] = []
        counts: dict[int, int] = {}
        for number in numbers:
            spec = decoded(spec_key(number), self._store.get(spec_key(number)), Spec)
            answered = read_answered(result_key(number), self._store.get(result_key(number)))
            own = receipts_of(spec.job, answered)
            counts[number] = len(own)
            receipts += own
        if not receipts:
            return {}
        signed = iter(sign_batch(self._key, self._network, receipts, now_ns))
        return {number: _packed([next(signed) for _ in range(count)]) for number, count in counts.items() if count}


def _packed(signed: list[SignedReceipt]) -> bytes:
    leaves = tuple((one.receipt, one.index, one.path) for one in signed)
    return msgspec.msgpack.encode(SealedJob(leaves, signed[0].signed_root, signed[0].public_key))


def signed_receipt(kept: bytes, run: int) -> bytes:
    """The file of one run's receipt, which anyone can check offline. Raises UsageError for a run that is not there."""
    job = decoded("receipt", kept, SealedJob)
    if not 0 <= run < len(job.leaves):
        limit = f"0 to {len(job.leaves) - 1}"
        raise UsageError(f"this job has no run {run}; allowed {limit}", where="run", limit=limit)
    receipt, index, path = job.leaves[run]
    return encode(SignedReceipt(receipt, index, path, job.signed_root, job.public_key))


def receipts_of(job: Job, answered: Answered | AnsweredParts) -> list[Receipt]:
    """One receipt a run, whatever its end; runs of programs that did not parse have none."""
    versions = {name: engine.installed() or "" for name, engine in load_engines().items()}
    return [
        _receipt(job, run, *opened(outcome), versions, answered.phase.since_ns)
        for run, outcome in enumerate(answered.outcomes)
        if job.programs[job.points[run].program].program_id
    ]


def _receipt(
    job: Job, run: int, outcome: Outcome, packed: msgspec.Raw | None, versions: dict[str, str], ended_ns: int
) -> Receipt:
    point = job.points[run]
    want = job.wants[point.program]
    execution = outcome.execution if isinstance(outcome, Done) else None
    answer = None if execution is None else execution.answer
    return Receipt(
        job_id=job.id,
        run=run,
        program_id=job.programs[point.program].program_id,
        want=WANTS[type(want)],
        engine="" if answer is None else answer.engine,
        engine_version="" if answer is None else versions.get(answer.engine, ""),
        method="" if answer is None else answer.method,
        seed=point.seed,
        shots=getattr(want, "shots", None) if answer is not None else None,
        work_units=0 if execution is None else round(min(execution.predicted.work_units, 2.0**63)),
        duration_ns=0 if execution is None else s_to_ns(execution.seconds),
        result_hash=None if answer is None else result_hash(answer, None if packed is None else binary64_of(packed)),
        physics=PHYSICS if answer is not None else "none",
        status=status_of(outcome),  # type: ignore[arg-type]
        ended_at_ns=ended_ns,
    )
