"""Climb the ladder for one part: choose, attempt, record; the first attempt that answers wins.

Flow: execute -> *Climber* -> select -> engine.run -> Answer. One climber serves one request and
keeps its story: attempts, predicted cost, reasons.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from qcommons.base.clock import seconds_text
from qcommons.base.errors import Unavailable, UsageError
from qcommons.circuits.features import Features, features
from qcommons.circuits.noise import Noise
from qcommons.circuits.program import Op, Program
from qcommons.engines.answer_size import with_answer
from qcommons.engines.branching import is_dynamic, split_terminal, straight
from qcommons.engines.engine import Engine
from qcommons.engines.frames import dry_width, observed_by
from qcommons.engines.join import JoinSize
from qcommons.engines.records import (
    Answer,
    CapExceeded,
    Cost,
    Counts,
    Expectations,
    Limits,
    Slices,
    Task,
    Unsuited,
    Want,
)
from qcommons.engines.select import Choice, Ladder, check_named, plural, select, size
from qcommons.engines.tn_sliced import ENGINE, METHODS, run_slices, slices_cost

__all__ = ["Attempt", "Climber"]

TINY_QUBITS = 16
TINY_WORK = 1 << 19  # amplitude-updates of a dense state, about a millisecond: reducing and choosing cost as much
STATE_BYTES = 16
SIZE_WORDS = ("; limit ", "2^", " width ", "a trial would cost")  # a refusal for memory or time, not for kind
ADVISED_SHOTS = (10_000, 1_000)  # a Pauli string to +-0.01, +-0.03
LONG_S = 86_400.0  # nobody is advised to wait longer
ROOM = 2.0  # of a deadline that is advised, to the prediction, which may be low
DEAR_BOND = 512  # from here a trial takes a minute and more


class Attempt(msgspec.Struct, frozen=True):
    """One tried (engine, method): predicted cost, measured seconds, and how it ended ("done" or the cap)."""

    engine: str
    method: str
    predicted: Cost
    seconds: float
    outcome: str


@dataclass(slots=True)
class Climber:
    """Engines, constants and limits of one request; `attempts` and `reasons` grow with each part."""

    engines: Mapping[str, Engine]
    constants: Mapping[str, Mapping[str, float]]
    limits: Limits
    clock_ns: Callable[[], int]
    engine: str | None = None
    method: str | None = None
    watch: Callable[[Choice], None] | None = None  # told of each attempt as it starts: for progress lines
    attempts: list[Attempt] = field(default_factory=list)
    reasons: list[tuple[int, str]] = field(default_factory=list)
    predicted: list[Cost] = field(default_factory=list)
    join: Cost | None = None  # of putting the samples of several parts together
    stops: list[tuple[int, float]] = field(default_factory=list)  # of this part: bond cap, share done
    start_ns: int = 0

    def __post_init__(self) -> None:
        check_named(self.engine, self.method, self.engines)
        self.start_ns = self.clock_ns()

    def run(self, program: Program, want: Want, noise: Noise | None, seed: int) -> Answer:
        """The answer of the first attempt that gives one.

        Raises:
            Unavailable: nothing fits, with the numbers.
        """
        self.stops = []
        ladder = self.ladder(program, want, noise)
        for rung in ladder.rungs:
            if self.hopeless(rung):
                continue
            if self.left().seconds <= 0:
                break
            answer = self.attempt(rung, program, want, noise, seed)
            if answer is not None:
                return answer
        raise self.refusal(program, want, noise, ladder)

    def slices(self, program: Program, want: Slices) -> Answer:
        """A range of slices: there is nothing to choose.

        Raises:
            UsageError, Unavailable: as `run_slices`; Unavailable also where it took too long.
        """
        before_ns = self.clock_ns()
        try:
            answer = run_slices(program, want, self.left(), self.clock_ns)
        except CapExceeded as stopped:
            raise Unavailable(str(stopped), limit=seconds_text(self.limits.seconds)) from stopped
        seconds = (self.clock_ns() - before_ns) / 1e9
        cost = slices_cost(want)
        self.predicted.append(cost)
        self.attempts.append(Attempt(ENGINE, METHODS[want.precision], cost, seconds, "done"))
        share = f"{plural(want.count, 'slice')} of {1 << len(want.sliced):,}"
        self.reasons.append((program.n_qubits, f"{share} of a tensor network, as planned"))
        return answer

    def joins(self, join: JoinSize) -> None:
        """Price the join of the parts so far; asked after each, so that one too large ends early.

        Raises:
            Unavailable: it does not fit, with the numbers.
        """
        if join.parts < 2:
            return
        self.join = cost = join.cost()
        left = self.left()
        if cost.memory_bytes > left.memory_bytes:
            over, limit = f"needs up to {size(cost.memory_bytes)}", size(left.memory_bytes)
        elif cost.seconds > left.seconds:
            over, limit = f"takes about {seconds_text(cost.seconds)}", seconds_text(left.seconds)
        else:
            return
        raise Unavailable(
            f"the counts of {join.shots:,} shots of {plural(join.n_clbits, 'bit')} in {join.parts} or more independent "
            f"parts: joining them {over}; limit {limit}. Nearest: fewer shots, or fewer measured qubits",
            limit=limit,
        )

    def ladder(self, program: Program, want: Want, noise: Noise | None) -> Ladder:
        if noise is None:
            tiny = self.tiny(program, want)
            if tiny is not None:
                return Ladder((tiny,), ())
        return select(
            features(program, noise),
            want,
            self.engines,
            self.constants,
            self.left(),
            engine=self.engine,
            method=self.method,
            width=lambda cap: dry_width(program, cap, observed_by(want)),
        )

    def left(self) -> Limits:
        """The request's limits with the seconds that remain of them."""
        used_s = (self.clock_ns() - self.start_ns) / 1e9
        return msgspec.structs.replace(self.limits, seconds=max(self.limits.seconds - used_s, 0.0))

    def tiny(self, program: Program, want: Want) -> Choice | None:
        """A dense state without further thought, for programs so small that any method is fast.

        None for others, and where the user named another engine or method.
        """
        n, ops = program.n_qubits, len(program.ops)
        if n > TINY_QUBITS or ops << n > TINY_WORK or not _terminal_only(program):
            return None
        name, method = ("qulacs", "statevector") if self.engines["qulacs"].installed() else ("numpy", "dense")
        if self.engine not in (None, name) or self.method not in (None, method):
            return None
        engine = self.engines[name]
        seen = Features(
            n_qubits=n, n_clbits=program.n_clbits, n_gates=ops, n_multi=ops, n_wide=0, swap_distance=0,
            n_branching=ops, clifford=False, n_non_clifford=ops, bond_log2=n / 2, dynamic=False, n_dynamic=0,
            measured=program.n_clbits,
        )  # fmt: skip
        cost = engine.cost(method, seen, want, {**engine.constants, **self.constants.get(name, {})})
        if isinstance(cost, Unsuited):
            return None
        cost = with_answer(cost, seen, want)
        if cost.memory_bytes > self.limits.memory_bytes:
            return None
        why = f"{plural(n, 'qubit')}: a dense state of {size(STATE_BYTES << n)}"
        return Choice(name, method, cost, self.limits, why)

    def bond_needed_log2(self) -> float:
        """Of this part's end, as far as its stopped trials tell: inf where a wider one came no further.

        Entanglement that grows with depth doubles the bond in equal shares of the program. Where it
        peaks early instead, this is too much.
        """
        if len(self.stops) < 2:
            return 0.0
        (narrow, before), (wide, after) = self.stops[-2:]
        if after <= before:
            return math.inf
        return math.log2(wide) + (1 - after) / (after - before) * math.log2(wide / narrow)

    def hopeless(self, rung: Choice) -> bool:
        """A dear trial of a matrix product state whose bond would be passed at twice its size."""
        bond = rung.limits.bond_max
        return rung.method == "mps" and bond >= DEAR_BOND and self.bond_needed_log2() > math.log2(bond) + 1

    def attempt(self, rung: Choice, program: Program, want: Want, noise: Noise | None, seed: int) -> Answer | None:
        before_ns = self.clock_ns()
        outcome = "done"
        answer = done = None
        if self.watch is not None:
            self.watch(rung)
        limits = msgspec.structs.replace(rung.limits, seconds=min(rung.limits.seconds, self.left().seconds))
        try:
            answer = self.engines[rung.engine].run(Task(program, want, rung.method, seed, limits, noise))
        except CapExceeded as stopped:
            outcome, done = str(stopped), stopped.done
        except MemoryError:
            outcome = f"out of memory (limit {size(self.limits.memory_bytes)}, unless the system had less)"
        except UsageError as unsuited:
            outcome = unsuited.what
        seconds = (self.clock_ns() - before_ns) / 1e9
        self.attempts.append(Attempt(rung.engine, rung.method, rung.cost, seconds, outcome))
        if done is not None:
            self.stops.append((rung.limits.bond_max, done))
        if answer is not None:
            self.reasons.append((program.n_qubits, rung.why))
            self.predicted.append(rung.cost)
        return answer

    def shots_that_run(self, program: Program, noise: Noise | None) -> int | None:
        """How many shots of all qubits would run here with a method of certain cost; None if even few would not."""
        n = program.n_qubits
        ends = tuple(Op("measure", (q,), (), (program.n_clbits + q,)) for q in range(n))
        measured = Program(n, (*program.cregs, ("sampled", n)), (*program.ops, *ends))
        seen = features(measured, noise)
        for shots in ADVISED_SHOTS:
            rungs = select(
                seen, Counts(shots), self.engines, self.constants, self.left(),
                engine=self.engine, method=self.method, width=lambda cap: dry_width(measured, cap),
            ).rungs  # fmt: skip
            if any(rung.cost.certain for rung in rungs):
                return shots
        return None

    def refusal(self, program: Program, want: Want, noise: Noise | None, ladder: Ladder) -> Unavailable:
        """The nearest change that would run, what was needed, and what the limits are."""
        n = program.n_qubits
        tried = {(a.engine, a.method): f"stopped at {a.outcome}" for a in self.attempts if a.outcome != "done"}
        for rung in filter(self.hopeless, ladder.rungs):
            needed = self.bond_needed_log2()
            end = "no end" if needed > 60 else f"2^{needed:.0f}"
            widest = tried.get((rung.engine, rung.method), "not tried").partition("; wider")[0]
            tried[rung.engine, rung.method] = f"{widest}; wider bonds were not tried: the trials point to {end}"
        causes = [(*name, why) for name, why in tried.items()]  # of each method its last, widest attempt
        causes += [_parted(row) for row in ladder.refused if any(words in row for words in SIZE_WORDS)]
        what = f"no engine here runs this part of {plural(n, 'qubit')} and {plural(len(program.ops), 'operation')}"
        shots = self.shots_that_run(program, noise) if isinstance(want, Expectations) else None
        if shots is not None:
            error = 1 / math.sqrt(shots)
            what = f"add --shots {shots} for estimates to about ±{error:.1g} a Pauli string; exactly, {what}"
        if not causes:  # no limit was in the way, so no smaller program is the remedy
            why = f"none of {plural(len(ladder.refused), 'method')} can" if ladder.refused else "none is installed"
            if len(ladder.refused) == 1:
                why = ladder.refused[0]
            free = "; name no engine or method to let one be chosen" if self.engine or self.method else ""
            rows = map(_parted, ladder.refused if len(ladder.refused) > 1 else ())
            return Unavailable(f"{what}: {why}{free}", tried=rows)
        limit = f"{size(self.limits.memory_bytes)}, {seconds_text(self.limits.seconds)}"
        if self.left().seconds < ladder.fastest_s < math.inf:  # memory is no obstacle
            return Unavailable(f"{what} in time: {self.time_needed(ladder.fastest_s)}", limit=limit, tried=causes)
        mixed = noise is not None and bool(features(program, noise).noise_kinds - {"readout"})
        state, double = ("density matrix", 2) if mixed else ("dense state", 1)
        fits = max((self.limits.memory_bytes * 10 // 13 // STATE_BYTES).bit_length() - 1, 0) // double
        return Unavailable(
            f"{what} within {limit.replace(',', ' and')}: a {state} needs "
            f"{size(float(STATE_BYTES) * 2.0 ** min(double * n, 1000))}. Nearest: a {state} fits up "
            f"to {fits} qubits; Clifford circuits, few non-Clifford gates or little entanglement fit far beyond",
            limit=limit, tried=causes,
        )  # fmt: skip

    def time_needed(self, fastest_s: float) -> str:
        """What the fastest method takes, the deadline, and which one would do."""
        took = f"the fastest method takes about {seconds_text(fastest_s)}; the deadline is in "
        took += seconds_text(self.limits.seconds)
        if fastest_s > LONG_S:
            return f"{took}. Nearest: fewer qubits, gates or shots"
        return f"{took}. Nearest: --deadline {math.ceil(ROOM * fastest_s)}s, or fewer gates or shots"


def _parted(refused: str) -> tuple[str, str, str]:
    """(engine, method, why) of a row of `Ladder.refused`."""
    name, _, why = refused.partition(": ")
    engine, _, method = name.partition("/")
    return engine, method, why


def _terminal_only(program: Program) -> bool:
    """Nothing happens after a measurement, and nothing depends on one."""
    return straight(program) is not None or not is_dynamic(split_terminal(program)[0])
