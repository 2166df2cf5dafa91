"""The aer engine beyond the conformance suite: wide registers, matrix product states, line orders.

Modules: aer_engine, aer_circuit, aer_mps, mps, mps_plan, mps_whole, line_order.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from tests.engines.free_fermions import ising_program, ising_values

from qcommons.base.seeds import stream
from qcommons.circuits.features import features
from qcommons.circuits.gates import embed
from qcommons.circuits.noise import Channel, Noise, Rule, parse_noise
from qcommons.circuits.observables import PauliSum, Term
from qcommons.circuits.program import Branch, Condition, Op, Program
from qcommons.engines.aer_engine import ENGINE
from qcommons.engines.line_order import arrangement_cost, interactions, line_order
from qcommons.engines.mps import MatrixProduct, tensors_of, vidal_form
from qcommons.engines.mps_plan import plan_line
from qcommons.engines.mps_whole import take_whole
from qcommons.engines.records import (
    Amplitudes,
    CapExceeded,
    Counts,
    Expectations,
    Limits,
    Statevector,
    Task,
)

LIMITS = Limits(memory_bytes=2 << 30, seconds=30.0)


def run(program, want, method, seed=1, limits=LIMITS, noise=None):
    return ENGINE.run(Task(program, want, method, seed, limits, noise))


def vector(answer):
    return np.array([complex(*pair) for pair in answer.amplitudes])


def random_program(n, layers, seed, far):
    rng = stream(seed, "test", "aer")
    ops = []
    for _ in range(layers):
        ops += [Op("u", (q,), tuple(rng.uniform(0, 3, 3).tolist())) for q in range(n)]
        line = rng.permutation(n).tolist() if far else list(range(n))
        ops += [Op("cp", (line[i], line[i + 1]), (float(rng.uniform(0.1, 1)),)) for i in range(0, n - 1, 2)]
        ops.append(Op("ccx", tuple(line[:3])))
    return Program(n, (), tuple(ops))


@pytest.mark.parametrize(("n", "shots", "measured_s"), [(20, 10, 10.6), (23, 1, 10.0)])
def test_kraus_noise_is_priced_as_measured(n, shots, measured_s):
    """GHZ with amplitude damping: the seconds are single measurements on a shared machine; within a factor of two."""
    ops = (
        Op("h", (0,)),
        *(Op("cx", (q, q + 1)) for q in range(n - 1)),
        *(Op("measure", (q,), (), (q,)) for q in range(n)),
    )
    noise = Noise((Rule((Channel("amplitude_damping", (0.01,)),)),))
    seen = features(Program(n, (("c", n),), ops), noise)
    assert seen.n_kraus == seen.n_noise == 2 * n - 1  # one after h, two after each cx
    cost = ENGINE.cost("trajectories", seen, Counts(shots), {})
    assert measured_s / 2 < cost.seconds < measured_s * 2


@pytest.mark.parametrize("width", [16, 17, 33, 40])
@pytest.mark.parametrize("relation", ["==", "!=", "<", "<=", ">", ">="])
def test_conditions_hold_on_registers_wider_than_aers_words(width, relation):
    """Aer 0.18 compares registers above 32 bits wrongly; the engine compares word by word."""
    pattern = sum(1 << q for q in range(0, width, 3))
    ops = [Op("x", (0,))]  # qubit 0 holds 1, qubit 1 holds 0: any pattern can be recorded
    ops += [Op("measure", (0 if pattern >> c & 1 else 1,), (), (c,)) for c in range(width)]
    for offset in (-1, 0, 1):
        condition = Condition(tuple(range(width)), relation, pattern + offset)
        program = Program(
            3,
            (("r", width), ("out", 1)),
            (*ops, Branch(condition, (Op("x", (2,)),)), Op("measure", (2,), (), (width,))),
        )
        (key,) = run(program, Counts(3), "statevector").counts
        holds = condition.holds([pattern >> q & 1 for q in range(width)])
        assert key[0] == str(int(holds)), (relation, offset)
        assert int(key[1:], 2) == pattern


def test_value_wider_than_its_register_is_never_reached():
    """c < 4 always holds for two bits; Aer would cut 4 to 0."""
    branch = Branch(Condition((0, 1), "<", 4), (Op("x", (0,)),), (Op("x", (1,)),))
    program = Program(2, (("c", 2), ("d", 2)), (branch, Op("measure", (0,), (), (2,)), Op("measure", (1,), (), (3,))))
    assert run(program, Counts(5), "density_matrix").counts == {"0100": 5}


def test_depolarizing_contracts_the_bloch_vector_exactly():
    """rho -> (1-p) rho + p I/2 after each of k gates leaves <Z> = (1-p)^k."""
    program = Program(1, (), (Op("x", (0,)),) * 6)
    noise = Noise((Rule((Channel("depolarizing", (0.1,)),)),))
    want = Expectations((PauliSum((Term(1.0, ((0, "Z"),)),), "Z"),))
    assert run(program, want, "density_matrix", noise=noise).estimates[0].value == pytest.approx(0.9**6, abs=1e-12)


@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_mps_equals_statevector(far, seed):
    program = random_program(9, 5, seed, far)
    exact = vector(run(program, Statevector(), "statevector"))
    answer = run(program, Statevector(), "mps")
    assert np.abs(vector(answer) - exact).max() < 1e-7
    some = [format(i, "09b") for i in (0, 3, 300, 511)]
    assert np.abs(vector(run(program, Amplitudes(tuple(some)), "mps")) - exact[[0, 3, 300, 511]]).max() < 1e-7


def test_mps_error_bound_holds_where_weights_are_cut(monkeypatch):
    """The infidelity against the exact state stays below the stated bound, and is of its order."""
    from qcommons.engines import aer_mps

    program = ising_program(12, 40, 0.1)
    exact = vector(run(program, Statevector(), "statevector"))
    infidelities = []
    for threshold in (1e-10, 1e-8, 1e-6):
        monkeypatch.setattr(aer_mps, "THRESHOLD_MIN", threshold)
        answer = run(program, Statevector(), "mps")
        infidelity = 1 - abs(np.vdot(exact, vector(answer))) ** 2
        assert infidelity < answer.facts["infidelity_bound"]
        aligned = vector(answer) * np.exp(-1j * np.angle(np.vdot(exact, vector(answer))))
        assert np.linalg.norm(aligned - exact) < answer.error_bound
        infidelities.append(infidelity)
    assert infidelities[0] < infidelities[1] < infidelities[2]  # weights were cut indeed
    assert infidelities[2] > 1e-6


def test_mps_stops_at_the_bond_cap_instead_of_truncating():
    program = random_program(12, 8, 3, True)
    with pytest.raises(CapExceeded, match="bond dimension"):
        run(program, Amplitudes(("0" * 12,)), "mps", limits=Limits(2 << 30, 30.0, bond_max=4))


@pytest.mark.parametrize("chunk", [1, 7])
def test_mps_planned_in_chunks_equals_statevector(monkeypatch, chunk):
    """Each chunk starts from the order that the one before left behind."""
    from qcommons.engines import aer_mps

    monkeypatch.setattr(aer_mps, "CHUNK_GATES", chunk)
    program = random_program(8, 4, 5, True)
    exact = vector(run(program, Statevector(), "statevector"))
    assert np.abs(vector(run(program, Statevector(), "mps")) - exact).max() < 1e-7


def test_mps_that_stops_early_has_not_planned_the_rest(monkeypatch):
    """16 layers on 12 qubits pass bond 4 in the first; only the chunks that ran were planned."""
    from qcommons.engines import aer_mps

    planned = []
    monkeypatch.setattr(aer_mps, "CHUNK_GATES", 40)
    monkeypatch.setattr(aer_mps, "plan_line", lambda ops, order: planned.append(len(ops)) or plan_line(ops, order))
    program = random_program(12, 16, 3, True)
    with pytest.raises(CapExceeded, match="bond dimension"):
        run(program, Amplitudes(("0" * 12,)), "mps", limits=Limits(2 << 30, 30.0, bond_max=4))
    assert 0 < sum(planned) < len(program.ops) / 2


def test_mps_refuses_memory_before_taking_it():
    program = random_program(12, 2, 3, True)
    with pytest.raises(CapExceeded, match="limit 65536 B"):
        run(program, Counts(1), "mps", limits=Limits(1 << 16, 30.0, bond_max=64))


def test_sixty_qubit_ising_chain_matches_free_fermions():
    """20 Trotter steps on 60 qubits: every <X_j> and <Z_j Z_j+1> against the closed form."""
    x, zz = ising_values(60, 20, 0.1)
    terms = [Term(1.0, ((q, "X"),)) for q in range(60)] + [Term(1.0, ((q, "Z"), (q + 1, "Z"))) for q in range(59)]
    want = Expectations(tuple(PauliSum((t,), str(t)) for t in terms))
    answer = run(ising_program(60, 20, 0.1), want, "mps")
    found = np.array([e.value for e in answer.estimates])
    assert np.abs(found - np.concatenate((x, zz))).max() < 1e-7
    assert np.abs(found - np.concatenate((x, zz))).max() < answer.error_bound < 1e-5


@pytest.mark.parametrize("whole_steps", [0, 4096])
def test_mps_error_bound_holds_for_means_of_weakly_entangled_states(whole_steps, monkeypatch):
    """Schmidt weights of 1e-14 are cut by Aer, which moves a mean by their root: <Y0 Z1> was off by 1.2e-7."""
    from qcommons.engines import aer_mps

    monkeypatch.setattr(aer_mps, "WHOLE_STEPS", whole_steps)
    rows = [Op("ry", (q,), (1.0,)) for q in range(20)]
    rows += [Op("rzz", (q, q + 1), (1e-7,)) for _ in range(3) for q in range(19)]
    program = Program(20, (), (*rows, *(Op("rx", (q,), (0.4,)) for q in range(20))))
    want = Expectations((PauliSum((Term(1.0, ((0, "Y"), (1, "Z"))),), ""),))
    exact = run(program, want, "statevector").estimates[0].value
    answer = run(program, want, "mps")
    assert abs(answer.estimates[0].value - exact) < answer.error_bound + 1e-11 < 1e-5
    assert (answer.error_bound == 0) == (whole_steps > 0)


@pytest.mark.parametrize(
    "want",
    [Counts(100), Amplitudes(("00", "11")), Statevector(), Expectations((PauliSum((Term(1.0, ((0, "Z"),)),), ""),))],
)
def test_a_bell_pair_loses_nothing_on_mps(want):
    ends = tuple(Op("measure", (q,), (), (q,)) for q in range(2)) if isinstance(want, Counts) else ()
    answer = run(Program(2, (("c", 2),), (Op("h", (0,)), Op("cx", (0, 1)), *ends)), want, "mps")
    assert answer.error_bound == answer.facts["infidelity_bound"] == 0


def test_mps_goes_over_to_aer_where_bonds_grow_and_says_what_it_may_have_lost(monkeypatch):
    """Twelve qubits, bonds up to 32: the first steps are taken whole, the others by Aer; state and bound agree."""
    from qcommons.engines import aer_mps

    taken = []
    whole = aer_mps.take_whole

    def noted(state, steps, bond_max):
        found = whole(state, steps, bond_max)
        taken.append((found[1], len(steps)))
        return found

    monkeypatch.setattr(aer_mps, "take_whole", noted)
    program = random_program(12, 3, 3, True)
    exact = vector(run(program, Statevector(), "statevector"))
    answer = run(program, Statevector(), "mps")
    ((some, every),) = taken
    assert 0 < some < every
    assert 0 < np.linalg.norm(vector(answer) - exact) < answer.error_bound < 1e-6


def test_steps_taken_whole_drop_only_rounding():
    """All bonds of a random state of 8 qubits are full: 2, 4, 8, 16, 8, 4, 2; it equals the dense state."""
    program = random_program(8, 6, 4, True)
    exact = vector(run(program, Statevector(), "statevector"))
    plan = plan_line(program.ops, tuple(range(8)))
    ground = vidal_form([np.array([1, 0], dtype=np.complex128).reshape(1, 2, 1)] * 8)
    state, taken = take_whole(ground, plan.steps, 16)
    assert taken == len(plan.steps)
    assert [len(values) for values in state[1]] == [2, 4, 8, 16, 8, 4, 2]
    dense = MatrixProduct(tensors_of(state), plan.phase).dense()
    axes = [plan.order.index(q) for q in reversed(range(8))]
    assert np.abs(dense.transpose(axes).reshape(-1) - exact).max() < 1e-12
    narrow, fewer = take_whole(ground, plan.steps, 4)
    assert fewer < taken
    assert max(len(values) for values in narrow[1]) <= 4


def test_sixty_qubit_samples_match_free_fermions():
    _, zz = ising_values(60, 20, 0.1)
    shots = 2000
    answer = run(ising_program(60, 20, 0.1, measured=True), Counts(shots), "mps")
    spins = np.array([[1 - 2 * int(b) for b in reversed(key)] for key in answer.counts])
    times = np.array(list(answer.counts.values()))
    found = (times @ (spins[:, :-1] * spins[:, 1:])) / shots
    sigma = np.sqrt((1 - zz**2) / shots)
    # 59 values within 5 sigma: a false alarm once in 30,000 seeds; this seed is fixed
    assert times.sum() == shots
    assert (np.abs(found - zz) < 5 * sigma).all()
    assert answer.facts["bond_dimension"] <= 32


def test_ghz_of_150_qubits_on_a_scrambled_line():
    order = stream(5, "ghz").permutation(150).tolist()
    ops = [Op("h", (order[0],)), *(Op("cx", (a, b)) for a, b in pairwise(order))]
    program = Program(150, (("c", 150),), (*ops, *(Op("measure", (q,), (), (q,)) for q in range(150))))
    counts = run(program, Counts(400), "mps").counts
    assert set(counts) == {"0" * 150, "1" * 150}
    assert abs(counts["0" * 150] - 200) < 5 * 10  # 5 sigma of a fair coin, 6e-7


def test_measured_and_reset_chain_of_40_qubits_on_mps():
    """Each link teleports a bit by feedback; the last qubit repeats the first one's outcome."""
    ops = [Op("h", (0,)), Op("measure", (0,), (), (0,))]
    for q in range(1, 40):
        ops += [Branch(Condition((0,), "==", 1), (Op("x", (q,)),)), Op("cx", (q - 1, q)), Op("cx", (q - 1, q))]
    ops += [Op("reset", (0,)), Op("measure", (0,), (), (1,)), Op("measure", (39,), (), (2,))]
    counts = run(Program(40, (("c", 3),), tuple(ops)), Counts(200), "mps").counts
    assert set(counts) == {"000", "101"}
    assert abs(counts["101"] - 100) < 36  # 5 sigma


def test_plan_is_the_circuit_on_neighbours_only():
    program = random_program(5, 3, 7, True)
    order = (3, 1, 4, 0, 2)
    plan = plan_line(program.ops, order)
    assert all(len(sites) == 1 or sites[1] == sites[0] + 1 for sites, _ in plan.steps)
    start = np.zeros(32, dtype=complex)
    start[0] = plan.phase
    state = start
    for sites, matrix in plan.steps:
        state = embed(matrix, sites, 5) @ state
    qubits = state.reshape((2,) * 5)  # axis i is site 4 - i
    axes = [4 - plan.order.index(q) for q in range(4, -1, -1)]
    exact = vector(run(program, Statevector(), "statevector"))
    assert np.abs(qubits.transpose(axes).reshape(-1) - exact).max() < 1e-12


def test_line_order_finds_a_hidden_chain():
    hidden = stream(4, "order").permutation(50).tolist()
    gates = [Op("cx", (a, b)) for a, b in pairwise(hidden)]
    order = line_order(gates, 50)
    assert sorted(order) == list(range(50))
    assert arrangement_cost(interactions(gates, 50), np.array(order)) == 49


def test_line_order_keeps_the_given_order_where_it_is_best():
    assert line_order([Op("cx", (q, q + 1)) for q in range(9)], 10) == tuple(range(10))


def test_vidal_form_is_the_same_state_in_canonical_form():
    rng = stream(9, "vidal")
    shapes = [(1, 2, 2), (2, 2, 4), (4, 2, 3), (3, 2, 1)]
    tensors = [rng.normal(size=s) + 1j * rng.normal(size=s) for s in shapes]
    direct = MatrixProduct(tensors).dense()
    gammas, lambdas = vidal_form(tensors)
    again = MatrixProduct(tensors_of((gammas, lambdas))).dense()
    assert abs(np.vdot(direct, again)) == pytest.approx(1, abs=1e-12)
    middle = np.linalg.svd(direct.reshape(4, 4), compute_uv=False)
    assert lambdas[1] == pytest.approx(middle[: len(lambdas[1])], abs=1e-12)


@pytest.mark.parametrize("method", ["density_matrix", "trajectories"])
def test_only_the_last_record_of_a_bit_carries_its_readout_error(method):
    """Three records of one bit, q1 in |0>: P(1) = 0.1, not that of three errors in a row (0.22)."""
    reads = [Op("measure", (1,), (), (0,)), Op("measure", (1,), (), (0,)), Op("y", (2,)), Op("measure", (1,), (), (0,))]
    program = Program(3, (("c", 1),), tuple(reads))
    noise = parse_noise("readout:0.1,0.1438567515379262+relaxation:1e-4,1e-4,1e-5")
    ones = run(program, Counts(20_000), method, seed=3, noise=noise).counts["1"]
    assert abs(ones - 2000) < 6 * np.sqrt(20_000 * 0.1 * 0.9)  # 6 sigma: 2e-9


def test_branches_run_with_more_bits_than_qubits():
    inner = Branch(Condition((2,), "==", 1), (Op("measure", (0,), (), (1,)),))
    program = Program(1, (("c", 3),), (inner, Op("z", (0,))))
    noise = parse_noise("depolarizing:0.1")
    assert run(program, Counts(50), "trajectories", noise=noise).counts == {"000": 50}
    with pytest.raises(CapExceeded, match="invalid cbit index"):  # Aer 0.18; the next engine of the ladder runs it
        run(program, Counts(50), "density_matrix", noise=noise)


def test_an_error_of_aer_lets_the_next_engine_try(monkeypatch):
    """Aer 0.18 sometimes ends a matrix product state with "Wrong SVD calculations"."""
    from qiskit_aer.backends import controller_wrappers

    class Broken:
        def execute(self, circuits, noise, config):
            return {"success": False, "status": "ERROR: Wrong SVD calculations: A != USV*"}

    monkeypatch.setattr(controller_wrappers, "aer_controller_execute", Broken)
    for method in ("mps", "statevector"):
        with pytest.raises(CapExceeded, match="Wrong SVD"):
            run(ising_program(4, 1, 0.1), Statevector(), method, limits=Limits(2 << 30, 30.0, bond_max=1))
