"""`python -m bench [WORD ...] [--small]`: run every bench file (or those whose names hold a word)."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path

from bench.harness import measure, report


def main(words: list[str]) -> int:
    """Print each claim with its figures; 1 where a bar is missed (never with --small)."""
    small = "--small" in words
    wanted = [word for word in words if not word.startswith("-")]
    names = sorted(path.stem for path in Path(__file__).parent.glob("bench_*.py"))
    missed, broken = 0, 0
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load average {load:.2f}" + (", reduced sizes: figures mean nothing" * small), "\n")
    for name in names:
        if wanted and not any(word in name for word in wanted):
            continue
        for claim in import_module(f"bench.{name}").CLAIMS:
            try:
                text, reached = report(claim, *measure(claim, f"bench.{name}", small))
                missed += not reached
            except RuntimeError as error:  # the others are still worth measuring
                text = f"{claim.title}\n  FAILED: {error}"
                broken += 1
            print(text, "\n", flush=True)
    print(f"{missed} bars missed, {broken} claims could not be measured" if missed + broken else "all bars reached")
    return int(broken > 0 or (missed > 0 and not small))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
