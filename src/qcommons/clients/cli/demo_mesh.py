"""`qcommons demo`: five nodes on this machine, jobs of one run by the others; one of them lies and one is killed.

Flow: DevFolder in a folder for the moment -> five daemons -> rows of `STEPS`, asked of node 1 -> answers beside the
known ones, who ran what -> archives checked offline (`demo_tally`) -> table, JSON. Nothing of it stays.
Keys, circuits, seeds, the liar and the victim are the same each time; which node gets which run depends on who is free.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from qcommons.base.clock import deadline_ns, left_s
from qcommons.base.errors import Unavailable
from qcommons.clients.cli.asking import count
from qcommons.clients.cli.demo_cases import CASES, HYDROGEN, QAOA, Case, asked, examples_dir, report_lines, report_of
from qcommons.clients.cli.dev_nodes import each, know_each_other, node_at, started, stopped
from qcommons.clients.cli.mesh_job import HELPS
from qcommons.clients.cli.progress import patiently
from qcommons.jobs.text import printable
from qcommons.node.dev import DevFolder
from qcommons.node.home import Home, processor

if TYPE_CHECKING:
    from qcommons.clients.cli.demo_tally import Tally
    from qcommons.clients.http.node import Job, Node
    from qcommons.jobs.work_views import LeaseRow
    from qcommons.node.frames import Calibration

__all__ = ["STEPS", "Step", "run_mesh"]

NODES = 5
LIAR, LIES = 3, "30 % noise"  # the number of the node, and its row of the zoo (docs/verify.md)
VICTIM = 5
SEED = "qcommons demo"
KNOW_S = 30.0
DEADLINE_S = 60.0  # of each job
RECEIPT_S = 30.0  # receipts of node 1 are signed within a second, on a machine with little else to do
VICTIM_S = 1.0  # so long the victim may be idle in the job in which it is to be killed; then another one is
POLL_S = 0.02


class Step(NamedTuple):
    """One job. assurance: how its peers are checked. kills: a peer that works on it is killed."""

    case: Case
    assurance: str
    kills: bool = False


def _steps() -> Iterator[Step]:
    """The sweeps are audited, since of many runs some can be chosen; of single ones each is run by two peers."""
    yield Step(HYDROGEN, "audit")
    for case in CASES:
        if case.file == QAOA.file:
            yield Step(QAOA, "audit", kills=True)
        elif case.file != HYDROGEN.file:
            yield Step(case, "replicate")


STEPS = tuple(_steps())


class Stage(NamedTuple):
    """The nodes by number from 1: homes, what they said at their start."""

    homes: Sequence[Path]
    ready: Sequence[dict[str, Any]]

    def name(self, node_id: str) -> str:
        """ "node 2"."""
        return f"node {[row['node_id'] for row in self.ready].index(node_id) + 1}"


def run_mesh(*, as_json: bool) -> int:
    """Run every step; 0 where all answers agree, all receipts check, the liar is caught, the killed peer's work was
    done by others and nobody else was found wanting; 5 else."""
    from qcommons.clients.cli.demo_tally import Tally

    say = _silent if as_json else _print
    with ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="qcommons-demo-"))
        stage = _opened(stack, Path(place), silent=as_json)
        say(_opening(stage))
        node = stack.enter_context(node_at(stage.homes[0]))
        tally, killed = Tally(stage.ready[0]["node_id"]), ""
        cases: list[dict[str, Any]] = []
        jobs: dict[str, Job] = {}
        for step in STEPS:
            say([f"{step.case.title} ({step.case.file}), {step.assurance}"])
            report, job, victim = _played(step, stage, node)
            killed = killed or victim
            if job is not None:
                jobs[step.case.title] = job
            say([*report_lines(report), *_work_lines(report), ""])
            cases.append(report)
        with patiently("checking what was signed", silent=as_json):
            for title, job in jobs.items():
                tally.add(title, _archive(job))
        rows = list(_rows(stage, tally, node, killed))
    story = _story(cases, rows, tally, killed)
    if as_json:
        print(json.dumps(story))
    else:
        say(_table(rows))
        say(_end(story))
    return 0 if story["status"] == "done" else 5


def _silent(lines: Iterator[str] | list[str]) -> None:
    return


def _print(lines: Iterator[str] | list[str]) -> None:
    print(printable("\n".join(lines)), flush=True)


def _opened(stack: ExitStack, place: Path, *, silent: bool) -> Stage:
    """Five nodes that know each other; they are stopped when the stack ends, Ctrl-C too."""
    homes = DevFolder(place / "nodes").make(NODES, seed=SEED, workers=1, liars={LIAR - 1: LIES})
    for home in homes:
        Home(home).keep(_known())
    stack.callback(each, homes, stopped)
    with patiently(f"starting {NODES} nodes", silent=silent):
        ready = each(homes, started)
        fewest = min(know_each_other(homes, KNOW_S))
    if fewest < NODES - 1:
        what = f"after {KNOW_S:g} s a node knows {fewest} of {NODES - 1} others; this machine is busy, try again"
        raise Unavailable(what, where="demo")
    return Stage(homes, ready)


def _known() -> Calibration:
    """What is known of this machine, else what engines assume: as if measured, for five nodes that measure it at once
    would take longer than all the rest."""
    from qcommons.engines.registry import describe
    from qcommons.node.frames import Calibration

    versions = {row.name: row.version for row in describe() if row.version is not None and row.error is None}
    return Calibration(processor(), versions, Home().constants())


def _opening(stage: Stage) -> list[str]:
    ids = ", ".join(f"{number} {row['node_id'][:12]}" for number, row in enumerate(stage.ready, 1))
    return [
        f"{NODES} nodes run on this machine, each with keys of its own: {ids}.",
        f"Node 1 is asked; the others are strangers to it, and node {LIAR} lies ({LIES}).",
        "",
    ]


# one job


def _played(step: Step, stage: Stage, node: Node) -> tuple[dict[str, Any], Job | None, str]:
    """Its report, the job where it was answered, and the node that was killed meanwhile, "" where none was."""
    folder = examples_dir()
    made: list[Job] = []
    victim = ""

    def answer() -> Any:
        nonlocal victim
        options: dict[str, Any] = {"deadline_s": DEADLINE_S} | asked(step.case, folder)
        job = node.submit(
            folder / step.case.file, seed=1, on="mesh", egress="public", assurance=step.assurance, **options
        )
        made.append(job)
        if step.kills:
            victim = _killed(stage, job)
        return job.result()

    report = report_of(step.case, answer)
    leases: tuple[LeaseRow, ...] = ()
    if made:
        view = made[0].view()
        leases = () if view.mesh is None else view.mesh.leases
    report |= {"assurance": step.assurance, "job": made[0].id if made else None} | _work(stage, leases, victim)
    return report, made[0] if made and not report["error"] else None, victim


def _killed(stage: Stage, job: Job) -> str:
    """Kill a peer that has work of this job: the victim, or, where that gets none for a while, another honest one.
    Its name, "" where the job ended before."""
    patience_ns = deadline_ns(time.monotonic_ns(), VICTIM_S)
    while True:
        view = job.view()
        if view.ended_ns is not None or view.mesh is None:
            return ""
        busy = {stage.name(lease.peer) for lease in view.mesh.leases if lease.state == "leased"}
        late = time.monotonic_ns() > patience_ns
        others = sorted(busy - {f"node {LIAR}", f"node {VICTIM}"}) if late else []
        for name in [f"node {VICTIM}"] * (f"node {VICTIM}" in busy) + others:
            os.kill(stage.ready[int(name.split()[1]) - 1]["pid"], signal.SIGKILL)
            return name
        time.sleep(POLL_S)


def _work(stage: Stage, leases: Sequence[LeaseRow], victim: str) -> dict[str, Any]:
    """Who ran it, what was checked, what came of a liar and of a crash: runs by node, and how many."""
    ran: Counter[str] = Counter()
    caught: Counter[str] = Counter()
    for lease in leases:
        if lease.accepted and lease.role != HELPS:
            ran[stage.name(lease.peer)] += lease.accepted
        if "wrong" in lease.found:
            caught[stage.name(lease.peer)] += lease.runs
    agreed = {stage.name(lease.peer) for lease in leases if "right" in lease.found}
    lost = sum(lease.runs for lease in leases if stage.name(lease.peer) == victim and lease.state == "ended")
    return {
        "ran": dict(sorted(ran.items())), "checked": sum(lease.checked for lease in leases if lease.accepted),
        "also_ran": sorted(agreed - set(ran)), "caught": dict(sorted(caught.items())), "killed": victim or None,
        "lost_runs": lost,
    }  # fmt: skip


def _work_lines(report: dict[str, Any]) -> Iterator[str]:
    ran, checked = report["ran"], report["checked"]
    if ran:
        yield "  ran      " + ", ".join(f"{name}: {count(runs, 'run')}" for name, runs in ran.items())
    if ran and report["assurance"] == "audit":
        yield f"  checked  {checked or 'none'} of {sum(ran.values())} chosen and computed again by node 1"
    elif ran:
        beside = ", ".join(report["also_ran"])
        yield f"  checked  {f'the same answer from {beside}' if beside else 'computed again by node 1'}"
    for name, runs in report["caught"].items():
        yield f"  caught   {name}: its answers to {count(runs, 'run')} are not used, others ran them again"
    if report["killed"]:
        yield f"  killed   {report['killed']}: {count(report['lost_runs'], 'run')} that it had were done by others"


def _archive(job: Job) -> bytes:
    """The job in one file, once node 1 has signed for it."""
    until_ns = deadline_ns(time.monotonic_ns(), RECEIPT_S)
    while True:
        try:
            return job.archive()
        except Unavailable as error:
            if error.where != "receipt" or left_s(until_ns, time.monotonic_ns()) <= 0:
                raise
            time.sleep(POLL_S)


# the end


def _rows(stage: Stage, tally: Tally, node: Node, killed: str) -> Iterator[dict[str, Any]]:
    """What is known of each node at the end."""
    peers = {row.node: row for row in node.mesh.view().peers}
    caught = {lie.node_id: lie for lie in reversed(tally.lies)}
    for ready in stage.ready:
        node_id = ready["node_id"]
        name, row = stage.name(node_id), peers.get(node_id)
        barred = row.quarantine if row is not None else None
        lie = caught.get(node_id)
        yield {
            "name": name, "node_id": node_id, "receipts": tally.receipts[node_id], "right": tally.right[node_id],
            "wrong": tally.wrong[node_id], "lies": name == f"node {LIAR}", "killed": name == killed,
            "quarantine": None if barred is None else barred.why,
            "caught": None if lie is None else _evidence(lie.title, lie.verdict),
        }  # fmt: skip


def _evidence(title: str, verdict: Any) -> str:
    from qcommons.clients.cli.demo_tally import evidence_text

    return f"{title!r}, {evidence_text(verdict)}" if verdict.evidence else f"{title!r}"


def _story(cases: list[dict[str, Any]], rows: list[dict[str, Any]], tally: Tally, killed: str) -> dict[str, Any]:
    answered = sum(not case["error"] for case in cases)
    honest = [row for row in rows if not row["lies"]]
    punished = [row["name"] for row in honest if row["caught"] or (row["quarantine"] and not row["killed"])]
    caught = any(row["lies"] and row["caught"] and row["quarantine"] for row in rows)
    well = (
        all(case["agrees"] for case in cases)
        and caught
        and bool(killed)
        and not punished
        and tally.archives == answered
    )
    return {
        "status": "done" if well else "failed", "cases": cases, "nodes": rows, "archives_checked": tally.archives,
        "receipts_checked": tally.receipts.total(), "faults": dict(tally.faults), "liar_caught": caught,
        "killed": killed or None, "punished": punished,
    }  # fmt: skip


def _table(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield f"{'':<8}{'receipts':>8}  {'checked':>7}  {'right':>5}  {'wrong':>5}"
    for row in rows:
        checked = row["right"] + row["wrong"]
        yield f"{row['name']:<8}{row['receipts']:>8}  {checked:>7}  {row['right']:>5}  {row['wrong']:>5}  {_state(row)}"


def _state(row: dict[str, Any]) -> str:
    if row["caught"]:
        return f"caught in {row['caught']}; {row['quarantine'] or 'not in quarantine'}"
    if row["killed"]:
        return "killed"
    said = "asked; its receipts are of the answers that it put together" if row["name"] == "node 1" else "honest"
    return f"{said}; {row['quarantine']}" if row["quarantine"] else said


def _end(story: dict[str, Any]) -> Iterator[str]:
    cases = story["cases"]
    agreed = sum(case["agrees"] for case in cases)
    yield ""
    yield f"{agreed} of {len(cases)} answers agree with the known ones. All qubits were emulated."
    answered = sum(not case["error"] for case in cases)
    yield (
        f"{story['archives_checked']} of {answered} archives hold offline: {story['receipts_checked']} receipts "
        "signed by whoever ran (ML-DSA-65), and every verdict rests on them."
    )
    yield from (f"FAULT  {title}: {fault}" for title, faults in story["faults"].items() for fault in faults)
    yield f"Node {LIAR}, which lies, was {'caught' if story['liar_caught'] else 'NOT CAUGHT'}."
    yield f"{story['killed'].capitalize()} was killed on the way." if story["killed"] else "NOBODY was killed in time."
    punished = ", ".join(story["punished"])
    yield f"PUNISHED without cause: {punished}." if punished else "Nobody else was punished."
