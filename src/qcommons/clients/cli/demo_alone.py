"""`qcommons demo --alone`: the cases on one node of their own; each answer beside the known one.

Flow: start a node in a folder for the moment -> rows of `CASES` -> Node.run -> check against the known answer ->
receipts checked as a stranger would -> stop the node -> text or JSON. Nothing of it stays.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qcommons.base.errors import Unavailable
from qcommons.clients.cli.demo_cases import CASES, asked, examples_dir, report_lines, report_of
from qcommons.clients.cli.dev_nodes import node_at, stopped
from qcommons.clients.cli.progress import patiently
from qcommons.clients.cli.start import start
from qcommons.jobs.text import printable
from qcommons.node.home import NETWORK, Home

if TYPE_CHECKING:
    from qcommons.clients.http.node import Node

__all__ = ["RECEIPT_NS", "run_alone"]

RECEIPT_NS = 10_000_000_000  # they are signed within a second


def run_alone(*, as_json: bool) -> int:
    """Run every case in order; 0 where all answers agree and all receipts check, 5 else."""
    folder = examples_dir()
    reports: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="qcommons-demo-") as place:
        home = Path(place) / "home"
        with patiently("starting a node for this demo", silent=as_json):
            ready = _start(home)
        try:
            with node_at(home) as node:
                if not as_json:
                    print(f"A node was started for this demo: {ready['node_id']}\n", flush=True)
                for case in CASES:
                    if not as_json:
                        print(f"{case.title} ({case.file})", flush=True)
                    options = asked(case, folder)
                    report = report_of(case, partial(node.run, folder / case.file, seed=1, **options))
                    reports.append(report)
                    if not as_json:
                        print(printable("\n".join(report_lines(report))), end="\n\n", flush=True)
                signed = _receipts(node, ready["node_id"])
        finally:  # Ctrl-C too: nothing of it stays
            stopped(home)
    agreed = sum(report["agrees"] for report in reports)
    well = agreed == len(reports) and signed == len(reports)
    if as_json:
        story = {"status": "done" if well else "failed", "cases": reports, "receipts_checked": signed}
        print(json.dumps(story | {"node_id": ready["node_id"]}))
    else:
        print(f"{agreed} of {len(reports)} answers agree with the known ones. All qubits were emulated.")
        print(f"{signed} of {len(reports)} receipts check: signed by this node (ML-DSA-65), as anyone can verify.")
    return 0 if well else 5


def _start(home: Path) -> dict[str, Any]:
    """A node in a home of its own, on any free port, with what is known of this machine."""
    home.mkdir(mode=0o700)
    known = Home().calibration_path
    if known.is_file():
        shutil.copy(known, home / known.name)
    return start({"port": 0}, home, None)


def _receipts(node: Node, node_id: str) -> int:
    """How many of the node's jobs have a receipt that checks."""
    from qcommons.verify.receipt import check

    signed = 0
    for view in node.jobs().jobs:
        until_ns = time.monotonic_ns() + RECEIPT_NS
        while True:
            try:
                signed += check(node.job(view.id).receipt(), node_id, NETWORK).job_id == view.id
            except Unavailable:
                if time.monotonic_ns() < until_ns:
                    time.sleep(0.1)
                    continue
            break
    return signed
