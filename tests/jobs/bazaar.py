"""A simulated market: peers that are fast, slow, flaky, new or lying, and the parts of placing working together.

One piece after the other, or several at once, on a virtual clock of seconds. Answers are audited as `verify.audit`
says, verdicts are this node's own. What is counted (`Tale`) is what really happened, which the parts under test do not
see.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from qcommons.base.seeds import stream
from qcommons.jobs.place import Candidate, Chooser, Needs, Pick, considered, free
from qcommons.jobs.quarantine import Quarantine
from qcommons.mesh.records import PeerId
from qcommons.verify.audit import rate_ppm
from qcommons.verify.records import Evidence, Ground, Kind, Verdict

ME = b"\xee" * 32
EPOCH_S = 1_800_000_000
PIECE_S = 1.0


def verdict(peer: bytes, kind: Kind, ground: Ground = "recomputed", runs: int = 1) -> Verdict:
    outcome = {"right": "agrees", "wrong": "differs"}.get(kind, "cannot tell")
    evidence = tuple(
        Evidence(
            run=run, receipts=(), claimed=b"c" * 32, found=b"f" * 32, found_by=ME, outcome=outcome, method="m",
            value=0, limit=0, unit="shots", false_alarm_ppt=0,
        )
        for run in range(runs)
    )  # fmt: skip
    return Verdict(
        lease="lease", job_id="job_abcdefghijklmnop", runs=tuple(range(runs)), peer=peer, kind=kind, ground=ground,
        evidence=() if ground == "clock" else evidence, judged_at_ns=0,
    )  # fmt: skip


@dataclass(frozen=True)
class Trader:
    """slowness: mean seconds for a piece of one predicted second; tires: from which piece of the market on, and by what
    factor, it takes longer. fails: probability; lies: probability by pieces done so far. joins: from which piece of the
    market on it is there."""

    name: str
    slowness: float
    fails: float = 0.0
    lies: Callable[[int], float] = lambda done: 0.0
    joins: int = 0
    places: int = 4
    tires: tuple[int, float] = (1 << 30, 1.0)

    @property
    def peer(self) -> PeerId:
        return PeerId(self.name.encode().ljust(32, b"."))

    def mean_s(self, piece: int) -> float:
        return self.slowness * (self.tires[1] if piece >= self.tires[0] else 1.0)

    def worth(self, piece: int, done: int = 0) -> float:
        """Mean of what a piece is worth: predicted / (predicted + taken), 0 where it fails or lies; the time taken is
        uniform within 20 % of the mean."""
        low, high = 0.8 * self.mean_s(piece), 1.2 * self.mean_s(piece)
        speed = np.log((PIECE_S + high) / (PIECE_S + low)) / (high - low)  # mean of 1 / (1 + t) for t uniform
        return float(speed) * (1 - self.fails) * (1 - self.lies(done))


TWENTY: tuple[Trader, ...] = (
    *(Trader(f"fast{k}", 0.8 + 0.1 * k) for k in range(6)),
    *(Trader(f"slow{k}", 4.0 + 0.4 * k) for k in range(6)),
    *(Trader(f"flaky{k}", 0.7, fails=0.3) for k in range(4)),
    Trader("liar-always", 0.1, lies=lambda done: 1.0),
    Trader("liar-one-in-five", 0.3, lies=lambda done: 0.2),
    Trader("liar-later", 0.5, lies=lambda done: 0.5 * (done >= 100)),
    Trader("newcomer", 0.6, joins=500),
)


@dataclass
class Tale:
    """pieces: how many each got. order: who got each. worths: the mean of who got it. caught: liar to the number of
    pieces given out when it was first caught. end_s: of the last report. mixed, unproven: choices between proven and
    unproven peers, and those of them that fell on an unproven one."""

    pieces: dict[str, int] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    worths: list[float] = field(default_factory=list)
    caught: dict[str, int] = field(default_factory=dict)
    end_s: float = 0.0
    unproven: int = 0
    mixed: int = 0


class Bazaar:
    """at_once: pieces that run at the same time. pause_s: before each piece."""

    def __init__(self, traders: Sequence[Trader], seed: int, at_once: int = 1, pause_s: float = 0.0) -> None:
        self.traders = {trader.peer: trader for trader in traders}
        self.rng = stream(seed, "bazaar")
        self.draws = stream(seed, "ties")
        self.at_once, self.pause_s = at_once, pause_s
        self.chooser, self.quarantine = Chooser(), Quarantine(ME)
        self.done = dict.fromkeys(self.traders, 0)
        self.busy = dict.fromkeys(self.traders, 0)
        self.tale = Tale(dict.fromkeys((trader.name for trader in traders), 0))
        self.now_s = 0.0
        self.running: list[tuple[float, int, float, Pick, bool, bool]] = []

    def play(self, pieces: int) -> Tale:
        for piece in range(pieces):
            self.now_s += self.pause_s
            while len(self.running) >= self.at_once or not self._lease(piece):
                self._report(piece)
        while self.running:
            self._report(pieces)
        self.tale.end_s = self.now_s
        return self.tale

    def candidates(self, piece: int) -> list[Candidate]:
        found = []
        for peer, trader in self.traders.items():
            if trader.joins <= piece:
                barred = self.quarantine.barred(peer, self._clock())
                found.append(Candidate(
                    peer=peer, node_id=trader.name, relation="stranger", state="alive", round_trip_ns=1_000_000,
                    offers={"qulacs": 28}, in_flight=self.busy[peer], places=trader.places,
                    right=self.quarantine.standing(peer).right,
                    barred_until_s=barred.until_s if barred else 0, barred_why=barred.why if barred else "",
                ))  # fmt: skip
        return found

    def _clock(self) -> int:
        return EPOCH_S + int(self.now_s)

    def _lease(self, piece: int) -> bool:
        needs = Needs(
            engines=("qulacs",), qubits=20, memory_bytes=1 << 24, egress="public", expected_s=PIECE_S, work_units=10**9
        )
        open_to = free(considered(needs, self.candidates(piece), self._clock()))
        pick = self.chooser.choose(needs, open_to, self.draws)
        if pick is None:
            return False
        proven = {one.peer: one.right >= 3 for one in open_to}
        self.tale.mixed += len(set(proven.values())) == 2
        self.tale.unproven += len(set(proven.values())) == 2 and not proven[pick.peer]
        trader = self.traders[pick.peer]
        self.busy[pick.peer] += 1
        self.tale.pieces[trader.name] += 1
        self.tale.order.append(trader.name)
        self.tale.worths.append(trader.worth(piece, self.done[pick.peer]))
        takes_s = trader.mean_s(piece) * self.rng.uniform(0.8, 1.2)
        fails, lies = self.rng.random(2) < (trader.fails, trader.lies(self.done[pick.peer]))
        self.done[pick.peer] += 1
        heapq.heappush(self.running, (self.now_s + takes_s, piece, self.now_s, pick, bool(fails), bool(lies)))
        return True

    def _report(self, piece: int) -> None:
        self.now_s, _, leased_s, pick, fails, lies = heapq.heappop(self.running)
        self.busy[pick.peer] -= 1
        self.chooser.reported(pick, None if fails else self.now_s - leased_s)
        if fails or self.rng.random() * 1e6 >= rate_ppm(self.quarantine.standing(pick.peer)):
            return
        kind: Kind = "wrong" if lies else "right"
        found = verdict(pick.peer, kind)
        self.chooser.judged(pick, found)
        self.quarantine.judged(found, ME, EPOCH_S + int(leased_s), self._clock())
        if lies:
            self.tale.caught.setdefault(self.traders[pick.peer].name, len(self.tale.order))
