"""The whole path once, with the engines that are installed: text in, answers with error bars out."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from tests.node.making import BELL, QASM

from qcommons.base.errors import UsageError
from qcommons.circuits.program import Op, Program
from qcommons.node.embedded import EmbeddedNode


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedNode]:
    with EmbeddedNode(2, home=tmp_path_factory.mktemp("home")) as node:
        yield node


def test_a_bell_pair_is_measured_alike_on_both_qubits(node: EmbeddedNode) -> None:
    run = node.run(BELL, shots=4096, seed=3)
    assert set(run.counts) == {"00", "11"}
    # 5 sigma of a fair coin over 4,096 shots: 160; 1 in 1.7 million seeds
    assert abs(run.counts["00"] - 2048) < 160
    assert run.reason
    assert run.predicted_cost.seconds > 0
    assert run.seconds > 0


def test_the_same_seed_gives_the_same_counts_in_any_worker(node: EmbeddedNode) -> None:
    batch = node.run([BELL] * 20, shots=100, seed=5)
    assert [run.counts for run in node.run([BELL] * 20, shots=100, seed=5)] == [run.counts for run in batch]
    assert node.run(BELL, shots=100, seed=batch[7].seed).counts == batch[7].counts


def test_a_sweep_of_exact_expectations_is_the_cosine(node: EmbeddedNode) -> None:
    angles = np.linspace(0, 2 * math.pi, 9)
    text = QASM.replace("c = measure q;", "").replace("bit[2] c;", "")
    sweep = node.run(text, bind={"theta": angles}, observable=["IZ", "ZZ"])
    # rx(theta)|0> has <Z> = cos(theta); cx makes ZZ exactly 1
    np.testing.assert_allclose(sweep.expectation[:, 0], np.cos(angles), atol=1e-12)
    np.testing.assert_allclose(sweep.expectation[:, 1], 1.0, atol=1e-12)
    assert not sweep.stderr.any()


def test_sampled_expectations_carry_their_standard_error(node: EmbeddedNode) -> None:
    text = QASM.replace("c = measure q;", "").replace("bit[2] c;", "")
    run = node.run(text, bind={"theta": 1.0}, observable="IZ", shots=10_000, seed=2)
    expected_stderr = math.sin(1.0) / 100  # variance of Z is 1 - cos^2
    assert run.stderr == pytest.approx(expected_stderr, rel=0.1)
    assert abs(run.expectation - math.cos(1.0)) < 5 * expected_stderr  # 1 in 1.7 million seeds


def test_amplitudes_and_statevector_agree_with_the_closed_form(node: EmbeddedNode) -> None:
    pair = Program(2, (), (Op("h", (0,)), Op("cx", (0, 1))))
    half = math.sqrt(0.5)
    assert node.run(pair, amplitudes="11,01").amplitudes == pytest.approx({"11": half, "01": 0.0}, abs=1e-12)
    np.testing.assert_allclose(node.run(pair, statevector=True).statevector, [half, 0, 0, half], atol=1e-12)


def test_a_circuit_without_measurement_is_measured_whole_and_says_so(node: EmbeddedNode) -> None:
    run = node.run(Program(2, (), (Op("x", (1,)),)), shots=10)
    assert run.counts == {"10": 10}
    assert any("measure" in note for note in run.notes)


def test_an_empty_text_and_a_program_without_qubits_are_the_callers_to_change(node: EmbeddedNode) -> None:
    with pytest.raises(UsageError, match="empty text is no program"):
        node.run(b"")
    with pytest.raises(UsageError, match="no qubits; nothing to measure"):
        node.run(Program(0, (), ()))
