"""Channels are what their formulas say (held against Qiskit Aer), rules reach the right qubits."""

import math

import numpy as np
import pytest
from qiskit.quantum_info import Kraus, SuperOp
from qiskit_aer import noise as aer

from qcommons.base.errors import UsageError
from qcommons.circuits.noise import (
    CHANNELS,
    Channel,
    Noise,
    Rule,
    channels_after,
    check_noise,
    kraus,
    parse_noise,
    pauli_probabilities,
    readout_for,
)
from qcommons.circuits.program import Op

T1, T2, TIME = 50e-6, 70e-6, 3e-6
ONE_QUBIT = [
    (Channel("bit_flip", (0.1,)), aer.pauli_error([("X", 0.1), ("I", 0.9)])),
    (Channel("phase_flip", (0.1,)), aer.pauli_error([("Z", 0.1), ("I", 0.9)])),
    (Channel("pauli", (0.1, 0.2, 0.3)), aer.pauli_error([("X", 0.1), ("Y", 0.2), ("Z", 0.3), ("I", 0.4)])),
    (Channel("amplitude_damping", (0.3,)), aer.amplitude_damping_error(0.3)),
    (Channel("relaxation", (T1, T2, TIME)), aer.thermal_relaxation_error(T1, T2, TIME)),
    (Channel("relaxation", (T1, T1 / 3, TIME)), aer.thermal_relaxation_error(T1, T1 / 3, TIME)),
    (Channel("relaxation", (T1, 2 * T1, TIME)), aer.thermal_relaxation_error(T1, 2 * T1, TIME)),
    (Channel("depolarizing", (0.3,)), aer.depolarizing_error(0.3, 1)),
]


def superop(channel: Channel, k: int) -> np.ndarray:
    return SuperOp(Kraus(list(kraus(channel, k)))).data


@pytest.mark.parametrize(("channel", "theirs"), ONE_QUBIT)
def test_one_qubit_channels_are_aers(channel: Channel, theirs: aer.QuantumError) -> None:
    np.testing.assert_allclose(superop(channel, 1), SuperOp(theirs).data, atol=1e-12)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_depolarizing_is_joint_and_reaches_the_mixed_state(k: int) -> None:
    np.testing.assert_allclose(
        superop(Channel("depolarizing", (0.2,)), k), SuperOp(aer.depolarizing_error(0.2, k)).data, atol=1e-12
    )
    rho = np.zeros((1 << k, 1 << k))
    rho[0, 0] = 1
    operators = kraus(Channel("depolarizing", (1.0,)), k)
    after = sum(m @ rho @ m.conj().T for m in operators)
    np.testing.assert_allclose(after, np.eye(1 << k) / (1 << k), atol=1e-14)


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize(("channel", "theirs"), ONE_QUBIT)
def test_channels_keep_the_trace(channel: Channel, theirs: aer.QuantumError, k: int) -> None:
    operators = kraus(channel, k)
    assert operators.dtype == np.complex128 and operators.shape[1:] == (1 << k, 1 << k)
    total = np.einsum("mba,mbc->ac", operators.conj(), operators)
    np.testing.assert_allclose(total, np.eye(1 << k), atol=1e-13)


def test_local_channels_on_two_qubits_are_the_product() -> None:
    channel = Channel("relaxation", (T1, T2, TIME))
    theirs = aer.thermal_relaxation_error(T1, T2, TIME)
    np.testing.assert_allclose(superop(channel, 2), SuperOp(theirs.tensor(theirs)).data, atol=1e-12)


def test_relaxation_decays_as_exp_t1_and_t2() -> None:
    operators = kraus(Channel("relaxation", (T1, T2, TIME)), 1)
    rho = np.array([[0.3, 0.2 - 0.1j], [0.2 + 0.1j, 0.7]])
    after = sum(m @ rho @ m.conj().T for m in operators)
    assert after[1, 1] == pytest.approx(0.7 * math.exp(-TIME / T1))
    assert after[0, 1] == pytest.approx((0.2 - 0.1j) * math.exp(-TIME / T2))


def test_relaxation_without_duration_or_with_infinite_times_is_the_identity() -> None:
    for values in ((T1, T2, 0.0), (math.inf, math.inf, TIME)):
        np.testing.assert_allclose(superop(Channel("relaxation", values), 1), np.eye(4), atol=1e-15)


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("row", CHANNELS.values(), ids=lambda row: row.kind)
def test_pauli_probabilities_are_the_kraus_weights(row, k: int) -> None:
    channel = Channel(row.kind, (T1, T2, TIME) if row.kind == "relaxation" else (0.1,) * len(row.parameters))
    mixture = pauli_probabilities(channel, k)
    assert (mixture is not None) == row.is_pauli
    if mixture is None:
        return
    assert next(iter(mixture)) == "I" * k and sum(mixture.values()) == pytest.approx(1, abs=1e-12)
    theirs = SuperOp(aer.pauli_error(list(mixture.items())))
    np.testing.assert_allclose(superop(channel, k), theirs.data, atol=1e-12)


def test_the_rightmost_letter_is_the_first_qubit() -> None:
    mixture = pauli_probabilities(Channel("pauli", (0.1, 0.0, 0.0)), 2)
    assert mixture is not None and mixture["IX"] == pytest.approx(0.09)
    mixture = pauli_probabilities(Channel("depolarizing", (0.16,)), 2)
    assert mixture is not None and mixture["ZX"] == pytest.approx(0.01) and mixture["II"] == pytest.approx(0.85)


def test_kraus_refuses_readout_and_wide_channels() -> None:
    with pytest.raises(UsageError, match="readout"):
        kraus(Channel("readout", (0.1, 0.1)), 1)
    with pytest.raises(UsageError, match="6 qubits") as caught:
        kraus(Channel("depolarizing", (0.1,)), 6)
    assert caught.value.limit == "5 qubits"


def test_a_text_is_one_rule_a_channel() -> None:
    noise = parse_noise("depolarizing:1e-3 + readout:0.02+relaxation:100us,80us,50ns")
    assert [rule.channels[0].kind for rule in noise.rules] == ["depolarizing", "readout", "relaxation"]
    assert noise.rules[0] == Rule((Channel("depolarizing", (1e-3,)),))
    assert noise.rules[1].channels[0].values == (0.02, 0.02)
    assert noise.rules[2].channels[0].values == pytest.approx((1e-4, 8e-5, 5e-8))
    assert parse_noise("depolarizing:1e+0").rules[0].channels[0].values == (1.0,)
    assert parse_noise("readout:0.02,0.05").rules[0].channels[0].values == (0.02, 0.05)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected kind:value"),
        ("depolarizing", "expected kind:value"),
        ("fog:0.1", "expected kind:value"),
        ("depolarizing:2", "allowed 0.0 to 1.0"),
        ("depolarizing:-0.1", "allowed 0.0 to 1.0"),
        ("depolarizing:nan", "allowed 0.0 to 1.0"),
        ("depolarizing:0.1,0.2", "takes 1 value"),
        ("depolarizing:abc", "not a number"),
        ("depolarizing:", "not a number"),
        ("pauli:0.5,0.5,0.5", "above 1"),
        ("relaxation:1us,3us,1ns", "above 2 T1"),
        ("relaxation:1us,1parsec,1ns", "not a number"),
        ("relaxation:0,0,1", "allowed"),
        ("readout:0.1+", "expected kind:value"),
    ],
)
def test_a_bad_text_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_noise(text)
    assert words in caught.value.what and (caught.value.where or "").startswith("noise")


def test_rules_reach_gates_by_name_qubits_and_arity() -> None:
    flip, mix, damp = Channel("bit_flip", (0.1,)), Channel("depolarizing", (0.2,)), Channel("amplitude_damping", (0.3,))
    noise = Noise(
        (Rule((flip,), ("cx", "measure")), Rule((mix, damp)), Rule((mix,), (), (0, 1), 2), Rule((damp,), (), (2,)))
    )
    assert channels_after(noise, Op("cx", (1, 0))) == [
        (flip, (1,)), (flip, (0,)), (mix, (1, 0)), (damp, (1,)), (damp, (0,)), (mix, (1, 0)),
    ]  # fmt: skip
    assert channels_after(noise, Op("cz", (1, 2))) == [(mix, (1, 2)), (damp, (1,)), (damp, (2,)), (damp, (2,))]
    assert channels_after(noise, Op("h", (0,))) == [(mix, (0,)), (damp, (0,))]
    assert channels_after(noise, Op("measure", (0,), (), (0,))) == [(flip, (0,))]
    for quiet in (Op("reset", (0,)), Op("barrier", (0, 1)), Op("gphase", (), (0.1,))):
        assert channels_after(noise, quiet) == []


def test_two_noises_are_never_mixed_up() -> None:
    weak, strong = parse_noise("bit_flip:0.1"), parse_noise("bit_flip:0.2")
    for noise, p in ((weak, 0.1), (strong, 0.2), (weak, 0.1)):
        assert channels_after(noise, Op("x", (0,))) == [(Channel("bit_flip", (p,)), (0,))]


def test_readout_errors_of_several_rules_follow_each_other() -> None:
    assert readout_for(parse_noise("bit_flip:0.1"), 0) is None
    noise = Noise((Rule((Channel("readout", (0.1, 0.2)),)), Rule((Channel("readout", (0.3, 0.4)),), (), (1,))))
    assert readout_for(noise, 0) == pytest.approx((0.1, 0.2))
    first, second = np.array([[0.9, 0.2], [0.1, 0.8]]), np.array([[0.7, 0.4], [0.3, 0.6]])
    both = second @ first  # column stochastic: [recorded, true]
    assert readout_for(noise, 1) == pytest.approx((both[1, 0], both[0, 1]))
    assert channels_after(noise, Op("measure", (1,), (), (0,))) == []


def test_check_names_the_rule() -> None:
    check_noise(parse_noise("depolarizing:0.1"))
    for rule in (Rule((Channel("fog", (0.1,)),)), Rule((Channel("pauli", (0.9, 0.9, 0.9)),)), Rule((), ("nosuch",))):
        with pytest.raises(UsageError) as caught:
            check_noise(Noise((Rule(()), rule)))
        assert caught.value.where == "noise rule 1"
