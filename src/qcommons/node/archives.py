"""The archive of an ended job, made from what is on disk, in a file that has no name and goes when it is closed.

Flow: jobs_door -> thread -> *Archivist.write* -> store (spec, result, derived outcomes, receipts, leases) -> Contents
-> jobs/archive_files -> jobs/archive_zip -> the file -> api/archive_routes.
"""

from __future__ import annotations

import platform
import tempfile
from pathlib import Path
from typing import BinaryIO

import msgspec

from qcommons.base.errors import Unavailable
from qcommons.base.units import bytes_text
from qcommons.base.version import package_version
from qcommons.engines.registry import load_engines
from qcommons.jobs.archive import Batch, Contents, JobFile, Layout, Leaf, Versions, batch_of, lease_file
from qcommons.jobs.archive_clean import clean_job, clean_outcomes, clean_plan, clean_text
from qcommons.jobs.archive_files import made, sealed
from qcommons.jobs.archive_result import result_bytes
from qcommons.jobs.archive_zip import write_zip
from qcommons.jobs.leases import KEY, LeaseRecord, read_kept
from qcommons.jobs.outcomes import Outcome
from qcommons.node.keys import derived_key, past, receipt_key, result_key, spec_key
from qcommons.node.records import Answered, Entry, Spec, plan_of
from qcommons.node.recovery import Reading, decoded
from qcommons.node.sealing import SealedJob
from qcommons.pqc.identity import NodeKey

__all__ = ["ANSWER_BYTES_MAX", "Archivist"]

# Of result and derived outcomes on disk. As JSON, twice, they are about four times that, and in memory fifty: a
# statevector of 18 qubits takes 5 MiB, became an archive of 6.4 MiB (20 MiB unpacked), and the process 240 MiB large.
ANSWER_BYTES_MAX = 40 << 20
EXIT_REFUSED = 3  # with numbers (docs/cli.md)


class Archivist:
    """key: of this node, which signs the list of files. network: of now. folder: of the home, for the open file."""

    def __init__(self, key: NodeKey, network: str, store: Reading, folder: Path) -> None:
        self._key, self._network, self._store, self._folder = key, network, store, folder

    def write(self, entry: Entry, licence: str = "") -> BinaryIO:
        """The archive of an ended job, at its begin. licence: a URL or words, "" for none stated.

        Raises:
            Unavailable: its receipts are not signed yet, or it is too large, with the numbers.
            Corrupt: what is kept of it is not what it should be.
        """
        contents = self.contents(entry)
        file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115  # closed by whoever sends it
        try:
            write_zip(file, sealed(contents, made(contents), self._key, licence))
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return file

    def contents(self, entry: Entry) -> Contents:
        """Raises as `write`."""
        number, store = entry.number, self._store
        kept = store.get(receipt_key(number))
        if kept is None:
            raise Unavailable(f"the receipts of {entry.id} are signed within a second", where="receipt")
        answer, derived = store.get(result_key(number)), store.get(derived_key(number))
        _check_size(len(answer or b"") + len(derived or b""))
        spec: Spec = decoded(spec_key(number), store.get(spec_key(number)), Spec)
        answered: Answered = decoded(result_key(number), answer, Answered)
        outcomes: tuple[Outcome, ...] = answered.outcomes
        if derived is not None:
            outcomes = decoded(derived_key(number), derived, tuple[Outcome, ...])
        job, plan = clean_job(spec.job), None
        if spec.plan is not None:
            plan = clean_plan(plan_of(spec))
            if not plan.parts:
                plan = msgspec.structs.replace(plan, job=job)
        records = self._leases(entry.id)
        contents = Contents(
            head=JobFile(
                network=self._network, node_id=self._key.id, state=answered.phase.state,
                cause=clean_text(answered.phase.cause), submitted_ns=answered.submitted_ns,
                ended_ns=answered.phase.since_ns, hired=entry.lease, job=job,
                layout=Layout(shape=spec.form.shape, scalar=spec.form.scalar, single=spec.form.single),
            ),
            plan=plan, outcomes=clean_outcomes(outcomes),
            receipts=_own(decoded(receipt_key(number), kept, SealedJob), self._key.id),
            leases=tuple(map(lease_file, records)),
            batches={
                one.lease.hex(): batch_of(one.node_id, one.public_key, one.signed_root, one.receipts)
                for one in records if one.receipts and one.public_key
            },
            verdicts={one.lease.hex(): one.verdicts for one in records if one.verdicts}, versions=_versions(),
        )  # fmt: skip
        return msgspec.structs.replace(contents, result=result_bytes(contents))

    def _leases(self, job_id: str) -> list[LeaseRecord]:
        folder = f"{KEY}{job_id}/"
        records = [read_kept(value) for _, value in self._store.scan(folder, past(folder))]
        return sorted(records, key=lambda record: record.serial)


def _own(kept: SealedJob, node_id: str) -> Batch:
    leaves = tuple(Leaf(receipt=receipt, index=index, path=path) for receipt, index, path in kept.leaves)
    return Batch(node_id=node_id, public_key=kept.public_key, signed_root=kept.signed_root, leaves=leaves)


def _versions() -> Versions:
    engines = {name: version for name, engine in load_engines().items() if (version := engine.installed())}
    return Versions(qcommons=package_version(), python=platform.python_version(), engines=engines)


def _check_size(size_bytes: int) -> None:
    if size_bytes > ANSWER_BYTES_MAX:
        limit = bytes_text(ANSWER_BYTES_MAX)
        what = f"its answers take {bytes_text(size_bytes)}; an archive holds {limit} of them: take the result alone"
        error = Unavailable(what, where="archive", limit=limit)
        error.exit_code = EXIT_REFUSED
        raise error
