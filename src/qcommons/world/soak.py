"""Soak: very many small cases, one after another; resumable.

Flow: `python -m qcommons.world.soak --seeds 100000` -> a case a seed -> for each that fails a line that replays it. The
scenario goes round by the seed, so a range of seeds is a mix of all. What has been done stands in a file; a second run
with the same file goes on from there. Several may run at once with `--part 0/2`, `--part 1/2`, each with its own file.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from qcommons.world.play import play, replay_line
from qcommons.world.records import Case

__all__ = ["SMALL", "case_of", "main"]

# scenario -> (nodes from, to, seconds) of a small case; what needs many nodes stays out
SMALL: dict[str, tuple[int, int, float]] = {
    "join": (2, 9, 4), "join-slowly": (3, 8, 6), "large": (6, 16, 6), "churn": (3, 8, 10), "partition-heal": (4, 9, 8),
    "partitions": (3, 8, 15), "bootstrap-dies": (3, 8, 6), "kill-third": (4, 9, 6), "freeze": (3, 7, 12),
    "islands": (4, 8, 6), "nat": (3, 8, 10), "foreign": (2, 6, 5), "away": (3, 6, 15), "weather": (3, 8, 8),
    "disks": (3, 7, 15), "liars": (6, 10, 8), "flood": (4, 6, 4), "find": (6, 12, 5), "blobs": (3, 7, 15),
    "jobs": (3, 5, 4), "jobs-faults": (3, 5, 8), "jobs-liars": (4, 6, 4), "jobs-all": (4, 6, 8), "long": (3, 8, 20),
}  # fmt: skip


def case_of(seed: int) -> Case:
    """The small case of a seed."""
    names = list(SMALL)
    name = names[seed % len(names)]
    low, high, for_s = SMALL[name]
    return Case(name, seed, low + seed // len(names) % (high - low + 1), for_s)


def main(argv: Sequence[str] | None = None) -> int:
    """0 where every case held, 5 where one did not."""
    parser = argparse.ArgumentParser(prog="python -m qcommons.world.soak", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=1_000, help="how many, from --first on")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--part", default="0/1", help="i/n: every n-th seed, beginning with the i-th")
    parser.add_argument("--state", type=Path, help="a file that keeps the next seed, to go on from")
    args = parser.parse_args(argv)
    part, _, parts = args.part.partition("/")
    begun_s, failed, played = time.perf_counter(), 0, 0
    for seed in _seeds(args.first, args.seeds, int(part), int(parts), args.state):
        case = case_of(seed)
        report = play(case)
        played += 1
        if report.violations:
            failed += 1
            first = report.violations[0]
            print(f"{replay_line(case)}  # {first.check}: {first.what}", flush=True)
        if args.state is not None:
            args.state.write_text(f"{seed + 1}\n")
        if played % 1_000 == 0:
            took_s = time.perf_counter() - begun_s
            print(f"{played} played, {failed} failed, {took_s:.0f} s", file=sys.stderr, flush=True)
    print(f"{played} cases, {failed} failed, {time.perf_counter() - begun_s:.0f} s")
    return 5 if failed else 0


def _seeds(first: int, count: int, part: int, parts: int, state: Path | None) -> Iterator[int]:
    done = int(state.read_text()) if state is not None and state.exists() else first
    return (seed for seed in range(max(first, done), first + count) if seed % parts == part)


if __name__ == "__main__":
    sys.exit(main())
