"""Rules of conduct in the conformance suite: declarations, refusals, caps, costs, probes.

Flow: `engine.engine_checks` -> *RULES*, beside the checks of answers.
"""

from __future__ import annotations

import math
import subprocess
import sys
from importlib import metadata

import msgspec

from qcommons.base.errors import UsageError
from qcommons.circuits.features import features
from qcommons.circuits.noise import Channel, Noise, Rule
from qcommons.circuits.program import Program
from qcommons.engines.engine import Engine
from qcommons.engines.records import (
    Amplitudes,
    CapExceeded,
    Cost,
    Counts,
    Expectations,
    Method,
    Statevector,
    Unsuited,
    Want,
)  # fmt: skip
from qcommons.testing import programs
from qcommons.testing.engine import TIGHT, Check, Mismatch, check_counts, task
from qcommons.testing.reference import distribution

__all__ = ["RULES"]

WANTS = frozenset({"counts", "expectations", "amplitudes", "statevector"})
LIGHT = {"numpy", "msgspec", "qcommons", "scipy"}  # what a module may import when it is loaded
IMPORT_CODE = """
import sys
from importlib import import_module
engine = getattr(import_module(sys.argv[1]), "ENGINE")
engine.installed()
print("\\n".join(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def _declaration(engine: Engine, method: Method) -> None:
    names = [m.name for m in engine.methods]
    if len(set(names)) != len(names):
        raise Mismatch(f"method names must differ: {names}")
    if not method.wants or method.wants - WANTS:
        raise Mismatch(f"wants {sorted(method.wants)}; allowed: one or more of {sorted(WANTS)}")
    if method.gates not in ("any", "clifford") or method.precision not in ("f64", "f32", "exact"):
        raise Mismatch(f"gates {method.gates!r} or precision {method.precision!r} is not a known value")
    unknown = method.noise - set(programs.NOISE_VALUES)
    if unknown:
        raise Mismatch(f"noise kinds {sorted(unknown)} are not in {sorted(programs.NOISE_VALUES)}")
    bad = [k for k, v in engine.constants.items() if not (math.isfinite(v) and v > 0)]
    if bad:
        raise Mismatch(f"constants must be finite and positive: {bad}")
    if not engine.install or not engine.licence:
        raise Mismatch("`install` (the exact command) and `licence` (SPDX) must be given")


def _lazy(engine: Engine, method: Method) -> None:
    """In a fresh interpreter: loading the module and asking `installed` imports no library."""
    module = type(engine).__module__
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_CODE, module], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        raise Mismatch(f"{module}.ENGINE could not be loaded on its own: {done.stderr.strip()[-300:]}")
    loaded = set(done.stdout.split())
    heavy = {
        name for name, owners in metadata.packages_distributions().items() if engine.distribution in owners
    } - LIGHT
    if heavy & loaded:
        raise Mismatch(f"loading {module} imports {sorted(heavy & loaded)}; import it inside `run`")


def _wants(method: Method) -> list[tuple[str, Want]]:
    all_wants: list[tuple[str, Want]] = [
        ("counts", Counts(100)), ("expectations", Expectations(programs.observables(3)[:2])),
        ("amplitudes", Amplitudes(("000", "101"))), ("statevector", Statevector()),
    ]  # fmt: skip
    return all_wants


def _refusals(engine: Engine, method: Method) -> None:
    program = programs.scrambled(3, True, 1)
    cases: list[tuple[str, object]] = []
    for kind, want in _wants(method):
        subject = programs.measured(program) if kind == "counts" else program
        if kind not in method.wants:
            cases.append((f"{kind}, which the method does not declare", task(method, subject, want)))
    usual = Counts(10) if "counts" in method.wants else dict(_wants(method))[sorted(method.wants)[0]]
    subject = programs.measured(program) if "counts" in method.wants else program
    no_such = msgspec.structs.replace(task(method, subject, usual), method="no such method")
    cases.append(("a method that does not exist", no_such))
    for kind in sorted(set(programs.NOISE_VALUES) - method.noise):
        noise = Noise((Rule((Channel(kind, programs.NOISE_VALUES[kind]),)),))
        cases.append((f"{kind} noise, which the method does not declare", task(method, subject, usual, noise=noise)))
    if not method.dynamic and "counts" in method.wants:
        for label, dynamic in programs.dynamic_programs():
            cases.append((f"a dynamic program ({label})", task(method, dynamic, Counts(10))))
    if method.gates == "clifford":
        odd = programs.measured(programs.scrambled(3, False, 1)) if "counts" in method.wants else program
        cases.append(("gates that are not Clifford", task(method, odd, usual)))
    for label, asked in cases:
        try:
            engine.run(asked)  # type: ignore[arg-type]
        except UsageError:
            continue
        except Exception as error:
            raise Mismatch(f"{label}: must raise UsageError, raised {type(error).__name__}: {error}") from error
        raise Mismatch(f"{label}: must raise UsageError, gave an answer")


def _caps(engine: Engine, method: Method) -> None:
    """Under tight limits an engine answers rightly or raises CapExceeded, whatever the limit."""
    if "counts" not in method.wants:
        return
    small = programs.measured(programs.scrambled(5, method.gates == "clifford", 2))
    try:
        answer = engine.run(task(method, small, Counts(2000), limits=TIGHT))
    except CapExceeded:
        pass
    else:
        check_counts(answer, small, 2000, distribution(small), "under tight limits")
    big = programs.measured(programs.scrambled(24, method.gates == "clifford", 2))
    cost = engine.cost(method.name, features(big), Counts(10), engine.constants)
    if isinstance(cost, Unsuited) or cost.memory_bytes < 1000 * TIGHT.memory_bytes or not cost.certain:
        return
    try:
        engine.run(task(method, big, Counts(10), limits=TIGHT))
    except CapExceeded:
        return
    raise Mismatch(f"predicts {cost.memory_bytes} bytes but ran under a limit of {TIGHT.memory_bytes}: check first")


def _cost_of(engine: Engine, method: Method, program: Program, want: Want, gates: int = 0) -> Cost | Unsuited:
    read = features(program)
    if gates:
        read = msgspec.structs.replace(read, n_gates=read.n_gates + gates)
    return engine.cost(method.name, read, want, engine.constants)


def _cost(engine: Engine, method: Method) -> None:
    clifford = method.gates == "clifford"
    for kind, want in _wants(method):
        if kind not in method.wants:
            continue
        program = programs.scrambled(3, clifford, 1)
        program = programs.measured(program) if kind == "counts" else program
        base = _cost_of(engine, method, program, want)
        if isinstance(base, Unsuited):
            if not base.reason:
                raise Mismatch(f"{kind}: Unsuited needs a reason with numbers")
            continue
        for field in ("seconds", "memory_bytes", "work_units"):
            value = getattr(base, field)
            if not (math.isfinite(value) and value >= 0):
                raise Mismatch(f"{kind}: {field} = {value}; finite and >= 0 expected")
        more = _cost_of(engine, method, program, want, gates=10_000)
        if isinstance(more, Cost) and more.seconds < base.seconds:
            raise Mismatch(f"{kind}: 10,000 gates more are predicted faster ({more.seconds} < {base.seconds} s)")
        if kind == "counts":
            shots = _cost_of(engine, method, program, Counts(1_000_000))
            if isinstance(shots, Cost) and shots.seconds < base.seconds:
                raise Mismatch(f"a million shots are predicted faster than 100 ({shots.seconds} < {base.seconds} s)")
    huge = engine.cost(
        method.name,
        msgspec.structs.replace(features(programs.scrambled(3, clifford, 1)), n_qubits=5000),
        _wants(method)[0][1] if "counts" in method.wants else Expectations(programs.observables(3)[:1]),
        engine.constants,
    )
    if isinstance(huge, Cost) and not math.isfinite(huge.seconds):
        raise Mismatch("5,000 qubits: an infinite prediction; return Unsuited with the numbers")


def _probes(engine: Engine, method: Method) -> None:
    for constant, asked, units in engine.probes():
        if constant not in engine.constants:
            raise Mismatch(f"probe of {constant!r}, which is not in constants {sorted(engine.constants)}")
        if not units > 0:
            raise Mismatch(f"probe of {constant!r}: {units} units of work; > 0 expected")
        if asked.method == method.name:
            engine.run(asked)


RULES: tuple[Check, ...] = (
    Check("declaration", "names, wants, noise kinds, constants, licence and install line are usable", _declaration),
    Check("lazy", "loading the module and `installed` do not import the library", _lazy),
    Check("refusals", "what is not declared raises UsageError", _refusals),
    Check("caps", "tight limits give a right answer or CapExceeded, before memory is taken", _caps),
    Check("cost", "predictions are finite and grow with gates and shots", _cost),
    Check("probes", "the self-benchmark's tasks run and name known constants", _probes),
)
