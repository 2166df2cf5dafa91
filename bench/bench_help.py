"""`qcommons --help`: CPU of the whole process, Python's own start included."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from bench import sides
from bench.harness import Claim

CLAIMS = [Claim("qcommons --help", "ours", None, "seconds", 0.150, rounds=11)]


def ours(small: bool) -> sides.Thunk:
    script = str(Path(sys.executable).parent / "qcommons")

    def thunk() -> dict[str, Any]:
        done = subprocess.run([script, "--help"], capture_output=True, check=True, text=True)
        return {"lines": done.stdout.count("\n")}

    return thunk
