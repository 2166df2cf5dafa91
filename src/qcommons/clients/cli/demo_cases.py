"""What the demo runs: circuits of different kinds, each with an answer that is known from elsewhere.

Flow: rows of *CASES* -> demo_alone, demo_mesh -> node -> *judge* -> agrees or not. The known answers come from closed
forms, not from a simulator; tests/clients/test_demo_cases.py derives each of them a second way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from qcommons.base.clock import seconds_text
from qcommons.base.errors import QCommonsError, Unavailable
from qcommons.clients.cli.main import error_object, exit_code
from qcommons.jobs.text import share_text, value_text

if TYPE_CHECKING:
    from qcommons.jobs.results import Result, Results

__all__ = [
    "CASES", "HYDROGEN", "QAOA", "Case", "Curve", "Known", "Probability", "Refusal", "Values", "asked", "examples_dir",
    "judge", "report_lines", "report_of",
]  # fmt: skip

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


class Curve(NamedTuple):
    """Of a sweep over the input `name`, each value must be formula(point) within `tolerance`."""

    says: str
    name: str
    formula: Callable[[float], float]
    tolerance: float


class Refusal(NamedTuple):
    """The circuit must be refused with numbers."""

    says: str


Known = Probability | Values | Curve | Refusal


class Case(NamedTuple):
    """One row: `options` go to `qcommons.run`; an observable "@name" is the file of that name."""

    title: str
    file: str
    options: Mapping[str, Any]
    known: Known


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


HYDROGEN = Case(
    "Energy curve of the hydrogen molecule, 96 angles", "hydrogen.qasm",
    {"observable": ["@hydrogen.txt"], "bind": [{"theta": math.pi * k / 96 - math.pi / 2} for k in range(96)]},
    Curve("-1.0410931 - 0.7958748 cos theta + 0.1809312 sin theta", "theta",
          lambda theta: -1.04109314151662362 - 0.79587484968636090 * math.cos(theta)
          + 0.18093119978423156 * math.sin(theta), 1e-9),
)  # fmt: skip
QAOA = Case(
    "QAOA for MaxCut on the Nauru graph, 24 qubits, 6 angles", "qaoa24.qasm",
    {"observable": ["@nauru-cut.txt"], "bind": [{"gamma": math.pi * k / 14, "beta": math.pi / 8} for k in range(1, 7)]},
    Curve("closed form: -36 sin gamma cos(gamma)^2", "gamma",
          lambda gamma: -36 * math.sin(gamma) * math.cos(gamma) ** 2, 1e-4),
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


def asked(case: Case, folder: Path) -> dict[str, Any]:
    """What is asked of a node, observables read from their files."""
    options = dict(case.options)
    if "observable" in options:
        options["observable"] = [_observable(item, folder) for item in options["observable"]]
    return options


def _observable(item: str, folder: Path) -> str:
    return " ".join((folder / item[1:]).read_text().split()) if item.startswith("@") else item


def judge(known: Known, body: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether the answer is the known one, and the answer in words."""
    if isinstance(known, Refusal):
        return body["status"] == "refused", (body.get("error") or {}).get("what", "not refused")
    if body["status"] != "done":
        return False, body["error"]["what"]
    if isinstance(known, Curve):
        return _on_curve(known, body["results"])
    if isinstance(known, Values):
        found = [row["value"] for row in body["expectations"]]
        agrees = all(abs(a - b) <= known.tolerance for a, b in zip(found, known.values, strict=True))
        own = body.get("error_bound", 0.0)
        return agrees, ", ".join(value_text(row["value"], row["stderr"], own) for row in body["expectations"])
    shots = sum(body["counts"].values())
    count = sum(count for bits, count in body["counts"].items() if known.event(bits))
    stderr = math.sqrt(known.p * (1 - known.p) / shots)
    return abs(count / shots - known.p) <= SIGMAS_MAX * stderr, f"{share_text(count, shots)} of {shots} shots"


def _on_curve(known: Curve, runs: Sequence[Mapping[str, Any]]) -> tuple[bool, str]:
    values = [run["expectations"][0]["value"] for run in runs if run["status"] == "done"]
    if len(values) < len(runs):
        return False, f"{len(values)} of {len(runs)} values"
    points = [run["values"][known.name] for run in runs]
    off = max(abs(value - known.formula(point)) for value, point in zip(values, points, strict=True))
    least = min(values)
    place = points[values.index(least)]
    said = f"{len(values)} values, the least {least:.6f} at {known.name} = {place:.4f}, at most {off:.1g} off"
    return off <= known.tolerance, said


def report_of(case: Case, answer: Callable[[], Result | Results]) -> dict[str, Any]:
    """One case as a JSON object: what was asked, the answer, the known answer, the judgement. answer: waits for it."""
    try:
        body = answer().to_dict()
    except QCommonsError as error:
        status = "refused" if exit_code(error) == 3 else "failed"
        body = {"status": status, "error": error_object(error.who, error.what, error.where, error.limit)}
    agrees, text = judge(case.known, body)
    first = body["results"][0] if "results" in body else body  # of a sweep: all were run alike
    story = {name: first.get(name) for name in ("engine", "method", "reason", "seconds", "physics", "error")}
    if "results" in body:
        story["seconds"] = body["seconds"]
    known = case.known.says
    return {"title": case.title, "file": case.file, "answer": text, "known": known, "agrees": agrees} | story


def report_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The object for people."""
    yield f"  answer   {report['answer']}"
    yield f"  known    {report['known']}: {'agrees' if report['agrees'] else 'DISAGREES'}"
    if report["engine"]:
        yield f"  engine   {report['engine']}, method {report['method']}: {report['reason']}"
        yield f"  seconds  {seconds_text(report['seconds'])}"
