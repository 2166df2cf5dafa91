"""What a quote says of liars: how often one that fakes some of its shots passes, and what would make that rarer.

Flow: quoting -> *checks_of* (wants, prices, audit rate, peers) -> verify.soundness -> QuotedCheck. Nothing is claimed
that the red team did not measure: an unmeasured cheat counts as never noticed. Where a peer is told which engine to use
and that engine repeats itself, its answers are compared number by number, whatever version it states (docs/verify.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from qcommons.engines.records import Counts, Expectations, Want
from qcommons.jobs.plan.records import Price
from qcommons.jobs.records import Job
from qcommons.node.api.quote_records import QuotedCheck
from qcommons.verify.answers import engine_class
from qcommons.verify.audit import NEW_PPM
from qcommons.verify.soundness import SHARES, Soundness, audited, percent, replicated, unchecked

__all__ = ["AIM", "REPLICAS", "Asked", "better", "checks_of"]

AIM = 0.002  # of what passes: "at most 0.2 %"
REPLICAS = 2
RUNS_MAX = 1_000_000  # looked at for `AIM`: more is no advice
FEW_SHOTS = "more shots a run: of fewer than 100 (1024 where answers do not repeat) nothing was measured"
Check = Literal["repeat", "computed", "samples", "estimates", "none"]
ALONE, TOGETHER = "alone", "two together"


class Asked(NamedTuple):
    """assurance: of the job. kinds: how its answers are compared, each with the fewest shots of such a run. rate_ppm:
    of audits, at the peer that is trusted most. runs: that each of `used` peers does; nodes: among how many they are.
    """

    assurance: str
    kinds: tuple[tuple[Check, int], ...]
    rate_ppm: int
    runs: int
    used: int
    nodes: int


def kinds_of(job: Job, prices: Sequence[Price]) -> tuple[tuple[Check, int], ...]:
    """How the answers of a derived job are compared: (check, fewest shots), a row a check."""
    shots: dict[Check, int] = {}
    for want, price in zip(job.wants, prices, strict=True):
        check, count = _kind(want, price)
        shots[check] = min(count, shots.get(check, count))
    return tuple(sorted(shots.items()))


def checks_of(asked: Asked) -> tuple[QuotedCheck, ...]:
    """A row for each share that was measured and each way to cheat; of several kinds of answers the weakest check."""
    if asked.assurance == "replicate" and asked.nodes < REPLICAS:
        return ()
    if asked.assurance == "none":
        return tuple(_row(unchecked(share), "none", ALONE, asked.runs) for share in SHARES)
    cheats = [ALONE]
    if asked.assurance == "replicate" and asked.nodes > REPLICAS:
        cheats.append(TOGETHER)
    return tuple(_weakest(asked, share, cheat) for cheat in cheats for share in SHARES)


def better(asked: Asked, checks: Sequence[QuotedCheck]) -> str:
    """What would let a peer that fakes the largest share, alone, pass with AIM at most; "" where it is so."""
    largest = max(SHARES)
    if any(row.cheat == ALONE and row.share == largest and row.high <= AIM for row in checks):
        return ""
    advice = []
    at_rate = asked._replace(assurance="audit", rate_ppm=asked.rate_ppm or NEW_PPM)
    needed = _smallest(lambda runs: _weakest(at_rate._replace(runs=runs), largest, ALONE).high <= AIM)
    if needed is not None:
        named = "" if asked.assurance == "audit" else "--assurance audit and "
        advice.append(f"{named}{needed} runs at each peer (now {asked.runs}{_fewer(asked, needed)})")
    if asked.assurance != "replicate" and asked.nodes >= REPLICAS:
        doubled = asked._replace(assurance="replicate", runs=max(1, asked.runs * REPLICAS))
        high = _weakest(doubled, largest, ALONE).high
        if high < 1:
            advice.append(f"--assurance replicate (at most {percent(high)})")
    if not advice:
        return FEW_SHOTS if any(check in ("repeat", "samples") for check, _ in asked.kinds) else ""
    return ", or ".join(advice)


def _fewer(asked: Asked, needed: int) -> str:
    peers = asked.runs * asked.used // needed
    return f": --peers {peers} does that" if 0 < peers < asked.used else ""


def _kind(want: Want, price: Price) -> tuple[Check, int]:
    match want:
        case Counts(shots):
            named = price.engine is not None and price.method is not None
            return (
                "repeat" if named and engine_class(price.engine or "", price.method or "").repeats else "samples"
            ), shots
        case Expectations(shots=int() as shots):
            return "estimates", shots
        case _:
            return "computed", 0


def _weakest(asked: Asked, share: float, cheat: str) -> QuotedCheck:
    rows = []
    for check, shots in asked.kinds:
        if asked.assurance == "replicate":
            liars = REPLICAS if cheat == TOGETHER else 1
            nodes = max(asked.nodes, REPLICAS)
            found = replicated(REPLICAS, asked.runs, share, check, shots, nodes, liars)
        else:
            found = audited(asked.rate_ppm, asked.runs, share, check, shots)
        rows.append(_row(found, check, cheat, asked.runs))
    return max(rows, key=lambda row: row.high)


def _row(found: Soundness, check: Check, cheat: str, runs: int) -> QuotedCheck:
    return QuotedCheck(
        share=found.share, check=check, cheat=cheat, runs=runs, passes=found.passes, low=found.low, high=found.high,
        says=found.says,
    )  # fmt: skip


def _smallest(holds: Callable[[int], bool]) -> int | None:
    """The smallest number of runs for which it holds, as it does for all greater ones; None beyond RUNS_MAX."""
    high = 1
    while not holds(high):
        if high >= RUNS_MAX:
            return None
        high *= 2
    low = high // 2  # does not hold, or 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
