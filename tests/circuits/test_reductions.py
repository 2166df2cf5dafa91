"""propagate, cone, components, structure: every reduction keeps the exact distribution.

The expected value is the density-matrix reference of `qcommons.testing.reference`, which shares no
code with the reductions. Modules: propagate, cone, components, structure.
"""

from __future__ import annotations

import numpy as np
import pytest
from tests.circuits.making import random_program

from qcommons.circuits.components import components, restrict_noise
from qcommons.circuits.cone import FULL, Z, light_cone, strip_terminal
from qcommons.circuits.gates import GATES
from qcommons.circuits.noise import Channel, Noise, Rule
from qcommons.circuits.observables import PauliSum, Term
from qcommons.circuits.program import Branch, Condition, Op, Program, check
from qcommons.circuits.propagate import propagate
from qcommons.circuits.structure import controlled_op, diagonal_positions, is_monomial, split_controls
from qcommons.testing import reference

DEPOLARIZING = Noise((Rule((Channel("depolarizing", (0.1,)),)), Rule((Channel("readout", (0.02, 0.05)),))))


def close(a: dict[str, float], b: dict[str, float]) -> bool:
    return all(abs(a.get(k, 0.0) - b.get(k, 0.0)) < 1e-9 for k in {*a, *b})


def whole(program: Program, constants: dict[int, int], noise: Noise | None = None) -> dict[str, float]:
    """Distribution of a reduced program with its parts multiplied and constants filled in."""
    found: list[tuple[float, dict[int, int]]] = [(1.0, dict(constants))]
    for part in components(program):
        check(part.program)
        inner = reference.distribution(part.program, restrict_noise(noise, part.qubits))
        grown = []
        for weight, bits in found:
            for key, p in inner.items():
                more = {old: int(key[::-1][new]) for new, old in enumerate(part.clbits)}
                grown.append((weight * p, {**bits, **more}))
        found = grown
    out: dict[str, float] = {}
    for weight, bits in found:
        key = "".join(str(bits.get(c, 0)) for c in reversed(range(program.n_clbits)))
        out[key] = out.get(key, 0.0) + weight
    return out


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("seed", range(120))
def test_reduced_program_has_the_distribution_of_the_program(seed: int, dynamic: bool) -> None:
    program = random_program(np.random.default_rng(seed), dynamic=dynamic)
    check(program)
    expected = reference.distribution(program)
    walked = propagate(program, settle=False)
    check(walked.program)
    cone = light_cone(walked.program, qubit_needs={}, live_bits=range(program.n_clbits))
    assert close(whole(cone, walked.constants), expected)


@pytest.mark.parametrize("seed", range(60))
def test_noisy_program_keeps_its_distribution(seed: int) -> None:
    program = random_program(np.random.default_rng(1000 + seed), dynamic=seed % 2 == 0, n_ops=8)
    noise = Noise((*DEPOLARIZING.rules, Rule((Channel("amplitude_damping", (0.2,)),), (), (1,))))
    cone = light_cone(program, qubit_needs={}, live_bits=range(program.n_clbits), dephasing=False)
    assert close(whole(cone, {}, noise), reference.distribution(program, noise))


@pytest.mark.parametrize("seed", range(80))
def test_light_cone_of_an_observable_keeps_its_expectation(seed: int) -> None:
    rng = np.random.default_rng(2000 + seed)
    program, _ = strip_terminal(random_program(rng, dynamic=seed % 2 == 0))
    letters = {int(q): str(rng.choice(list("XYZ"))) for q in range(program.n_qubits) if rng.random() < 0.6}
    observable = PauliSum((Term(1.0, tuple(letters.items())),), "")
    walked = propagate(program, settle=True)
    moved = {walked.where[q]: letter for q, letter in letters.items()}
    needs = {q: Z if letter == "Z" else FULL for q, letter in moved.items()}
    cone = light_cone(walked.program, qubit_needs=needs, live_bits=())
    there = PauliSum((Term(1.0, tuple(sorted(moved.items()))),), "")
    assert reference.expectation(cone, there) == pytest.approx(reference.expectation(program, observable), abs=1e-9)


def test_arithmetic_on_known_bits_leaves_nothing_to_simulate() -> None:
    """A Toffoli on basis states is bookkeeping: 1 AND 1 = 1."""
    ops = (Op("x", (0,)), Op("x", (1,)), Op("ccx", (0, 1, 2)), Op("swap", (2, 3)), Op("measure", (3,), (), (0,)))
    walked = propagate(Program(4, (("c", 1),), ops), settle=False)
    assert walked.program.ops == () and walked.constants == {0: 1}


def test_reset_of_an_uncomputed_ancilla_is_no_operation() -> None:
    """The AND of two superposed qubits is undone before the reset; the phase between changes no value."""
    ladder = (Op("ccx", (0, 1, 2)), Op("ccx", (2, 0, 3)))
    ops = (
        Op("h", (0,)), Op("h", (1,)), *ladder, Op("z", (3,)), *reversed(ladder), Op("reset", (2,)), Op("reset", (3,)),
        Op("h", (0,)), Op("h", (1,)), Op("ccx", (0, 1, 2)), *(Op("measure", (q,), (), (q,)) for q in range(4)),
    )  # fmt: skip
    program = Program(4, (("c", 4),), ops)
    walked = propagate(program, settle=False)
    assert all(op.gate != "reset" for op in walked.program.ops)
    assert close(whole(walked.program, walked.constants), reference.distribution(program))


def test_reset_of_an_entangled_ancilla_stays() -> None:
    """The control branched between compute and uncompute: its new value is not the old one."""
    ops = (Op("h", (0,)), Op("cx", (0, 1)), Op("h", (0,)), Op("cx", (0, 1)), Op("reset", (1,)),
           Op("measure", (0,), (), (0,)))  # fmt: skip
    walked = propagate(Program(2, (("c", 1),), ops), settle=False)
    assert Op("reset", (1,)) in walked.program.ops


@pytest.mark.parametrize("seed", range(60))
def test_values_followed_through_permutations_keep_the_distribution(seed: int) -> None:
    """Random compute, phase, uncompute with resets, flips and controlled swaps: often clean, not always."""
    rng = np.random.default_rng(3000 + seed)
    n = 5
    ops: list[Op] = [Op("h", (int(q),)) for q in rng.permutation(n)[:2]]
    for _ in range(4):
        block = []
        for _ in range(int(rng.integers(1, 5))):
            gate = str(rng.choice(["x", "y", "cx", "ccx", "cy", "swap", "cswap", "t", "cz", "crz", "iswap"]))
            angle = (0.7,) if gate == "crz" else ()
            block.append(Op(gate, tuple(int(q) for q in rng.permutation(n)[: GATES[gate].n_qubits]), angle))
        middle = [Op(str(rng.choice(["t", "z", "h"])), (int(rng.integers(n)),))] if rng.random() < 0.6 else []
        ops += [*block, *middle, *reversed(block)]
        ops += [Op("reset", (int(q),)) for q in rng.permutation(n)[: int(rng.integers(0, 3))]]
        ops.append(Op("h", (int(rng.integers(n)),)))
    program = Program(n, (("c", n),), (*ops, *(Op("measure", (q,), (), (q,)) for q in range(n))))
    walked = propagate(program, settle=False)
    check(walked.program)
    assert close(whole(walked.program, walked.constants), reference.distribution(program))


def test_ordered_comparison_keeps_the_measurements_it_reads() -> None:
    ops = (
        Op("x", (0,)),
        Op("measure", (0,), (), (0,)),
        Branch(Condition((0, 1), ">=", 1), (Op("h", (1,)),)),
        Op("measure", (1,), (), (1,)),
    )
    program = Program(2, (("c", 2),), ops)
    walked = propagate(program, settle=False)
    assert any(isinstance(op, Op) and op.gate == "measure" and op.clbits == (0,) for op in walked.program.ops)
    assert close(whole(walked.program, walked.constants), reference.distribution(program))


def test_qft_of_a_basis_state_falls_into_single_qubits() -> None:
    """Controls in |0> remove every controlled phase: the output is a product state."""
    n = 12
    ops = []
    for q in range(n):
        ops.append(Op("h", (q,)))
        ops.extend(Op("cp", (k, q), (np.pi / 2 ** (k - q),)) for k in range(q + 1, n))
    ops.extend(Op("measure", (q,), (), (q,)) for q in range(n))
    walked = propagate(Program(n, (("c", n),), tuple(ops)), settle=False)
    parts = components(light_cone(walked.program, qubit_needs={}, live_bits=range(n)))
    assert [len(p.qubits) for p in parts] == [1] * n


def test_rules_for_qubits_outside_a_part_do_not_become_rules_for_all() -> None:
    noise = Noise((Rule((Channel("depolarizing", (0.1,)),), (), (5,)),))
    restricted = restrict_noise(noise, (0, 1))
    assert restricted is not None and restricted.rules == ()


def test_structure_of_rows() -> None:
    assert split_controls(Op("ccx", (3, 0, 1, 2), (), (), 1)) == ("x", 3)
    assert controlled_op("x", 3, (0, 1, 2, 3), ()).gate == "c3x"
    assert controlled_op("t", 1, (0, 1), ()) == Op("t", (0, 1), (), (), 1)
    assert diagonal_positions("cswap", 1) == (True, True, False, False)
    assert diagonal_positions("rzx", 0) == (True, False)
    assert is_monomial("rx", (np.pi,)) and not is_monomial("rx", (0.3,)) and is_monomial("ccx", ())
