"""Hirings: jobs that nodes give to each other, and whether what came of them is as it must be.

Flow: scenario with `jobs_s` -> *Hirings*: at random times a node is told `Submit` -> JobNode -> peers -> JobEnded ->
compared here with what the world alone knows: who lied about which run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from qcommons.base.seeds import stream
from qcommons.jobs.leases import LeaseRecord, read_kept
from qcommons.jobs.machine import JobEnded, JobMachine
from qcommons.mesh.records import PeerId
from qcommons.verify.records import Verdict
from qcommons.verify.verdict import punishes
from qcommons.world.draws import Draws
from qcommons.world.host import Host
from qcommons.world.jobdesk import DEADLINE_S, KEY, Submit
from qcommons.world.jobnode import Seen
from qcommons.world.trades import ENGINE, TRADES

if TYPE_CHECKING:
    from qcommons.world.stage import Stage

__all__ = ["RULES", "Hirings"]

S_NS = 10**9
OFFER = f"{ENGINE}:24"
ASSURANCES = ("none", "audit", "replicate")
LATE_S = 5.0  # beyond its deadline: the node was busy or frozen
CALM = 3  # jobs when all is well
# Lies that one submitter may have been told in checked leases before the liar must be known: of a peer that was never
# found right one run in four is computed again, so so many pass unseen with probability 0.75^60 = 3e-8.
LIES_MAX = 60

RULES: dict[str, str] = {
    "job ends": "every accepted job of a node that is up has its result by its deadline",
    "job done": "where nobody lies and nothing fails, every run of every job is answered",
    "counted once": "a run is handed to its job once for each time that it was asked for",
    "not punished": "no verdict that costs a peer its standing is about an honest one",
    "verdict": "a verdict of a check names evidence; wrong are only runs that are lies, right none of them (but of two "
    "replicas that lie alike)",
    "true answers": "of replicas, no lie is used where not two of them tell it",
    "caught": f"who told one submitter {LIES_MAX} lies in checked leases has a verdict against it",
}


class Hirings(Seen):
    """jobs: by id, who submitted it and its machine. over: state in which it ended. lies: places of false answers, by
    lease (hex). verdicts: by kind."""

    def __init__(self, stage: Stage) -> None:
        self.jobs: dict[str, tuple[Host, JobMachine]] = {}
        self.over: dict[str, str] = {}
        self.lies: dict[str, set[int]] = {}
        self.verdicts: Counter[str] = Counter()
        self._records: dict[str, LeaseRecord] = {}
        self._told: Counter[tuple[int, bytes]] = Counter()  # lies in checked leases, by submitter and liar
        self._caught: set[tuple[int, bytes]] = set()
        self._runs = self._last = 0
        self._stage = stage
        self._draws = Draws(stream(stage.seed, "world", "hirings"))
        row, hosts = stage.scenario, stage.world.hosts
        stage.seen = self
        self._hosts = {host.peer: host for host in hosts}
        names = sorted(TRADES)
        for host in hosts:
            host.offers = (OFFER,)
        for host in self._draws.some(hosts, round(row.lies * len(hosts))):
            host.trade = self._draws.one(names)

    # what happens

    def begin(self) -> None:
        """Jobs at random times, until the faults are over."""
        self._later()

    def calm(self) -> None:
        """Some when all is well, and time for all that are left."""
        world = self._stage.world
        for host in self._draws.some(self._submitters(), CALM):
            self._submit(host)
        until_ns = world.now_ns + int((DEADLINE_S + LATE_S) * S_NS)
        world.run(world.now_ns + S_NS)
        while world.now_ns < until_ns and self._open():
            world.run(world.now_ns + S_NS)

    def finish(self) -> None:
        """At the end of the run."""
        for job in self._open():
            host, machine = self.jobs[job]
            known = len(machine.outcomes) - machine.left
            self._violated("job ends", host, f"{job} has {known} of {len(machine.outcomes)} runs, and no end")
        for (node, liar), count in sorted(self._told.items()):
            if count >= LIES_MAX and (node, liar) not in self._caught:
                name = self._hosts[PeerId(liar)].trade
                self._violated("caught", self._stage.world.hosts[node], f"{count} lies of {name!r} and no verdict")

    def rules(self) -> tuple[str, ...]:
        """Names of what is checked here."""
        return tuple(RULES)

    def measures(self) -> dict[str, float]:
        """Figures of the report."""
        states = Counter(self.over.values())
        figures: dict[str, float] = {
            "jobs": len(self.jobs), "jobs done": states["done"], "runs handed back": self._runs,
            "leases": len(self._records), "lies told": sum(map(len, self.lies.values())),
            "liars caught by a submitter": len(self._caught),
        }  # fmt: skip
        return figures | {f"verdicts {kind}": count for kind, count in sorted(self.verdicts.items())}

    def _open(self) -> list[str]:
        """Jobs without an end whose node is up. What a crash took before it was on disk was never accepted."""
        return [
            job for job, (host, _) in self.jobs.items()
            if job not in self.over and host.life is not None and f"{KEY}job/{job}" in host.disk
        ]  # fmt: skip

    def _later(self) -> None:
        after_ns = int(self._draws.exponential(self._stage.scenario.jobs_s) * S_NS) + 1
        self._stage.world.call(self._stage.world.now_ns + after_ns, self._again)

    def _again(self) -> None:
        if self._stage.over:
            return
        submitters = self._submitters()
        if submitters:
            self._submit(self._draws.one(submitters))
        self._later()

    def _submitters(self) -> list[Host]:
        return [host for host in self._stage.live() if not host.trade]

    def _submit(self, host: Host) -> None:
        asked = self._stage.scenario.assurance or self._draws.one(ASSURANCES)
        runs = 4 + self._draws.below(20)
        self._last += 1
        self._stage.world.tell(host, Submit(self._last, runs, asked))

    # what the nodes say

    def accepted(self, host: Host, machine: JobMachine) -> None:
        self.jobs[machine.job.id] = (host, machine)

    def answered(self, host: Host, machine: JobMachine, run: int, was_known: bool) -> None:
        self._runs += 1
        self.jobs[machine.job.id] = (host, machine)  # another one, where its node was started anew
        if was_known and not machine.ended:
            self._violated("counted once", host, f"run {run} of {machine.job.id} came again")

    def ended(self, host: Host, ended: JobEnded) -> None:
        self.over[ended.job_id] = ended.phase.state
        if not self._stage.scenario.acts and not self._stage.scenario.lies and ended.phase.state != "done":
            self._violated("job done", host, f"{ended.job_id} is {ended.phase.state}: {ended.phase.cause}")

    def lied(self, host: Host, lease: bytes, place: int) -> None:
        self.lies.setdefault(lease.hex(), set()).add(place)

    def verdict(self, host: Host, verdict: Verdict) -> None:
        self.verdicts[verdict.kind] += 1
        about = self._hosts[PeerId(verdict.peer)]
        what = f"{verdict.kind} ({verdict.ground}) about node {about.index} {about.trade!r}, lease {verdict.lease}"
        if punishes(verdict):
            self._caught.add((host.index, verdict.peer))
            if not about.trade:
                self._violated("not punished", host, what)
        lies = self.lies.get(verdict.lease, set())
        if verdict.kind == "wrong" and not (verdict.evidence and lies.issuperset(verdict.runs)):
            self._violated("verdict", host, f"{what}: not all of runs {verdict.runs[:9]} are lies, or no evidence")
        is_alone = verdict.ground == "recomputed" or self._liars_of(verdict.lease, ()) < 2
        if verdict.kind == "right" and lies.intersection(verdict.runs) and is_alone:
            self._violated("verdict", host, f"{what}: some of runs {verdict.runs[:9]} are lies")

    def kept_lease(self, host: Host, key: str, value: bytes | None) -> None:
        if value is None:
            return
        record = read_kept(value)
        name = record.lease.hex()
        before = self._records.get(name)
        self._records[name] = record
        job = self.jobs[record.job][1].job
        if record.state != "accepted" or job.assurance == "none" or (before and before.state == "accepted"):
            return
        lies = self.lies.get(name, set())
        trade = TRADES.get(self._hosts[PeerId(record.peer)].trade)
        if trade is not None and not trade.seldom:
            self._told[host.index, record.peer] += len(lies)
        false = [run for place, run in enumerate(record.runs) if place in lies and run in record.accepted]
        if job.assurance == "replicate" and false and not record.helps and self._liars_of(name, false) < 2:
            self._violated("true answers", host, f"run {false[0]} of {record.job}, lease {name}, is a lie")

    def _liars_of(self, lease: str, runs: Iterable[int]) -> int:
        """How many peers told lies about these runs of the lease's job (all runs of the lease where none is named)."""
        record = self._records[lease]
        asked = set(runs) or set(record.runs)
        return len({
            other.peer for other in self._records.values()
            if other.job == record.job and asked & set(other.runs) and self.lies.get(other.lease.hex())
        })  # fmt: skip

    def _violated(self, rule: str, host: Host, what: str) -> None:
        self._stage.world.violated(rule, host.index, what)
