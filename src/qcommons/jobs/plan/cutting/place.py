"""Where a program is cut, of all widths worth trying the one that costs least.

Flow: Wires, width -> *placed* (find, at several widths) -> Placed -> plan/cut.py. Narrower fragments run faster and
need more cuts: what is compared is seconds where values are computed, shots where they are sampled.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from qcommons.base.errors import Unavailable
from qcommons.engines.select import plural, size
from qcommons.jobs.plan.cutting.exact import PRODUCTS_MAX, exact_width
from qcommons.jobs.plan.cutting.find import Found, Model, found, lines_of
from qcommons.jobs.plan.cutting.fragments import Fragments, Labels, fragments_of
from qcommons.jobs.plan.cutting.links import gamma_of
from qcommons.jobs.plan.cutting.sampled import FACTOR_MAX, sampled_width
from qcommons.jobs.plan.cutting.ways import index_qubits
from qcommons.jobs.plan.cutting.wires import Wires

__all__ = ["Placed", "factor_of", "placed", "products_of"]

WIDER = (1, 2, 4, 8)  # qubits above the widest allowed, in search of the nearest that would do
AMPLITUDE_S = 2e-9  # one amplitude-update, to compare cuttings; runs are priced by the engines' cost model
PRODUCT_S = 1e-5  # one product of fragments: made, kept and summed
WIRE_GAMMA = 3.0
Lines = tuple[tuple[int, ...], ...]


class Placed(NamedTuple):
    """labels: for `fragments_of`. gates, wires: how many are cut. searched: see `Found`."""

    labels: Labels
    gates: int
    wires: int
    searched: bool


def placed(wires: Wires, width_max: int, *, sampled: bool, state_bytes: float) -> Placed:
    """state_bytes: of one amplitude, to say what a width takes.

    Raises:
        Unavailable: nothing can be cut, or no cutting keeps to the width and to what can be put together.
    """
    if len(wires.used) < 2:
        raise Unavailable("no gate on two qubits is left that the observables depend on: nothing to cut")
    best: tuple[float, Fragments, Found] | None = None
    one: tuple[Fragments, Found] | None = None
    lines = lines_of(wires)
    for width in _widths(len(wires.used), width_max):
        one = _at(wires, lines, width, sampled, search=width == width_max)
        if one is not None and (best is None or _price(one[0], sampled) < best[0]):
            best = (_price(one[0], sampled), *one)
    if best is not None and _over(best[1], sampled) is None:
        parts, where = best[1:]
        searched = one is not None and one[1].searched and one[1].bits >= where.bits  # the widest was the last
        return Placed(where.labels, len(parts.cuts), len(parts.wires), searched)
    room = f"fragments of at most {plural(width_max, 'qubit')} ({size(state_bytes * 2.0**width_max)})"
    why = _too_wide(wires, lines, width_max, sampled) if best is None else _over(best[1], sampled)
    nearest = _nearest(wires, lines, width_max, sampled, state_bytes)
    raise Unavailable(f"{room}: {why}. Nearest: {nearest}", limit=plural(width_max, "qubit"))


def products_of(parts: Fragments) -> int:
    """Products of fragments that one Pauli string takes, computed."""
    gates = sum(2 * index_qubits(cut.interaction) for cut in parts.cuts)
    return 1 << gates + 2 * len(parts.wires)


def factor_of(parts: Fragments) -> float:
    """gamma^2 of a cutting, sampled: gates between the same two fragments cut jointly."""
    between: dict[tuple[int, ...], list[int]] = {}
    for number, cut in enumerate(parts.cuts):
        between.setdefault(tuple(sorted(cut.sides)), []).append(number)
    gammas = [gamma_of([parts.cuts[k].interaction for k in cuts]) for cuts in between.values()]
    return (math.prod(gammas) * WIRE_GAMMA ** len(parts.wires)) ** 2


def _widths(used: int, width_max: int) -> Iterator[int]:
    """Those at which two, three or four fragments of equal size fit with one to four qubits more; last, the widest."""
    fair = {-(-used // count) + more for count in (2, 3, 4) for more in (1, 2, 4)}
    yield from sorted(width for width in fair if width < min(width_max, used))
    yield width_max


def _at(wires: Wires, lines: Lines, width: int, sampled: bool, *, search: bool) -> tuple[Fragments, Found] | None:
    """A cutting whose fragments keep to `width` with all that is added to them."""
    for spare in (1, 2, 3) if sampled else (0,):  # an ancilla for each fragment that gates were cut to
        one = found(wires, _model(wires, sampled), lines, width - spare, search=search)
        if one is None:
            return None
        parts = fragments_of(wires, one.labels, (), split=not sampled)
        if max(_width(parts, number, sampled) for number in range(len(parts.fragments))) <= width:
            return parts, one
    return None


def _model(wires: Wires, sampled: bool) -> Model:
    if sampled:  # what one more gate adds to those cut jointly: twice log2 of (sum |u|)^2
        bits = tuple(4 * math.log2(each.size) for each in wires.interactions)
        return Model(bits, (0,) * len(bits), 2 * math.log2(WIRE_GAMMA))
    legs = tuple(index_qubits(each) for each in wires.interactions)
    return Model(tuple(2.0 * count for count in legs), legs, 2.0)


def _width(parts: Fragments, number: int, sampled: bool) -> int:
    return sampled_width(parts, number) if sampled else exact_width(parts, number)


def _price(parts: Fragments, sampled: bool) -> float:
    work = math.fsum(
        len(f.items) * 2.0 ** _width(parts, number, sampled) * (1 if sampled else 4.0 ** len(f.ins))
        for number, f in enumerate(parts.fragments)
    )
    if sampled:  # shots first; work only among equals
        return factor_of(parts) * (1 + 1e-9 * min(work * AMPLITUDE_S, 1e6))
    return work * AMPLITUDE_S + products_of(parts) * PRODUCT_S


def _over(parts: Fragments, sampled: bool) -> str | None:
    """Why the cutting cannot be put together, in numbers."""
    cuts = f"needs {plural(len(parts.cuts) + len(parts.wires), 'cut')}"
    if sampled and factor_of(parts) > FACTOR_MAX:
        return f"{cuts}: {factor_of(parts):,.0f} times the shots; at most {FACTOR_MAX:,.0f}"
    if not sampled and products_of(parts) > PRODUCTS_MAX:
        return f"{cuts}: {products_of(parts):,} products; at most {PRODUCTS_MAX:,}"
    return None


def _too_wide(wires: Wires, lines: Lines, width_max: int, sampled: bool) -> str:
    """Why no cutting keeps to a width: what would be cut if cuts added no qubits."""
    bare = _model(wires, sampled)._replace(gate_legs=(0,) * len(wires.gates))
    one = found(wires, bare, lines, width_max, search=False)
    if one is None:
        return "no cutting was found"
    parts = fragments_of(wires, one.labels, (), split=not sampled)
    widest = max(_width(parts, number, sampled) for number in range(len(parts.fragments)))
    needs = f"needs {plural(len(parts.cuts) + len(parts.wires), 'cut')}"
    return _over(parts, sampled) or f"{needs}, and with the qubits that they add a fragment has {widest}"


def _nearest(wires: Wires, lines: Lines, width_max: int, sampled: bool, state_bytes: float) -> str:
    for width in (width_max + more for more in WIDER):
        one = _at(wires, lines, width, sampled, search=False)
        if one is not None and _over(one[0], sampled) is None:
            cuts = plural(len(one[0].cuts) + len(one[0].wires), "cut")
            return f"a peer for fragments of {width} qubits ({size(state_bytes * 2.0**width)}) needs {cuts}"
    return "fewer gates between parts of the program, or observables with smaller light cones"
