"""A program written straight into Aer's native circuit object.

Flow: Program (+ Noise) -> *AerCircuit* -> controller.execute (aer_engine, aer_mps). Qiskit's own
path (QuantumCircuit, transpile, run) costs 2 to 90 ms a circuit; this one writes each operation by
one call, in gates that Aer has natively, and everything else as a matrix.
Noise becomes Aer's error rows (probabilities over instruction lists), referred to by a location
instruction after the operation, as Aer itself does with errors inside circuits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcommons.base.errors import UsageError
from qcommons.circuits.gates import unitary
from qcommons.circuits.lower import euler, lower_op
from qcommons.circuits.noise import (
    JOINT_QUBITS_MAX,
    Channel,
    Noise,
    channels_after,
    kraus,
    pauli_probabilities,
    readout_for,
)
from qcommons.circuits.program import Branch, Condition, Op, Operation
from qcommons.circuits.structure import split_controls
from qcommons.engines.records import CapExceeded

__all__ = ["DENSITY", "STATEVECTOR", "Writer", "execute", "new_circuit", "new_config"]

Matrix = NDArray[np.complex128]

# Rows of our gate table whose name, parameters and qubit order Aer shares, by simulation method
# (qiskit_aer.backends.backend_utils.BASIS_GATES).
_COMMON = frozenset({
    "id", "x", "y", "z", "h", "s", "sdg", "t", "tdg", "sx", "sxdg", "p", "rx", "ry", "rz", "r", "u2", "u",
    "cx", "cy", "cz", "cp", "swap", "ecr", "rxx", "ryy", "rzz", "rzx", "ccx",
})  # fmt: skip
STATEVECTOR = _COMMON | frozenset(["csx", "crx", "cry", "crz", "cu3", "cu", "ccz", "cswap"])
DENSITY = _COMMON
MATRIX_QUBITS_MAX = 6  # a 64 x 64 matrix; wider gates are lowered
DENSITY_QUBITS_MAX = 2  # Aer applies a k-qubit matrix to a density matrix as one of 4**k x 4**k, made anew each shot
CONDITION_BITS = 16  # Aer 0.18 compares wrongly above 32 bits: wider registers go word by word
# Target rows that Aer controls by any number of qubits.
_MULTI = {"x": "mcx", "y": "mcy", "z": "mcz", "p": "mcp", "rx": "mcrx", "ry": "mcry", "rz": "mcrz", "swap": "mcswap"}
_RELATIONS = {"==": "Equal", "!=": "NotEqual", "<": "Less", "<=": "LessEqual", ">": "Greater", ">=": "GreaterEqual"}


def new_circuit(n_qubits: int, n_clbits: int) -> Any:
    """An empty AerCircuit."""
    from qiskit_aer.backends.backend_utils import CircuitHeader
    from qiskit_aer.backends.controller_wrappers import AerCircuit

    circuit = AerCircuit()
    circuit.set_header(
        CircuitHeader(
            n_qubits=n_qubits, qreg_sizes=[], memory_slots=n_clbits, creg_sizes=[], name="program", global_phase=0.0
        )
    )
    circuit.num_qubits = n_qubits
    circuit.num_memory = n_clbits
    circuit.global_phase_angle = 0.0
    circuit.circ_id = 0
    return circuit


def new_config(n_qubits: int, n_clbits: int, method: str, seed: int, shots: int, memory_bytes: int) -> Any:
    """Aer's configuration for one thread, double precision and everything else at Aer's default."""
    from qiskit_aer.backends.controller_wrappers import AerConfig

    config = AerConfig()
    config.n_qubits = n_qubits
    config.memory_slots = n_clbits
    config.method = method
    config.seed_simulator = seed
    config.shots = shots
    config.max_parallel_threads = 1
    config.max_memory_mb = max(1, memory_bytes >> 20)
    config.enable_truncation = False  # in Aer 0.18 it loses bits and jump marks; unused qubits are gone already
    return config


def execute(circuit: Any, config: Any, noise_rows: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Run one AerCircuit; returns Aer's result row (`data`, `metadata`, `status`).

    Raises:
        CapExceeded: Aer reports an error (memory, an SVD that did not converge, a program it cannot take):
            the message is Aer's, and the next engine may run the task.
    """
    from qiskit_aer.backends.backend_utils import LIBRARY_DIR
    from qiskit_aer.backends.controller_wrappers import aer_controller_execute

    config.library_dir = LIBRARY_DIR
    output = aer_controller_execute().execute([circuit], {"errors": noise_rows} if noise_rows else {}, config)
    if not output.get("success", False):
        raise CapExceeded(f"Aer: {str(output.get('status', 'no status')).strip()}")
    row: dict[str, Any] = output["results"][0]
    return row


class Writer:
    """Writes operations into `circuit`; `noise_rows` collects the error rows they refer to."""

    def __init__(self, circuit: Any, native: frozenset[str], noise: Noise | None = None) -> None:
        self.circuit = circuit
        self.native = native
        self.noise = noise
        self.noise_rows: list[dict[str, Any]] = []
        self._labels: dict[tuple[Channel, int], str] = {}
        self._branches = 0

    def operations(self, ops: Sequence[Operation], written_later: Iterable[int] = ()) -> None:
        """written_later: bits that are written after `ops` and read by nobody before."""
        unread = _unread(ops, written_later) if self.noise is not None else frozenset()
        for place, op in enumerate(ops):
            if isinstance(op, Branch):
                self._branch(op)
            else:
                self.operation(op, recorded=place not in unread)

    def operation(self, op: Op, recorded: bool = True) -> None:
        match op.gate:
            case "barrier":
                return
            case "measure":
                self.measure(op, recorded)
            case "reset":
                self.circuit.reset(list(op.qubits), -1)
            case _:
                self._gate(op)
        if self.noise is not None:
            for channel, qubits in channels_after(self.noise, op):
                self._channel(channel, qubits)

    def _gate(self, op: Op) -> None:
        if op.gate == "gphase":
            self._phase(op)
        elif not op.controls and op.gate in self.native:
            self.circuit.gate(op.gate, op.qubits, op.params, [], -1, None, op.gate)
        elif self.native is STATEVECTOR and self._multi_controlled(op):
            return
        elif len(op.qubits) <= (DENSITY_QUBITS_MAX if self.native is DENSITY else MATRIX_QUBITS_MAX):
            self.matrix(op.qubits, unitary(op.gate, _fixed(op), op.controls))
        else:
            for inner in lower_op(op, self.native | {"gphase"}, self.circuit.num_qubits):
                self._gate(inner)

    def measure(self, op: Op, recorded: bool = True) -> None:
        """A measurement with its readout error, without the channels that may follow it.

        A record that is overwritten unread gets none: where Aer samples all measurements from the final
        state, the errors of a bit's earlier records would fall on its last one.
        """
        self.circuit.measure(list(op.qubits), list(op.clbits), [])
        flips = readout_for(self.noise, op.qubits[0]) if self.noise is not None and recorded else None
        if flips is not None:
            p1_given_0, p0_given_1 = flips
            self.circuit.roerror(list(op.clbits), [[1 - p1_given_0, p1_given_0], [p0_given_1, 1 - p0_given_1]])

    def _channel(self, channel: Channel, qubits: tuple[int, ...]) -> None:
        key = (channel, len(qubits))
        if key not in self._labels:
            self._labels[key] = f"channel{len(self._labels)}"
            self.noise_rows.append(error_row(self._labels[key], channel, len(qubits)))
        self.circuit.set_qerror_loc(list(qubits), self._labels[key], -1, None)

    def matrix(self, qubits: tuple[int, ...], matrix: Matrix) -> None:
        """Any unitary; first qubit least significant."""
        self.circuit.unitary(list(qubits), matrix, -1, None, "unitary")

    def _phase(self, op: Op) -> None:
        """exp(i gamma), or a phase on the state where all controls are 1."""
        if not op.controls:
            self.circuit.global_phase_angle += op.params[0]
            return
        self._gate(Op("p", op.qubits, op.params, (), op.controls - 1))

    def _multi_controlled(self, op: Op) -> bool:
        base, controls = split_controls(op)
        name = _MULTI.get(base)
        params: tuple[Any, ...] = op.params
        if name is None:
            if len(op.qubits) != controls + 1:
                return False
            name, params = "mcu", euler(unitary(base, _fixed(op)))
        self.circuit.gate(name, op.qubits, params, [], -1, None, name)
        return True

    def _branch(self, branch: Branch) -> None:
        """if (condition) then else orelse, as jumps; the condition is read once."""
        if branch.condition.value >> len(branch.condition.clbits):
            # A value wider than the register is not representable in Aer; the outcome is known.
            self.operations(branch.then if branch.condition.relation in ("!=", "<", "<=") else branch.orelse)
            return
        every = list(range(self.circuit.num_qubits))
        then, end = f"then{self._branches}", f"end{self._branches}"
        self._branches += 1
        self.circuit.jump(every, [then], -1, expression(branch.condition))
        self.operations(branch.orelse)
        self.circuit.jump(every, [end], -1, None)
        self.circuit.mark(every, [then])
        self.operations(branch.then)
        self.circuit.mark(every, [end])


def _unread(ops: Sequence[Operation], written_later: Iterable[int]) -> frozenset[int]:
    """Places of measurements whose record is overwritten before anything reads it."""
    stale = set(written_later)
    places = set()
    for place in reversed(range(len(ops))):
        op = ops[place]
        if isinstance(op, Branch):
            stale.difference_update(op.condition.clbits)
        elif op.gate == "measure":
            if op.clbits[0] in stale:
                places.add(place)
            stale.add(op.clbits[0])
    return frozenset(places)


def _fixed(op: Op) -> tuple[float, ...]:
    """Parameters of an op of a bound program."""
    return op.params  # type: ignore[return-value]


def expression(condition: Condition) -> Any:
    """Aer's expression for the condition, evaluated on the classical memory when it is reached."""
    return _compare(list(condition.clbits), condition.relation, condition.value)


def _compare(bits: list[int], relation: str, value: int) -> Any:
    """`bits` (first least significant) `relation` `value`, in words of CONDITION_BITS."""
    from qiskit_aer.backends import controller_wrappers as native

    low, high = bits[:CONDITION_BITS], bits[CONDITION_BITS:]
    low_value, high_value = value & ((1 << CONDITION_BITS) - 1), value >> CONDITION_BITS
    if not high:
        width = len(low)
        left = native.AerVar(native.AerUint(width), low)
        operator = getattr(native.AerBinaryOp, _RELATIONS[relation])
        return native.AerBinaryExpr(operator, left, native.AerUintValue(width, low_value))
    both, either = native.AerBinaryOp.LogicAnd, native.AerBinaryOp.LogicOr
    if relation == "!=":
        return native.AerBinaryExpr(either, _compare(high, "!=", high_value), _compare(low, "!=", low_value))
    tie = native.AerBinaryExpr(both, _compare(high, "==", high_value), _compare(low, relation, low_value))
    if relation == "==":
        return tie
    return native.AerBinaryExpr(either, _compare(high, relation[0], high_value), tie)


def error_row(label: str, channel: Channel, k: int) -> dict[str, Any]:
    """Aer's noise-model row for `channel` on k qubits, referred to as `label`.

    Raises:
        UsageError: more qubits together than `JOINT_QUBITS_MAX`.
    """
    if k > JOINT_QUBITS_MAX:
        raise UsageError(
            f"{channel.kind} on {k} qubits together; allowed {JOINT_QUBITS_MAX}: split wide gates first",
            where="noise",
            limit=f"{JOINT_QUBITS_MAX} qubits",
        )
    mixture = pauli_probabilities(channel, k)
    where = list(range(k))
    if mixture is not None:
        circuits = [[{"name": "pauli", "qubits": where, "params": [letters]}] for letters in mixture]
        probabilities = list(mixture.values())
    else:
        operators = [np.stack((m.real, m.imag), axis=-1).tolist() for m in kraus(channel, k)]
        circuits = [[{"name": "kraus", "qubits": where, "params": operators}]]
        probabilities = [1.0]
    return {
        "type": "qerror", "id": label, "operations": [label], "instructions": circuits, "probabilities": probabilities,
    }  # fmt: skip
