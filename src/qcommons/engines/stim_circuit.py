"""Writes a Clifford program, with its Pauli noise, as stim circuit text.

Flow: Program -> *stim_circuit* -> stim_engine. `flat_circuit` gives one circuit for the whole
program where stim can say it: conditions on one live bit that choose between Pauli gates become
`CX rec[-k] q`. Otherwise it returns None and the engine follows histories (branching), for which
`block_text` writes the straight pieces.

Noise: depolarizing (p) is rho -> (1-p) rho + p I/2^k, i.e. each of the 4^k Paulis with p/4^k; stim's
DEPOLARIZE1/2(p') spreads p' over the 4^k - 1 others, so p' = p (4^k - 1)/4^k (stim gate reference).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product

import msgspec

from qcommons.base.errors import UsageError
from qcommons.circuits.clifford import clifford_steps
from qcommons.circuits.noise import JOINT_QUBITS_MAX, Channel, Noise, channels_after, readout_for
from qcommons.circuits.program import Branch, Op, Operation

__all__ = ["NOISE_KINDS", "FlatCircuit", "GateLines", "block_text", "clifford_lines", "flat_circuit", "noise_text"]

GateLines = Callable[[Op], Iterable[str]]

NOISE_KINDS = frozenset({"depolarizing", "bit_flip", "phase_flip", "pauli", "readout"})
PAULI_NAMES = frozenset({"I", "X", "Y", "Z"})
FEEDBACK = {"X": "CX", "Y": "CY", "Z": "CZ"}


class FlatCircuit(msgspec.Struct, frozen=True):
    """text: stim circuit. records: classical bit -> index of the measurement record that it holds at the end.
    flips: classical bit -> (P(1 | 0), P(0 | 1)) still to be applied to the samples (asymmetric readout)."""

    text: str
    records: dict[int, int]
    flips: dict[int, tuple[float, float]]


def _steps(op: Op) -> tuple[tuple[str, tuple[int, ...]], ...]:
    steps = clifford_steps(op)
    if steps is None:
        raise UsageError(f"{op.gate}{op.params or ''} is not a Clifford gate; use another engine", where="engine stim")
    return steps


def clifford_lines(op: Op) -> Iterator[str]:
    """Stim lines of a Clifford gate; UsageError if it is not."""
    for name, qubits in _steps(op):
        yield f"{name} {' '.join(map(str, qubits))}"


def _channel_lines(channel: Channel, qubits: tuple[int, ...]) -> Iterator[str]:
    """A Pauli channel after an operation on `qubits`."""
    targets = " ".join(map(str, qubits))
    values = channel.values
    match channel.kind:
        case "depolarizing" if len(qubits) <= 2:
            k = len(qubits)
            yield f"DEPOLARIZE{k}({values[0] * (4**k - 1) / 4**k!r}) {targets}"
        case "depolarizing" if len(qubits) > JOINT_QUBITS_MAX:
            raise UsageError(
                f"depolarizing on {len(qubits)} qubits together; allowed {JOINT_QUBITS_MAX}: split wide gates first",
                where="noise",
                limit=f"{JOINT_QUBITS_MAX} qubits",
            )
        case "depolarizing":
            yield from _wide_depolarizing(values[0], qubits)
        case "bit_flip":
            yield f"X_ERROR({values[0]!r}) {targets}"
        case "phase_flip":
            yield f"Z_ERROR({values[0]!r}) {targets}"
        case "pauli":
            yield f"PAULI_CHANNEL_1({','.join(repr(v) for v in values)}) {targets}"
        case _:
            raise UsageError(f"channel {channel.kind!r} is no Pauli channel", where="engine stim")


def _wide_depolarizing(p: float, qubits: tuple[int, ...]) -> Iterator[str]:
    """k > 2: a chain of mutually exclusive errors; element i has probability q / (1 - i q) given none before."""
    q = p / 4 ** len(qubits)
    for i, letters in enumerate(list(product("IXYZ", repeat=len(qubits)))[1:]):
        error = " ".join(f"{a}{b}" for a, b in zip(letters, qubits, strict=True) if a != "I")
        yield f"{'ELSE_' if i else ''}CORRELATED_ERROR({min(1.0, q / (1 - i * q))!r}) {error}"


def noise_text(noise: Noise | None, op: Op) -> list[str]:
    """Stim lines of the channels that follow `op`; readout is not among them."""
    if noise is None:
        return []
    return [
        line
        for channel, qubits in channels_after(noise, op)
        if channel.kind != "readout"
        for line in _channel_lines(channel, qubits)
    ]


def block_text(ops: Iterable[Op], noise: Noise | None) -> str:
    """Stim text of unitary operations with their noise."""
    lines: list[str] = []
    for op in ops:
        if op.gate != "barrier":
            lines.extend(clifford_lines(op))
            lines.extend(noise_text(noise, op))
    return "\n".join(lines)


class _Writer:
    """State of one pass: text lines, number of records, which record each classical bit holds."""

    def __init__(self, noise: Noise | None, read_bits: frozenset[int], gate_lines: GateLines) -> None:
        self.noise = noise
        self.gate_lines = gate_lines
        self.read_bits = read_bits
        self.lines: list[str] = []
        self.n_records = 0
        self.records: dict[int, int] = {}
        self.flips: dict[int, tuple[float, float]] = {}

    def op(self, op: Op) -> bool:
        """False: stim's circuit language cannot say it."""
        match op.gate:
            case "barrier":
                return True
            case "measure":
                if not self._measure(op):
                    return False
            case "reset":
                self.lines.append(f"R {op.qubits[0]}")
            case _:
                self.lines.extend(self.gate_lines(op))
        if self.noise is not None:
            self.lines.extend(noise_text(self.noise, op))
        return True

    def _measure(self, op: Op) -> bool:
        qubit, bit = op.qubits[0], op.clbits[0]
        error = readout_for(self.noise, qubit) if self.noise is not None else None
        name = "M"
        self.flips.pop(bit, None)
        if error is not None and error[0] == error[1]:
            name = f"M({error[0]!r})" if error[0] else "M"
        elif error is not None:
            if bit in self.read_bits:
                return False  # the flipped bit is what conditions read
            self.flips[bit] = error
        self.lines.append(f"{name} {qubit}")
        self.records[bit] = self.n_records
        self.n_records += 1
        return True

    def branch(self, branch: Branch) -> bool:
        live = [c for c in branch.condition.clbits if c in self.records]
        bits = dict.fromkeys(branch.condition.clbits, 0)
        if not live:
            return all(self.op(op) for op in (branch.then if branch.condition.holds(bits) else branch.orelse))
        if len(live) > 1:
            return False
        arms = [branch.then if branch.condition.holds({**bits, live[0]: b}) else branch.orelse for b in (0, 1)]
        if arms[0] == arms[1]:
            return all(self.op(op) for op in arms[0])
        if not all(self._is_silent_pauli(op) for arm in arms for op in arm):
            return False
        for op in arms[0]:
            self.lines.extend(self.gate_lines(op))
        for op in (*arms[0], *arms[1]):  # on a 1, undo the arm of 0 and do the arm of 1: Paulis square to 1
            for name, qubits in _steps(op):
                if name in FEEDBACK:
                    self.lines.append(f"{FEEDBACK[name]} rec[{self.records[live[0]] - self.n_records}] {qubits[0]}")
        return True

    def _is_silent_pauli(self, op: Op) -> bool:
        """A product of Paulis with no noise attached (noise strikes only if the gate is executed)."""
        if op.gate in ("measure", "reset"):
            return False
        if op.gate == "barrier":
            return True
        steps = clifford_steps(op)
        return steps is not None and all(n in PAULI_NAMES for n, _ in steps) and not noise_text(self.noise, op)


def flat_circuit(
    ops: Sequence[Operation], noise: Noise | None, gate_lines: GateLines = clifford_lines
) -> FlatCircuit | None:
    """One stim circuit for the whole program, or None where its feed-forward is out of stim's language.

    Args:
        gate_lines: writes one gate; engines with a larger gate set than stim's bring their own.

    Raises:
        UsageError: a gate is not Clifford or a channel not Pauli.
    """
    read_bits = frozenset(c for op in ops if isinstance(op, Branch) for c in op.condition.clbits)
    writer = _Writer(noise, read_bits, gate_lines)
    for op in ops:
        if not (writer.branch(op) if isinstance(op, Branch) else writer.op(op)):
            return None
    return FlatCircuit("\n".join(writer.lines), writer.records, writer.flips)
