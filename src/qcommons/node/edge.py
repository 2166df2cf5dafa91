"""The user's edge: what a person writes in Python or on a command line becomes a job's parts.

Flow: paths, QASM text, Programs, bindings, observables -> *edge* -> cards, points, wants -> Job.
Nothing is parsed here: text goes to a worker. All messages name the argument of `run` at fault.
"""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from qcommons.base.errors import UsageError
from qcommons.base.quantities import angle_rad
from qcommons.base.text import shown
from qcommons.circuits.noise import Noise
from qcommons.circuits.observables import PauliSum
from qcommons.circuits.program import DEFAULT_CAPS, Program
from qcommons.engines.records import Amplitudes, Counts, Expectations, Statevector, Want
from qcommons.jobs.records import Card
from qcommons.node.frames import Source
from qcommons.node.reading import WAIT_S, read_file

__all__ = ["Asked", "Circuit", "asked", "circuits", "is_whole", "noise_of", "points", "values_for", "want_for"]

Circuit = Program | Source | Card
SHOTS_DEFAULT = 1024
SHOTS_MAX = 10**9
POINTS_MAX = 1_000_000
ARRAY_MARK = "[]"  # after a name in `bind`: the values of g[0], g[1], ... of an array input g
TEXT_MARKS = re.compile(r"[\n;{]")  # no file name holds these; every program does


def circuits(program: Any, wait_s: float = WAIT_S) -> tuple[list[Circuit], bool]:
    """Programs and sources of the argument `program`, and whether it was a list of them.

    wait_s: seconds that a FIFO among the files may take until its end.

    Raises:
        UsageError: neither path, OpenQASM text, Program nor a list of those; an unreadable file.
    """
    if isinstance(program, list | tuple):
        if not program:
            raise UsageError("an empty list of programs; give at least one", where="program")
        return [_circuit(one, f"program[{index}]", wait_s) for index, one in enumerate(program)], True
    return [_circuit(program, "program", wait_s)], False


def _circuit(one: Any, where: str, wait_s: float) -> Circuit:
    match one:
        case Program() | Source() | Card():
            return one
        case str() | bytes() if not one.strip():
            raise UsageError("an empty text is no program: give a path, OpenQASM text or a Program", where=where)
        case bytes():
            return Source(_capped(one, "<text>"), "<text>")
        case str() if TEXT_MARKS.search(one) or one.lstrip().startswith("OPENQASM"):
            return Source(_capped(one.encode("utf-8", "surrogatepass"), "<text>"), "<text>")
        case str() | Path():
            return _file(Path(one), wait_s)
        case _:
            raise UsageError(f"no program, but of type {type(one).__name__}: {_way(one)}", where=where)


def _way(one: Any) -> str:
    """What to give instead; objects of other libraries are told by their name, none is imported for it."""
    if type(one).__name__ == "QuantumCircuit" and type(one).__module__.partition(".")[0] == "qiskit":
        return "give its OpenQASM text, qiskit.qasm3.dumps(circuit)"
    return "give a path, OpenQASM text or a Program"


def _file(path: Path, wait_s: float | None) -> Source:
    return Source(_capped(read_file(path, DEFAULT_CAPS.bytes_max, wait_s), str(path)), str(path))


def _capped(text: bytes, name: str) -> bytes:
    limit = DEFAULT_CAPS.bytes_max
    if len(text) > limit:
        raise UsageError(f"more than {limit} bytes of program text", where=name, limit=f"{limit} bytes")
    return text


# bindings

Array = np.ndarray[Any, np.dtype[np.float64]]


def points(bind: Any) -> tuple[list[dict[str, float]], tuple[int, ...] | None]:
    """Points of the sweep in row-major order, and its shape; shape None where `bind` names one point.

    bind: None, a mapping of input to number or array (arrays are broadcast together), or a list of
        mappings to numbers. A number is radians, or text such as "pi/2". Of a name "g[]" the last axis
        are the values of g[0], g[1], ..., and the axes before it the sweep.
    """
    match bind:
        case None:
            return [{}], None
        case Mapping():
            return _grid(bind)
        case str() | bytes():
            raise UsageError(f"bind={shown(bind)}: a mapping of input names to numbers is needed", where="bind")
        case Sequence():
            if len(bind) > POINTS_MAX:
                raise UsageError(
                    f"{len(bind)} points; at most {POINTS_MAX}", where="bind", limit=f"{POINTS_MAX} points"
                )
            if not all(isinstance(point, Mapping) for point in bind):
                raise UsageError("a list of points holds mappings of input names to numbers", where="bind")
            return [_point(point, f"point {index}") for index, point in enumerate(bind)], (len(bind),)
        case _:
            raise UsageError(f"bind={type(bind).__name__}: a mapping or a list of mappings is needed", where="bind")


def _point(point: Mapping[Any, Any], where: str) -> dict[str, float]:
    if all(type(value) is float and -math.inf < value < math.inf for value in point.values()) and not any(
        str(name).endswith(ARRAY_MARK) for name in point
    ):
        return {str(name): value for name, value in point.items()}
    columns = _columns(point, f"bind {where}")
    for name, array in columns.items():
        if array.shape:
            raise UsageError("a list of points holds one number an input, not arrays", where=f"bind {where}, {name}")
    return {name: float(array) for name, array in columns.items()}


def _columns(bind: Mapping[Any, Any], where: str) -> dict[str, Array]:
    """Input -> its values; a name with `ARRAY_MARK` becomes an input an element."""
    columns: dict[str, Array] = {}
    for key, value in bind.items():
        name, place = str(key), f"{where}, {key}" if where != "bind" else f"bind {key}"
        array = _array(value, place)
        if not name.endswith(ARRAY_MARK):
            parts = {name: array}
        elif array.shape:
            name = name.removesuffix(ARRAY_MARK)
            parts = {f"{name}[{index}]": array[..., index] for index in range(array.shape[-1])}
        else:
            raise UsageError(f"{shown(value)} is one number; the values of an array are a list", where=place)
        twice = sorted(parts.keys() & columns.keys())
        if twice:
            raise UsageError(f"{_few(twice)} given twice", where=place)
        columns |= parts
    return columns


def _grid(bind: Mapping[Any, Any]) -> tuple[list[dict[str, float]], tuple[int, ...] | None]:
    table_of = _columns(bind, "bind")
    names, arrays = list(table_of), list(table_of.values())
    try:
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
    except ValueError as error:
        shapes = ", ".join(f"{name}: {array.shape}" for name, array in zip(names, arrays, strict=True))
        raise UsageError(f"arrays that do not broadcast together: {shapes}", where="bind") from error
    size = int(np.prod(shape, dtype=np.int64)) if shape else 1
    if size > POINTS_MAX:
        raise UsageError(f"{size} points; at most {POINTS_MAX}", where="bind", limit=f"{POINTS_MAX} points")
    columns = [np.broadcast_to(array, shape).ravel().tolist() for array in arrays]
    table = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)] if columns else [{}]
    return table, shape or None


def _array(value: Any, where: str) -> Array:
    """float64 of numbers, or of texts such as "pi/2". Raises UsageError, also for NaN and infinity."""
    try:
        array = np.asarray(value)
        if array.dtype.kind == "U":
            flat = [angle_rad(text, where) for text in array.ravel().tolist()]
            array = np.array(flat, dtype=np.float64).reshape(array.shape)
        if array.dtype.kind not in "fiuO":
            raise TypeError
        array = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{shown(value)} is no finite number or array of numbers", where=where) from error
    finite = np.isfinite(array)
    if not finite.all():
        place = int(np.argmin(finite))  # the first one, in row-major order
        at = f", value {place}" if array.shape else ""
        raise UsageError(f"{array.ravel()[place]} is not finite; a finite number is needed", where=f"{where}{at}")
    return array


def values_for(card: Card, values: Mapping[str, float], *, batch: bool) -> dict[str, float]:
    """The part of `values` that binds this program; in a list of programs names may be others'.

    Raises:
        UsageError: an input without value, or an unknown one.
    """
    unknown = [] if batch else sorted(set(values) - set(card.inputs))
    missing = [name for name in card.inputs if name not in values]
    if missing or unknown:
        raise UsageError("; ".join(_unbound(card, missing, unknown)), where="bind")
    return {name: values[name] for name in card.inputs}


def _unbound(card: Card, missing: list[str], unknown: list[str]) -> Iterator[str]:
    """What is wrong with a binding, and how to say it on the command line, in a sweep and in Python."""
    if missing:
        name = missing[0]
        way = f"--bind {name}=0.3, a column {name} of the sweep, or bind={{{name!r}: 0.3}} in Python"
        yield f"no value for {_few(missing)}: give one, as in {way}"
    if unknown:
        inputs = f"its inputs are: {_few(list(card.inputs))}" if card.inputs else "it has none"
        if f"{unknown[0]}[0]" in card.inputs:
            inputs = f'its {unknown[0]} is an array: bind it as {{"{unknown[0]}[]": [0.1, 0.2, ...]}}; {inputs}'
        yield f"this program has no input {_few(unknown)}; {inputs}"


def _few(names: list[str]) -> str:
    return ", ".join(names[:10])[:200] + (f" and {len(names) - 10} more" if len(names) > 10 else "")


# wants


class Asked(msgspec.Struct, frozen=True):
    """What was asked of every program, before widths are known."""

    shots: int | None
    observables: tuple[str | PauliSum, ...]
    scalar: bool
    bitstrings: tuple[str, ...]
    statevector: bool


def asked(shots: Any, observable: Any, amplitudes: Any, statevector: bool) -> Asked:
    """Check the arguments against each other. Raises UsageError."""
    given = [
        name
        for name, there in (
            ("observable", observable is not None),
            ("amplitudes", amplitudes is not None),
            ("statevector", statevector),
        )
        if there
    ]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other: run once for each", where=given[1])
    if shots is not None and (not is_whole(shots) or not 1 <= shots <= SHOTS_MAX):
        raise UsageError(f"shots={shown(shots)}; allowed 1 to {SHOTS_MAX}", where="shots", limit=f"{SHOTS_MAX} shots")
    if shots is not None and given and given[0] != "observable":
        raise UsageError(f"{given[0]} are exact: leave shots out", where="shots")
    scalar = not isinstance(observable, list | tuple)
    many = () if observable is None else (observable,) if scalar else tuple(observable)
    for one in many:
        if not isinstance(one, str | PauliSum):
            raise UsageError(f"a {type(one).__name__} is no observable: text or PauliSum", where="observable")
    if observable is not None and not many:
        raise UsageError("an empty list of observables; give at least one", where="observable")
    return Asked(None if shots is None else int(shots), many, scalar, _bitstrings(amplitudes), bool(statevector))


def is_whole(value: Any) -> bool:
    """Whether a number of any type (3, 3.0, numpy's) is an integer; text and truth values are not."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    return isinstance(value, numbers.Integral) or (math.isfinite(value) and bool(value % 1 == 0))


def _bitstrings(amplitudes: Any) -> tuple[str, ...]:
    if amplitudes is None:
        return ()
    if not isinstance(amplitudes, str | list | tuple):
        raise UsageError(
            f"amplitudes={shown(amplitudes)}; text such as 0101,1111 or a list is needed", where="amplitudes"
        )
    listed = amplitudes.split(",") if isinstance(amplitudes, str) else list(amplitudes)
    bits = tuple(str(one).strip() for one in listed)
    bad = [one for one in bits if not re.fullmatch("[01]+", one)]
    if bad or not bits:
        raise UsageError(f"{bad[0] if bad else ''!r:.80} is no bitstring such as 0101", where="amplitudes")
    return bits


def want_for(card: Card, request: Asked) -> Want:
    """The want of one program. Raises UsageError where widths do not fit it."""
    if request.statevector:
        return Statevector()
    if request.bitstrings:
        for bits in request.bitstrings:
            if len(bits) != card.n_qubits:
                has, needs = _number_of(len(bits), "bit"), _number_of(card.n_qubits, "qubit")
                what = f"{bits[:80]!r} has {has}; this program has {needs}"
                raise UsageError(what, where="amplitudes", limit=_number_of(card.n_qubits, "bit"))
        return Amplitudes(request.bitstrings)
    if request.observables:
        return Expectations(tuple(_observable(one, card.n_qubits) for one in request.observables), request.shots)
    return Counts(request.shots or SHOTS_DEFAULT)


def _observable(one: str | PauliSum, n_qubits: int) -> PauliSum:
    if isinstance(one, str):
        from qcommons.circuits.observables import parse_observable

        return parse_observable(one, n_qubits)
    highest = max((qubit for term in one.terms for qubit, _ in term.paulis), default=-1)
    if highest >= n_qubits:
        what = f"{one.text[:80]!r} acts on qubit {highest}; this program has {_number_of(n_qubits, 'qubit')}"
        raise UsageError(what, where="observable", limit=_number_of(n_qubits, "qubit"))
    return one


def _number_of(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def noise_of(noise: Any) -> Noise | None:
    """Noise from a Noise, text such as "depolarizing:0.01", or the path of a device profile (.toml).

    Raises:
        UsageError: it is none of these.
    """
    match noise:
        case None | Noise():
            return noise
        case Path():
            return _profile(noise)
        case str() if noise.endswith(".toml"):
            return _profile(Path(noise))
        case str():
            from qcommons.circuits.noise import parse_noise

            return parse_noise(noise)
        case _:
            raise UsageError(f"a {type(noise).__name__} is no noise: text, a profile's path or Noise", where="noise")


def _profile(path: Path) -> Noise:
    from qcommons.circuits.noise import load_profile

    text = _file(path, None).text
    try:
        return load_profile(text.decode("utf-8"), "toml")
    except UnicodeDecodeError as error:
        raise UsageError(f"not UTF-8 at byte {error.start}", where=str(path)) from error
    except UsageError as error:
        place = error.where or ""  # "profile:3:5" of the text, or the name of a field
        where = f"{path}{place.removeprefix('profile')}" if place.startswith("profile:") else f"{path}: {place}"
        raise UsageError(error.what, where=where, limit=error.limit) from error
