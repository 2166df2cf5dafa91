"""`qcommons doctor`: is this installation well, and if not, why and what to do.

Flow: rows of `CHECKS`, each looking at one thing -> findings -> text or JSON. A finding that is not
green carries its cause and the next action.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable

from qcommons.base.clock import seconds_text
from qcommons.base.errors import QCommonsError
from qcommons.base.text import line
from qcommons.base.units import bytes_text
from qcommons.clients.cli.doctor_mesh import MESH_CHECKS
from qcommons.clients.cli.doctor_node import NODE_CHECKS
from qcommons.clients.cli.findings import Finding
from qcommons.clients.cli.options import JSON
from qcommons.jobs.text import printable
from qcommons.node.home import home_path

__all__ = ["CHECKS", "OPTIONS", "command"]

OPTIONS = (JSON,)
PYTHON_MIN = (3, 11)
FAILS = "fails"
FLIP = "OPENQASM 3.0; qubit[2] q; bit[2] c; U(pi, 0, pi) q[1]; c = measure q;"
MEMORY_MIN_BYTES = 1 << 30  # a warm worker with its libraries holds a few hundred MB


def command(args: argparse.Namespace) -> int:
    """Print every finding; 0 without a red one, 4 else."""
    findings: list[Finding] = []
    for name, check in CHECKS:
        found = _look(name, check)
        if found.value == FAILS and any(found.cause == other.cause for other in findings):
            continue  # one cause, one row
        findings.append(found)
        if not args.json:
            _print(found)
    worst = next((state for state in ("red", "yellow") if any(f.state == state for f in findings)), "green")
    if args.json:
        print(json.dumps({"state": worst, "findings": [finding._asdict() for finding in findings]}))
    return 4 if worst == "red" else 0


def _print(finding: Finding) -> None:
    """As soon as it is known: some checks take a second."""
    print(printable(line(f"{finding.state:<7} {finding.name:<9} {finding.value}")))
    if finding.state != "green":
        print(printable(line(f"{'':<18}cause: {finding.cause}")))
        print(printable(line(f"{'':<18}next:  {finding.action}")))
    sys.stdout.flush()


def _look(name: str, check: Callable[[], Finding]) -> Finding:
    """One check; an error inside it is a finding, so that the others still run."""
    try:
        return check()
    except QCommonsError as error:
        return Finding(name, "red", FAILS, str(error), "change what the message names, then run doctor again")
    except Exception as error:
        return Finding(name, "red", FAILS, f"{type(error).__name__}: {error}", "reinstall: pip install -e .")


def _python() -> Finding:
    found = platform.python_version()
    if sys.version_info[:2] < PYTHON_MIN:
        return Finding("python", "red", found, "3.11 or newer is needed", "make PYTHON=/path/to/python3.12 demo")
    return Finding("python", "green", f"{found}, {platform.system()} {platform.machine()}")


def _settings() -> Finding:
    from qcommons.node import config

    values = config.load()
    changed = sum(value.origin != "default" for value in values.values())
    return Finding("settings", "green", f"{config.config_path()}, {changed} of {len(values)} set")


def _home() -> Finding:
    home = home_path()
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home) as file:
            file.write(b"doctor")
    except OSError as error:
        cause = f"cannot write there: {error.strerror}"
        return Finding("home", "red", str(home), cause, "make it writable, or set QCOMMONS_HOME to another folder")
    return Finding("home", "green", f"{home}, writable")


def _memory() -> Finding:
    from qcommons.node import config
    from qcommons.node.memory import free_bytes

    free = free_bytes()
    limit = int(config.load()["limits.memory"].value)
    value = f"{bytes_text(free)} free, a single run may use {bytes_text(limit)}"
    if limit < MEMORY_MIN_BYTES:
        cause = f"below {bytes_text(MEMORY_MIN_BYTES)} even small programs are refused"
        return Finding("memory", "yellow", value, cause, "raise limits.memory (qcommons config show --origin)")
    return Finding("memory", "green", value)


def _engines() -> Finding:
    from qcommons.engines.registry import describe

    rows = describe()
    there = [f"{row.name} {row.version}" for row in rows if row.version]
    missing = [row for row in rows if not row.version]
    value = ", ".join(there) or "none"
    if not there:
        return Finding("engines", "red", value, "no engine is installed", "reinstall: pip install -e .")
    if missing:
        cause = "not installed: " + ", ".join(row.name for row in missing)
        return Finding("engines", "yellow", value, cause, "; ".join(row.install for row in missing))
    return Finding("engines", "green", value)


def _worker() -> Finding:
    from qcommons.node import config
    from qcommons.node.default import open_node

    start_s = time.perf_counter()
    with open_node(config.load()) as node:
        counts = node.run(FLIP, shots=10, seed=1).to_dict()["counts"]
    took = seconds_text(time.perf_counter() - start_s)
    if counts != {"10": 10}:
        action = "name another engine (--engine numpy) and report this"
        return Finding("worker", "red", f"{counts}", "the answer to X on qubit 1 must be 10 in every shot", action)
    return Finding("worker", "green", f"started, planned and answered rightly in {took}")


CHECKS: tuple[tuple[str, Callable[[], Finding]], ...] = (
    ("python", _python),
    ("settings", _settings),
    ("home", _home),
    ("memory", _memory),
    ("engines", _engines),
    ("worker", _worker),
    *NODE_CHECKS,
    *MESH_CHECKS,
)
