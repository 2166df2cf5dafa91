"""What `qcommons run` reads beside the circuit: bindings, sweeps, observables.

Flow: option texts and files -> *inputs* -> arguments of `qcommons.run`.
"""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qcommons.base.errors import UsageError
from qcommons.base.quantities import angle_rad
from qcommons.circuits.program import DEFAULT_CAPS

__all__ = ["bindings", "observable", "read_source", "read_sweep"]

SWEEP_BYTES_MAX = DEFAULT_CAPS.bytes_max  # as for a program's text
SWEEP_POINTS_MAX = 100_000  # a batch is held in memory with its results


def read_source(name: str) -> Any:
    """The circuit for `qcommons.run`: the path, or for "-" what standard input holds."""
    if name != "-":
        return Path(name)
    from qcommons.node.frames import Source

    limit = DEFAULT_CAPS.bytes_max
    if sys.stdin is None:  # the shell closed it: <&-
        raise UsageError("it is closed", where="standard input")
    raw = sys.stdin.buffer.read(limit + 1)
    if len(raw) > limit:
        raise UsageError(f"more than {limit} bytes", where="standard input", limit=f"{limit} bytes")
    return Source(raw, "<stdin>")


def _read(name: str, limit: int) -> bytes:
    try:
        with Path(name).open("rb") as file:
            raw = file.read(limit + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UsageError(f"cannot read the file: {getattr(error, 'strerror', error)}", where=name) from None
    if len(raw) > limit:
        raise UsageError(f"the file is longer than {limit} bytes", where=name, limit=f"{limit} bytes")
    return raw


def bindings(texts: Sequence[str]) -> dict[str, float]:
    """{"theta": 0.3} from ["theta=0.3"]; radians, pi is understood."""
    values: dict[str, float] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise UsageError(f"cannot read {text!r}; write NAME=VALUE, as in theta=0.3 or phi=pi/2", where="--bind")
        if name in values:
            raise UsageError(f"{name} is given twice; for several values use --sweep FILE", where="--bind")
        values[name] = angle_rad(value, f"--bind {name}")
    return values


def read_sweep(name: str) -> list[dict[str, float]]:
    """Points of a sweep: JSON (list of objects, or object of equal lists) or CSV with a header line.

    Raises:
        UsageError: no such form, no points, more than `SWEEP_POINTS_MAX`, a value that is no finite number.
    """
    raw = _read(name, SWEEP_BYTES_MAX)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"byte {error.start} is not UTF-8", where=name) from None
    rows = _json_rows(text, name) if text.lstrip()[:1] in ("[", "{") else _csv_rows(text, name)
    if not 1 <= len(rows) <= SWEEP_POINTS_MAX:
        raise UsageError(
            f"{len(rows)} points; 1 to {SWEEP_POINTS_MAX} are allowed", where=name, limit=f"{SWEEP_POINTS_MAX} points"
        )
    points = [_point(row, f"{name}: point {index}") for index, row in enumerate(rows)]
    for index, point in enumerate(points):
        if point.keys() != points[0].keys():
            raise UsageError(f"point {index} has {sorted(point)}; the first has {sorted(points[0])}", where=name)
    return points


def _json_rows(text: str, name: str) -> list[Any]:
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not JSON: {error}", where=name) from None
    if isinstance(tree, list):
        return tree
    columns = list(tree.values())
    if not columns or not all(isinstance(column, list) and len(column) == len(columns[0]) for column in columns):
        raise UsageError("an object must hold lists of equal length, one an input", where=name)
    return [dict(zip(tree, values, strict=True)) for values in zip(*columns, strict=True)]


def _csv_rows(text: str, name: str) -> list[Any]:
    try:
        reader = csv.DictReader(io.StringIO(text), strict=True, skipinitialspace=True)
        names = list(reader.fieldnames or ())
        if len(set(names)) < len(names):
            raise UsageError(f"a column is named twice: {', '.join(names)[:200]}", where=name)
        return list(reader)
    except csv.Error as error:
        raise UsageError(f"not CSV: {error}", where=name) from None


def _point(row: Any, where: str) -> dict[str, float]:
    if not isinstance(row, dict):
        raise UsageError(f"{row!r} is not an object of input: value", where=where)
    point = {}
    for key, value in row.items():
        if isinstance(value, str):
            point[str(key)] = angle_rad(value, f"{where}, {key}")
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            point[str(key)] = float(value)
        else:
            raise UsageError(f"{key} = {value!r} is not a finite number", where=where)
    return point


def observable(text: str) -> str:
    """The text of a Pauli sum; "@FILE" is read from the file, line breaks count as spaces."""
    if not isinstance(text, str):  # what argparse makes of --observable=--
        raise UsageError("a Pauli sum is needed, as in 'ZZI + 0.5 XXI'", where="--observable")
    if not text.startswith("@"):
        return text
    raw = _read(text[1:], SWEEP_BYTES_MAX)
    return " ".join(raw.decode("utf-8", errors="replace").split())
