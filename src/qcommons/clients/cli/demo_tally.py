"""What archives prove of each node of the demo: receipts it signed, runs of it that were checked, and what was found.

Flow: JobView.archive -> *Tally.add* (every row of `qcommons verify`, offline) -> counts by node -> table, JSON.
"""

from __future__ import annotations

import io
from collections import Counter
from typing import NamedTuple

from qcommons.jobs.archive_checks import check_all
from qcommons.jobs.archive_files import opened
from qcommons.jobs.archive_zip import read_zip
from qcommons.verify.records import Verdict
from qcommons.verify.verdict import check_verdict

__all__ = ["Lie", "Tally", "evidence_text"]

PPT = 10**12
PUNISHED = ("wrong", "malformed")


class Lie(NamedTuple):
    """A verdict against a node. title: of the job."""

    node_id: str
    title: str
    verdict: Verdict


class Tally:
    """All archives of one node, whose id is `me`.

    receipts: that check, by node. right, wrong: runs that were compared with another answer, by node. lies: verdicts
    that say a node lied or sent nonsense. faults: of archives that do not hold, by title of the job.
    """

    def __init__(self, me: str) -> None:
        self.me = me
        self.archives = 0
        self.receipts: Counter[str] = Counter()
        self.right: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.lies: list[Lie] = []
        self.faults: dict[str, tuple[str, ...]] = {}

    def add(self, title: str, archive: bytes) -> None:
        """Check one offline and count what it proves. Raises PeerError: it is no archive."""
        at = opened(read_zip(io.BytesIO(archive)))
        head = at.contents.head
        faults = [f"{check.name}: {fault}" for check in check_all(at) for fault in check.faults]
        if head.node_id != self.me:
            faults.append(f"it is of {head.node_id}")
        if faults:
            self.faults[title] = tuple(faults)
            return
        self.archives += 1
        own = at.contents.receipts
        self.receipts[self.me] += 0 if own is None else len(own.leaves)
        peers = {lease.lease: lease.node_id for lease in at.contents.leases}
        for lease, batch in at.contents.batches.items():
            self.receipts[peers[lease]] += len(batch.leaves)
        for lease, files in at.contents.verdicts.items():
            for file in files:
                self._judged(title, peers[lease], check_verdict(file, self.me, head.network))

    def _judged(self, title: str, peer: str, verdict: Verdict) -> None:
        if verdict.kind == "right":
            self.right[peer] += len(verdict.runs)
        elif verdict.kind in PUNISHED:
            self.wrong[peer] += len(verdict.runs)
            self.lies.append(Lie(peer, title, verdict))


def evidence_text(verdict: Verdict) -> str:
    """The first thing that a verdict rests on, in words."""
    first = verdict.evidence[0]
    unit = 1 if first.unit == "shots" else PPT
    shots = " shots" if first.unit == "shots" else ""
    return f"{first.method}: {first.value / unit:.3g}{shots}, where {first.limit / unit:.3g}{shots} may be"
