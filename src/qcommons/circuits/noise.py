"""Noise as data: channels attached to gates or qubits.

Flow: `--noise depolarizing:0.01` or a device profile file -> *Noise* -> engines that claim the
channel kinds. A channel acts after the gate it is attached to, on that gate's qubits. Each kind is
one row of `CHANNELS`; its Kraus operators and its Pauli probabilities come from here for every engine.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache
from itertools import product

import msgspec
import numpy as np
from numpy.typing import NDArray

from qcommons.base.errors import UsageError
from qcommons.base.text import shown
from qcommons.circuits.gates import GATES, pauli_matrix
from qcommons.circuits.program import Op

__all__ = [
    "CHANNELS", "Channel", "ChannelRow", "Noise", "Parameter", "Rule", "channels_after", "check_channel", "check_fits",
    "check_noise", "kraus",
    "load_profile", "parse_noise", "pauli_probabilities", "readout_for",
]  # fmt: skip

Matrix = NDArray[np.complex128]
JOINT_QUBITS_MAX = 5  # 4**k operators of 4**k entries: 16 MiB at 5
RULES_MAX = 100_000
NOT_UNITARY = frozenset({"measure", "reset", "barrier"})


class Channel(msgspec.Struct, frozen=True):
    """One channel; `kind` is a row of `CHANNELS`, `values` in the row's order.

    depolarizing (p): rho -> (1-p) rho + p I/2^k on the k qubits of the gate together.
    bit_flip, phase_flip (p) and pauli (px, py, pz): independently on each qubit of the gate.
    relaxation (t1_s, t2_s, duration_s): thermal relaxation towards |0> on each qubit.
    amplitude_damping (gamma): decay towards |0> on each qubit.
    readout (p1_given_0, p0_given_1): flips of the recorded classical bit (measure only).
    """

    kind: str
    values: tuple[float, ...]


class Rule(msgspec.Struct, frozen=True):
    """`channels` in order after every operation that matches.

    gates: gate rows (or "measure", "reset") it applies to; empty means every unitary gate
        (for readout: every measurement).
    qubits: empty means all qubits. Else a joint channel (depolarizing) applies where every qubit of
        the operation is in here, and a one-qubit channel acts on those qubits that are in here.
    arity: 0 any, else the number of qubits of the operation.
    """

    channels: tuple[Channel, ...]
    gates: tuple[str, ...] = ()
    qubits: tuple[int, ...] = ()
    arity: int = 0


class Noise(msgspec.Struct, frozen=True):
    """All rules apply, in order.

    name: labels answers and reasons. n_qubits: how many qubits it describes (a device), 0 for any number;
        see `check_fits`.
    """

    rules: tuple[Rule, ...]
    name: str = "noise"
    n_qubits: int = 0


class Parameter(msgspec.Struct, frozen=True):
    """A number of a channel: name with its unit, inclusive range."""

    name: str
    low: float
    high: float


class ChannelRow(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of channel.

    joint: one channel on all qubits of the gate; else one on each.
    symmetric: one value in a text stands for both.
    limit: a rule between the values as text, None where it holds.
    pauli: values -> probabilities of (X, Y, Z) on one qubit; None if it is no Pauli channel or joint.
    kraus: values -> complex128 (m, 2, 2) on one qubit; None where `pauli` says it, or for readout.
    """

    kind: str
    help: str
    source: str
    parameters: tuple[Parameter, ...]
    joint: bool = False
    symmetric: bool = False
    limit: Callable[..., str | None] = lambda *values: None
    pauli: Callable[..., tuple[float, float, float]] | None = None
    kraus: Callable[..., Matrix] | None = None

    @property
    def is_pauli(self) -> bool:
        """A mixture of Pauli strings (stabiliser engines can run it)."""
        return self.joint or self.pauli is not None


def _damping(gamma: float) -> Matrix:
    return np.array([[[1, 0], [0, math.sqrt(1 - gamma)]], [[0, math.sqrt(gamma)], [0, 0]]], dtype=np.complex128)


def _relaxation(t1_s: float, t2_s: float, duration_s: float) -> Matrix:
    """Population decays by exp(-t/T1), coherence by exp(-t/T2): damping, then the dephasing that is left."""
    stay = math.exp(-duration_s / t1_s)
    coherence = math.exp(-duration_s / t2_s)
    lost = max(0.0, stay - coherence**2)  # zero at T2 = 2 T1
    return np.array(
        [[[1, 0], [0, coherence]], [[0, math.sqrt(-math.expm1(-duration_s / t1_s))], [0, 0]],
         [[0, 0], [0, math.sqrt(lost)]]], dtype=np.complex128,
    )  # fmt: skip


def _p(name: str = "p") -> Parameter:
    return Parameter(name, 0.0, 1.0)


_NIELSEN = "Nielsen and Chuang, Quantum Computation and Quantum Information (2010), 8.3"
_ROWS: tuple[ChannelRow, ...] = (
    ChannelRow(kind="depolarizing", help="rho -> (1-p) rho + p I/2^k on the k qubits of the gate together",
               source=_NIELSEN + ".4", parameters=(_p(),), joint=True),
    ChannelRow(kind="bit_flip", help="X with probability p on each qubit", source=_NIELSEN + ".3",
               parameters=(_p(),), pauli=lambda p: (p, 0.0, 0.0)),
    ChannelRow(kind="phase_flip", help="Z with probability p on each qubit", source=_NIELSEN + ".3",
               parameters=(_p(),), pauli=lambda p: (0.0, 0.0, p)),
    ChannelRow(kind="pauli", help="X, Y, Z with probabilities px, py, pz on each qubit", source=_NIELSEN,
               parameters=(_p("px"), _p("py"), _p("pz")), pauli=lambda x, y, z: (x, y, z),
               limit=lambda x, y, z: None if x + y + z <= 1 + 1e-12 else f"px + py + pz = {x + y + z} is above 1"),
    ChannelRow(kind="relaxation", help="thermal relaxation to |0> for duration_s on each qubit",
               source=_NIELSEN + ".5; T2 <= 2 T1",
               parameters=(Parameter("t1_s", 1e-15, math.inf), Parameter("t2_s", 1e-15, math.inf),
                           Parameter("duration_s", 0.0, 1e9)),
               limit=lambda t1, t2, d: None if t2 <= 2 * t1 * (1 + 1e-9) else f"T2 = {t2} s is above 2 T1 = {2 * t1} s",
               kraus=_relaxation),
    ChannelRow(kind="amplitude_damping", help="|1> decays to |0> with probability gamma on each qubit",
               source=_NIELSEN + ".5", parameters=(_p("gamma"),), kraus=_damping),
    ChannelRow(kind="readout", help="the recorded bit flips: P(1|0), P(0|1); one number is both",
               source="Qiskit Aer ReadoutError", parameters=(_p("p1_given_0"), _p("p0_given_1")), symmetric=True),
)  # fmt: skip
CHANNELS: dict[str, ChannelRow] = {row.kind: row for row in _ROWS}


def check_channel(channel: Channel, where: str) -> None:
    """Raises UsageError unless the kind is known and its values are in range."""
    row = CHANNELS.get(channel.kind)
    if row is None:
        raise UsageError(f"unknown noise kind {channel.kind!r}; there are {', '.join(CHANNELS)}", where=where)
    names = ", ".join(p.name for p in row.parameters)
    if len(channel.values) != len(row.parameters):
        raise UsageError(
            f"{channel.kind} takes {len(row.parameters)} value(s) ({names}); got {len(channel.values)}", where=where
        )
    for parameter, value in zip(row.parameters, channel.values, strict=True):
        if not parameter.low <= value <= parameter.high:
            raise UsageError(
                f"{channel.kind}: {parameter.name} = {value}; allowed {parameter.low} to {parameter.high}",
                where=where, limit=f"{parameter.low} to {parameter.high}",
            )  # fmt: skip
    problem = row.limit(*channel.values)
    if problem:
        raise UsageError(f"{channel.kind}: {problem}", where=where)


def check_noise(noise: Noise) -> None:
    """Raises UsageError, naming the rule's index, unless every channel is valid."""
    if len(noise.rules) > RULES_MAX:
        raise UsageError(f"{len(noise.rules)} noise rules; allowed {RULES_MAX}", limit=f"{RULES_MAX} rules")
    for index, rule in enumerate(noise.rules):
        if rule.arity < 0:
            raise UsageError(f"arity {rule.arity}; allowed 0 or more", where=f"noise rule {index}")
        unknown = [g for g in rule.gates if g not in GATES and g not in ("measure", "reset")]
        if unknown:
            raise UsageError(f"unknown gates {unknown[:5]}", where=f"noise rule {index}")
        for channel in rule.channels:
            check_channel(channel, f"noise rule {index}")


def check_fits(noise: Noise, n_qubits: int) -> None:
    """Raises UsageError if a program of n_qubits qubits is wider than what the noise describes."""
    if noise.n_qubits and n_qubits > noise.n_qubits:
        raise UsageError(
            f"the program has {n_qubits} qubits and the profile {noise.name!r} describes {noise.n_qubits}",
            where="noise",
            limit=f"{noise.n_qubits} qubits",
        )


def parse_noise(text: str) -> Noise:
    """Read "kind:value[,value...]" joined by "+", as in "depolarizing:0.001+readout:0.02".

    Gate channels follow every unitary gate. Times may carry a unit: "relaxation:100us,80us,50ns"; a bare
    number is in seconds.

    Raises:
        UsageError: unknown kind, wrong number of values, value out of range.
    """
    if len(text) > 10_000:
        raise UsageError(f"noise text of {len(text)} characters; allowed 10000", limit="10000 characters")
    channels: list[Channel] = []
    for part in re.split(r"(?<![eE])\+", text):
        where = f"noise {shown(part.strip())}"
        kind, colon, rest = part.strip().partition(":")
        row = CHANNELS.get(kind.strip())
        if row is None or not colon:
            raise UsageError(
                f"expected kind:value with a kind of {', '.join(CHANNELS)}, for instance depolarizing:0.01", where=where
            )
        values = tuple(_number(word.strip(), row, where) for word in rest.split(","))
        if row.symmetric and len(values) == 1:
            values *= 2
        channel = Channel(row.kind, values)
        check_channel(channel, where)
        channels.append(channel)
    return Noise(tuple(Rule((channel,)) for channel in channels), text.strip())


_UNITS_S = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "ps": 1e-12}


def _number(word: str, row: ChannelRow, where: str) -> float:
    unit = word.lstrip("0123456789.eE+-") if row.kind == "relaxation" else ""
    try:
        return float(word[: len(word) - len(unit)]) * (_UNITS_S[unit] if unit else 1.0)
    except (ValueError, KeyError):
        names = ", ".join(p.name for p in row.parameters)
        raise UsageError(f"{shown(word)} is not a number; {row.kind} takes {names}", where=where) from None


class _Index:
    """Rules of one noise by gate name, and what was worked out for each operation."""

    def __init__(self, noise: Noise) -> None:
        self.anywhere: list[tuple[int, Rule, frozenset[int]]] = []
        self.by_gate: dict[str, list[tuple[int, Rule, frozenset[int]]]] = {}
        self.readout: list[tuple[Channel, frozenset[int]]] = []
        for order, rule in enumerate(noise.rules):
            qubits = frozenset(rule.qubits)
            if not rule.gates or "measure" in rule.gates:
                self.readout += [(c, qubits) for c in rule.channels if c.kind == "readout"]
            if all(c.kind == "readout" for c in rule.channels):
                continue
            if not rule.gates:
                self.anywhere.append((order, rule, qubits))
            for gate in set(rule.gates):
                self.by_gate.setdefault(gate, []).append((order, rule, qubits))
        self.memo: dict[tuple[str, tuple[int, ...]], list[tuple[Channel, tuple[int, ...]]]] = {}

    def after(self, gate: str, qubits: tuple[int, ...]) -> list[tuple[Channel, tuple[int, ...]]]:
        rules = self.by_gate.get(gate, [])
        if gate not in NOT_UNITARY:
            rules = sorted([*rules, *self.anywhere], key=lambda row: row[0])
        found: list[tuple[Channel, tuple[int, ...]]] = []
        for _, rule, inside in rules:
            if rule.arity not in (0, len(qubits)):
                continue
            where = tuple(q for q in qubits if q in inside) if inside else qubits
            for channel in rule.channels:
                if channel.kind == "readout":
                    continue
                if not CHANNELS[channel.kind].joint:
                    found += [(channel, (q,)) for q in where]
                elif where and len(where) == len(qubits):
                    found.append((channel, qubits))
        return found


_MEMO_MAX = 1 << 16
_indexed: tuple[Noise, _Index] | None = None  # one noise is asked about at a time, a million times


def _index(noise: Noise) -> _Index:
    """The index of this very object: hashing a profile of thousands of rules for each gate is too slow."""
    global _indexed
    last = _indexed
    if last is None or last[0] is not noise:
        last = _indexed = (noise, _Index(noise))
    return last[1]


def channels_after(noise: Noise, op: Op) -> list[tuple[Channel, tuple[int, ...]]]:
    """Channels that follow an operation, in order, each with the qubits it acts on together.

    Depolarizing acts on all qubits of the operation at once, other kinds qubit by qubit. Readout
    errors are not among them (`readout_for`). Do not change the list.
    """
    index = _index(noise)
    key = (op.gate, op.qubits)
    found = index.memo.get(key)
    if found is None:
        if len(index.memo) >= _MEMO_MAX:
            index.memo.clear()
        found = index.memo[key] = index.after(op.gate, op.qubits) if op.qubits and op.gate != "barrier" else []
    return found


def readout_for(noise: Noise, qubit: int) -> tuple[float, float] | None:
    """(P(1 recorded | 0), P(0 recorded | 1)) for measurements of `qubit`; None without readout error.

    Several readout rules act one after the other.
    """
    found: tuple[float, float] | None = None
    for channel, qubits in _index(noise).readout:
        if not qubits or qubit in qubits:
            up, down = channel.values
            a, b = found or (0.0, 0.0)
            found = (a * (1 - down) + (1 - a) * up, b * (1 - up) + (1 - b) * down)
    return found


@lru_cache(maxsize=1024)
def kraus(channel: Channel, n_qubits: int) -> Matrix:
    """Kraus operators of a channel on n_qubits qubits, first qubit least significant.

    Returns:
        complex128 of shape (m, 2**n, 2**n), sum of K^dag K = 1; read-only. Operators of weight zero are left out.

    Raises:
        UsageError: readout (it acts on a bit), or more qubits than `JOINT_QUBITS_MAX`.
    """
    if n_qubits > JOINT_QUBITS_MAX:
        raise UsageError(
            f"{channel.kind} on {n_qubits} qubits together; allowed {JOINT_QUBITS_MAX}: split wide gates first",
            where="noise", limit=f"{JOINT_QUBITS_MAX} qubits",
        )  # fmt: skip
    row = CHANNELS[channel.kind]
    mixture = pauli_probabilities(channel, n_qubits)
    if mixture is not None:
        operators = [math.sqrt(p) * pauli_matrix(letters[::-1]) for letters, p in mixture.items() if p > 0]
        full = np.array(operators)
    elif row.kraus is not None:
        single = row.kraus(*channel.values)
        single = single[np.abs(single).max(axis=(1, 2)) > 0]
        full = np.eye(1, dtype=np.complex128)[np.newaxis]
        for _ in range(n_qubits):
            full = np.array([np.kron(high, low) for high in single for low in full])
    else:
        raise UsageError("readout acts on the recorded bit and has no Kraus operators", where="noise")
    full.flags.writeable = False
    return full


def pauli_probabilities(channel: Channel, k: int) -> dict[str, float] | None:
    """Pauli string (rightmost letter on the first of the k qubits) -> probability; None if no Pauli channel.

    The identity comes first; the probabilities sum to 1.
    """
    row = CHANNELS[channel.kind]
    strings = ["".join(letters) for letters in product("IXYZ", repeat=k)]
    if row.joint:
        (p,) = channel.values
        return dict.fromkeys(strings, p / 4**k) | {"I" * k: 1 - p * (4**k - 1) / 4**k}
    if row.pauli is None:
        return None
    x, y, z = row.pauli(*channel.values)
    single = {"I": max(0.0, 1 - x - y - z), "X": x, "Y": y, "Z": z}
    return {s: math.prod(single[letter] for letter in s) for s in strings}


def load_profile(text: str, form: str = "toml") -> Noise:
    """A device profile as noise; see `noise_profile.load_profile`."""
    from qcommons.circuits.noise_profile import load_profile as load

    return load(text, form)
