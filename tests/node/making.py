"""Nodes with a faulty engine, and small programs, for the tests of this room."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from qcommons.circuits.program import Affine, Op, Program
from qcommons.node.embedded import EmbeddedNode

FAULTY = (sys.executable, str(Path(__file__).with_name("faulty_worker.py")))
BELL = Program(
    2,
    (("c", 2),),
    (Op("h", (0,)), Op("cx", (0, 1)), Op("measure", (0,), (), (0,)), Op("measure", (1,), (), (1,))),
)
THREE = Program(3, (("c", 3),), (Op("h", (0,)), Op("measure", (0,), (), (0,))))
TURN = Program(1, (), (Op("rx", (0,), (Affine(0.0, (("theta", 1.0),)),)),), ("theta",))
QASM = """OPENQASM 3.0;
include "stdgates.inc";
input float theta;
qubit[2] q;
bit[2] c;
rx(theta) q[0];
cx q[0], q[1];
c = measure q;
"""


def faulty_node(home: Path, workers: int = 1) -> EmbeddedNode:
    """A node whose engine does what `method` says (faulty_worker.FAULTS)."""
    return EmbeddedNode(workers, home=home, command=FAULTY)


def eventually(true: Callable[[], bool], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def is_running(pid: int) -> bool:
    """Neither gone nor a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
