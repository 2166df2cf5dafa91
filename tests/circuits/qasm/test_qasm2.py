"""OpenQASM 2: the QASMBench suite and Qiskit's own exports, against Qiskit's parser.

QASMBench (arXiv:2005.13018) is looked for in `$QCOMMONS_DATA/qasmbench`, by default beside the
repository in `../shared/data`; without it those tests are skipped.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from qcommons.base.errors import UsageError
from qcommons.circuits.gates import GATES, unitary
from qcommons.circuits.program import Branch, Op, Program, check, flat_ops
from qcommons.circuits.qasm import dumps, parse

DATA = Path(os.environ.get("QCOMMONS_DATA", Path(__file__).parents[4] / "shared" / "data")) / "qasmbench"
FILES = sorted(DATA.glob("*.qasm")) if DATA.is_dir() else []
NEEDS_DATA = pytest.mark.skipif(not FILES, reason=f"QASMBench is not at {DATA}; set QCOMMONS_DATA")
VALID = [path for path in FILES if path.stem != "vqe_uccsd_n4"]
HEAD = 'OPENQASM 2.0;\ninclude "qelib1.inc";\n'


def state(program: Program) -> np.ndarray:
    """Statevector from |0..0> of the unitary operations, amplitude index little-endian."""
    n = program.n_qubits
    vector = np.zeros((2,) * n, dtype=complex)
    vector[(0,) * n] = 1
    for op in program.ops:
        assert isinstance(op, Op)
        if op.gate in ("barrier", "measure"):
            continue
        own = unitary(op.gate, op.params, op.controls)  # type: ignore[arg-type]
        k = len(op.qubits)
        axes = [n - 1 - q for q in reversed(op.qubits)]
        vector = (
            np.tensordot(own.reshape((2,) * (2 * k)), vector, axes=(range(k, 2 * k), axes)) if k else own[0, 0] * vector
        )
        vector = np.moveaxis(vector, range(k), axes)
    return vector.reshape(-1)


def qiskit_circuit(text: str) -> object:
    from qiskit import qasm2

    return qasm2.loads(text, custom_instructions=qasm2.LEGACY_CUSTOM_INSTRUCTIONS)


@NEEDS_DATA
@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_qasmbench_is_read_as_qiskit_reads_it(path: Path) -> None:
    """Registers, operations by kind, round trip; up to 11 qubits without feedback the state too."""
    from qiskit.quantum_info import Statevector

    raw = path.read_bytes()
    program = parse(raw, filename=path.name).program
    check(program)
    assert parse(dumps(program)).program == program
    circuit = qiskit_circuit(raw.decode())
    assert (program.n_qubits, program.n_clbits) == (circuit.num_qubits, circuit.num_clbits)  # type: ignore[attr-defined]
    assert [name for name, _ in program.cregs] == [creg.name for creg in circuit.cregs]  # type: ignore[attr-defined]
    theirs = circuit.count_ops()  # type: ignore[attr-defined]
    ours = [op.gate for op in flat_ops(program.ops)]
    assert ours.count("measure") == theirs.get("measure", 0)
    assert ours.count("reset") == theirs.get("reset", 0)
    assert sum(isinstance(op, Branch) for op in program.ops) == theirs.get("if_else", 0)
    if b"gate " not in raw:
        assert len(program.ops) == len(circuit.data)  # type: ignore[attr-defined]
    dynamic = "reset" in ours or any(isinstance(op, Branch) for op in program.ops)
    seen: set[int] = set()
    for op in flat_ops(program.ops):
        dynamic |= bool(seen.intersection(op.qubits)) and op.gate not in ("barrier", "measure")
        seen.update(op.qubits if op.gate == "measure" else ())
    if not dynamic and program.n_qubits <= 11:
        bare = circuit.copy_empty_like()  # type: ignore[attr-defined]
        for instruction in circuit.data:  # type: ignore[attr-defined]
            if instruction.operation.name != "measure":
                bare.append(instruction)
        overlap = abs(np.vdot(Statevector(bare).data, state(program)))
        assert abs(overlap - 1) < 1e-9


@NEEDS_DATA
def test_the_invalid_file_names_line_and_column() -> None:
    path = DATA / "vqe_uccsd_n4.qasm"
    with pytest.raises(UsageError, match="'q' is not declared") as caught:
        parse(path.read_bytes(), filename=path.name)
    assert caught.value.where == "vqe_uccsd_n4.qasm:225:9"
    assert path.read_text().splitlines()[224][8] == "q"


def test_qiskit_s_export_of_every_gate_is_read_back() -> None:
    """Qiskit writes definitions for what qelib1.inc lacks; states agree up to global phase."""
    from qiskit import QuantumCircuit, qasm2
    from qiskit.circuit import library as lib
    from qiskit.quantum_info import Statevector

    gates = [
        lib.U2Gate(0.1, 0.2), lib.UGate(0.3, 0.4, 0.5), lib.U3Gate(0.3, 0.4, 0.5), lib.PhaseGate(0.7), lib.SXGate(),
        lib.SXdgGate(), lib.RGate(0.3, 0.9), lib.CUGate(0.1, 0.2, 0.3, 0.4), lib.CU3Gate(0.1, 0.2, 0.3),
        lib.CPhaseGate(0.4), lib.CSXGate(), lib.CSGate(), lib.CSdgGate(), lib.RXXGate(0.2), lib.RYYGate(0.2),
        lib.RZZGate(0.2), lib.RZXGate(0.2), lib.iSwapGate(), lib.DCXGate(), lib.ECRGate(), lib.XXPlusYYGate(0.3, 0.8),
        lib.XXMinusYYGate(0.3, 0.8), lib.CCZGate(), lib.CCXGate(), lib.CSwapGate(), lib.RCCXGate(), lib.RC3XGate(),
        lib.C3XGate(), lib.C3SXGate(), lib.C4XGate(), lib.XGate().control(6), lib.RYGate(0.4).control(3),
        lib.QFTGate(3),
    ]  # fmt: skip
    circuit = QuantumCircuit(7)
    for i in range(7):
        circuit.ry(0.3 + 0.2 * i, i)
    for i, gate in enumerate(gates):
        circuit.append(gate, [(3 * i + j) % 7 for j in range(gate.num_qubits)])
    program = parse(qasm2.dumps(circuit)).program
    assert abs(np.vdot(Statevector(circuit).data, state(program))) == pytest.approx(1, abs=1e-9)
    kept = {op.gate for op in flat_ops(program.ops)}
    assert {"rxx", "ryy", "rzz", "rzx", "iswap", "dcx", "ecr", "xx_plus_yy", "xx_minus_yy", "csx", "ccz", "r"} <= kept


def test_qiskit_s_openqasm_3_export_is_read_back() -> None:
    from qiskit import QuantumCircuit, qasm3
    from qiskit.circuit import ParameterVector
    from qiskit.quantum_info import Statevector

    theta = ParameterVector("theta", 3)
    circuit = QuantumCircuit(3, 2)
    circuit.h(0)
    circuit.u(theta[0], 0.2, 0.3, 1)
    circuit.rzz(2 * theta[1] - theta[0] / 3, 0, 2)
    circuit.ccx(0, 1, 2)
    circuit.cp(theta[2] + 0.5, 1, 2)
    circuit.ecr(0, 1)
    text = qasm3.dumps(circuit)
    values = dict(zip(parse(text).program.inputs, (0.3, 0.7, -0.4), strict=True))
    program = parse(text, values=values).program
    bound = circuit.assign_parameters([0.3, 0.7, -0.4]).copy_empty_like()
    for instruction in circuit.assign_parameters([0.3, 0.7, -0.4]).data:
        bound.append(instruction)
    assert abs(np.vdot(Statevector(bound).data, state(program))) == pytest.approx(1, abs=1e-9)


def test_qiskit_reads_what_we_write() -> None:
    """Every row once, through qiskit.qasm3.loads where its importer is installed."""
    pytest.importorskip("qiskit_qasm3_import")
    from qiskit import qasm3
    from qiskit.quantum_info import Operator

    for name, row in GATES.items():
        params = (0.7, -1.9, 2.3, 0.4)[: row.n_params]
        n = max(row.n_qubits, 1)
        program = Program(n, (), (Op(name, tuple(range(row.n_qubits)), params),))
        found = Operator(qasm3.loads(dumps(program))).data
        wanted = row.unitary(*params) if row.n_qubits else np.eye(2) * row.unitary(*params)[0, 0]
        assert abs(np.vdot(wanted, found)) / (1 << n) == pytest.approx(1, abs=1e-9), name


def test_broadcast_conditions_and_expressions() -> None:
    program = parse(
        HEAD + "qreg a[2]; qreg b[2]; creg c[2]; gate f(x, y) p, r { rx(x ^ 2 - y / 2) p; cx p, r; }\n"
        "f(-1.5, sin(pi / 6)) a, b[0]; cx a, b; if (c == 2) x a; measure b -> c; reset a[1]; barrier a, b[1];"
    ).program
    angle = (-1.5) ** 2 - np.sin(np.pi / 6) / 2
    assert [op.gate for op in flat_ops(program.ops)] == (
        ["rx", "cx"] * 2 + ["cx"] * 2 + ["x"] * 2 + ["measure"] * 2 + ["reset", "barrier"]
    )
    first, second = program.ops[0], program.ops[3]
    assert isinstance(first, Op) and first.params == pytest.approx((angle,))
    assert isinstance(second, Op) and second.qubits == (1, 2)
    assert program.ops[-1] == Op("barrier", (0, 1, 3))
