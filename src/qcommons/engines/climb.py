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
from qcommons.circuits.program import Program
from qcommons.engines.branching import is_dynamic, split_terminal, straight
from qcommons.engines.engine import Engine
from qcommons.engines.frames import dry_width, observed_by
from qcommons.engines.records import Answer, CapExceeded, Cost, Limits, Task, Unsuited, Want
from qcommons.engines.select import Choice, Ladder, check_named, plural, select, size

__all__ = ["Attempt", "Climber"]

TINY_QUBITS = 16
TINY_WORK = 1 << 19  # amplitude-updates of a dense state, about a millisecond: reducing and choosing cost as much
STATE_BYTES = 16
SIZE_WORDS = ("; limit ", "2^", " width ", "a trial would cost")  # a refusal for memory or time, not for kind
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
    attempts: list[Attempt] = field(default_factory=list)
    reasons: list[tuple[int, str]] = field(default_factory=list)
    predicted: list[Cost] = field(default_factory=list)
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
            answer = self.attempt(rung, program, want, noise, seed)
            if answer is not None:
                return answer
        raise self.refusal(program, ladder)

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
        if isinstance(cost, Unsuited) or cost.memory_bytes > self.limits.memory_bytes:
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
        try:
            answer = self.engines[rung.engine].run(Task(program, want, rung.method, seed, rung.limits, noise))
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

    def refusal(self, program: Program, ladder: Ladder) -> Unavailable:
        """What was needed, what the limits are, and the nearest change that would run."""
        n = program.n_qubits
        tried = {f"{a.engine}/{a.method}": a.outcome for a in self.attempts if a.outcome != "done"}
        causes = [f"{name} stopped at {outcome}" for name, outcome in tried.items()]  # the last, widest attempt
        if any(self.hopeless(rung) for rung in ladder.rungs):
            needed = self.bond_needed_log2()
            causes.append(
                f"wider bonds were not tried: the trials point to {'no end' if needed > 60 else f'2^{needed:.0f}'}"
            )
        causes += [r for r in ladder.refused if any(words in r for words in SIZE_WORDS)]
        what = f"no engine here runs this part of {plural(n, 'qubit')} and {plural(len(program.ops), 'operation')}"
        if not causes:  # no limit was in the way, so no smaller program is the remedy
            why = "; ".join(ladder.refused) or "no engine is installed for this"
            free = "; name no engine or method to let one be chosen" if self.engine or self.method else ""
            return Unavailable(f"{what}: {why}{free}")
        limit = f"{size(self.limits.memory_bytes)}, {seconds_text(self.limits.seconds)}"
        fits = max((self.limits.memory_bytes * 10 // 13 // STATE_BYTES).bit_length() - 1, 0)
        return Unavailable(
            f"{what} within {limit.replace(',', ' and')}. A dense state needs "
            f"{size(float(STATE_BYTES) * 2.0 ** min(n, 1000))}. {'; '.join(causes)}. Nearest: a dense state fits up "
            f"to {fits} qubits; Clifford circuits, few non-Clifford gates or little entanglement fit far beyond",
            limit=limit,
        )


def _terminal_only(program: Program) -> bool:
    """Nothing happens after a measurement, and nothing depends on one."""
    return straight(program) is not None or not is_dynamic(split_terminal(program)[0])
