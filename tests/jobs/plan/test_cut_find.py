"""Where to cut: known least cuts are found, widths kept, refusals in numbers."""

from __future__ import annotations

import contextlib
import time

import pytest

from qcommons.base.errors import Unavailable
from qcommons.base.seeds import stream
from qcommons.circuits.observables import PauliSum, Term
from qcommons.circuits.program import Op, Operation, Program
from qcommons.jobs.plan.cutting.exact import exact_width
from qcommons.jobs.plan.cutting.find import Model, bits_of, found, lines_of, widths_of
from qcommons.jobs.plan.cutting.fragments import Fragments, fragments_of
from qcommons.jobs.plan.cutting.place import Placed, placed
from qcommons.jobs.plan.cutting.sampled import sampled_width
from qcommons.jobs.plan.cutting.wires import Wires, wires_of


def everything(n: int) -> PauliSum:
    """An observable on all qubits, so that nothing is left out."""
    return PauliSum((Term(1.0, tuple((q, "X") for q in range(n))),), "")


def wires_from(n: int, pairs: list[tuple[int, int]], gate: str = "cx") -> Wires:
    ops: list[Operation] = [Op("h", (q,)) for q in range(n)]
    for k, (a, b) in enumerate(pairs):
        ops += [Op("rx", (a,), (0.3 + k,)), Op("ry", (b,), (0.2 + k,)), Op(gate, (a, b))]
    return wires_of(Program(n, (), (*ops, *(Op("ry", (q,), (0.7,)) for q in range(n)))), [everything(n)])


def knot(qubits: range, times: int, seed: int) -> list[tuple[int, int]]:
    """So many gates between random pairs, all qubits reached."""
    rng = stream(seed, "cutting tests", "knot")
    line = [(q, q + 1) for q in qubits[:-1]]
    return line + [tuple(rng.choice(list(qubits), 2, replace=False).tolist()) for _ in range(times)]


def cut(wires: Wires, width: int, *, sampled: bool = False) -> tuple[Placed, Fragments]:
    where = placed(wires, width, sampled=sampled, state_bytes=16.0)
    return where, fragments_of(wires, where.labels, range(wires.n_qubits), split=not sampled)


@pytest.mark.parametrize("sampled", [False, True])
def test_one_gate_between_two_knots_is_the_cut(sampled: bool) -> None:
    wires = wires_from(12, knot(range(6), 12, 1) + knot(range(6, 12), 12, 2) + [(2, 9)] + knot(range(6), 8, 3))
    where, parts = cut(wires, 8, sampled=sampled)
    assert (where.gates, where.wires) == (1, 0)
    width = sampled_width if sampled else exact_width
    assert sorted(width(parts, number) for number in range(len(parts.fragments))) == [7, 7]


def test_a_qubit_that_changes_sides_is_cut_on_its_wire() -> None:
    """Qubit 4 meets the first knot three times, then the second three times: one wire against three gates."""
    first, second = knot(range(5), 8, 1), knot(range(4, 9), 8, 2)
    wires = wires_from(9, [*first, (4, 0), (1, 4), (4, 2), *second, (4, 8), (7, 4), (4, 6)])
    where, parts = cut(wires, 6)
    assert (where.gates, where.wires) == (0, 1)
    assert sorted(f.n_qubits for f in parts.fragments) == [5, 5]


def test_a_ring_needs_two_cuts_and_the_search_knows_that_one_is_too_few() -> None:
    wires = wires_from(10, [(q, (q + 1) % 10) for q in range(10)])
    where, _ = cut(wires, 8)
    assert (where.gates + where.wires, where.searched) == (2, True)


def test_a_line_too_long_for_two_is_cut_in_three() -> None:
    wires = wires_from(30, [(q, q + 1) for q in range(29)] * 2)
    where, parts = cut(wires, 14)
    assert len(parts.fragments) >= 3
    assert max(exact_width(parts, number) for number in range(len(parts.fragments))) <= 14
    assert where.gates + where.wires == 4  # two links, each gate twice


def test_numbers_of_the_qubits_do_not_matter() -> None:
    pairs = knot(range(8), 10, 5) + knot(range(8, 16), 10, 6) + [(3, 11), (5, 14)]
    shuffle = stream(4, "cutting tests", "shuffle").permutation(16).tolist()
    plain, _ = cut(wires_from(16, pairs), 11)
    mixed, _ = cut(wires_from(16, [(shuffle[a], shuffle[b]) for a, b in pairs]), 11)
    assert plain.gates + plain.wires == mixed.gates + mixed.wires == 2


def test_weak_gates_are_cut_before_strong_ones_where_shots_are_paid() -> None:
    """A ring of cx with two weak rzz: those two are the cut, whatever is narrower."""
    ops: list[Operation] = [Op("ry", (q,), (0.4,)) for q in range(10)]
    ops += [Op("rzz", (q, (q + 1) % 10), (0.1,)) if q in (1, 7) else Op("cx", (q, (q + 1) % 10)) for q in range(10)]
    wires = wires_of(Program(10, (), (*ops, *(Op("h", (q,)) for q in range(10)))), [everything(10)])
    _, parts = cut(wires, 8, sampled=True)
    assert [len(one.interaction.terms) for one in parts.cuts] == [2, 2] and not parts.wires
    assert all(abs(one.interaction.terms[1][0]) < 0.1 for one in parts.cuts)


def test_what_is_found_is_what_is_priced() -> None:
    wires = wires_from(12, [(q, q + 1) for q in range(11)] * 3)
    model = Model((2.0,) * len(wires.gates), (1,) * len(wires.gates), 2.0)
    one = found(wires, model, lines_of(wires), 9)
    assert one is not None
    assert one.bits == bits_of(wires, model, one.labels)
    assert max(widths_of(wires, model, one.labels).values()) <= 9
    assert found(wires, model, lines_of(wires), 9) == one  # the same again


def test_all_to_all_is_refused_with_numbers_and_the_nearest_width() -> None:
    wires = wires_from(14, [(a, b) for a in range(14) for b in range(a)])
    with pytest.raises(Unavailable) as refused:
        placed(wires, 8, sampled=True, state_bytes=16.0)
    assert "fragments of at most 8 qubits (4 KiB): " in refused.value.what
    assert "Nearest: " in refused.value.what


def test_finding_is_quick_for_wide_programs() -> None:
    """200 qubits, 1,000 gates: a quote is waited for."""
    wires = wires_from(200, [(q, q + 1) for _ in range(5) for q in range(199)])
    before_s = time.process_time()
    with contextlib.suppress(Unavailable):
        cut(wires, 30)
    assert time.process_time() - before_s < 5.0


def test_programs_that_measure_on_the_way_are_not_cut() -> None:
    dynamic = Program(
        2, (("c", 1),), (Op("h", (0,)), Op("measure", (0,), clbits=(0,)), Op("h", (0,)), Op("cx", (0, 1)))
    )
    with pytest.raises(Unavailable, match="mid-circuit"):
        wires_of(dynamic, [everything(2)])
