"""Hired leases as a node keeps them: from the grant until a day after the deadline, on disk and in memory.

Flow: Hire -> *Rows* (who holds how many, who makes room) -> Store; disk -> *Rows.read* -> Hire. One row a lease under
`KEY` and its id in hex. On disk it is "engaged" until the whole report was told or the lease is over: whether its job
has ended in between, the job itself tells after a start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Literal

import msgspec

from qcommons.base.canonical import decode_record, encode_record
from qcommons.base.effects import Effect, Store, note
from qcommons.base.errors import Corrupt, PeerError
from qcommons.base.ids import JobId
from qcommons.base.units import NS_PER_S
from qcommons.jobs.asks import Lease
from qcommons.jobs.work import Over, Text, job_of
from qcommons.mesh.records import PeerId
from qcommons.verify.records import Digest, Name

__all__ = ["KEPT_NS", "KEY", "ROWS_MAX", "ROWS_PEER_MAX", "Ended", "Hired", "HiredRow", "Rows", "read_row"]

KEY = "hired/"
VERSION: Literal["qcommons/hired.1"] = "qcommons/hired.1"
KEPT_NS = 86_400 * NS_PER_S  # REPORT_KEPT_S: a submitter that was down for a night still gets what was done for it
ROWS_PEER_MAX = 1_024
ROWS_MAX = 8_192  # of 2 KB in memory and 500 bytes on disk
ROW_BYTES_MAX = 8_192
ROW_ITEMS_MAX = 64

State = Literal["engaged", "ended", "reported", "over"]
Ended = Literal["dropped", "given up"]
Time = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class HiredRow(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """What is stored of a lease.

    terms: `hire_terms.terms_of` its offer; task: of its work. job, piece: names at the submitter. stranger: what
    its holder was to the owner when it was granted. end, why: of a lease that is over. granted_ns, until_ns: event
    clock (ns since 1970).
    """

    version: Literal["qcommons/hired.1"] = VERSION
    lease: Lease
    terms: Digest
    task: Digest
    job: Name
    piece: Name
    purpose: Name
    commits: bool
    stranger: bool
    runs: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    granted_ns: Time
    until_ns: Time
    state: State = "engaged"
    end: Ended | None = None
    why: Text = ""

    @property
    def hired_job(self) -> JobId:
        """The id of its job at this node."""
        return job_of(self.lease.id, self.lease.holder, self.task)


class Hired(msgspec.Struct):
    """A row and what is known of it in this life. making: its report is being made. makes: how often it was. digest: of
    the report as it was made first. status: of its job, once it has ended."""

    row: HiredRow
    making: bool = False
    makes: int = 0
    digest: bytes | None = None
    status: str = ""

    @property
    def peer(self) -> PeerId:
        return PeerId(self.row.lease.holder)

    @property
    def is_open(self) -> bool:
        return self.row.state == "engaged"

    def over(self) -> Over:
        assert self.row.end is not None
        return Over(self.row.end, self.row.why)


# who makes room, in this order, the oldest first
LEAVERS: tuple[Callable[[HiredRow], bool], ...] = (
    lambda row: row.state in ("reported", "over"),
    lambda row: row.state == "ended" and row.stranger,
    lambda row: row.state == "ended",
)


class Rows:
    """State: the leases by id in the order of their grants, those of each peer, and how many of them are open: of each
    peer, of strangers, in all."""

    def __init__(self) -> None:
        self._rows: dict[bytes, Hired] = {}
        self._of: dict[PeerId, dict[bytes, None]] = {}
        self._open: Counter[PeerId] = Counter()
        self.open_strangers = self.open = 0

    @classmethod
    def read(cls, kept: Mapping[str, bytes]) -> Rows:
        """kept: what is on disk under `KEY`, with it. Raises Corrupt where it is not what was written."""
        rows = cls()
        for row in sorted((read_row(*item) for item in kept.items()), key=lambda row: (row.granted_ns, row.lease.id)):
            rows._put(Hired(row))
        return rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Hired]:
        return iter(list(self._rows.values()))

    def get(self, lease: bytes) -> Hired | None:
        return self._rows.get(lease)

    def held_by(self, peer: PeerId, lease: bytes) -> Hired | None:
        """None alike where there is no such lease and where it is another peer's."""
        hired = self._rows.get(lease)
        return hired if hired is not None and hired.peer == peer else None

    def has(self, peer: PeerId) -> bool:
        return peer in self._of

    def open_of(self, peer: PeerId) -> int:
        return self._open[peer]

    def add(self, row: HiredRow) -> tuple[Hired, list[Effect], list[bytes]]:
        """A new lease, the effects that keep it, and the ids of those that made room for it."""
        gone, effects = [], []
        while (leaver := self._leaver(PeerId(row.lease.holder))) is not None:
            lease = leaver.row.lease.id
            gone.append(lease)
            why = f"{len(self._of[leaver.peer])} leases of it, {len(self._rows)} in all: the oldest makes room"
            facts = {"peer": leaver.peer.hex(), "lease": lease.hex(), "state": leaver.row.state}
            effects += [note("hired_forgotten", **facts, why=why), *self.forget(lease)]
        hired = Hired(row)
        self._put(hired)
        return hired, [*effects, _stored(row)], gone

    def become(self, hired: Hired, state: State, end: Ended | None = None, why: str = "") -> list[Effect]:
        """Another state, kept on disk where the job itself cannot tell it after a start."""
        self._count(hired, -1)
        hired.row = msgspec.structs.replace(hired.row, state=state, end=end, why=why)
        self._count(hired, +1)
        return [] if state == "ended" else [_stored(hired.row)]

    def forget(self, lease: bytes) -> list[Effect]:
        hired = self._rows.pop(lease)
        self._count(hired, -1)
        own = self._of[hired.peer]
        del own[lease]
        if not own:
            del self._of[hired.peer]
        return [Store(KEY + lease.hex(), None)]

    def _leaver(self, peer: PeerId) -> Hired | None:
        """Who makes room for one more of this peer: one of its own where it holds too many, else anybody's. None where
        there is room, or where all are open, whose number has bounds of its own."""
        own = self._of.get(peer, {})
        if len(own) >= ROWS_PEER_MAX:
            leases: Mapping[bytes, object] = own
        elif len(self._rows) >= ROWS_MAX:
            leases = self._rows
        else:
            return None
        rows = ((may_go, self._rows[lease]) for may_go in LEAVERS for lease in leases)
        return next((one for may_go, one in rows if may_go(one.row)), None)

    def _put(self, hired: Hired) -> None:
        lease = hired.row.lease.id
        self._rows[lease] = hired
        self._of.setdefault(hired.peer, {})[lease] = None
        self._count(hired, +1)

    def _count(self, hired: Hired, step: int) -> None:
        if not hired.is_open:
            return
        self.open += step
        self.open_strangers += step * hired.row.stranger
        self._open[hired.peer] += step
        if not self._open[hired.peer]:
            del self._open[hired.peer]


def _stored(row: HiredRow) -> Effect:
    return Store(KEY + row.lease.id.hex(), encode_record(row))


def read_row(key: str, raw: bytes) -> HiredRow:
    """A row as it lies on disk. Raises Corrupt where it is not what was written."""
    try:
        row = decode_record(raw, HiredRow, bytes_max=ROW_BYTES_MAX, items_max=ROW_ITEMS_MAX)
    except PeerError as error:
        raise Corrupt(f"the row of a hired lease cannot be read: {error}", where=key) from error
    if key != KEY + row.lease.id.hex():
        raise Corrupt("the row of a hired lease lies under another's key", where=key)
    return row
