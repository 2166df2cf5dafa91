"""Backward pass: keep only operations that the asked outputs can depend on. Exact.

Flow: propagate -> *cone* -> components. Walking from the end, every qubit has a need:
  DEAD  it may be traced out here without changing any asked output;
  Z     it may be dephased in the Z basis here (a measurement or diagonal observable follows);
  FULL  nothing may be done to it.
Why the rules are exact: dephasing on a qubit commutes with every gate that is block-diagonal in
it, so a control's need stays Z; a basis-permuting gate turns joint dephasing into joint dephasing;
tracing out the target of a controlled gate leaves only dephasing on the control.
With noise only DEAD and FULL are used (a channel after a diagonal gate need not be diagonal).
"""

from __future__ import annotations

from collections.abc import Iterable

from qcommons.circuits.program import Branch, Op, Operation, Program
from qcommons.circuits.structure import diagonal_positions, is_monomial

__all__ = ["DEAD", "FULL", "Z", "light_cone", "strip_terminal"]

DEAD, Z, FULL = 0, 1, 2


def light_cone(
    program: Program, *, qubit_needs: dict[int, int], live_bits: Iterable[int], dephasing: bool = True
) -> Program:
    """The program without what the outputs cannot depend on.

    Args:
        qubit_needs: need of each qubit of the final state (left out: DEAD).
        live_bits: classical bits whose final value is asked.
        dephasing: use the need Z; False where channels are attached to gates.
    """
    needs = [DEAD] * program.n_qubits
    for qubit, need in qubit_needs.items():
        needs[qubit] = need if dephasing or need == DEAD else FULL
    live = set(live_bits)
    kept: list[Operation] = []
    for op in reversed(program.ops):
        if isinstance(op, Branch):
            keep = _branch(op, needs, live)
        elif op.gate == "measure":
            keep = _measure(op, needs, live, dephasing)
        elif op.gate == "reset":
            keep = needs[op.qubits[0]] != DEAD
            needs[op.qubits[0]] = DEAD
        elif op.gate == "barrier":
            keep = False
        else:
            keep = _unitary(op, needs, dephasing)
        if keep:
            kept.append(op)
    kept.reverse()
    return Program(program.n_qubits, program.cregs, tuple(kept), program.inputs)


def _unitary(op: Op, needs: list[int], dephasing: bool) -> bool:
    after = [needs[q] for q in op.qubits]
    worst = max(after, default=DEAD)
    if worst == DEAD:
        return False
    if not dephasing:
        for q in op.qubits:
            needs[q] = FULL
        return True
    diagonal = diagonal_positions(op.gate, op.controls)
    if worst == Z:
        if all(d or a == DEAD for d, a in zip(diagonal, after, strict=True)):
            return False  # acts on what is asked only by phases
        if is_monomial(op.gate, op.params):
            for q in op.qubits:
                needs[q] = Z
            return True
    for q, d, a in zip(op.qubits, diagonal, after, strict=True):
        needs[q] = max(a, Z) if d else FULL
    return True


def _measure(op: Op, needs: list[int], live: set[int], dephasing: bool) -> bool:
    qubit, clbit = op.qubits[0], op.clbits[0]
    if clbit not in live:
        if needs[qubit] != FULL:
            # its record is overwritten or never asked; Z-dephasing changes nothing that is needed
            return False
        needs[qubit] = Z if dephasing else FULL
        return True
    live.discard(clbit)
    needs[qubit] = Z if dephasing else FULL
    return True


def _branch(op: Branch, needs: list[int], live: set[int]) -> bool:
    inner = (*op.then, *op.orelse)
    qubits = {q for each in inner for q in each.qubits}
    if all(needs[q] == DEAD for q in qubits) and not any(c in live for each in inner for c in each.clbits):
        return False
    for q in qubits:
        needs[q] = FULL
    live.update(op.condition.clbits)
    return True


def strip_terminal(program: Program) -> tuple[Program, int]:
    """The program without its terminal measurements, and how many there were.

    Terminal: nothing acts on the qubit and nothing reads or writes the bit afterwards.
    """
    used_qubits: set[int] = set()
    used_bits: set[int] = set()
    kept: list[Operation] = []
    dropped = 0
    for op in reversed(program.ops):
        if isinstance(op, Branch):
            used_bits.update(op.condition.clbits)
            for inner in (*op.then, *op.orelse):
                used_qubits.update(inner.qubits)
                used_bits.update(inner.clbits)
        elif op.gate == "measure" and op.qubits[0] not in used_qubits and op.clbits[0] not in used_bits:
            dropped += 1
            continue
        elif op.gate != "barrier":
            used_qubits.update(op.qubits)
            used_bits.update(op.clbits)
        kept.append(op)
    kept.reverse()
    return Program(program.n_qubits, program.cregs, tuple(kept), program.inputs), dropped
