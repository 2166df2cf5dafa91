"""What the demo asks: each known answer derived a second way, and how an answer is judged."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from qcommons.clients.cli.demo_cases import (
    CASES,
    HYDROGEN,
    QAOA,
    Curve,
    Probability,
    Refusal,
    Values,
    examples_dir,
    judge,
)

Matrix = NDArray[np.float64]
KNOWN = {case.file: case.known for case in CASES}


def _values(file: str) -> tuple[float, ...]:
    known = KNOWN[file]
    assert isinstance(known, Values)
    return known.values


def test_ising_values_follow_from_free_fermions() -> None:
    """Jordan-Wigner with strings of X: X_j = i a_2j a_2j+1 and Z_j Z_j+1 = i a_2j+1 a_2j+2, so every gate
    rotates two Majorana operators and the covariance matrix of 120 of them tells all (Lieb, Schultz and
    Mattis, Ann. Phys. 16, 407 (1961)). All spins up is the even half of a state with every bond +1."""
    n, steps, angle = 60, 20, 0.1
    covariance = np.zeros((2 * n, 2 * n))
    for j in range(1, 2 * n - 2, 2):
        covariance[j, j + 1], covariance[j + 1, j] = 1.0, -1.0
    for _ in range(steps):
        for first in (1, 0):  # all bonds, then all fields
            for k in range(first, 2 * n - 1, 2):
                covariance = _rotated(covariance, k, 2 * angle)
    x30, zz = covariance[60, 61], covariance[59, 60]
    assert _values("tfim60.qasm") == pytest.approx((x30, zz), abs=1e-12)


def _rotated(covariance: Matrix, k: int, angle: float) -> Matrix:
    block = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    out = covariance.copy()
    out[k : k + 2] = block @ out[k : k + 2]
    out[:, k : k + 2] = out[:, k : k + 2] @ block.T
    return out


def test_echo_probability_needs_eight_mixed_qubits() -> None:
    """cos(pi/8)^16 holds if no product of Z on the disturbed qubits has an expectation value: stim says so."""
    import stim

    simulator = stim.TableauSimulator()
    for _ in range(6):
        for i in range(60):
            simulator.h(i)
            simulator.s(i)
        for i in [*range(0, 60, 2), *range(1, 59, 2)]:
            simulator.cz(i, i + 1)
    disturbed = [7 * k + 3 for k in range(8)]
    for chosen in itertools.product([False, True], repeat=8):
        product = stim.PauliString(60)
        for qubit, there in zip(disturbed, chosen, strict=True):
            product[qubit] = "Z" if there else "_"
        assert simulator.peek_observable_expectation(product) == (0 if any(chosen) else 1)
    known = KNOWN["echo60.qasm"]
    assert isinstance(known, Probability)
    assert known.p == pytest.approx(abs((1 + np.exp(0.25j * np.pi)) / 2) ** 16, rel=1e-12)


def test_qaoa_value_is_the_closed_form_on_a_cubic_graph_without_triangles() -> None:
    """<C_uv> = 1/2 + sin(4 beta) sin(gamma) (cos(gamma)^d + cos(gamma)^e) / 4 with d = e = 2 other edges
    at u and v (arXiv:1706.02998), and C_uv = (1 - Z_u Z_v) / 2; the file's graph must be such a graph."""
    edges = [
        tuple(int(word[1:]) for word in term.split())
        for term in (examples_dir() / "nauru-cut.txt").read_text().replace("\n", "").split("+")
    ]
    neighbours: dict[int, set[int]] = {v: set() for v in range(24)}
    for a, b in edges:
        neighbours[a].add(b)
        neighbours[b].add(a)
    assert len(edges) == 36 and all(len(found) == 3 for found in neighbours.values())
    assert not any(neighbours[a] & neighbours[b] for a, b in edges)
    case = next(case for case in CASES if case.file == "qaoa24.qasm")
    gamma, beta = case.options["bind"]["gamma"], case.options["bind"]["beta"]
    cut = 0.5 + math.sin(4 * beta) * math.sin(gamma) * 2 * math.cos(gamma) ** 2 / 4
    assert _values("qaoa24.qasm")[0] == pytest.approx(36 * (1 - 2 * cut), rel=1e-12)


def _hydrogen() -> Matrix:
    pauli = {"I": np.eye(2), "X": np.array([[0, 1], [1, 0]]), "Z": np.diag([1, -1])}
    matrix = np.zeros((4, 4))
    for line in (examples_dir() / "hydrogen.txt").read_text().splitlines():
        *sign, number, letters = line.split()
        factor = -1 if sign == ["-"] else 1
        matrix += factor * float(number) * np.kron(pauli[letters[0]], pauli[letters[1]])
    return matrix


def test_hydrogen_energy_is_the_lowest_eigenvalue() -> None:
    matrix = _hydrogen()
    lowest = np.linalg.eigvalsh(matrix)[0]
    assert _values("hydrogen.qasm")[0] == pytest.approx(lowest, abs=1e-9)
    # with the nuclear repulsion 0.719969 at 0.735 angstrom: the textbook full-CI energy in STO-3G
    assert lowest + 0.719969 == pytest.approx(-1.137306, abs=2e-6)


def test_hydrogen_curve_is_the_mean_of_its_matrix_in_the_state_of_the_circuit() -> None:
    """X on qubit 0, ry(theta) on qubit 1, CX from 1 to 0: cos(theta/2) |01> + sin(theta/2) |10>."""
    assert isinstance(HYDROGEN.known, Curve)
    matrix, points = _hydrogen(), [bind["theta"] for bind in HYDROGEN.options["bind"]]
    assert len(set(points)) == 96
    for theta in points:
        state = np.array([0, math.cos(theta / 2), math.sin(theta / 2), 0])
        assert HYDROGEN.known.formula(theta) == pytest.approx(state @ matrix @ state, abs=1e-12)


def test_qaoa_curve_is_that_of_its_single_case() -> None:
    """-36 sin(gamma) cos(gamma)^2 is 36 (1 - 2 C) of the formula above at beta = pi/8, where sin(4 beta) = 1."""
    assert isinstance(QAOA.known, Curve)
    gamma = next(case for case in CASES if case.file == QAOA.file).options["bind"]["gamma"]
    assert QAOA.known.formula(gamma) == pytest.approx(_values("qaoa24.qasm")[0], rel=1e-12)
    assert {bind["beta"] for bind in QAOA.options["bind"]} == {math.pi / 8}
    for bind in QAOA.options["bind"]:
        cut = 0.5 + math.sin(bind["gamma"]) * 2 * math.cos(bind["gamma"]) ** 2 / 4
        assert QAOA.known.formula(bind["gamma"]) == pytest.approx(36 * (1 - 2 * cut), rel=1e-12)


def test_noisy_values_follow_from_a_density_matrix() -> None:
    """Gate by gate on 32 x 32: depolarizing takes rho to (1 - p) rho + p I/2^k on the gate's qubits."""
    p, n = 0.02, 5
    h, x, z = np.array([[1, 1], [1, -1]]) / math.sqrt(2), np.array([[0, 1], [1, 0]]), np.diag([1.0, -1.0])
    rho = np.zeros((32, 32))
    rho[0, 0] = 1
    gates = [((0,), h)] + [((i, i + 1), None) for i in range(4)]
    for qubits, matrix in gates:
        full = _on(n, {qubits[0]: matrix}) if matrix is not None else _cx(n, *qubits)
        rho = full @ rho @ full.T
        paulis = [np.eye(2), x, x @ z, z]
        mixed = np.zeros_like(rho)
        for chosen in itertools.product(paulis, repeat=len(qubits)):
            kick = _on(n, dict(zip(qubits, chosen, strict=True)))
            mixed += kick @ rho @ kick.T / 4 ** len(qubits)
        rho = (1 - p) * rho + p * mixed
    found = np.trace(rho @ _on(n, dict.fromkeys(range(n), x))), np.trace(rho @ _on(n, {3: z, 4: z}))
    assert _values("ghz5.qasm") == pytest.approx(found, abs=1e-12)


def _on(n: int, factors: dict[int, Matrix]) -> Matrix:
    full = np.eye(1)
    for qubit in range(n):
        full = np.kron(factors.get(qubit, np.eye(2)), full)
    return full


def _cx(n: int, control: int, target: int) -> Matrix:
    full = np.zeros((1 << n, 1 << n))
    for index in range(1 << n):
        full[index ^ ((index >> control & 1) << target), index] = 1
    return full


def test_judgement_tells_right_from_wrong() -> None:
    coin = Probability("fair", lambda bits: bits == "0", 0.5)
    done = {"status": "done"}
    assert judge(coin, done | {"counts": {"0": 512, "1": 512}})[0]
    assert not judge(coin, done | {"counts": {"0": 700, "1": 324}})[0]  # 11.7 standard errors
    certain = Probability("always", lambda bits: bits == "0", 1.0)  # p = 1025/1026: sqrt(p (1 - p) / 1024) = 0.00097
    assert judge(certain, done | {"counts": {"0": 1024}}) == (True, "1.00000 \u00b1 0.00098 of 1024 shots")
    sure = Values("exact", (1.0,), 1e-6)
    assert judge(sure, done | {"expectations": [{"observable": "Z", "value": 1.0, "stderr": 0.0}]})[0]
    assert not judge(sure, done | {"expectations": [{"observable": "Z", "value": 0.99, "stderr": 0.0}]})[0]
    line = Curve("x", "x", lambda x: x, 1e-6)
    runs = [{"status": "done", "values": {"x": x}, "expectations": [{"value": x}]} for x in (0.1, 0.2)]
    assert judge(line, done | {"results": runs}) == (True, "2 values, the least 0.100000 at x = 0.1000, at most 0 off")
    off = runs[0] | {"expectations": [{"value": 0.1 + 2e-6}]}
    assert not judge(line, done | {"results": [off, runs[1]]})[0]
    assert judge(line, done | {"results": [{"status": "failed"}, runs[1]]}) == (False, "1 of 2 values")
    no = {"status": "refused", "error": {"what": "needs 4 TiB"}}
    assert judge(Refusal("no"), no)[0] and not judge(coin, no)[0]


def test_every_case_has_its_example() -> None:
    assert all(Path(examples_dir() / case.file).is_file() for case in CASES)
