"""Engine `aer`: Qiskit Aer's statevector, density-matrix, matrix-product and trajectory methods.

Flow: select -> *aer* (in a worker) -> Answer. It is the reference for noise and the default for
weakly entangled circuits (`mps`). Programs are written directly as Aer's native circuits
(aer_circuit), never transpiled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qcommons.base.errors import UsageError
from qcommons.base.seeds import derive
from qcommons.circuits.features import Features
from qcommons.circuits.noise import CHANNELS
from qcommons.circuits.observables import PauliSum
from qcommons.circuits.program import Op, Program
from qcommons.engines import aer_circuit as native
from qcommons.engines.aer_mps import mps_bytes, run_mps
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
    Limits,
    Method,
    Statevector,
    Task,
    Unsuited,
    Want,
)  # fmt: skip

__all__ = ["ENGINE", "AerEngine"]

AER_NAME = {"statevector": "statevector", "trajectories": "statevector", "density_matrix": "density_matrix"}
NATIVE = {"statevector": native.STATEVECTOR, "trajectories": native.STATEVECTOR, "density_matrix": native.DENSITY}
CHANNEL_KINDS = frozenset(CHANNELS)
STATEVECTOR_QUBITS = 20  # the widest statevector that is returned
SWAPS_A_GATE = 1
WIDE_DENSITY_STEPS = 3  # further steps of a gate on three qubits or more, lowered to smaller ones
SAMPLE_BYTES = 32  # a shot in Aer's list of samples, beyond its bits of 8 bytes each
ALL_WANTS = frozenset({"counts", "expectations", "amplitudes", "statevector"})
METHODS = (
    Method(
        name="statevector", help="all amplitudes, float64", wants=ALL_WANTS, dynamic=True,
        cost_hint="2^qubits x gates; dynamic: x shots",
    ),
    Method(
        name="density_matrix", help="exact noise on the density matrix, float64",
        wants=frozenset({"counts", "expectations"}), noise=CHANNEL_KINDS, dynamic=True, cost_hint="4^qubits x gates",
    ),
    Method(
        name="mps", help="matrix product state on the best line order, with its truncation error",
        wants=ALL_WANTS, dynamic=True, cost_hint="gates x bond^3, bond doubling with entanglement",
    ),
    Method(
        name="trajectories", help="one random noisy statevector a shot, float64",
        wants=frozenset({"counts"}), noise=CHANNEL_KINDS, dynamic=True, cost_hint="2^qubits x gates x shots",
    ),
)  # fmt: skip


class AerEngine:
    """See `qcommons.engines.engine.Engine`."""

    name = "aer"
    distribution = "qiskit-aer"
    install = "pip install qiskit-aer"
    licence = "Apache-2.0"
    methods = METHODS
    # One core of an EPYC with AVX2 (docs/engines/aer.md).
    constants: Mapping[str, float] = {
        "overhead_s": 5e-4,  # a task of no size
        "op_s": 1.2e-5,  # writing one operation into Aer's circuit
        "shot_s": 1e-6,  # sampling one terminal measurement
        "update_s": 3.5e-9,  # one amplitude, one gate
        "density_s": 1.5e-8,  # one entry of the density matrix, one gate
        "kraus": 3.0,  # a Kraus channel in one shot, in updates beyond its own: the norm of each outcome
        "measure": 5.0,  # a measurement in one shot run by itself, in updates: norms, then the collapse
        "restart_s": 1.5e-6,  # one operation in one shot of a dynamic or noisy circuit, beyond its updates
        "plan_s": 1.5e-5,  # fusing one gate into the line's steps
        "step_s": 4e-5,  # one step (two-site matrix, swaps included) of the mps at bond 1
        "square_s": 7e-7,  # bond^2 of one step
        "cube_s": 8e-9,  # bond^3 of one step: the decomposition
        "draw_s": 2e-8,  # one site, one bond^2, for one reading or one distinct prefix
        "shot_site_s": 3e-8,  # one site of one shot
        "history_s": 4e-4,  # mps: one measured step of one history: tensors read out, cut and put back
    }

    def installed(self) -> str | None:
        return version_of(self.distribution)

    def cost(self, method: str, features: Features, want: Want, constants: Mapping[str, float]) -> Cost | Unsuited:
        if features.dynamic and not isinstance(want, Counts):
            return Unsuited(f"{method}: a program with feedback has no single final state; ask for counts")
        if isinstance(want, Statevector) and features.n_qubits > STATEVECTOR_QUBITS:
            return Unsuited(f"statevectors are given up to {STATEVECTOR_QUBITS} qubits; this has {features.n_qubits}")
        c = {**self.constants, **constants}
        if method == "mps":
            return _mps_cost(features, want, c)
        n = features.n_qubits
        power = 2 * n if method == "density_matrix" else n
        if power > 48:
            return Unsuited(f"2^{power} amplitudes of 16 B are beyond any one machine ({n} qubits)")
        shots = want.shots if isinstance(want, Counts) else 0
        restarts = shots if features.dynamic or (method == "trajectories" and features.n_noise) else 0
        steps = features.n_gates + features.n_noise + features.n_dynamic
        if method == "density_matrix":
            steps += WIDE_DENSITY_STEPS * features.n_wide
        singly = c["kraus"] * features.n_kraus + c["measure"] * features.measured if restarts else 0.0
        work = float(2**power) * (steps + singly + _reads(want)) * max(1, restarts)
        seconds = (
            c["overhead_s"] + c["op_s"] * steps + shots * c["shot_s"] + restarts * steps * c["restart_s"]
            + work * c["density_s" if method == "density_matrix" else "update_s"]
        )  # fmt: skip
        copies = 2 if isinstance(want, Statevector) else 1
        samples = shots * (SAMPLE_BYTES + 8 * features.measured)
        return Cost(seconds, (copies * 16 << power) + (8 << 20) + samples, work)

    def run(self, task: Task) -> Answer:
        _check_suited(task)
        if task.method == "mps":
            return run_mps(task)
        return _run_dense(task)

    def probes(self) -> tuple[tuple[str, Task, float], ...]:
        limits = Limits(memory_bytes=1 << 30, seconds=10.0)
        wide, small = _probe_program(16, 12), _probe_program(8, 6)
        return (
            ("overhead_s", Task(_probe_program(2, 1), Counts(16), "statevector", 1, limits), 1.0),
            ("update_s", Task(wide, Counts(16), "statevector", 1, limits), float(2**16 * len(wide.ops))),
            (
                "density_s",
                Task(small, Expectations((PauliSum((), "0"),)), "density_matrix", 1, limits),
                float(4**8 * len(small.ops)),
            ),
        )


ENGINE = AerEngine()
WANT_NAMES = {
    Counts: "counts", Expectations: "expectations", Amplitudes: "amplitudes", Statevector: "statevector",
}  # fmt: skip


def _check_suited(task: Task) -> None:
    """Raises UsageError for what the method does not declare."""
    method = next((m for m in METHODS if m.name == task.method), None)
    if method is None:
        raise UsageError(
            f"aer has no method {task.method!r}; it has {', '.join(m.name for m in METHODS)}", where="method"
        )
    kind = WANT_NAMES[type(task.want)]
    if kind not in method.wants:
        raise UsageError(f"aer {task.method} gives {', '.join(sorted(method.wants))}; not {kind}", where="want")
    if kind == "statevector" and task.program.n_qubits > STATEVECTOR_QUBITS:
        raise UsageError(
            f"statevector of {task.program.n_qubits} qubits; at most {STATEVECTOR_QUBITS}", limit="20 qubits"
        )
    if isinstance(task.want, Expectations) and task.want.shots is not None:
        raise UsageError("engines give exact expectations; sampled ones are asked as counts", where="want")
    if kind != "counts" and is_dynamic(split_terminal(task.program)[0]):
        raise UsageError("a program with feedback has no single final state; ask for counts", where="want")
    kinds = {c.kind for rule in task.noise.rules for c in rule.channels} if task.noise else set()
    if kinds - method.noise:
        raise UsageError(
            f"aer {task.method} applies no {', '.join(sorted(kinds))} noise; use density_matrix or trajectories",
            where="noise",
        )


def _run_dense(task: Task) -> Answer:
    """statevector, density_matrix, trajectories."""
    program, want = task.program, task.want
    n, m = max(1, program.n_qubits), program.n_clbits
    _check_memory(task, n)
    circuit = native.new_circuit(n, m)
    writer = native.Writer(circuit, NATIVE[task.method], task.noise)
    body, measured = split_terminal(program, noisy_measure=task.noise is not None)
    writer.operations(body, measured)
    if isinstance(want, Counts):  # all together at the end, where Aer samples them from one state
        for clbit, qubit in measured.items():
            writer.measure(Op("measure", (qubit,), (), (clbit,)))
    _write_saves(circuit, want, n)
    shots = want.shots if isinstance(want, Counts) else 1
    seed = derive(task.seed, "aer", task.method)
    config = native.new_config(n, m, AER_NAME[task.method], seed, shots, task.limits.memory_bytes)
    row = native.execute(circuit, config, writer.noise_rows)
    return _answer(task, row["data"])


def _check_memory(task: Task, n: int) -> None:
    needed = 16 << (2 * n if task.method == "density_matrix" else n)
    if needed > task.limits.memory_bytes:
        raise CapExceeded(f"aer {task.method} needs {needed} B for {n} qubits; limit {task.limits.memory_bytes} B")


def _write_saves(circuit: Any, want: Want, n: int) -> None:
    match want:
        case Expectations(observables):
            for index, observable in enumerate(observables):
                _write_observable(circuit, observable, f"e{index}")
        case Amplitudes(bitstrings):
            circuit.save_amplitudes(
                list(range(n)), "save_amplitudes", [int(b or "0", 2) for b in bitstrings], "single", "amplitudes"
            )
        case Statevector():
            circuit.save_state(list(range(n)), "save_statevector", "single", "statevector")


def _write_observable(circuit: Any, observable: PauliSum, label: str) -> None:
    """One save instruction on the qubits that the observable touches; none for a bare number."""
    qubits = sorted({qubit for term in observable.terms for qubit, _ in term.paulis})
    if not qubits:
        return
    strings = []
    for term in observable.terms:
        letters = dict(term.paulis)
        strings.append("".join(letters.get(q, "I") for q in reversed(qubits)))
    reals = [term.coefficient for term in observable.terms]
    circuit.save_expval(qubits, "save_expval", strings, reals, [0.0] * len(reals), "average", label)


def _answer(task: Task, data: Mapping[str, Any]) -> Answer:
    match task.want:
        case Counts(shots):
            width = task.program.n_clbits
            found = data.get("counts", {}) if width else {"0x0": shots}
            spec = f"0{width}b" if width else ""
            counts = {format(int(key, 16), spec) if width else "": int(times) for key, times in found.items()}
            return Answer("aer", task.method, counts=counts)
        case Expectations(observables):
            values = [float(data.get(f"e{i}", sum(t.coefficient for t in o.terms))) for i, o in enumerate(observables)]
            return Answer("aer", task.method, estimates=tuple(map(Estimate, values)))
        case Amplitudes():
            vector = data["amplitudes"]
        case _:
            vector = data["statevector"]
    return Answer("aer", task.method, amplitudes=tuple((float(a.real), float(a.imag)) for a in vector))


def _reads(want: Want) -> int:
    """Passes over the state that the want costs."""
    if isinstance(want, Expectations):
        return sum(len(o.terms) for o in want.observables)
    return 1


def _mps_cost(features: Features, want: Want, c: Mapping[str, float]) -> Cost | Unsuited:
    """Cost if every bond reaches 2**bond_log2 half-way through (select lowers it to the cap of the trial)."""
    if features.noise_kinds:
        return Unsuited("mps runs no noise")
    n, bond = features.n_qubits, 2.0 ** min(features.bond_log2, 40.0)
    shots = want.shots if isinstance(want, Counts) else 0
    histories = min(shots, 2.0 ** min(features.n_dynamic, 30)) if features.dynamic else 1.0
    # fusing halves the gates, a good order and routing leave about one swap for each that is left
    steps = histories * (features.n_multi + min(features.swap_distance, SWAPS_A_GATE * features.n_multi))
    work = steps * bond**3 / 2
    seconds = (
        c["overhead_s"] + features.n_gates * c["plan_s"] + steps * (c["step_s"] + bond**2 * c["square_s"] / 2)
        + work * c["cube_s"] + n * bond**2 * c["draw_s"] * (1 + _reads(want)) + shots * n * c["shot_site_s"]
        + min(shots, bond**2) * n * bond * c["draw_s"] + histories * features.n_dynamic * c["history_s"]
    )  # fmt: skip
    memory = min(mps_bytes(n, bond), 1 << 62) + (32 << 20) + shots * (n + SAMPLE_BYTES)
    return Cost(seconds, memory, work, certain=False)


def _probe_program(n: int, layers: int) -> Program:
    ops = [
        op
        for layer in range(layers)
        for q in range(n)
        for op in (Op("ry", (q,), (0.3 + q + layer,)), Op("cx", (q, (q + 1) % n)))
    ]
    ops += [Op("measure", (q,), (), (q,)) for q in range(n)]
    return Program(n, (("c", n),), tuple(ops))
