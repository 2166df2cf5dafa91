"""Engine `qsim`: dense states in single precision with fused gates (extra `fast`).

Flow: select -> *qsim* (in a worker) -> Answer. Ten times the speed of double precision engines on
dense circuits of 20 to 30 qubits, at about seven digits: amplitudes are complex64. Unitary
circuits with measurements at the end. Every answer carries what rounding may have done to it, measured against double
precision and not proved: see `rounding_bound`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcommons.base.errors import Corrupt, UsageError
from qcommons.base.seeds import stream
from qcommons.circuits.features import Features
from qcommons.circuits.lower import lower_op
from qcommons.circuits.observables import PauliSum
from qcommons.circuits.program import Op
from qcommons.engines.branching import is_dynamic, split_terminal
from qcommons.engines.engine import version_of
from qcommons.engines.records import (
    Amplitudes,
    Answer,
    CapExceeded,
    Cost,
    Counts,
    Estimate,
    Expectations,
    Method,
    Statevector,
    Task,
    Unsuited,
    Want,
)
from qcommons.engines.sampling import basis_counts, draw_state

__all__ = ["ENGINE", "QsimEngine"]

METHOD = Method(
    name="statevector_f32",
    help="all amplitudes, float32, gates fused",
    wants=frozenset({"counts", "expectations", "amplitudes", "statevector"}),
    precision="f32",
    cost_hint="2^qubits x gates",
)
STATEVECTOR_QUBITS = 20  # the widest statevector that is returned
QUBITS_MAX = 40
FUSED_QUBITS = 3  # fastest of 2 to 6 on random circuits and QAOA (docs/engines/qsim.md)
ROUNDING = 2.0**-24  # unit roundoff of float32 (IEEE 754 binary32)
NARROW = 12  # below so many qubits fusing costs more than it saves


class QsimEngine:
    """See `qcommons.engines.engine.Engine`."""

    name = "qsim"
    distribution = "qsimcirq"
    install = "pip install 'qcommons[fast]'"
    licence = "Apache-2.0"
    methods = (METHOD,)
    # One core of an EPYC with AVX2 kernels (docs/engines/qsim.md).
    constants: Mapping[str, float] = {
        "overhead_s": 1.5e-4,  # a task of no size
        "gate_s": 4e-6,  # writing and fusing one gate
        "update_s": 2.6e-10,  # one amplitude, one gate (fused)
        "read_s": 6e-10,  # one amplitude, one Pauli term, or one pass for sampling
        "shot_s": 3e-7,  # one shot
    }

    def installed(self) -> str | None:
        return version_of(self.distribution)

    def cost(self, method: str, features: Features, want: Want, constants: Mapping[str, float]) -> Cost | Unsuited:
        n = features.n_qubits
        if n > QUBITS_MAX:
            return Unsuited(f"2^{n} amplitudes of 8 B; this method holds at most 2^{QUBITS_MAX}")
        if isinstance(want, Statevector) and n > STATEVECTOR_QUBITS:
            return Unsuited(f"statevectors are given up to {STATEVECTOR_QUBITS} qubits; this has {n}")
        if features.dynamic:
            return Unsuited("has no mid-circuit measurement, reset or branches")
        c = {**self.constants, **constants}
        reads = sum(len(o.terms) for o in want.observables) if isinstance(want, Expectations) else 1
        shots = want.shots if isinstance(want, Counts) else 0
        work = 2.0**n * features.n_gates
        seconds = (
            c["overhead_s"] + features.n_gates * c["gate_s"] + work * c["update_s"]
            + 2.0**n * reads * c["read_s"] + shots * c["shot_s"]
        )  # fmt: skip
        return Cost(seconds, (8 << n) + (8 << 20), work)

    def run(self, task: Task) -> Answer:
        from qcommons.engines.qsim_circuit import standard_arithmetic

        try:
            return self._run(task)
        finally:
            standard_arithmetic()

    def _run(self, task: Task) -> Answer:
        body, measured = split_terminal(task.program)
        _check_suited(task, is_dynamic(body))
        n = task.program.n_qubits
        if (8 << n) > task.limits.memory_bytes:
            raise CapExceeded(f"qsim needs {8 << n} B for {n} qubits; limit {task.limits.memory_bytes} B")
        want = task.want
        error = rounding_bound(_steps(body, n), want)  # type: ignore[arg-type]  # not dynamic: plain ops only
        if isinstance(want, Expectations):
            estimates = _expectations(body, n, want.observables)  # type: ignore[arg-type]
            return Answer("qsim", METHOD.name, estimates=estimates, error_bound=error)
        psi, phase = _state(body, n)  # type: ignore[arg-type]  # not dynamic: plain ops only
        match want:
            case Counts(shots):
                rng = stream(task.seed, "qsim", "counts")
                outcomes, repeats = draw_state(psi, shots, rng)
                counts = basis_counts(outcomes, repeats, measured, task.program.n_clbits)
                return Answer("qsim", METHOD.name, counts=counts, error_bound=error)
            case Amplitudes(bitstrings):
                chosen = psi[[int(b or "0", 2) for b in bitstrings]]
            case _:
                chosen = psi
        vector = (chosen.astype(np.complex128) * np.exp(1j * phase)).tolist()
        return Answer("qsim", METHOD.name, amplitudes=tuple((a.real, a.imag) for a in vector), error_bound=error)

    def probes(self) -> tuple[tuple[str, Task, float], ...]:
        from qcommons.engines.calibrate import probe_task

        def layers(n: int, count: int) -> list[Op]:
            return [
                op
                for layer in range(count)
                for q in range(n)
                for op in (Op("ry", (q,), (0.3 + q + layer,)), Op("cx", (q, (q + 1) % n)))
            ]

        return (
            ("overhead_s", probe_task(2, layers(2, 1), METHOD.name), 1.0),
            ("gate_s", probe_task(4, layers(4, 100), METHOD.name), 800.0),
            ("update_s", probe_task(20, layers(20, 4), METHOD.name), 160.0 * 2**20),
        )


ENGINE = QsimEngine()


def rounding_bound(steps: int, want: Want) -> float:
    """What float32 may have done to the answer, after so many gates as they are handed to qsim.

    The state is off by at most `steps` unit roundoffs in norm. This was measured, against float64: by at most 0.30 of
    that in 200 random circuits, 0.57 in circuits that repeat one gate, where roundings add up in step (which is why it
    grows with the gates, not their root); at 95 % confidence fewer than 1.5 % of such random circuits exceed it
    (docs/engines/qsim.md). From there: two states d apart have means at most 2 d |O| apart, and outcomes at most d in
    total variation.
    """
    error = steps * ROUNDING
    if not isinstance(want, Expectations):
        return error
    return 2 * error * max((sum(abs(t.coefficient) for t in o.terms if t.paulis) for o in want.observables), default=0)


def _steps(gates: tuple[Op, ...], n: int) -> int:
    """Gates as qsim gets them: those it has no kernel for are lowered to several."""
    from qcommons.engines.qsim_circuit import ALL_ROWS

    return sum(1 if op.gate == "gphase" else len(lower_op(op, ALL_ROWS, max(1, n), controls=True)) for op in gates)


def _check_suited(task: Task, dynamic: bool) -> None:
    """Raises UsageError for what the method does not declare."""
    if task.method != METHOD.name:
        raise UsageError(f"qsim has no method {task.method!r}; it has {METHOD.name}", where="method")
    if task.noise is not None and task.noise.rules:
        raise UsageError("qsim applies no noise; use density or trajectory methods", where="noise")
    if dynamic:
        raise UsageError("qsim runs no mid-circuit measurement, reset or branch", where="method")
    if isinstance(task.want, Expectations) and task.want.shots is not None:
        raise UsageError("engines give exact expectations; sampled ones are made of counts", where="want")
    if isinstance(task.want, Statevector) and task.program.n_qubits > STATEVECTOR_QUBITS:
        raise UsageError(
            f"statevector of {task.program.n_qubits} qubits; at most {STATEVECTOR_QUBITS}", limit="20 qubits"
        )


def _options(circuit: Any, n: int) -> dict[str, Any]:
    """qsim's options: one thread, no GPU; the seed is not used, as qsim does not sample here."""
    return {
        "c": circuit, "t": 1, "f": FUSED_QUBITS if n >= NARROW else 2, "v": 0, "z": True, "s": 1, "r": 1,
        "g": False, "gmode": 0, "gsst": 512, "gdb": 16,
    }  # fmt: skip


def _state(gates: tuple[Op, ...], n: int) -> tuple[NDArray[np.complex64], float]:
    """The final state without its global phase, and that phase in radians."""
    from qcommons.engines.qsim_circuit import load_native, write_circuit

    wide = max(1, n)
    circuit, phase = write_circuit(gates, wide)
    flat = np.asarray(load_native().qsim_simulate_fullstate(_options(circuit, wide), 0))
    if flat.size < 2 << wide:  # qsim prints its complaint and returns nothing
        raise Corrupt(f"qsim returned {flat.size} of {2 << wide} numbers: its version is not the one known here")
    psi: NDArray[np.complex64] = flat.view(np.complex64)
    return psi[: 1 << n], phase


def _expectations(gates: tuple[Op, ...], n: int, observables: tuple[PauliSum, ...]) -> tuple[Estimate, ...]:
    """All observables from one evolution; constant terms are added here."""
    from qcommons.engines.qsim_circuit import load_native, write_circuit

    native = load_native()
    kinds = {"X": native.kX, "Y": native.kY, "Z": native.kZ}
    sums: list[tuple[list[Any], int]] = []
    for observable in observables:
        strings = []
        for term in observable.terms:
            if not term.paulis:
                continue
            string = native.OpString()
            string.weight = complex(term.coefficient)
            for qubit, letter in term.paulis:
                native.add_gate_to_opstring(kinds[letter], [qubit], string)
            strings.append(string)
        sums.append((strings, len({q for t in observable.terms for q, _ in t.paulis})))
    constants = [sum(t.coefficient for t in o.terms if not t.paulis) for o in observables]
    wide = max(1, n)
    circuit, _ = write_circuit(gates, wide)
    asked = [row for row in sums if row[0]]
    found = iter(native.qsim_simulate_expectation_values(_options(circuit, wide), asked, 0) if asked else ())
    values = [next(found).real if row[0] else 0.0 for row in sums]
    return tuple(Estimate(constant + value) for constant, value in zip(constants, values, strict=True))
