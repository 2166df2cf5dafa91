"""The node of this process and `run` on it: what `from qcommons import run` gives.

Flow: settings (`config`) -> *open_node* -> EmbeddedNode; *run* -> the default node -> Result, Results.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from qcommons.jobs.results import Result, Results
from qcommons.node.config import Settings, load
from qcommons.node.driver import Progress
from qcommons.node.embedded import EmbeddedNode

__all__ = ["default_node", "open_node", "run"]

_LOCK = threading.Lock()
_NODES: dict[int, EmbeddedNode] = {}  # process id -> its node: a forked child makes its own


def open_node(settings: Settings, *, calibrate: bool = False) -> EmbeddedNode:
    """A node with the workers, the operations cap and the limits of the settings; a context manager.

    Memory that nobody set is divided by the node when a job comes.
    calibrate: measure this machine in the background; a command would end before that does.
    """
    memory = settings["limits.memory"]
    return EmbeddedNode(
        int(settings["limits.workers"].value),
        operations_max=int(settings["limits.operations"].value),
        deadline_s=float(settings["limits.seconds"].value),
        memory_bytes=None if memory.origin == "default" else int(memory.value),
        calibrate=calibrate,
    )


def default_node() -> EmbeddedNode:
    """The node that `run` uses: made on first use, closed at exit.

    Environment and config file are read once, when it is made: a later change of them reaches the
    next process.

    Raises:
        UsageError: a setting that cannot be read; `where` names the file or the variable.
    """
    node = _NODES.get(os.getpid())
    if node is None:
        with _LOCK:
            node = _NODES.get(os.getpid())
            if node is None:
                node = _NODES[os.getpid()] = open_node(load(), calibrate=True)
    return node


def run(
    program: Any,
    *,
    shots: int | None = None,
    observable: Any = None,
    amplitudes: Any = None,
    statevector: bool = False,
    bind: Any = None,
    noise: Any = None,
    seed: int | None = None,
    engine: str | None = None,
    method: str | None = None,
    deadline_s: float | None = None,
    memory_bytes: int | None = None,
    progress: Progress | None = None,
    on: str = "here",
) -> Result | Results:
    """Run a circuit, or a batch of them, on this machine.

    What is not given comes from the settings (environment, config file), read once a process: see
    `default_node`.

    Args:
        program: path of an OpenQASM 2 or 3 file, its text, a Program or its Card (`node.card`), or
            a list of those (one batch).
        shots: samples; default 1024 for counts, and exact values where an observable is asked.
        observable: "ZZI + 0.5 XXI" (rightmost letter on qubit 0), a PauliSum, or a list of those.
        amplitudes: bitstrings ("0101,1111" or a list), rightmost character on qubit 0.
        statevector: all amplitudes (up to 20 qubits).
        bind: input -> number; or input -> array, broadcast together (a sweep); or a list of points.
        noise: "depolarizing:0.01+readout:0.02", the path of a device profile (.toml), or Noise.
        seed: 0 <= seed < 2^63; drawn from the system if None; always reported.
        engine, method: instead of the planner's choice.
        deadline_s: seconds until the job must have ended (default: `limits.seconds`, else one hour).
        memory_bytes: limit of one run (default: `limits.memory`, else 80 % of what is free, shared by
            the workers).
        progress: called with (runs that have ended, runs in all) on this thread while the job runs.
        on: "here"; "mesh" needs a running node, see `Node.run`.

    Returns:
        Result for one program at one point, else Results: each run of a batch carries its own error.

    Raises:
        UsageError: the input must change (where: the argument, or file, line and column; or the setting).
        Unavailable: refused with numbers (exit_code 3), out of memory, past the deadline, ...
        Corrupt: an engine failed or crashed.
    """
    return default_node().run(
        program, shots=shots, observable=observable, amplitudes=amplitudes, statevector=statevector, bind=bind,
        noise=noise, seed=seed, engine=engine, method=method, deadline_s=deadline_s, memory_bytes=memory_bytes,
        progress=progress, on=on,
    )  # fmt: skip
