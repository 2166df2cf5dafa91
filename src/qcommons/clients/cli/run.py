"""`qcommons run FILE`: one circuit, or a sweep over its inputs.

Flow: *options* -> `running`, imported when it runs: the help of a command needs no engine.
"""

from __future__ import annotations

import argparse

from qcommons.clients.cli.options import JSON, NODE, Option, whole

__all__ = ["OPTIONS", "command"]

SHOTS_MAX, SEED_MAX = 10**9, (1 << 63) - 1  # as `node/edge.py` and `node/submission.py` have them

OPTIONS = (
    Option("file", "FILE", "OpenQASM 2 or 3; `-` reads standard input, at most for the deadline's time, as a FIFO."),
    Option("--shots", "N", "Sample N times (1024 where nothing else is asked for).",
           kind=whole(1, SHOTS_MAX)),
    Option("--observable", "SUM", 'Expectation value of a Pauli sum, as in "ZZI + 0.5 XXI" or "Z0 Z3"; @FILE reads '
           "one. Exact without --shots. Repeatable.", repeat=True),
    Option("--amplitudes", "BITS", "Amplitudes of these bitstrings, as in 0101,1111; the rightmost is qubit 0."),
    Option("--statevector", None, "All amplitudes (20 qubits at most)."),
    Option("--bind", "NAME=VALUE", "Value of an input in radians, as in theta=0.3, phi=pi/2 or, for an array, "
           "g[]=0.1,0.2. Repeatable.", repeat=True),
    Option("--sweep", "FILE", "Run once for each point of a JSON or CSV file of input values."),
    Option("--noise", "SPEC", "Noise, as in depolarizing:0.01+readout:0.02, or a device profile FILE.toml."),
    Option("--seed", "N", "Seed of all randomness; drawn and printed where not given.",
           kind=whole(0, SEED_MAX, "2^63-1")),
    Option("--engine", "NAME", "Use this engine; `qcommons engines` lists them."),
    Option("--method", "NAME", "Use this method of the engine."),
    Option("--deadline", "TIME", "End the job after this time, as in 60s or 5m."),
    Option("--memory", "SIZE", "Memory one run may use, as in 4GiB."),
    Option("--on", "PLACE", "Where it runs: here (this node), or mesh (peers). Needs a node.",
           choices=("here", "mesh")),
    Option("--assurance", "HOW", "With --on mesh, how peers are checked: none, audit (some runs computed again; the "
           "default) or replicate (two peers a run).", choices=("none", "audit", "replicate")),
    Option("--egress", "WHO", "With --on mesh, whose nodes may get it: peers (own and allowed ones; the default) or "
           "public (anybody's: they can read the circuit).", choices=("home", "peers", "public")),
    Option("--peers", "N", "With --on mesh, at most so many different peers.", kind=whole(1, 1_000)),
    Option("--budget", "UNITS", "With --on mesh, at most so many base units for all of it, at what peers ask for their "
           "work; `qcommons quote` says how many it takes.",
           kind=whole(0, SEED_MAX, "2^63-1")),
    Option("--purpose", "NAME", "The campaign that it serves; owners allow and refuse these by name."),
    Option("--plan", "ROW", "With --on mesh, this row of the planner: whole, batch, lightcone, slice, cut."),
    Option("--out", "FILE", "Also write the JSON object to this file."),
    Option("--detach", None, "Return the job's id at once; `qcommons job result ID` prints the answer. Needs a node."),
    Option("--tag", "TAG", "Mark the job, for lists and rules. Needs a node. Repeatable.", repeat=True),
    Option("--embedded", None, "Run in this process, even where a node of this home runs."),
    Option("--quiet", None, "No progress on standard error."),
    NODE,
    JSON,
)  # fmt: skip


def command(args: argparse.Namespace) -> int:
    """Run the circuit and print its answer; returns the exit code of the first run that is not done."""
    from qcommons.clients.cli import running

    return running.command(args)
