"""Device profiles: a TOML file of gate errors, durations, T1, T2 and readout errors, read as `Noise`.

Flow: profile file -> *load_profile* -> Noise -> engines. The format is our own and is described in
docs/noise.md; examples/line5.toml and examples/grid9.toml are complete ones.

`error` is the average gate infidelity of a depolarizing channel after the gate, p = error d/(d - 1)
with d = 2**k (Nielsen, Phys. Lett. A 303, 249 (2002)); relaxation during the gate comes on top.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from itertools import combinations
from typing import Any

from qcommons.base.errors import UsageError
from qcommons.base.text import shown
from qcommons.base.toml import read_toml
from qcommons.circuits.gates import ALIASES, GATES
from qcommons.circuits.noise import Channel, Noise, Rule, check_noise

__all__ = ["load_profile"]

TEXT_MAX = 4 << 20  # characters
QUBITS_MAX = 10_000
FLOAT_MAX = sys.float_info.max  # TOML knows longer integers
PAIR_QUBITS_MAX = 64  # where a gate has errors by pair, every other pair gets a rule too
# Operations by number of qubits, controls counted; no engine runs noise on gates wider than 32 qubits.
_DEFAULTS = {"one_qubit": (1,), "two_qubit": (2,), "wider": tuple(range(3, 33))}
_TOP = {"schema", "name", "n_qubits", "default", "gates", "qubits"}
_GATE = {"error", "duration_ns", "on"}
_QUBIT = {"t1_us", "t2_us", "readout"}
Table = Mapping[str, Any]


def load_profile(text: str, form: str = "toml") -> Noise:
    """Read a device profile.

    Args:
        text: the file's text. form: "toml" (the only one).

    Raises:
        UsageError: not TOML, an unknown key, a number out of range, T2 > 2 T1; `where` names the field.
    """
    if form != "toml":
        raise UsageError(f"profile format {form!r}; allowed: toml", where="profile")
    if len(text) > TEXT_MAX:
        raise UsageError(f"profile of {len(text)} characters; allowed {TEXT_MAX}", limit=f"{TEXT_MAX} characters")
    top = read_toml(text, "profile")
    _known(top, _TOP, "profile")
    if top.get("schema") != 1:
        raise UsageError(f"schema = {shown(top.get('schema'))}; this version reads schema = 1", where="profile schema")
    n = top.get("n_qubits")
    if not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= QUBITS_MAX:
        raise UsageError(f"n_qubits = {shown(n)}; allowed 1 to {QUBITS_MAX}", where="profile n_qubits")
    name = top.get("name", "profile")
    if not isinstance(name, str) or not 1 <= len(name) <= 200:
        raise UsageError(f"name = {shown(name)}; a text of 1 to 200 characters", where="profile name")
    qubits = _qubits(_table(top, "qubits", "profile"), n)
    rules = [*_gate_rules(top, qubits), *_readout_rules(qubits)]
    noise = Noise(tuple(rules), name, n)
    check_noise(noise)
    return noise


def _table(parent: Table, key: str, where: str) -> Table:
    value = parent.get(key, {})
    if not isinstance(value, dict):
        raise UsageError(f"{key} must be a table", where=f"{where} {key}")
    return value


def _known(table: Table, allowed: set[str], where: str) -> None:
    unknown = sorted(set(table) - allowed)
    if unknown:
        raise UsageError(f"unknown key {shown(unknown[0])}; allowed {', '.join(sorted(allowed))}", where=where)


def _number(table: Table, key: str, where: str, high: float = math.inf) -> float | None:
    """A finite number from 0 to `high`, None where the key is missing."""
    value = table.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= min(high, FLOAT_MAX):
        raise UsageError(f"{key} = {shown(value)}; allowed 0 to {high}", where=where)
    return float(value)


def _qubits(table: Table, n: int) -> list[Table]:
    """One table a qubit: its own keys over those of [qubits.default]."""
    default = _table(table, "default", "qubits")
    own: dict[int, Table] = {}
    for key in table:
        if key == "default":
            continue
        if not (key.isascii() and key.isdigit() and len(key) < 9 and int(key) < n):
            raise UsageError(f"qubit {shown(key)}; allowed default and 0 to {n - 1}", where="profile qubits")
        own[int(key)] = _table(table, key, "qubits")
    for who, each in (("default", default), *((str(q), table) for q, table in own.items())):
        where = f"profile qubits.{who}"
        _known(each, _QUBIT, where)
        for time in ("t1_us", "t2_us"):
            if _number(each, time, where) == 0:
                raise UsageError(f"{time} = 0; a positive time is needed", where=where)
    return [{**default, **own.get(q, {})} for q in range(n)]


def _readout_rules(qubits: list[Table]) -> list[Rule]:
    """One rule for all qubits of equal error."""
    alike: dict[Channel, list[int]] = {}
    for q, table in enumerate(qubits):
        value = table.get("readout")
        if value is None:
            continue
        pair = value if isinstance(value, list) else [value, value]
        where = f"profile qubits.{q} readout"
        if len(pair) != 2:
            raise UsageError("readout takes one number, or two: P(1|0), P(0|1)", where=where)
        flips = tuple(_number({"readout": p}, "readout", where, 1.0) or 0.0 for p in pair)
        alike.setdefault(Channel("readout", flips), []).append(q)
    return [Rule((channel,), (), tuple(where)) for channel, where in alike.items()]


def _gate_rules(top: Table, qubits: list[Table]) -> list[Rule]:
    """Depolarizing rules, then relaxation rules, of the named gates and of the defaults."""
    gates = _table(top, "gates", "profile")
    names: dict[str, Table] = {}
    for key in gates:
        row = ALIASES.get(key, key)
        if row not in GATES and row != "reset":
            raise UsageError(f"unknown gate {shown(key)}", where="profile gates")
        if row in names:
            raise UsageError(f"gate {row!r} is given twice (as an alias)", where="profile gates")
        names[row] = _table(gates, key, "gates")
    rules: list[Rule] = []
    timed: dict[float, list[tuple[tuple[str, ...], tuple[int, ...]]]] = {}
    default = _table(top, "default", "profile")
    _known(default, set(_DEFAULTS), "profile default")
    rows: list[tuple[str, tuple[str, ...], tuple[int, ...], Table]] = []
    for name, table in names.items():
        rows.append((f"gates.{name}", (name,), (_width(name),), table))
    for key, widths in _DEFAULTS.items():
        others = tuple(g for g in GATES if g not in names or _width(g) not in widths)
        rows.append((f"default.{key}", others, widths, _table(default, key, "default")))
    for where, who, widths, table in rows:
        _known(table, _GATE, f"profile {where}")
        rules += _error_rules(table, who, widths, len(qubits), f"profile {where}")
        duration_ns = _number(table, "duration_ns", f"profile {where}", 1e15)
        if duration_ns:
            timed.setdefault(duration_ns, []).append((who, widths))
    return rules + _relaxation_rules(timed, qubits)


def _width(name: str) -> int:
    return 1 if name == "reset" else GATES[name].n_qubits


def _error_rules(table: Table, who: tuple[str, ...], widths: tuple[int, ...], n: int, where: str) -> list[Rule]:
    k = widths[0]
    error = _number(table, "error", where, 1.0)
    by_place = _table(table, "on", where)
    if by_place and (error is None or k > 2 or len(who) > 1 or (k == 2 and n > PAIR_QUBITS_MAX)):
        raise UsageError(
            f"`on` is for named gates of one or two qubits, beside an `error` for other places, "
            f"and for pairs on up to {PAIR_QUBITS_MAX} qubits",
            where=where,
        )
    places = {_place(key, k, n, where): _number(by_place, key, where, 1.0) for key in by_place}
    alike: dict[float, list[tuple[int, ...]]] = {}
    for place, value in places.items():
        alike.setdefault(value or 0.0, []).append(place)
    if error and places:
        alike.setdefault(error, []).extend(p for p in combinations(range(n), k) if p not in places)
    rules: list[Rule] = []
    for value, group in alike.items():
        channel = _depolarizing(value, k, where)
        if k == 1:
            rules.append(Rule((channel,), who, tuple(p[0] for p in group), k))
        else:
            rules += [Rule((channel,), who, place, k) for place in group]
    if error and not places:
        rules += [Rule((_depolarizing(error, w, where),), who, (), w) for w in widths]
    return [rule for rule in rules if rule.channels[0].values[0] > 0]


def _place(key: str, k: int, n: int, where: str) -> tuple[int, ...]:
    parts = key.split("-")
    if len(parts) != k or not all(p.isascii() and p.isdigit() and len(p) < 9 and int(p) < n for p in parts):
        shape = "a qubit such as 3" if k == 1 else "a pair such as 0-1"
        raise UsageError(f"{shown(key)} is not {shape} below {n}", where=f"{where} on")
    place = tuple(sorted(int(p) for p in parts))
    if len(set(place)) != k:
        raise UsageError(f"{key!r} names a qubit twice", where=f"{where} on")
    return place


def _depolarizing(error: float, k: int, where: str) -> Channel:
    p = error * 2**k / (2**k - 1)
    if p > 1:
        raise UsageError(f"error = {error}; allowed 0 to {1 - 2**-k} on {k} qubit(s)", where=where)
    return Channel("depolarizing", (p,))


def _relaxation_rules(
    timed: dict[float, list[tuple[tuple[str, ...], tuple[int, ...]]]], qubits: list[Table]
) -> list[Rule]:
    """For each duration and each kind of qubit one rule; qubits without T1 and T2 do not relax."""
    alike: dict[tuple[float, float], list[int]] = {}
    for q, table in enumerate(qubits):
        if "t1_us" in table or "t2_us" in table:
            t1_us = float(table.get("t1_us", math.inf))
            t2_us = float(table.get("t2_us", 2 * t1_us))
            alike.setdefault((t1_us * 1e-6, t2_us * 1e-6), []).append(q)
    return [
        Rule((Channel("relaxation", (t1_s, t2_s, duration_ns * 1e-9)),), who, tuple(group), width)
        for duration_ns, entries in timed.items()
        for who, widths in entries
        for width in widths
        for (t1_s, t2_s), group in alike.items()
    ]
