"""Links: what two fragments are cut along, as a quasi-probability mixture of things each can do alone.

Flow: Fragments -> *links_of* -> sampled. A link has settings; its value is the sum over settings of the products of
what the two sides measure, coefficients included; gamma is the sum of the settings' weights, and gamma^2 is what it
costs in shots. No side needs to know what the other measured.

All gates cut between the same two fragments are one link, cut *jointly*, wherever they stand in the circuits. With
U_i = sum_m u_im A_im x B_im, K = (m_1, m_2, ...) a choice for every gate, A_K the first side's circuit with letters A_K
in the slots and C_K = prod_i u_i,m_i, the cut circuit is sum_KL C_K C_L* (A_K . A_L^dag) x (B_K . B_L^dag), that is
  K = L  weight |C_K|^2: both sides put in the letters K.
  K < L  weight 2 |C_K C_L|, twice: with phi = arg(C_K C_L*), x = tr(O A_K rho A_L^dag), y alike,
         2 Re(e^{i phi} x y) = 2 Re(e^{i phi} x) Re(y) - 2 Im(e^{i phi} x) Im(y). An ancilla in |+> per side puts in
         letters K where it is 0 and L where it is 1; its mean of cos(a) X + sin(a) Y with O is Re(e^{ia} x).
so gamma = 1 + 2 sum_{K != L} |C_K C_L| = 2 (prod_i sum_m |u_im|)^2 - 1, against prod_i (2 (sum_m |u_im|)^2 - 1) for one
gate at a time: 7 not 9 for two cx, 15 not 27 for three. This gamma is the least possible.
Source: Schmitt, Piveteau and Sutter, arXiv:2312.11638; Ufrecht et al., arXiv:2312.09679.

A cut wire is a link of three settings of weight 1 (gamma 3): measure X, prepare what was found; the same with Y; and,
subtracted, measure Z and prepare the other state. The outcomes are averaged over, so no message is needed.
Source: Harada, Wada and Yamamoto, arXiv:2303.08287, for one wire.
"""

from __future__ import annotations

import cmath
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from qcommons.base.errors import Unavailable
from qcommons.jobs.plan.cutting.fragments import Fragments
from qcommons.jobs.plan.cutting.interaction import Interaction
from qcommons.jobs.plan.cutting.pauli import over

__all__ = ["Half", "Letters", "Link", "Pair", "Prepare", "Read", "Setting", "Variant", "gamma_of", "links_of"]

CHOICES_MAX = 64  # of all gates of a link: 6 gates of two terms, 4,096 settings, gamma 127


class Letters(NamedTuple):
    """Put these letters in the link's slots, in the order of its gates."""

    letters: tuple[str, ...]


class Pair(NamedTuple):
    """Put in `letters`, and `others` beside them where the ancilla is 1; read cos(angle) X + sin(angle) Y of it."""

    letters: tuple[str, ...]
    others: tuple[str, ...]
    angle: float


class Read(NamedTuple):
    """Measure this letter where the wire ends."""

    letter: str


class Prepare(NamedTuple):
    """Begin the wire with these gates."""

    gates: tuple[str, ...]


Variant = Letters | Pair | Read | Prepare


class Half(NamedTuple):
    """What one side does in a product. signed: its ancilla's or wire's outcome is part of the parity."""

    variant: Variant
    signed: bool


class Setting(NamedTuple):
    """weight: of the quasi-probabilities. products: (coefficient, (first side, second side))."""

    weight: float
    products: tuple[tuple[float, tuple[Half, Half]], ...]


class Link(NamedTuple):
    """sides: the two fragments. cuts, wire: what it joins: gates by number, or one wire."""

    sides: tuple[int, int]
    cuts: tuple[int, ...]
    wire: int | None
    settings: tuple[Setting, ...]

    @property
    def gamma(self) -> float:
        return math.fsum(setting.weight for setting in self.settings)


def gamma_of(interactions: Sequence[Interaction]) -> float:
    """Of gates cut jointly."""
    return 2 * math.prod(each.size for each in interactions) ** 2 - 1


def links_of(parts: Fragments) -> tuple[Link, ...]:
    """Raises Unavailable where more gates are cut between two fragments than can be cut jointly."""
    between: dict[tuple[int, int], list[int]] = {}
    for number, cut in enumerate(parts.cuts):
        low, high = sorted(cut.sides)
        between.setdefault((low, high), []).append(number)
    links = [_gates(parts, sides, tuple(cuts)) for sides, cuts in between.items()]
    links += [Link((wire.up, wire.down), (), number, WIRE) for number, wire in enumerate(parts.wires)]
    return tuple(links)


def _gates(parts: Fragments, sides: tuple[int, int], cuts: tuple[int, ...]) -> Link:
    terms = []
    for number in cuts:
        cut = parts.cuts[number]
        back = cut.sides != sides
        terms.append([(u, b, a) if back else (u, a, b) for u, a, b in cut.interaction.terms])
    choices = math.prod(map(len, terms))
    if choices > CHOICES_MAX:
        gamma = gamma_of([parts.cuts[number].interaction for number in cuts])
        raise Unavailable(
            f"{len(cuts)} gates cut between two fragments: {choices**2:,} settings, {gamma**2:,.0f} times the shots; "
            f"at most {CHOICES_MAX**2:,} settings", limit=f"{CHOICES_MAX**2:,} settings",
        )  # fmt: skip
    found = [_Choice(rows) for rows in itertools.product(*terms)]
    settings = [_alike(one) for one in found]
    for one, other in itertools.combinations(found, 2):
        settings += _unlike(one, other)
    return Link(sides, cuts, None, tuple(settings))


class _Choice:
    """One term for every gate: its amplitude, and the letters of the two sides."""

    def __init__(self, rows: tuple[tuple[complex, str, str], ...]) -> None:
        self.amplitude = math.prod((u for u, _, _ in rows), start=complex(1.0))
        self.letters = (tuple(a for _, a, _ in rows), tuple(b for _, _, b in rows))


def _alike(one: _Choice) -> Setting:
    weight = abs(one.amplitude) ** 2
    first, second = (Half(Letters(letters), False) for letters in one.letters)
    return Setting(weight, ((weight, (first, second)),))


def _unlike(one: _Choice, other: _Choice) -> list[Setting]:
    weight = 2 * abs(one.amplitude * other.amplitude)
    turn = one.amplitude * other.amplitude.conjugate()
    steps = []
    for mine, theirs in zip(one.letters, other.letters, strict=True):
        letters = [over(b, a)[1] for a, b in zip(mine, theirs, strict=True)]
        # beside letter a the step acts as phase times letter b: x = phase * (x as measured)
        turn *= math.prod((over(step, a)[0] for step, a in zip(letters, mine, strict=True)), start=complex(1.0))
        steps.append(tuple(letters))
    phi = cmath.phase(turn)
    settings = []
    for sign, back in ((1.0, 0.0), (-1.0, math.pi / 2)):
        first = Half(Pair(one.letters[0], steps[0], phi - back), True)
        second = Half(Pair(one.letters[1], steps[1], -back), True)
        settings.append(Setting(weight, ((sign * weight, (first, second)),)))
    return settings


def _wire_setting(letter: str, sign: float, plus: tuple[str, ...], minus: tuple[str, ...]) -> Setting:
    """Measure `letter`; prepare `plus` on +1, `minus` on -1: P(+1) = (1 + <letter>)/2."""
    both, parity = Half(Read(letter), False), Half(Read(letter), True)
    return Setting(
        1.0,
        tuple(
            (sign * 0.5 * outcome, (half, Half(Prepare(gates), False)))
            for value, gates in ((1.0, plus), (-1.0, minus))
            for half, outcome in ((both, 1.0), (parity, value))
        ),
    )


WIRE: tuple[Setting, ...] = (
    _wire_setting("X", 1.0, ("h",), ("x", "h")),
    _wire_setting("Y", 1.0, ("h", "s"), ("h", "sdg")),
    _wire_setting("Z", -1.0, ("x",), ()),
)
