"""`python -m bench.qasmbench [DIR] [WORD ...]`: every circuit of a folder, and what says that it is right.

Prints circuit, qubits, engine, method, seconds, evidence. Evidence is a second run by another engine on the
program as parsed, without any of the reductions, compared by every one-body and many two-body Z parities
and by a two-sample chi-square. The suite is QASMBench (arXiv:2005.13018), looked for in
`$QCOMMONS_DATA/qasmbench`.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from qcommons.base.errors import QCommonsError, UsageError
from qcommons.circuits.cone import strip_terminal
from qcommons.circuits.observables import PauliSum, Term
from qcommons.circuits.program import Op, Program, flat_ops
from qcommons.circuits.qasm import parse
from qcommons.engines.execute import Execution, Request, execute
from qcommons.engines.records import CapExceeded, Counts, Expectations, Limits, Task
from qcommons.engines.registry import load_engines

DATA = Path(os.environ.get("QCOMMONS_DATA", Path(__file__).parents[2] / "shared" / "data")) / "qasmbench"
LIMITS = Limits(memory_bytes=4 << 30, seconds=60, terms_max=1 << 18, bond_max=128, width_max=22)
SHOTS = 4096
SIGMAS = 6.0  # a z-score this large by chance: 2e-9; up to 2,200 parities a circuit make 4e-6
PAIRS_MAX = 2000
CONTRACTIONS_MAX = 8
WITNESSES = (("numpy", "sparse"), ("stim", "tableau"), ("aer", "mps"), ("frames", "frames"), ("qulacs", "statevector"))


@dataclass(frozen=True, slots=True)
class Row:
    """One circuit: how it was run, and the witness (engine/method) with the largest deviation in sigmas."""

    name: str
    qubits: int
    execution: Execution | None
    seconds: float
    witness: str
    sigmas: float
    error: str = ""

    def text(self) -> str:
        if self.execution is None:
            return f"{self.name:24} {self.qubits:4}  {self.error}"
        a = self.execution.answer
        evidence = f"{self.witness}: {self.sigmas:.1f} sigma" if self.witness else "no second method within limits"
        return f"{self.name:24} {self.qubits:4}  {a.engine + '/' + a.method:32} {self.seconds:8.3f} s  {evidence}"


def run(path: Path, limits: Limits = LIMITS) -> Row:
    """Run one file and look for a witness."""
    try:
        program = parse(path.read_bytes(), filename=path.name).program
    except UsageError as error:
        return Row(path.stem, 0, None, 0.0, "", 0.0, f"refused: {error}")
    started = time.perf_counter()
    try:
        done = execute(Request(program=program, want=Counts(SHOTS), seed=11, limits=limits), time.monotonic_ns)
    except QCommonsError as error:
        return Row(path.stem, program.n_qubits, None, 0.0, "", 0.0, f"refused: {error}")
    seconds = time.perf_counter() - started
    witness, counts = second_opinion(_measured(program), done, limits)
    got = done.answer.counts or {}
    if counts:
        sigmas = deviation(got, counts)
    else:
        witness, sigmas = exact_means(_measured(program), got, limits)
    return Row(path.stem, program.n_qubits, done, seconds, witness, sigmas)


def _measured(program: Program) -> Program:
    if any(op.gate == "measure" for op in flat_ops(program.ops)):
        return program
    n = program.n_qubits
    reads = tuple(Op("measure", (q,), (), (q,)) for q in range(n))
    return Program(n, (("meas", n),), (*program.ops, *reads))


def second_opinion(program: Program, done: Execution, limits: Limits) -> tuple[str, dict[str, int]]:
    """Counts of the first other engine that runs the unreduced program within the limits."""
    engines = load_engines()
    for name, method in WITNESSES:
        if name in done.answer.engine.split("+") or (method == "statevector" and program.n_qubits > 22):
            continue
        try:
            answer = engines[name].run(Task(program, Counts(SHOTS), method, 12345, limits))
        except (CapExceeded, QCommonsError, MemoryError):
            continue
        return f"{name}/{method}", answer.counts or {}
    return "", {}


def exact_means(program: Program, counts: Mapping[str, int], limits: Limits) -> tuple[str, float]:
    """Witness where no other engine samples: exact <Z> of measured qubits by tensor contraction."""
    body, _ = strip_terminal(program)
    reads = [(op.qubits[0], op.clbits[0]) for op in program.ops if isinstance(op, Op) and op.gate == "measure"]
    signs, weights = _signs(counts)
    worst, found = 0.0, 0
    for qubit, clbit in reads[:CONTRACTIONS_MAX]:
        want = Expectations((PauliSum((Term(1.0, ((qubit, "Z"),)),), f"Z{qubit}"),))
        request = Request(program=body, want=want, seed=5, limits=limits, engine="tn", method="contract")
        try:
            done = execute(request, time.monotonic_ns)
        except QCommonsError:
            continue
        exact = (done.answer.estimates or ())[0].value
        mean = float(weights @ signs[:, clbit]) / weights.sum()
        error = math.sqrt(max(1 - exact * exact, 1e-12) / weights.sum())
        worst, found = max(worst, abs(mean - exact) / error), found + 1
    return (f"tn/contract, {found} means", worst) if found else ("", 0.0)


def deviation(one: Mapping[str, int], two: Mapping[str, int]) -> float:
    """The largest two-sample deviation in sigmas: Z parities of one and two bits, and chi-square of outcomes."""
    (a, wa), (b, wb) = _signs(one), _signs(two)
    n = a.shape[1]
    worst = 0.0
    pairs = list(combinations(range(n), 2))
    if len(pairs) > PAIRS_MAX:
        pairs = pairs[:: len(pairs) // PAIRS_MAX + 1]
    for columns in [*((q,) for q in range(n)), *pairs]:
        ma, mb = (float(w @ m[:, list(columns)].prod(axis=1)) / w.sum() for m, w in ((a, wa), (b, wb)))
        pooled = (ma * wa.sum() + mb * wb.sum()) / (wa.sum() + wb.sum())
        error = math.sqrt(max(1 - pooled * pooled, 0.0) * (1 / wa.sum() + 1 / wb.sum()))
        if ma != mb:
            worst = max(worst, abs(ma - mb) / error if error else math.inf)
    return max(worst, _chi2(one, two))


def _signs(counts: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
    bits = np.array([[c == "1" for c in key[::-1]] for key in counts])
    return np.where(bits, -1.0, 1.0), np.fromiter(counts.values(), np.float64, len(counts))


def _chi2(one: Mapping[str, int], two: Mapping[str, int]) -> float:
    """Sigmas of the two-sample chi-square by the Wilson-Hilferty cube root; rare outcomes are pooled."""
    cells = {key: (one.get(key, 0), two.get(key, 0)) for key in {*one, *two}}
    kept = [c for c in cells.values() if sum(c) >= 20]
    rest = tuple(sum(c[i] for c in cells.values() if sum(c) < 20) for i in (0, 1))
    if sum(rest) >= 20:
        kept.append(rest)
    freedom = len(kept) - 1
    if freedom < 1:
        return 0.0
    chi2 = sum((a - b) ** 2 / (a + b) for a, b in kept)
    spread = 2 / (9 * freedom)
    return ((chi2 / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)


def main(words: list[str]) -> int:
    folder = Path(words[0]) if words and Path(words[0]).is_dir() else DATA
    rows = [
        run(path) for path in sorted(folder.glob("*.qasm")) if not words[1:] or any(w in path.name for w in words[1:])
    ]
    if not rows:
        print(f"no .qasm files in {folder}; set QCOMMONS_DATA or name a folder")
        return 2
    for row in rows:
        print(row.text())
    good = sum(row.execution is not None and row.witness != "" and row.sigmas < SIGMAS for row in rows)
    print(f"{good} of {len(rows)} run and agree with a second method within {SIGMAS:g} sigma")
    return int(any(row.sigmas >= SIGMAS for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
