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
from qcommons.base.text import shown
from qcommons.circuits.program import DEFAULT_CAPS
from qcommons.node.edge import ARRAY_MARK
from qcommons.node.reading import WAIT_S, is_fifo, read_file, read_stream

__all__ = ["bindings", "observable", "read_source", "read_sweep"]

SWEEP_BYTES_MAX = DEFAULT_CAPS.bytes_max  # as for a program's text
SWEEP_POINTS_MAX = 100_000  # a batch is held in memory with its results


def read_source(name: str, wait_s: float = WAIT_S) -> Any:
    """The circuit for `qcommons.run`: the path, or what standard input ("-") or a FIFO held.

    wait_s: seconds that those may take until their end.

    Raises:
        UsageError: they took longer, or hold more than a program may.
    """
    if name != "-" and not is_fifo(Path(name)):
        return Path(name)
    from qcommons.node.frames import Source

    if name != "-":
        return Source(_read(name, DEFAULT_CAPS.bytes_max, wait_s), name)
    limit = DEFAULT_CAPS.bytes_max
    if sys.stdin is None:  # the shell closed it: <&-
        raise UsageError("it is closed", where="standard input")
    try:
        descriptor = sys.stdin.fileno()
    except (OSError, AttributeError):  # a stream of the caller's own
        raw = sys.stdin.buffer.read(limit + 1)
    else:
        raw = read_stream(descriptor, limit, wait_s, "standard input")
    return Source(_capped(raw, limit, "standard input"), "<stdin>")


def _read(name: str, limit: int, wait_s: float) -> bytes:
    return _capped(read_file(Path(name), limit, wait_s), limit, name)


def _capped(raw: bytes, limit: int, where: str) -> bytes:
    if len(raw) > limit:
        raise UsageError(f"more than {limit} bytes", where=where, limit=f"{limit} bytes")
    return raw


def bindings(texts: Sequence[str]) -> dict[str, float]:
    """{"theta": 0.3} from ["theta=0.3"]; radians, pi is understood; "g[]=0.1,0.2" gives g[0] and g[1]."""
    values: dict[str, float] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            what = f"cannot read {shown(text)}; write NAME=VALUE, as in theta=0.3 or phi=pi/2"
            raise UsageError(what, where="--bind")
        parts = [(name, value)]
        if name.endswith(ARRAY_MARK):
            array = name.removesuffix(ARRAY_MARK)
            parts = [(f"{array}[{index}]", part) for index, part in enumerate(value.split(","))]
        for one, words in parts:
            if one in values:
                raise UsageError(f"{one} is given twice; for several values use --sweep FILE", where="--bind")
            values[one] = angle_rad(words, f"--bind {one}")
    return values


def read_sweep(name: str, wait_s: float = WAIT_S) -> list[dict[str, float]]:
    """Points of a sweep: JSON (list of objects, or object of equal lists) or CSV with a header line.

    wait_s: seconds that a FIFO may take until its end.

    Raises:
        UsageError: no such form, no points, more than `SWEEP_POINTS_MAX`, a value that is no finite number.
    """
    raw = _read(name, SWEEP_BYTES_MAX, wait_s)
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
        tree = json.loads(text, parse_int=float)  # int refuses thousands of digits; every number becomes a float anyway
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
        if len(names) == 1 and ";" in names[0]:
            raise UsageError("columns are separated by semicolons; separate them by commas", where=f"{name}: line 1")
        if len(set(names)) < len(names):
            raise UsageError(f"a column is named twice: {', '.join(names)[:200]}", where=name)
        return list(reader)
    except csv.Error as error:
        raise UsageError(f"not CSV: {error}", where=name) from None


def _point(row: Any, where: str) -> dict[str, float]:
    if not isinstance(row, dict):
        raise UsageError(f"{shown(row)} is not an object of input: value", where=where)
    point = {}
    for key, value in row.items():
        if isinstance(value, str):
            point[str(key)] = angle_rad(value, f"{where}, {key}")
        elif isinstance(value, float) and math.isfinite(value):
            point[str(key)] = value
        else:
            raise UsageError(f"{key} = {shown(value)} is not a finite number", where=where)
    return point


def observable(text: str, wait_s: float = WAIT_S) -> str:
    """The text of a Pauli sum; "@FILE" is read from the file, line breaks count as spaces."""
    if not isinstance(text, str):  # what argparse makes of --observable=--
        raise UsageError("a Pauli sum is needed, as in 'ZZI + 0.5 XXI'", where="--observable")
    if not text.startswith("@"):
        return text
    raw = _read(text[1:], SWEEP_BYTES_MAX, wait_s)
    return " ".join(raw.decode("utf-8", errors="replace").split())
