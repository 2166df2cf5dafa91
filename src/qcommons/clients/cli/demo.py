"""`qcommons demo`: circuits of different kinds, each answer beside the known one, on a node of their own.

Flow: start a node in a folder for the moment -> rows of `CASES` -> Node.run -> check against the known answer ->
receipts checked as a stranger would -> stop the node -> text or JSON. Nothing of it stays.
The known answers come from closed forms, not from a simulator; tests/clients/test_demo.py derives
each of them a second way.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from qcommons.base.clock import seconds_text
from qcommons.base.errors import QCommonsError, Unavailable
from qcommons.clients.cli.main import error_object, exit_code
from qcommons.clients.cli.options import JSON
from qcommons.clients.cli.start import start
from qcommons.jobs.text import printable, share_text, value_text
from qcommons.node.home import LOCK_FILE, NETWORK, Home
from qcommons.node.lock import read_lock

if TYPE_CHECKING:
    from qcommons.clients.http.node import Node

__all__ = ["CASES", "OPTIONS", "Case", "Probability", "Refusal", "Values", "command", "examples_dir"]

OPTIONS = (JSON,)
RECEIPT_NS = 10_000_000_000
STOP_NS = 20_000_000_000
SIGMAS_MAX = 5.0  # a right answer falls outside once in 1.7 million runs


class Probability(NamedTuple):
    """The share of shots whose bits satisfy `event` must be `p` within `SIGMAS_MAX` standard errors."""

    says: str
    event: Callable[[str], bool]
    p: float


class Values(NamedTuple):
    """The expectation values must be these within `tolerance`."""

    says: str
    values: tuple[float, ...]
    tolerance: float


class Refusal(NamedTuple):
    """The circuit must be refused with numbers."""

    says: str


class Case(NamedTuple):
    """One row: `options` go to `qcommons.run`; an observable "@name" is the file of that name."""

    title: str
    file: str
    options: Mapping[str, Any]
    known: Probability | Values | Refusal


def _same(bits: str) -> bool:
    return len(set(bits)) == 1


def _zeros(bits: str) -> bool:
    return "1" not in bits


CASES = (
    Case("Bell pair", "bell.qasm", {"shots": 4096}, Probability("P(00) = 1/2", _zeros, 0.5)),
    Case("GHZ state of 500 qubits", "ghz500.qasm", {"shots": 1024},
         Probability("all 500 bits equal in every shot", _same, 1.0)),
    Case("Clifford + 8 T, echo on 60 qubits", "echo60.qasm", {"shots": 1024},
         Probability("P(all 0) = cos(pi/8)^16 = 0.28174", _zeros, math.cos(math.pi / 8) ** 16)),
    Case("Ising chain of 60 spins, 20 Trotter steps", "tfim60.qasm", {"observable": ["X30", "Z29 Z30"]},
         Values("free fermions: <X30> = 0.484890, <Z29 Z30> = 0.500701", (0.4848904979812, 0.5007007386728), 1e-6)),
    Case("QAOA for MaxCut on the Nauru graph, 24 qubits", "qaoa24.qasm",
         {"observable": ["@nauru-cut.txt"], "bind": {"gamma": math.atan(math.sqrt(0.5)), "beta": math.pi / 8}},
         Values("closed form: -36 * 2 / (3 sqrt 3) = -13.856406", (-24 / math.sqrt(3),), 1e-4)),
    Case("Teleportation with feed-forward", "teleport.qasm", {"shots": 4096},
         Probability("P(out = 1) = sin(0.6)^2 = 0.31882", lambda bits: bits[0] == "1", math.sin(0.6) ** 2)),
    Case("GHZ state of 5 qubits with noise", "ghz5.qasm",
         {"observable": ["XXXXX", "Z4 Z3"], "noise": "depolarizing:0.02"},
         Values("(1 - p)^5 and 1 - p at p = 0.02", (0.98**5, 0.98), 1e-9)),
    Case("Energy of the hydrogen molecule", "hydrogen.qasm",
         {"observable": ["@hydrogen.txt"], "bind": {"theta": -0.2235546}},
         Values("lowest eigenvalue -1.857275 hartree", (-1.8572750302,), 1e-7)),
    Case("200 random qubits, 60 layers", "random200.qasm", {"shots": 1024, "deadline_s": 60.0},
         Refusal("beyond every method here: refused with numbers")),
)  # fmt: skip


def examples_dir() -> Path:
    """The example circuits: beside the sources in a checkout, inside the package where installed.

    Raises:
        Unavailable: neither is there.
    """
    package = Path(__file__).parents[2]
    for place in (package / "examples", package.parents[1] / "examples"):
        if (place / "bell.qasm").is_file():
            return place
    raise Unavailable("the example circuits are not installed; clone the repository and run `make demo`", where="demo")


def command(args: argparse.Namespace) -> int:
    """Run every case in order; 0 where all answers agree and all receipts check, 5 else."""
    from qcommons.clients.http.node import Node

    folder = examples_dir()
    reports: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="qcommons-demo-") as place:
        home = Path(place) / "home"
        ready = _start(home)
        try:
            with Node.connect(home=home) as node:
                if not args.json:
                    print(f"A node was started for this demo: {ready['node_id']}\n", flush=True)
                for case in CASES:
                    report = _run(case, folder, node)
                    reports.append(report)
                    if not args.json:
                        print(printable("\n".join(_lines(report))), end="\n\n", flush=True)
                signed = _receipts(node, ready["node_id"])
        finally:  # Ctrl-C too: nothing of it stays
            _stop(home)
    agreed = sum(report["agrees"] for report in reports)
    well = agreed == len(reports) and signed == len(reports)
    if args.json:
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
    """How many of the node's jobs have a receipt that checks; they are signed within a second."""
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


def _stop(home: Path) -> None:
    """End the node, and wait until it has let its home go, so that the folder can be removed."""
    from qcommons.clients.http.node import Node

    with contextlib.suppress(QCommonsError), Node.connect(home=home) as node:
        node.shut_down(drain_s=0)
    until_ns = time.monotonic_ns() + STOP_NS
    while read_lock(home / LOCK_FILE) is not None and time.monotonic_ns() < until_ns:
        time.sleep(0.05)


def _run(case: Case, folder: Path, node: Node) -> dict[str, Any]:
    """One case as a JSON object: what was asked, the answer, the known answer, the judgement."""
    options = dict(case.options)
    if "observable" in options:
        options["observable"] = [_observable(item, folder) for item in options["observable"]]
    try:
        body = node.run(folder / case.file, seed=1, **options).to_dict()
    except QCommonsError as error:
        status = "refused" if exit_code(error) == 3 else "failed"
        body = {"status": status, "error": error_object(error.who, error.what, error.where, error.limit)}
    agrees, answer = judge(case.known, body)
    story = {name: body.get(name) for name in ("engine", "method", "reason", "seconds", "physics", "error")}
    return {
        "title": case.title,
        "file": case.file,
        "answer": answer,
        "known": case.known.says,
        "agrees": agrees,
    } | story


def _observable(item: str, folder: Path) -> str:
    return " ".join((folder / item[1:]).read_text().split()) if item.startswith("@") else item


def judge(known: Probability | Values | Refusal, body: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether the answer is the known one, and the answer in words."""
    if isinstance(known, Refusal):
        return body["status"] == "refused", (body.get("error") or {}).get("what", "not refused")
    if body["status"] != "done":
        return False, body["error"]["what"]
    if isinstance(known, Values):
        found = [row["value"] for row in body["expectations"]]
        agrees = all(abs(a - b) <= known.tolerance for a, b in zip(found, known.values, strict=True))
        own = body.get("error_bound", 0.0)
        return agrees, ", ".join(value_text(row["value"], row["stderr"], own) for row in body["expectations"])
    shots = sum(body["counts"].values())
    count = sum(count for bits, count in body["counts"].items() if known.event(bits))
    stderr = math.sqrt(known.p * (1 - known.p) / shots)
    return abs(count / shots - known.p) <= SIGMAS_MAX * stderr, f"{share_text(count, shots)} of {shots} shots"


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    yield f"{report['title']} ({report['file']})"
    yield f"  answer   {report['answer']}"
    yield f"  known    {report['known']}: {'agrees' if report['agrees'] else 'DISAGREES'}"
    if report["engine"]:
        yield f"  engine   {report['engine']}, method {report['method']}: {report['reason']}"
        yield f"  seconds  {seconds_text(report['seconds'])}"
