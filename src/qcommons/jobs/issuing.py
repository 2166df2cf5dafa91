"""What of a job waits for a peer, what is out, and what that costs: the submitter's ledger of one mesh job.

Flow: Wanted (piece) -> *HeldJob.want* -> Bundle, waiting -> *HeldJob.parcel* (several bundles that travel together) ->
lease -> *HeldJob.handed* -> ItemsEnded, PieceEnded. Runs are the unit of account: pieces may be cut otherwise after a
restart, a run's number never changes. Each run is handed back once for each time that it was wanted.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec
import numpy as np

from qcommons.base.effects import Effect, Send
from qcommons.engines.records import Amplitudes, Counts, Expectations, Statevector, Want
from qcommons.jobs.asks import due_units
from qcommons.jobs.checking import Party
from qcommons.jobs.leases import LeaseRecord
from qcommons.jobs.machine import ItemsEnded, PieceEnded
from qcommons.jobs.offer import ITEMS_MAX, PROGRAMS_MAX, VALUES_MAX, WORK_BYTES_MAX
from qcommons.jobs.outcomes import Outcome
from qcommons.jobs.plan.records import Price
from qcommons.jobs.records import Job, Piece
from qcommons.jobs.report import REPORT_BYTES_MAX
from qcommons.jobs.work_events import JOBS
from qcommons.mesh.records import PeerId
from qcommons.verify.answers import Found

__all__ = ["LEASE_S", "LEASE_S_MIN", "PACE_MAX", "Bundle", "HeldJob", "Parcel", "bundles_of", "share"]

LEASE_S = 1.0  # predicted work of a lease: offer, report and check take a few ms; a lost lease costs a second
LEASE_S_MIN = 0.25  # less is not worth a lease of its own while others have work: each takes several writes to disk
SHARES = 2  # leases a place that the rest of a job is cut into, so that all places end at about the same time
PACE_MIN, PACE_MAX = 1 / 8, 2.0  # so far what peers say that runs took moves the size of leases: up, where they are
# faster than predicted; hardly down, since on a busy machine more leases would only make it busier
REPLICAS = 2
RATIOS_KEPT = 256  # for the quantile of hedging
LATENCIES_KEPT = 8  # whose longest is usual: a lease that is no larger is not hedged before
PACES_KEPT = 16  # for the size of the next lease
RUN_BYTES = 64  # of a run in the work, without its values
VALUE_BYTES = 24
ROW_BYTES = 600  # of a run in a report, without its answer: the receipt takes most


class Load(NamedTuple):
    """How full a lease is with some runs, at most: each field has a limit of `offer` or `report`."""

    programs: int = 0
    runs: int = 0
    values: int = 0
    work_bytes: int = 0
    report_bytes: int = 0

    def __add__(self, other: object) -> Load:
        assert isinstance(other, Load)
        return Load(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    @property
    def fits(self) -> bool:
        return all(found <= most for found, most in zip(self, FULL, strict=True))


# half of the bytes: wants and noise are not counted, and answers are told as long as they are
FULL = Load(PROGRAMS_MAX, ITEMS_MAX, VALUES_MAX, WORK_BYTES_MAX // 2, REPORT_BYTES_MAX // 2)


class Bundle(msgspec.Struct, frozen=True):
    """Runs of one piece that wait together. piece: its id. price, load: of all of them."""

    piece: str
    runs: tuple[int, ...]
    price: Price
    load: Load


class Parcel:
    """Runs of one job that travel together, until each was handed back or went into another parcel.

    need: leases whose answers are needed: 1, or REPLICAS. helps: the lease whose runs are computed again here, b"" for
    work that is wanted for itself. nonce: of replicas' seeds. avoid: why a peer does not get it (again). leases: who
    holds those that are open. tries: leases that came to nothing. hedge_due: one more lease, where a place is free.
    opened: its replicas were asked to open. failures: what another peer said before of runs that failed there. parties:
    replicas of an earlier round; own: what this node found where they did not agree, computed as it was asked of
    judged_from. nobody_since_ns: since when no peer could take it at all.
    """

    def __init__(self, number: int, runs: tuple[int, ...], pieces: tuple[str, ...], price: Price) -> None:
        self.number, self.runs, self.pieces, self.price = number, runs, pieces, price
        self.need = 1
        self.helps = b""
        self.nonce = b""
        self.avoid: dict[PeerId, str] = {}
        self.leases: dict[bytes, PeerId] = {}
        self.tries = 0
        self.hedge_due = False
        self.opened = False
        self.failures: dict[int, Outcome] = {}
        self.parties: list[Party] = []
        self.own: dict[int, Found | None] = {}
        self.judged_from: list[LeaseRecord] = []
        self.nobody_since_ns: int | None = None

    @property
    def short(self) -> int:
        """Leases to give out now."""
        if self.opened:
            return 0
        return max(0, self.need + self.hedge_due - len(self.leases))


class HeldJob:
    """wanted: open runs, to the piece that wants them. left: of each piece, its open runs. spoken: base units by open
    lease; paid: for what was accepted. used: leases held or done by peer. ratios: seconds from lease to report by
    predicted seconds; latencies_s: of the last ones; paces: seconds that its runs took there, by predicted seconds.
    unaudited: runs accepted without being compared, by peer. outvoted: peers that a majority contradicted: no proof,
    but this job gets its answers elsewhere. records: every lease of the job. total_s: predicted for all that was
    wanted of peers."""

    def __init__(self, job: Job, until_ns: int) -> None:
        self.job, self.until_ns = job, until_ns
        self.wanted: dict[int, str] = {}
        self.left: dict[str, set[int]] = {}
        self.waiting: deque[Bundle] = deque()
        self.parcels: dict[int, Parcel] = {}
        self.total_s = 0.0
        self.numbers = self.serials = 0
        self.spoken: dict[bytes, int] = {}
        self.paid = 0
        self.used: dict[PeerId, int] = {}
        self.ratios: deque[float] = deque(maxlen=RATIOS_KEPT)
        self.latencies_s: deque[float] = deque(maxlen=LATENCIES_KEPT)
        self.paces: deque[float] = deque(maxlen=PACES_KEPT)
        self.unaudited: dict[PeerId, set[int]] = {}
        self.records: dict[bytes, LeaseRecord] = {}
        self.covered: set[int] = set()  # runs in a parcel or waiting
        self.outvoted: dict[PeerId, str] = {}
        self.nobody_since_ns: int | None = None

    # what is wanted

    def want(self, piece: Piece) -> tuple[int, ...]:
        """Take the piece's runs; those that no parcel covers yet."""
        runs = tuple(item.index for item in piece.items)
        self.left[piece.id] = set(runs)
        self.wanted.update(dict.fromkeys(runs, piece.id))
        return tuple(run for run in runs if run not in self.covered)

    def wait(self, bundles: Iterable[Bundle]) -> None:
        for bundle in bundles:
            self.waiting.append(bundle)
            self.total_s += bundle.price.seconds
            self.covered.update(bundle.runs)

    def unwant(self, piece: str) -> list[Parcel]:
        """Nobody waits for the piece; the parcels of which nothing is wanted any more."""
        gone = [run for run in self.left.pop(piece, ()) if self.wanted.get(run) == piece]
        for run in gone:
            del self.wanted[run]
        lost = [bundle for bundle in self.waiting if not any(run in self.wanted for run in bundle.runs)]
        for bundle in lost:
            self.waiting.remove(bundle)
            self.covered.difference_update(bundle.runs)
        return [one for one in self.parcels.values() if not any(run in self.wanted for run in one.runs)]

    def handed(self, ends: Mapping[int, Outcome]) -> list[Effect]:
        """Hand these runs back: who wanted them hears of each once."""
        by_piece: dict[str, list[tuple[int, Outcome]]] = {}
        for run, outcome in ends.items():
            self.covered.discard(run)
            piece = self.wanted.pop(run, None)
            if piece is not None:
                by_piece.setdefault(piece, []).append((run, outcome))
        effects: list[Effect] = []
        for piece, rows in by_piece.items():
            effects.append(Send(JOBS, ItemsEnded(piece, tuple(rows))))
            left = self.left[piece]
            left.difference_update(run for run, _ in rows)
            if not left:
                del self.left[piece]
                effects.append(Send(JOBS, PieceEnded(piece)))
        return effects

    # what travels together

    def next_parcel(self, places: int, most: int = ITEMS_MAX) -> Parcel | None:
        """The next bundles as one parcel, not yet taken (`take`). places: of all peers together. most: bundles."""
        if not self.waiting:
            return None
        first = self.waiting[0]
        target_s = self._target_s(max(places, 1))
        load, seconds = Load(), 0.0
        taken: list[Bundle] = []
        for bundle in self.waiting:
            alike = (bundle.price.engine, bundle.price.method) == (first.price.engine, first.price.method)
            is_over = seconds + bundle.price.seconds > target_s or len(taken) >= most
            if taken and (is_over or not alike or not (load + bundle.load).fits):
                break
            load += bundle.load
            taken.append(bundle)
            seconds += bundle.price.seconds
        runs = tuple(run for bundle in taken for run in bundle.runs)
        pieces = tuple(dict.fromkeys(bundle.piece for bundle in taken))
        return self._made(runs, pieces, _sum([bundle.price for bundle in taken]))

    def _target_s(self, places: int) -> float:
        """Predicted seconds of the next lease: a share of what is left, so that leases shrink as the job ends (guided
        self-scheduling: Polychronopoulos & Kuck, IEEE Trans. Comput. C-36(12), 1987), not below LEASE_S_MIN unless
        the whole job is too small for that, by what the runs of this job took so far."""
        left_s = math.fsum(bundle.price.seconds for bundle in self.waiting)
        pace = min(max(float(np.median(self.paces)), PACE_MIN), PACE_MAX) if self.paces else 1.0
        least_s = min(LEASE_S_MIN / pace, self.total_s / places)
        return min(LEASE_S / pace, max(left_s / (SHARES * places), least_s))

    def take(self, parcel: Parcel) -> None:
        """It is out: what waited of it waits no more."""
        count = 0
        while count < len(parcel.runs):
            count += len(self.waiting.popleft().runs)
        self.keep(parcel)

    def again(self, old: Parcel, runs: Iterable[int]) -> Parcel:
        """Runs of a parcel that must be run elsewhere, as one of their own."""
        kept = tuple(runs)
        parcel = self._made(kept, old.pieces, share(old.price, len(kept) / len(old.runs)))
        parcel.need, parcel.avoid, parcel.tries = old.need, dict(old.avoid), old.tries
        return parcel

    def keep(self, parcel: Parcel) -> None:
        self.parcels[parcel.number] = parcel
        if not parcel.helps:
            self.covered.update(parcel.runs)

    def _made(self, runs: tuple[int, ...], pieces: tuple[str, ...], price: Price) -> Parcel:
        self.numbers += 1
        parcel = Parcel(self.numbers, runs, pieces, price)
        parcel.need = REPLICAS if self.job.assurance == "replicate" else 1
        return parcel

    def unused(self, peer: PeerId) -> None:
        """A lease came to nothing there."""
        self.used[peer] = self.used.get(peer, 1) - 1
        if not self.used[peer]:
            del self.used[peer]

    # what it costs

    @property
    def budget_left(self) -> int | None:
        return None if self.job.budget is None else self.job.budget - self.paid - sum(self.spoken.values())

    def speak(self, lease: bytes, price_per_giga: int, work_units: int) -> None:
        """So much is set aside for an open lease."""
        self.spoken[lease] = due_units(price_per_giga, work_units)

    def settle(self, lease: bytes, price_per_giga: int, work_units: int) -> None:
        """The lease is over; what is due for so many units is due, and never more than was set aside."""
        self.paid += min(self.spoken.pop(lease, 0), due_units(price_per_giga, work_units))

    def forget_due(self, price_per_giga: int, work_units: int) -> None:
        """What was paid for is asked for again: it is paid once."""
        self.paid -= due_units(price_per_giga, work_units)


def bundles_of(job: Job, piece: str, runs: tuple[int, ...], price: Price) -> list[Bundle]:
    """The runs in order, in as few bundles as fit one lease each. price: of all of them."""
    load = _measured(job, runs)
    if load.fits or len(runs) == 1:
        return [Bundle(piece, runs, price, load)]
    half = len(runs) // 2
    parts = runs[:half], runs[half:]
    return [one for part in parts for one in bundles_of(job, piece, part, share(price, len(part) / len(runs)))]


def share(price: Price, part: float) -> Price:
    return msgspec.structs.replace(price, seconds=price.seconds * part, work_units=math.ceil(price.work_units * part))


def _sum(prices: list[Price]) -> Price:
    engines = set(prices[0].engines).intersection(*(price.engines for price in prices))
    return msgspec.structs.replace(
        prices[0], seconds=math.fsum(price.seconds for price in prices),
        work_units=sum(price.work_units for price in prices),
        memory_bytes=max(price.memory_bytes for price in prices), engines=tuple(sorted(engines)),
        here=all(price.here for price in prices),
    )  # fmt: skip


def _measured(job: Job, runs: tuple[int, ...]) -> Load:
    points = [job.points[run] for run in runs]
    each = Counter(point.program for point in points)
    values = sum(len(point.values) for point in points)
    wires = sum(len(job.programs[number].wire) for number in each)
    report = sum(
        times * (ROW_BYTES + _answer_bytes(job.wants[number], job.programs[number].n_qubits))
        for number, times in each.items()
    )
    return Load(len(each), len(runs), values, wires + RUN_BYTES * len(runs) + VALUE_BYTES * values, report)


def _answer_bytes(want: Want, n_qubits: int) -> int:
    """At most about."""
    match want:
        case Counts(shots):
            return int(min(shots, 2 ** min(n_qubits, 40))) * (n_qubits + 8)
        case Expectations(observables):
            return 32 * len(observables)
        case Amplitudes(bitstrings):
            return 16 * len(bitstrings)
        case Statevector():
            return int(16 << min(n_qubits, 40))
        case _:
            return 16 * max(1, len(want.bitstrings))
