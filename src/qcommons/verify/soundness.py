"""Soundness: how likely a peer that cheats by so much passes, from what was measured and nothing better.

Flow: `detection.json` (written by `make redteam`: each liar against each check) -> *detected* -> *audited*,
*replicated* -> a sentence in the quote. Upper ends are claimed: of the 95 % interval of the detection rate (Clopper and
Pearson, Biometrika 26, 404 (1934)), of the two ways to fake a share, of fewer shots than were asked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import lru_cache
from importlib import resources
from typing import NamedTuple

import msgspec

from qcommons.base.errors import UsageError

__all__ = [
    "Detected", "Soundness", "audited", "clopper_pearson", "colluders", "detected", "forfeit_needed", "percent",
    "replicated", "unchecked",
]  # fmt: skip

LEVEL = 0.95
SHARES = {0.3: "30 % noise", 0.1: "10 % noise"}  # measured rows of the zoo, by the share of shots that they fake
WHOLE = "uniform bits"  # the row of who fakes a run altogether
PPM = 1_000_000
LEAST = 1e-9  # nobody plans with less, and liars are not drawn as independently as that


class Detected(NamedTuple):
    """How often a liar was refused: caught of tried, and the ends of the 95 % interval."""

    liar: str
    check: str
    shots: int
    tried: int
    caught: int
    low: float
    high: float


class Soundness(msgspec.Struct, frozen=True, kw_only=True):
    """passes: probability that the cheat is not noticed, by the measured rate; low and high: 95 % interval, and what is
    claimed is `high`. says: for people."""

    assurance: str
    share: float
    passes: float
    low: float
    high: float
    says: str


def clopper_pearson(caught: int, tried: int, level: float = LEVEL) -> tuple[float, float]:
    """Exact two-sided interval of a proportion; (0, 1) where nothing was tried."""
    if not 0 <= caught <= tried:
        raise UsageError(f"{caught} caught of {tried} tried", where="caught", limit=f"0 to {tried}")
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = float(betaincinv(caught, tried - caught + 1, tail)) if caught else 0.0
    high = float(betaincinv(caught + 1, tried - caught, 1 - tail)) if caught < tried else 1.0
    return low, high


def detected(liar: str, check: str, shots: int) -> Detected:
    """What was measured of a liar against a check, with at most `shots` shots; where nothing was: (0, 1).

    check: "repeat" (number by number), "known" (against the true distribution), "samples" (of two engines).
    """
    rows = [row for row in _measured() if (row.liar, row.check) == (liar, check) and row.shots <= shots]
    return max(rows, key=lambda row: row.shots, default=Detected(liar, check, 0, 0, 0, 0.0, 1.0))


def audited(rate_ppm: int, runs: int, share: float, check: str, shots: int) -> Soundness:
    """A peer that fakes `share` of all shots of a job of `runs` runs under audit.

    It may fake that share in each run, or that share of the runs altogether: the better way for it is quoted. Each
    faked run is computed again with probability `rate_ppm`, and then noticed with the measured rate.
    """
    rate = rate_ppm / PPM
    if not 0 <= rate <= 1 or runs < 1 or share not in SHARES:
        limit = f"a rate of 0 to {PPM} ppm, 1 run or more, a share of {' or '.join(map(str, SHARES))}"
        raise UsageError(
            f"rate {rate_ppm} ppm, {runs} runs, share {share}; allowed {limit}", where="soundness", limit=limit
        )
    ways = _ways(share, runs, check, shots)
    passes = [[(1 - rate * d) ** faked for d in (_rate(found), found.high, found.low)] for faked, found in ways]
    middle, low, high = (max(way[end] for way in passes) for end in range(3))
    says = (
        f"a peer that fakes {100 * share:.0f} % of its shots passes with probability <= {percent(high)} "
        f"(95 % interval {percent(low, math.floor)} to {percent(high)}): "
        f"{100 * rate:.3g} % of {_runs(runs)} computed again, "
        f"{_story(ways[0][1])}"
    )
    return Soundness(assurance="audit", share=share, passes=middle, low=low, high=high, says=says)


def replicated(replicas: int, runs: int, share: float, check: str, shots: int, nodes: int, liars: int) -> Soundness:
    """Each run at `replicas` peers drawn at random from `nodes`, of which at most `liars` work together.

    A run's lie passes where all its replicas are liars (`colluders`), or where a difference is not noticed. Runs are
    counted as one draw: whoever is drawn for one run may be drawn for all.
    """
    if share not in SHARES or runs < 1 or not 2 <= replicas <= nodes:
        raise UsageError(f"{replicas} replicas of {nodes} nodes, share {share}", where="soundness")
    ways = _ways(share, runs, check, shots)
    together = colluders(nodes, liars, replicas)
    missed = [[(1 - d) ** faked for d in (_rate(found), found.high, found.low)] for faked, found in ways]
    passes, low, high = (together + (1 - together) * max(way[end] for way in missed) for end in range(3))
    says = (
        f"a peer that fakes {100 * share:.0f} % of its shots passes with probability <= {percent(high)} "
        f"(95 % interval {percent(low, math.floor)} to {percent(high)}), "
        f"if at most {liars} of {nodes} peers work together: "
        f"{percent(together)} that all {replicas} replicas are theirs; {_story(ways[0][1])}"
    )
    return Soundness(assurance="replicate", share=share, passes=passes, low=low, high=high, says=says)


def unchecked(share: float) -> Soundness:
    """Assurance none: every lie passes."""
    says = "nothing is checked: a peer that fakes its shots passes with probability 1"
    return Soundness(assurance="none", share=share, passes=1.0, low=1.0, high=1.0, says=says)


def colluders(nodes: int, liars: int, replicas: int, third: bool = False) -> float:
    """Probability that liars who work together decide a run: all `replicas` drawn from `nodes` are theirs.

    third: of two replicas one is theirs and so is the third who arbitrates: they outvote an honest peer. Both draws are
    without replacement.
    """
    if not 0 <= liars <= nodes or not 1 <= replicas <= nodes:
        raise UsageError(f"{liars} liars, {replicas} replicas of {nodes} nodes", where="colluders")
    alone = math.comb(liars, replicas) / math.comb(nodes, replicas)
    if not third or replicas != 2 or nodes < 3 or liars < 2:
        return alone
    split = liars * (nodes - liars) / math.comb(nodes, 2)
    return alone + split * (liars - 1) / (nodes - 2)


def forfeit_needed(rate_ppm: int) -> float:
    """Pay for how many runs a peer must stand to lose when found lying, for lies not to pay off: (1 - p) / p.

    Of a batch with n faked runs it gains n (1 - p)^n at most, and is found with probability 1 - (1 - p)^n; the quotient
    falls with n, so n = 1 decides.
    """
    if not 0 < rate_ppm <= PPM:
        raise UsageError(f"an audit rate of {rate_ppm} ppm; allowed 1 to {PPM}", where="rate", limit=f"1 to {PPM} ppm")
    return (PPM - rate_ppm) / rate_ppm


@lru_cache(maxsize=1)
def _measured() -> tuple[Detected, ...]:
    text = resources.files("qcommons.verify").joinpath("detection.json").read_text()
    return tuple(
        Detected(row["liar"], row["check"], row["shots"], row["tried"], row["caught"],
                 *clopper_pearson(row["caught"], row["tried"]))
        for row in json.loads(text)["rows"]
    )  # fmt: skip


def _ways(share: float, runs: int, check: str, shots: int) -> list[tuple[int, Detected]]:
    """(runs faked, how often one is noticed): that share in each run, or that share of the runs altogether."""
    return [(runs, detected(SHARES[share], check, shots)), (math.ceil(share * runs), detected(WHOLE, check, shots))]


def _rate(found: Detected) -> float:
    return found.caught / found.tried if found.tried else 0.0


def _story(found: Detected) -> str:
    if not found.tried:
        return "of such a cheat nothing was measured: it counts as never noticed"
    return f"{found.caught} of {found.tried} such answers were noticed ({found.check}, {found.shots} shots)"


def _runs(runs: int) -> str:
    return "1 run" if runs == 1 else f"{runs} runs"


def percent(value: float, to: Callable[[float], int] = math.ceil) -> str:
    """Two digits, rounded up: a claim is never below what was measured, nor below LEAST. to: `math.floor` for a lower
    end."""
    if value < LEAST:
        return f"{100 * LEAST:.7f} %" if value > 0 and to is math.ceil else "0 %"
    digits = 1 - math.floor(math.log10(value * 100))
    scale = 10.0**digits
    return f"{to(round(value * 100 * scale, 6)) / scale:.{max(0, digits)}f} %"
