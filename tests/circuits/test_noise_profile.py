"""Device profiles: each field reaches the right place, each mistake is named.

Modules: noise_profile.
"""

from pathlib import Path

import pytest
from qiskit.quantum_info import Kraus, SuperOp, average_gate_fidelity

from qcommons.base.errors import UsageError
from qcommons.circuits.noise import channels_after, check_fits, kraus, load_profile, parse_noise, readout_for
from qcommons.circuits.program import Op

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_line5_gives_each_place_its_error() -> None:
    noise = load_profile((EXAMPLES / "line5.toml").read_text(encoding="utf-8"))
    assert (noise.name, noise.n_qubits) == ("line5", 5)

    def depolarizing(op: Op) -> float:
        (p,) = [c.values[0] for c, _ in channels_after(noise, op) if c.kind == "depolarizing"]
        return p

    assert depolarizing(Op("cx", (1, 0))) == pytest.approx(7e-3 * 4 / 3)
    assert depolarizing(Op("cx", (0, 3))) == pytest.approx(2e-2 * 4 / 3)  # no neighbours
    assert depolarizing(Op("cz", (0, 1))) == pytest.approx(8e-3 * 4 / 3)  # by default
    assert depolarizing(Op("h", (4,))) == pytest.approx(3e-4 * 2)
    assert depolarizing(Op("rz", (0, 1), (0.1,), (), 1)) == pytest.approx(8e-3 * 4 / 3)  # two qubits with its control
    assert depolarizing(Op("cx", (0, 1, 2), (), (), 1)) == pytest.approx(5e-2 * 8 / 7)
    assert channels_after(noise, Op("rz", (2,), (0.1,))) == []
    relaxing = {w: c.values for c, w in channels_after(noise, Op("cx", (2, 1))) if c.kind == "relaxation"}
    assert relaxing[2,] == pytest.approx((60e-6, 45e-6, 300e-9))
    assert relaxing[1,] == pytest.approx((120e-6, 90e-6, 300e-9))
    assert (readout_for(noise, 2), readout_for(noise, 3)) == ((0.02, 0.05), (0.015, 0.015))


def test_grid9_is_pauli_noise_for_every_qubit_and_pair() -> None:
    noise = load_profile((EXAMPLES / "grid9.toml").read_text(encoding="utf-8"))
    for a in range(9):
        assert readout_for(noise, a) == ((0.03, 0.03) if a == 4 else (0.01, 0.01))
        assert len(channels_after(noise, Op("sx", (a,)))) == 1
        for b in set(range(9)) - {a}:
            assert len(channels_after(noise, Op("cz", (a, b)))) == 1
    assert {c.kind for rule in noise.rules for c in rule.channels} == {"depolarizing", "readout"}


def test_the_error_of_a_profile_is_the_average_gate_infidelity() -> None:
    noise = load_profile("schema = 1\nn_qubits = 2\n[default.two_qubit]\nerror = 0.05\n")
    ((channel, qubits),) = channels_after(noise, Op("cx", (0, 1)))
    assert qubits == (0, 1)
    assert 1 - average_gate_fidelity(SuperOp(Kraus(list(kraus(channel, 2))))) == pytest.approx(0.05)


def test_a_wider_program_does_not_fit_a_device() -> None:
    noise = load_profile("schema = 1\nn_qubits = 2\n")
    check_fits(noise, 2)
    check_fits(parse_noise("readout:0.1"), 1000)
    with pytest.raises(UsageError, match="3 qubits"):
        check_fits(noise, 3)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ("= 3", "profile"),
        ("n_qubits = 2", "schema"),
        ("schema = 2\nn_qubits = 2", "schema"),
        ("schema = 1", "n_qubits"),
        ("schema = 1\nn_qubits = 0", "n_qubits"),
        ("schema = 1\nn_qubits = true", "n_qubits"),
        ("schema = 1\nn_qubits = 2\nspeed = 3", "profile"),
        ("schema = 1\nn_qubits = 2\nname = 3", "name"),
        ("schema = 1\nn_qubits = 2\ngates = 3", "gates"),
        ("schema = 1\nn_qubits = 2\n[gates.nosuch]\nerror = 0.1", "gates"),
        ("schema = 1\nn_qubits = 2\n[gates.p]\nerror = 0.1\n[gates.u1]\nerror = 0.1", "gates"),
        ("schema = 1\nn_qubits = 2\n[gates.cx]\nerror = 0.9", "gates.cx"),
        ("schema = 1\nn_qubits = 2\n[gates.cx]\nerror = -0.1", "gates.cx"),
        ("schema = 1\nn_qubits = 2\n[gates.cx]\nerror = nan", "gates.cx"),
        ("schema = 1\nn_qubits = 2\n[gates.cx]\nerorr = 0.1", "gates.cx"),
        ("schema = 1\nn_qubits = 2\n[gates.cx]\non = { '0-1' = 0.1 }", "gates.cx"),
        ("schema = 1\nn_qubits = 2\n[gates.cx]\nerror = 0.1\non = { '0-2' = 0.1 }", "gates.cx on"),
        ("schema = 1\nn_qubits = 2\n[gates.cx]\nerror = 0.1\non = { '1-1' = 0.1 }", "gates.cx on"),
        ("schema = 1\nn_qubits = 2\n[gates.h]\nerror = 0.1\non = { '0-1' = 0.1 }", "gates.h on"),
        ("schema = 1\nn_qubits = 2\n[default.two_qubit]\nerror = 0.1\non = { '0-1' = 0.1 }", "default.two_qubit"),
        ("schema = 1\nn_qubits = 2\n[qubits.2]\nt1_us = 3", "qubits"),
        ("schema = 1\nn_qubits = 2\n[qubits.0]\nt1_us = 0", "qubits.0"),
        ("schema = 1\nn_qubits = 2\n[qubits.0]\nt1_us = 'long'", "qubits.0"),
        ("schema = 1\nn_qubits = 2\n[qubits.0]\nreadout = 1.5", "qubits.0 readout"),
        ("schema = 1\nn_qubits = 2\n[qubits.0]\nreadout = [0.1]", "qubits.0 readout"),
        ("schema = 1\nn_qubits = 2\n[gates.x]\nduration_ns = 1\n[qubits.0]\nt1_us = 1\nt2_us = 3", "noise rule"),
    ],
)  # fmt: skip
def test_a_bad_profile_is_refused_with_its_field(body: str, where: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_profile(body)
    assert where in (caught.value.where or "")


def test_only_toml_is_read() -> None:
    with pytest.raises(UsageError, match="toml"):
        load_profile("{}", "json")


@pytest.mark.parametrize(
    ("text", "where"),
    [("schema = 1\nn_qubits = " + "9" * 5000, "profile:2"), ("schema = 0x" + "f" * 5000, "profile schema"),
     ("schema = 1\nn_qubits = 0x" + "f" * 5000, "profile n_qubits"),
     ("schema = 1\nn_qubits = 2\n[qubits.default]\nt1_us = 1" + "0" * 400, "profile qubits.default")],
)  # fmt: skip
def test_integers_of_hundreds_of_digits_are_refused_with_their_place(text: str, where: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_profile(text)
    assert caught.value.where == where
    assert len(caught.value.what) < 200
