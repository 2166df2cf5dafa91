"""Audit: random runs of a peer are computed again, chosen when its results are fixed.

Flow: receipts of a batch (the peer is bound) -> *choose* (by a secret that was committed to before) -> Recompute by us
or by a third peer -> compare -> verdicts of the batch. The peer cannot know which runs will be looked at, the submitter
cannot choose those where it would like to find something: the secret's commitment goes out with the lease, the secret
with the verdict, and anyone can choose again.

    a run's state   event                           then
    chosen          our own answer                  right, wrong or unproven, on the ground "recomputed"
    chosen          a third's, that agrees          right, on the ground "majority": of two
    chosen          a third's, that does not        we recompute it ourselves; where we cannot, another third does: then
                                                    the odd one out is wrong, on the ground "majority"
    chosen          none of them could              unproven

An auditor is paid for computing, whatever comes out, and is told neither the peer's answer nor that this is an audit:
one that accuses falsely, or says "agrees" unseen, is itself the odd one out.
One lie and every run of the batch is doubted: none of them is used before it is computed again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from qcommons.base.canonical import encode
from qcommons.base.effects import note
from qcommons.base.errors import UsageError
from qcommons.base.seeds import stream
from qcommons.verify.answers import Found, Question
from qcommons.verify.records import Ground, Kind
from qcommons.verify.replicate import Judgement, judge

__all__ = [
    "FLOOR_PPM", "NEW_PPM", "Audit", "Audited", "Batch", "Claim", "Recompute", "Recomputed", "Standing", "choose",
    "rate_ppm",
]  # fmt: skip

PPM = 1_000_000
NEW_PPM = 250_000  # of a peer that nobody knows: one run in four
FLOOR_PPM = 50_000  # of any peer, however long it was right: the notes on verification work with 5 %
HALVED_EACH = 50  # runs found right by a check
WATCHED_RUNS = 100  # after a lie, each of so many runs is computed again
SECRET_BYTES = 32


class Standing(msgspec.Struct, frozen=True):
    """What checks found of a peer: runs found right since its last lie, and lies. Others do not count."""

    right: int = 0
    lies: int = 0


class Claim(msgspec.Struct, frozen=True):
    """One run of a batch: what was asked, and what the peer answered."""

    question: Question
    found: Found


class Batch(msgspec.Struct, frozen=True):
    """Event: the peer has signed for these runs. root: what its signature covers, 32 bytes."""

    root: bytes
    claims: dict[int, Claim]


class Recompute(msgspec.Struct, frozen=True):
    """Effect: have `by` (a node hash; our own is allowed) run this, with the peer's engine and seed where it can."""

    run: int
    by: bytes


class Recomputed(msgspec.Struct, frozen=True):
    """Event: what came of it; None: it could not. known: what is known of the distribution (`compare`), ours only."""

    run: int
    by: bytes
    found: Found | None
    known: Any = None


class Audited(msgspec.Struct, frozen=True):
    """Effect: the batch is through. judgements: of the chosen runs. kind: of the peer for the whole batch, None where
    nothing was chosen. doubted: runs that must be computed again before they are used. answers: by run and node."""

    judgements: dict[int, Judgement]
    kind: Kind | None
    ground: Ground
    doubted: tuple[int, ...]
    answers: dict[int, dict[bytes, Found]]


def rate_ppm(standing: Standing, asked_ppm: int = NEW_PPM) -> int:
    """How many runs in a million to compute again. asked_ppm: of the job, for a peer that nobody knows.

    Halved for every HALVED_EACH runs found right, never below FLOOR_PPM; all of them after a lie.
    """
    if not FLOOR_PPM <= asked_ppm <= PPM:
        limit = f"{FLOOR_PPM} to {PPM} ppm"
        raise UsageError(f"an audit rate of {asked_ppm} ppm; allowed {limit}", where="rate", limit=limit)
    if standing.lies and standing.right < WATCHED_RUNS:
        return PPM
    right = standing.right - (WATCHED_RUNS if standing.lies else 0)
    return max(FLOOR_PPM, asked_ppm >> min(right // HALVED_EACH, 32))


def choose(secret: bytes, root: bytes, runs: Sequence[int], rate: int) -> tuple[int, ...]:
    """The runs to compute again: each with probability `rate` (ppm), by a hash that needs secret and results.

    run is chosen if the first 64 bits of SHA3-256(["qcommons/audit.1", secret, root, run]) are below rate/10^6 of 2^64.
    """
    if len(secret) != SECRET_BYTES:
        raise UsageError(f"a secret of {len(secret)} bytes; {SECRET_BYTES} needed", where="secret")
    # the bytes before the run are the same for all: hashed once (thousands of runs of a batch are looked at)
    head = hashlib.sha3_256(encode(["qcommons/audit.1", secret, root, 0])[:-1])
    return tuple(run for run in sorted(runs) if _draw(head, run) * PPM < rate << 64)


def _draw(head: Any, run: int) -> int:
    own = head.copy()
    own.update(encode(run))
    return int.from_bytes(own.digest()[:8], "big")


class Audit:
    """One batch of one peer.

    me, peer: node hashes. thirds: peers who may compute in our place, in the order they are asked in; none: we do.
    can: whether we could compute such a run ourselves.
    """

    def __init__(
        self, me: bytes, peer: bytes, secret: bytes, rate: int, thirds: Sequence[bytes] = (), can: bool = True
    ) -> None:
        if not thirds and not can:
            raise UsageError("nobody can compute it again: neither this node nor a third", where="thirds")
        if peer in thirds or me == peer:
            raise UsageError("a peer cannot audit itself", where="thirds")
        self.me, self.peer, self.secret, self.rate = me, peer, secret, rate
        self.thirds, self.can = tuple(thirds), can
        self.claims: Mapping[int, Claim] = {}
        self.answers: dict[int, dict[bytes, Found]] = {}
        self.waiting: dict[int, list[bytes]] = {}  # by run: who may still be asked, the one who is asked first
        self.judgements: dict[int, Judgement] = {}

    def handle(self, event: Any, now_ns: int) -> list[Any]:
        """Events: Batch once, then Recomputed. Effects: Recompute, then Audited once; notes."""
        match event:
            case Batch(root, claims) if not self.claims:
                self.claims = claims
                chosen = choose(self.secret, root, list(claims), self.rate)
                order = [*self.thirds, self.me] if self.can else list(self.thirds)
                self.waiting = {run: list(order) for run in chosen}
                self.answers = {run: {self.peer: claims[run].found} for run in chosen}
                asked = [Recompute(run, order[0]) for run in chosen]
                return asked or [self._audited()]
            case Recomputed(run, by, found, known) if self.waiting.get(run, [b""])[0] == by:
                return self._recomputed(run, by, found, known)
            case _:
                return [note("audit_event_ignored", peer=self.peer.hex(), event=type(event).__name__)]

    def _recomputed(self, run: int, by: bytes, found: Found | None, known: Any) -> list[Any]:
        question = self.claims[run].question
        rng = stream(int.from_bytes(self.secret, "big"), "audit", run)
        left = self.waiting[run][1:]
        if by == self.me and found is not None:
            self.judgements[run] = judge(question, self.answers[run], rng, found, known)
        else:
            if found is not None:
                self.answers[run][by] = found
            self.judgements[run] = judge(question, self.answers[run], rng)
        if self.judgements[run].chosen is None and self.judgements[run].ground == "majority" and left:
            # a third against the peer: ourselves next, where we can; the peer is not told
            nearest = self.me if self.me in left else left[0]
            self.waiting[run] = [nearest, *(node for node in left if node != nearest)]
            return [Recompute(run, nearest)]
        del self.waiting[run]
        return [] if self.waiting else [self._audited()]

    def _audited(self) -> Audited:
        kinds = {run: found.kinds[self.peer] for run, found in self.judgements.items()}
        grounds = {found.ground for found in self.judgements.values()}
        kind: Kind | None = next((k for k in ("malformed", "wrong", "unproven", "right") if k in kinds.values()), None)
        proved = any(found.ground == "recomputed" for run, found in self.judgements.items() if kinds[run] == kind)
        ground: Ground = "recomputed" if proved or not grounds else "majority"
        doubted = (
            tuple(self.claims) if kind in ("wrong", "malformed") else tuple(r for r in kinds if kinds[r] == "unproven")
        )
        return Audited(dict(self.judgements), kind, ground, tuple(sorted(doubted)), dict(self.answers))
