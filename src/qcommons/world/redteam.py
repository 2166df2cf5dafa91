"""Red team: each liar of the zoo against each check, how often it is caught; honest pieces against the same checks.

    python -m qcommons.world.redteam [--trials 200] [--honest 10000] [--write FILE]

Flow: zoo rows, circuits -> *cell* (one liar, one check, so many trials) -> table, and `verify/detection.json`, from
which quotes say how likely a cheat passes. All seeds are fixed: a run repeats number by number on one machine.

    repeat    the same engine and seed: number by number            (counts of 100 and 1,024 shots)
    computed  the same engine: expectation values                   (no shots)
    known     another engine or seed, the true distribution known    (1,024 and 8,192 shots)
    samples   another engine or seed, against a sample as large      (1,024 and 8,192 shots)
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from qcommons.base.seeds import derive, stream
from qcommons.circuits.observables import PauliSum, Term
from qcommons.circuits.program import Op, Operation, Program
from qcommons.engines.records import Answer, Counts, Expectations, Limits, Statevector, Task, Want
from qcommons.engines.registry import load_engines
from qcommons.verify.answers import EngineClass, Found, Question, engine_class
from qcommons.verify.compare import compare
from qcommons.verify.records import Comparison
from qcommons.verify.soundness import clopper_pearson
from qcommons.verify.stabiliser import facts
from qcommons.verify.statistics import Ideal, ideal
from qcommons.world.protocol_liars import PROTOCOL_LIARS
from qcommons.world.zoo import ONCE_IN, ZOO, Asked, Row

__all__ = ["CHECKS", "Cell", "Circuit", "cell", "circuits", "honest", "main"]

LIMITS = Limits(memory_bytes=1 << 28, seconds=60.0)
USED = ("qulacs", "statevector")
OTHER = EngineClass("numpy", "dense", "f64", "other")  # what the check found its own sample with: nothing repeats
SEED = 20_261
REPEATED, CHEAP = ("repeat", "computed"), 5  # these take a millisecond: more trials, narrower intervals
CHECKS: tuple[tuple[str, int], ...] = (
    ("repeat", 1024), ("computed", 0), ("repeat", 100), ("known", 1024), ("known", 8192), ("samples", 1024),
    ("samples", 8192),
)  # fmt: skip


class Circuit(NamedTuple):
    """name; program: measured at its end; known: its distribution; observables: of its computed checks."""

    name: str
    program: Program
    known: Ideal
    observables: tuple[PauliSum, ...]


class Cell(NamedTuple):
    """refused: answers that were not used. proved: those held to be lies."""

    liar: str
    check: str
    shots: int
    tried: int
    refused: int
    proved: int

    def text(self) -> str:
        low, high = clopper_pearson(self.refused, self.tried)
        return f"{self.refused}/{self.tried} [{low:.1%}, {high:.1%}]"


@lru_cache(maxsize=8)
def circuits(n: int, each: int) -> tuple[Circuit, ...]:
    """`each` circuits of each kind on n qubits: random bricks, QAOA on a ring with chords, a layered ansatz."""
    found = []
    for number in range(each):
        rng = stream(SEED, "circuit", n, number)
        for name, make in (("brick", _brick), ("qaoa", _qaoa), ("ansatz", _ansatz)):
            ends = tuple(Op("measure", (q,), (), (q,)) for q in range(n))
            program = Program(n, (("c", n),), (*make(n, rng), *ends))
            bare = Program(n, (), program.ops[:-n])
            state = run(bare, Statevector(), 1)
            psi = np.array([complex(*pair) for pair in state.amplitudes or ()])
            known = ideal(program, psi)
            assert known is not None
            pairs = [((q, "Z"), (q + 1, "Z")) for q in range(n - 1)]
            found.append(Circuit(name, program, known, tuple(PauliSum((Term(1.0, pair),), "") for pair in pairs)))
    return tuple(found)


def _brick(n: int, rng: np.random.Generator) -> list[Operation]:
    ops: list[Operation] = []
    for layer in range(n):
        ops += [Op("u", (q,), tuple(rng.uniform(0, 2 * np.pi, 3).tolist())) for q in range(n)]
        ops += [Op("cx", (q, q + 1)) for q in range(layer % 2, n - 1, 2)]
    return [*ops, *(Op("u", (q,), tuple(rng.uniform(0, 2 * np.pi, 3).tolist())) for q in range(n))]


def _qaoa(n: int, rng: np.random.Generator) -> list[Operation]:
    edges = [(q, (q + 1) % n) for q in range(n)] + [(q, q + n // 2) for q in range(n // 2)]
    ops: list[Operation] = [Op("h", (q,)) for q in range(n)]
    for _ in range(2):
        gamma, beta = rng.uniform(0.3, 1.2, 2).tolist()
        ops += [Op("rzz", edge, (gamma,)) for edge in edges]
        ops += [Op("rx", (q,), (2 * beta,)) for q in range(n)]
    return ops


def _ansatz(n: int, rng: np.random.Generator) -> list[Operation]:
    ops: list[Operation] = []
    for _ in range(3):
        ops += [Op("ry", (q,), (float(rng.uniform(0, np.pi)),)) for q in range(n)]
        ops += [Op("cx", (q, q + 1)) for q in range(n - 1)]
    return [*ops, *(Op("ry", (q,), (float(rng.uniform(0, np.pi)),)) for q in range(n))]


def run(program: Program, want: Want, seed: int, engine: str = USED[0], method: str = USED[1]) -> Answer:
    """One honest run. Expectations and statevectors are of the state before the measurements."""
    if not isinstance(want, Counts):
        program = Program(program.n_qubits, (), tuple(op for op in program.ops if getattr(op, "gate", "") != "measure"))
    return load_engines()[engine].run(Task(program, want, method, seed, LIMITS))


def cell(row: Row, check: str, shots: int, trials: int, n_qubits: int = 8) -> Cell:
    """One liar against one check; of one that lies seldom, the runs in which it lies."""
    outcomes = [_trial(row, check, shots, circuit, number) for number, circuit in _trials(trials, n_qubits)]
    refused = sum(found.outcome != "agrees" for found in outcomes)
    return Cell(row.name, check, shots, trials, refused, sum(found.outcome == "differs" for found in outcomes))


def _trials(trials: int, n_qubits: int) -> Iterator[tuple[int, Circuit]]:
    rows = circuits(n_qubits, 4)
    return ((number, rows[number % len(rows)]) for number in range(trials))


def _trial(row: Row, check: str, shots: int, circuit: Circuit, number: int) -> Comparison:
    seed = derive(SEED, row.name, check, shots, number)
    want: Want = Counts(shots) if shots else Expectations(circuit.observables)
    asked = Asked(circuit.program, want, seed, run, ONCE_IN - 1 if row.every > 1 else number)
    claimed = Found(row.answer(asked), engine_class(*(row.claims or USED), "1"), seed)
    return _compared(check, circuit, want, claimed, seed)


def _compared(check: str, circuit: Circuit, want: Want, claimed: Found, seed: int) -> Comparison:
    n = circuit.program.n_qubits
    repeats = check in REPEATED
    question = Question(
        want=want, n_bits=n, n_qubits=n, n_ops=len(circuit.program.ops), engine=USED if repeats else None
    )
    again = seed if repeats else derive(seed, "own")
    own = Found(run(circuit.program, want, again), engine_class(*USED, "1") if repeats else OTHER, again)
    return compare(question, claimed, own, stream(seed, "check"), circuit.known if check == "known" else None)


HONEST: tuple[tuple[str, str], ...] = (USED, ("numpy", "dense"), ("aer", "statevector"), ("frames", "frames"))


def honest(pieces: int) -> dict[str, Cell]:
    """Honest answers of different engines against every check, `pieces` in all, the fifth part of them stim's."""
    kinds = [(check, shots) for check, shots in CHECKS if shots <= 1024]
    each = pieces // (len(kinds) + 1)
    found: dict[str, Cell] = {}
    for check, shots in kinds:
        outcomes = [_honest(check, shots, circuit, number) for number, circuit in _trials(each, 6)]
        found[f"{check}, {shots} shots"] = _counted("honest", check, shots, outcomes)
    outcomes = [_honest_clifford(number) for number in range(pieces - each * len(kinds))]
    found["stabiliser facts, 40 qubits"] = _counted("honest", "known", 1024, outcomes)
    return found


def _counted(name: str, check: str, shots: int, outcomes: list[Comparison]) -> Cell:
    refused = sum(found.outcome != "agrees" for found in outcomes)
    return Cell(name, check, shots, len(outcomes), refused, sum(found.outcome == "differs" for found in outcomes))


def _honest(check: str, shots: int, circuit: Circuit, number: int) -> Comparison:
    seed = derive(SEED, "honest", check, shots, number)
    want: Want = Counts(shots) if shots else Expectations(circuit.observables)
    used = USED if check in REPEATED else HONEST[number % len(HONEST)]
    claimed = Found(run(circuit.program, want, seed, *used), engine_class(*used, "1"), seed)
    return _compared(check, circuit, want, claimed, seed)


def _honest_clifford(number: int) -> Comparison:
    program = _clifford(40, number % 20)
    seed = derive(SEED, "honest clifford", number)
    answer = run(program, Counts(1024), seed, "stim", "tableau")
    found = Found(answer, engine_class("stim", "tableau", "1"), seed)
    question = Question(want=Counts(1024), n_bits=40, n_qubits=40, n_ops=len(program.ops))
    return compare(question, found, found, stream(seed, "check"), _facts(number % 20))


@lru_cache(maxsize=32)
def _facts(number: int) -> object:
    return facts(_clifford(40, number))


@lru_cache(maxsize=32)
def _clifford(n: int, number: int) -> Program:
    """A few entangled groups: some parities are certain, most are coins."""
    rng = stream(SEED, "clifford", number)
    ops: list[Operation] = [Op("h", (int(q),)) for q in rng.choice(n, n // 3, replace=False)]
    for _ in range(2 * n):
        a, b = (int(q) for q in rng.choice(n, 2, replace=False))
        ops += [Op("cx", (a, b)), Op("s", (a,))]
    return Program(n, (("c", n),), (*ops, *(Op("measure", (q,), (), (q,)) for q in range(n))))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; exit code 1 where an honest peer was held to be a liar, or too many honest pieces refused."""
    parser = argparse.ArgumentParser(prog="python -m qcommons.world.redteam", description="liars against checks")
    trials = "answers of each liar to each statistical check, five times as many to the others (default 200)"
    parser.add_argument("--trials", type=int, default=200, help=trials)
    parser.add_argument("--honest", type=int, default=10_000, help="honest pieces (default 10000)")
    parser.add_argument("--write", type=Path, help="write the counts there, for the quotes")
    options = parser.parse_args(argv)
    cells = _print_liars(options.trials)
    harmed = _print_protocol(5 * options.trials)
    refused, proved = _print_honest(options.honest)
    if options.write is not None:
        rows = [
            {"liar": c.liar, "check": c.check, "shots": c.shots, "tried": c.tried, "caught": c.refused} for c in cells
        ]
        lines = ",\n".join(json.dumps(row) for row in rows)
        options.write.write_text('{"rows": [\n' + lines + "\n]}\n")
    return int(proved > 0 or harmed > 0 or refused > options.honest / 1000)


def _print_liars(trials: int) -> list[Cell]:
    print("caught/tried [95 % interval] of answers that are lies, circuits of 8 qubits")
    cells: list[Cell] = []
    for row in ZOO:
        print(f"\n{row.name}: {row.help}")
        for check, shots in CHECKS:
            cells.append(cell(row, check, shots, trials * (CHEAP if check in REPEATED else 1)))
            print(f"  {check:9}{shots or '':>6}  {cells[-1].text():32} proved {cells[-1].proved}")
    return cells


def _print_protocol(trials: int) -> int:
    """How often an honest peer was harmed."""
    print("\nliars of the protocol")
    harmed = 0
    for liar in PROTOCOL_LIARS:
        played = [liar.play(number) for number in range(min(liar.trials, trials))]
        caught, hurt = sum(one.caught for one in played), sum(one.harmed for one in played)
        low, high = clopper_pearson(caught, len(played))
        harmed += hurt
        print(f"  {liar.name}: {liar.help}")
        print(f"      {caught}/{len(played)} [{low:.1%}, {high:.1%}], honest peers harmed: {hurt}")
        if liar.waits:
            print(f"      {liar.waits}")
    return harmed


def _print_honest(pieces: int) -> tuple[int, int]:
    """(pieces refused, pieces held to be lies)."""
    print("\nhonest pieces refused")
    found = honest(pieces)
    for name, one in found.items():
        print(f"  {name:32}{one.text()}  held to be lies: {one.proved}")
    refused, proved = sum(one.refused for one in found.values()), sum(one.proved for one in found.values())
    print(f"  all: {refused} of {pieces}; held to be lies: {proved}")
    return refused, proved


if __name__ == "__main__":
    raise SystemExit(main())
