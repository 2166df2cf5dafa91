"""Who gets what, when: the jobs in turn, one lease each; and the end of what nobody can take.

Flow: something changed (a piece came, a place is free, a peer came or rests no more) -> Woken("place") ->
*Placing.place* -> choosing -> spread_leases. Work that waits goes before hedges: a second lease is for places that
nobody else needs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from qcommons.base.effects import Effect, note
from qcommons.base.seeds import stream
from qcommons.base.units import NS_PER_S
from qcommons.jobs.issuing import HeldJob, Parcel
from qcommons.jobs.leases import derived
from qcommons.jobs.outcomes import Unserved
from qcommons.jobs.spread_board import OPEN_MAX, Board
from qcommons.jobs.spread_checks import TRIES_MAX, Checks
from qcommons.jobs.spread_leases import Leases

__all__ = ["NOBODY_S", "Placing"]

NOBODY_S = 30  # a peer that restarts is back by then, a machine that sleeps is not
REASON_CHARS = 1_000


class Placing:
    """State: whose turn it is, and the generator for ties."""

    def __init__(self, board: Board, leases: Leases, checks: Checks) -> None:
        self.board, self.leases, self.checks = board, leases, checks
        self._rng = stream(int.from_bytes(derived(board.secret, "ties"), "big"), "spread")
        self._turn = 0

    def place(self, now_ns: int) -> list[Effect]:
        """Give out what can be given: the jobs in turn, one lease each, until nothing can."""
        board = self.board
        effects: list[Effect] = []
        stuck: set[str] = set()
        while len(board.leases) < OPEN_MAX:
            names = [name for name in board.jobs if name not in stuck]
            if not names:
                break
            self._turn += 1
            name = names[self._turn % len(names)]
            placed = self._place_one(board.jobs[name], now_ns)
            if placed is None:
                stuck.add(name)
            else:
                effects += placed
        for held in list(board.jobs.values()):
            effects += self._nobody(held, now_ns)
        return effects

    def _place_one(self, held: HeldJob, now_ns: int) -> list[Effect] | None:
        """One lease of a job; None where there is nothing to give, or nobody free. Work that waits goes before
        hedges."""
        board = self.board
        short = [one for one in held.parcels.values() if one.short]
        for parcel in [one for one in short if len(one.leases) < one.need]:
            if parcel.tries >= TRIES_MAX:
                return self._given_up(held, parcel, now_ns)
            found = board.peers.choose(held, parcel, self._rng, now_ns)
            if found is not None:
                return self.leases.issue(held, parcel, *found, now_ns)
        for most in (1 << 30, 1):  # where a budget does not reach for several pieces it may for one
            fresh = held.next_parcel(board.peers.places, most)
            found = board.peers.choose(held, fresh, self._rng, now_ns) if fresh is not None else None
            if fresh is not None and found is not None:
                held.take(fresh)
                return self.leases.issue(held, fresh, *found, now_ns)
        for parcel in [one for one in short if len(one.leases) >= one.need]:
            found = board.peers.choose(held, parcel, self._rng, now_ns)
            if found is not None:
                return self.leases.issue(held, parcel, *found, now_ns)
        return None

    def _nobody(self, held: HeldJob, now_ns: int) -> list[Effect]:
        """What no peer could take, however long it waited for a place, ends when NOBODY_S are over."""
        board = self.board
        effects: list[Effect] = []
        left = [one for one in held.parcels.values() if one.short and len(one.leases) < one.need]
        fresh = held.next_parcel(board.peers.places, 1)
        left += [fresh] if fresh is not None else []
        while left:
            parcel = left.pop(0)
            rows = board.peers.could(held, parcel, now_ns)
            owner: HeldJob | Parcel = held if parcel is fresh else parcel
            if any(why is None for _, why in rows) or len(board.leases) >= OPEN_MAX:
                owner.nobody_since_ns = None
                continue
            owner.nobody_since_ns = now_ns if owner.nobody_since_ns is None else owner.nobody_since_ns
            over_ns = owner.nobody_since_ns + NOBODY_S * NS_PER_S
            if now_ns < over_ns:
                effects += board.place_at(over_ns, now_ns)
                continue
            if parcel is fresh:  # and what waits behind it
                held.take(parcel)
                fresh = held.next_parcel(board.peers.places, 1)
                left += [fresh] if fresh is not None else []
            effects += self._unserved(held, parcel, _counted([why or "" for _, why in rows]), now_ns)
        return effects

    def _given_up(self, held: HeldJob, parcel: Parcel, now_ns: int) -> list[Effect]:
        reasons = _counted(list(parcel.avoid.values()))
        return self._unserved(held, parcel, f"{parcel.tries} leases came to nothing; {reasons}", now_ns)

    def _unserved(self, held: HeldJob, parcel: Parcel, why: str, now_ns: int) -> list[Effect]:
        board = self.board
        said = note("nobody_runs_it", job=held.job.id, runs=len(parcel.runs), why=why)
        if parcel.helps:
            gone = board.over(held, parcel, "nobody can compute it again", now_ns)
            return [said, *gone, *self.checks.third_missing(parcel.helps, now_ns)]
        outcome = Unserved(why, "mesh")
        ends = {run: parcel.failures.get(run, outcome) for run in parcel.runs}
        effects = held.handed(ends)
        return [said, *effects, *board.over(held, parcel, why, now_ns)]


def _counted(reasons: Iterable[str]) -> str:
    """ "4 peers considered: 2 x too narrow ..., 2 x away as planned"."""
    found = Counter(reasons)
    total = sum(found.values())
    told = "; ".join(f"{count} x {why}" if count > 1 else why for why, count in sorted(found.items()))
    if not total:
        return "no peer is known; invite or join one (`qcommons join`), or run it with --on here"
    return f"{total} peer{'s' if total > 1 else ''} considered: {told}"[:REASON_CHARS]
