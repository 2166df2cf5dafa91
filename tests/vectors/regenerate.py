"""The programs behind `program.json`, and how to write that file again.

    python -m tests.vectors.regenerate

Run it only with a new wire version, or where a new rule refuses what a vector holds: changed bytes change
program ids. `canonical.json` is kept by hand: its vectors are those of RFC 8949, appendix A, and section 4.2.3.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from qcommons.circuits.program import Affine, Branch, Condition, Op, Program
from qcommons.circuits.wire import encode, program_id

FILE = Path(__file__).with_name("program.json")

PROGRAMS: dict[str, Program] = {
    "empty": Program(0, (), ()),
    "bell": Program(
        2,
        (("c", 2),),
        (Op("h", (0,)), Op("cx", (0, 1)), Op("measure", (0,), (), (0,)), Op("measure", (1,), (), (1,))),
    ),
    "wide indices": Program(70_000, (), (Op("x", (69_999,)), Op("swap", (0, 256)))),
    "controls and barriers": Program(
        5,
        (),
        (
            Op("x", (0, 1, 2, 3), (), (), 3),
            Op("barrier", (4, 0, 2)),
            Op("gphase", (3,), (math.pi,), (), 1),
            Op("rzz", (4, 0, 1), (-0.25,), (), 1),
        ),
    ),
    "inputs": Program(
        2,
        (("c", 1),),
        (
            Op("u", (0,), (Affine(0.5, (("phi", -1.0), ("theta", 2.0))), 0.125, Affine(0.0, (("theta", 1.0),)))),
            Op("rzz", (0, 1), (Affine(0.0, (("phi", 0.1),)),)),
            Op("measure", (1,), (), (0,)),
        ),
        ("theta", "phi"),
    ),
    "teleport with feed-forward": Program(
        3,
        (("m", 2), ("out", 1)),
        (
            Op("ry", (0,), (0.7,)),
            Op("h", (1,)),
            Op("cx", (1, 2)),
            Op("cx", (0, 1)),
            Op("h", (0,)),
            Op("measure", (0,), (), (0,)),
            Op("measure", (1,), (), (1,)),
            Op("reset", (0,)),
            Branch(Condition((1,), "==", 1), (Op("x", (2,)),)),
            Branch(Condition((0, 1), ">=", 1), (Op("z", (2,)), Op("id", (1,))), (Op("ry", (0,), (1.5,)),)),
            Branch(Condition((2,), "!=", 0), (), ()),
            Op("measure", (2,), (), (2,)),
        ),
    ),
}


def vectors() -> list[dict[str, str]]:
    return [
        {"name": name, "hex": encode(program).hex(), "program_id": program_id(program)}
        for name, program in PROGRAMS.items()
    ]


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1) + "\n")
