"""A program written straight into qsim's native circuit object, without cirq.

Flow: gates -> *native circuit* -> qsim_engine. The package `qsimcirq` imports cirq (seconds) and
builds one Python object a gate; its compiled module needs neither. The module for this processor's
instructions is loaded from the package's folder, as `qsimcirq/__init__.py` chooses it.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from qcommons.base.errors import Unavailable
from qcommons.circuits.gates import GATES, unitary
from qcommons.circuits.lower import lower_op
from qcommons.circuits.program import Op
from qcommons.circuits.structure import split_controls

__all__ = ["PACKAGE", "load_native", "standard_arithmetic", "write_circuit"]

PACKAGE = "qsimcirq"
INSTRUCTIONS = {0: "qsim_avx512", 1: "qsim_avx2", 2: "qsim_sse"}  # qsim_decide's answer -> module
SMALLEST = 5e-324  # the smallest subnormal: equal to 0 where subnormals are flushed
MATRIX_QUBITS_MAX = 6  # of qsim's own kernels
FUSABLE_QUBITS = 2  # what qsim fuses with its neighbours; wider gates with controls go as controlled gates
ALL_ROWS = frozenset(name for name, row in GATES.items() if row.n_qubits <= MATRIX_QUBITS_MAX)


@lru_cache(maxsize=1)
def load_native() -> ModuleType:
    """qsim's compiled module for this processor.

    Raises:
        Unavailable: the package is not installed, or laid out in a way not known here.
    """
    which = _extension("qsim_decide").detect_instructions()
    return _extension(INSTRUCTIONS.get(which, "qsim_basic"))


def standard_arithmetic() -> None:
    """Undo what a run of qsim does to the whole process: subnormal numbers flushed to zero.

    C99 fesetenv(FE_DFL_ENV); nothing where no libm is found or nothing was switched.
    """
    if SMALLEST == 0.0 and (name := ctypes.util.find_library("m")):
        ctypes.CDLL(name).fesetenv(ctypes.c_void_p(-1))  # FE_DFL_ENV of glibc and musl


def _extension(name: str) -> ModuleType:
    full = f"{PACKAGE}.{name}"
    if full in sys.modules:
        return sys.modules[full]
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable("qsimcirq is not installed; install it with: pip install 'qcommons[fast]'", where="qsim")
    for folder in spec.submodule_search_locations:
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            file = Path(folder) / f"{name}{suffix}"
            if file.exists():
                loader = importlib.machinery.ExtensionFileLoader(full, str(file))
                found = importlib.util.spec_from_file_location(full, file, loader=loader)
                assert found is not None
                module = importlib.util.module_from_spec(found)
                loader.exec_module(module)
                sys.modules[full] = module
                return module
    raise Unavailable(f"qsimcirq has no compiled module {name}; reinstall it", where="qsim")


def write_circuit(gates: Sequence[Op], n_qubits: int) -> tuple[Any, float]:
    """qsim's circuit of unitary operations, and the global phase (radians) beside it.

    qsim counts qubits as we do, and takes the most significant qubit of a matrix first.
    """
    native = load_native()
    circuit = native.Circuit()
    circuit.num_qubits = n_qubits
    phase = 0.0
    time = 0
    for op in gates:
        for part in _parts(op, n_qubits):
            if part.gate == "gphase" and not part.controls:
                phase += part.params[0]  # type: ignore[operator]  # bound programs only
                continue
            base, controls = split_controls(part)
            if len(part.qubits) <= FUSABLE_QUBITS or not controls:
                native.add_matrix_gate(
                    time, part.qubits[::-1], _numbers(part.gate, part.params, part.controls), circuit
                )
            else:
                targets = part.qubits[controls:]
                native.add_matrix_gate(time, targets[::-1], _numbers(base, part.params, 0), circuit)
                native.control_last_gate(list(part.qubits[:controls]), [1] * controls, circuit)
            time += 1
    return circuit, phase


def _parts(op: Op, n_qubits: int) -> Sequence[Op]:
    """The op itself where qsim has a kernel for its matrix; a controlled global phase as a controlled p."""
    if op.gate == "gphase" and op.controls:
        return (Op("p", op.qubits, op.params, (), op.controls - 1),)
    return lower_op(op, ALL_ROWS, n_qubits, controls=True)


@lru_cache(maxsize=65536)
def _numbers(gate: str, params: tuple[float, ...], controls: int) -> list[float]:
    """The matrix row by row as real, imaginary, real, ... (never changed by qsim)."""
    numbers: list[float] = unitary(gate, params, controls).reshape(-1).view(float).tolist()
    return numbers
