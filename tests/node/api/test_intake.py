"""Submissions are checked whole before anything is done, and never make the node open a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.node.making import BELL, QASM

from qcommons.base.errors import UsageError
from qcommons.circuits.noise import Channel, Noise, Rule, parse_noise
from qcommons.circuits.observables import PauliSum, Term
from qcommons.circuits.program import DEFAULT_CAPS
from qcommons.jobs import wire
from qcommons.node.api import records
from qcommons.node.api.intake import POINT_VALUES_MAX, RUNS_MAX, intake
from qcommons.node.api.records import ProgramText, Submission
from qcommons.node.card import card_of
from qcommons.node.frames import Source

ONE = ProgramText(qasm=QASM, name="turn.qasm")
ZZ = PauliSum((Term(0.5, ((0, "Z"), (1, "Z"))),), "half ZZ")


def made(**fields: Any) -> Submission:
    return Submission(**({"programs": (ONE,)} | fields))


def test_one_text_is_a_single_run_of_a_source() -> None:
    taken = intake(made())
    assert taken.circuits == (Source(QASM.encode(), "turn.qasm"),)
    assert (taken.points, taken.shape, taken.grid, taken.single) == ([{}], None, (), True)


def test_canonical_bytes_become_the_card_of_the_program() -> None:
    card = card_of(BELL)
    assert intake(made(programs=(ProgramText(wire=card.wire),))).circuits == (card,)


def test_a_batch_of_a_sweep_is_a_grid_of_both() -> None:
    points = tuple({"theta": float(i)} for i in range(6))
    taken = intake(made(programs=(ONE, ONE), batch=True, points=points, shape=(2, 3)))
    assert (taken.shape, taken.grid, taken.single) == ((2, 3), (2, 2, 3), False)


def test_a_list_of_one_point_stays_a_list_where_its_shape_says_so() -> None:
    point = ({"theta": 1.0},)
    assert intake(made(points=point)).single
    assert intake(made(points=point, shape=())).single
    assert intake(made(points=point, shape=(1,))).grid == (1,)


def test_observables_are_text_or_terms() -> None:
    assert intake(made(observables=("ZZ", ZZ))).asked.observables == ("ZZ", ZZ)
    taken = intake(made(observables=(ZZ,), scalar=True)).asked
    assert (taken.observables, taken.scalar) == ((ZZ,), True)


def test_noise_is_text_a_profile_or_rules() -> None:
    text = "depolarizing:0.01+readout:0.02"
    assert intake(made(noise=text)).noise == parse_noise(text)
    model = Noise((Rule((Channel("depolarizing", (0.01,)),)),), "mine")
    assert intake(made(noise_model=model)).noise == model
    assert intake(made()).noise is None


def far(**fields: Any) -> PauliSum:
    return PauliSum((Term(**({"coefficient": 1.0, "paulis": ((0, "Z"),)} | fields)),), "x")


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"programs": (ONE, ONE)}, "batch"),
        ({"programs": (ProgramText(),)}, "programs[0]"),
        ({"programs": (ProgramText(qasm="x", wire=b"x"),)}, "programs[0]"),
        ({"programs": (ProgramText(qasm="  "),)}, "programs[0].qasm"),
        ({"programs": (ProgramText(qasm="x" * (DEFAULT_CAPS.bytes_max + 1)),)}, "programs[0].qasm"),
        ({"programs": (ONE, ProgramText(wire=b"\x00")), "batch": True}, "programs[1].wire"),
        ({"programs": (ProgramText(wire=card_of(BELL).wire[:-1]),)}, "programs[0].wire"),
        ({"shape": (1,)}, "shape"),
        ({"points": ({},), "shape": (2,)}, "shape"),
        ({"programs": (ONE,) * 11, "batch": True, "points": ({},) * (RUNS_MAX // 10)}, "points"),
        ({"scalar": True}, "scalar"),
        ({"observables": ("Z", "X"), "scalar": True}, "scalar"),
        ({"observables": ()}, "observable"),
        ({"observables": (far(paulis=((0, "Q"),)),)}, "observables[0].terms[0]"),
        ({"observables": (far(paulis=((1, "Z"), (0, "Z"))),)}, "observables[0].terms[0]"),
        ({"observables": (far(paulis=((0, "Z"), (0, "X"))),)}, "observables[0].terms[0]"),
        ({"observables": (far(paulis=((-1, "Z"),)),)}, "observables[0].terms[0]"),
        ({"observables": (far(coefficient=float("inf")),)}, "observables[0].terms[0]"),
        ({"observables": ("Z",), "statevector": True}, "statevector"),
        ({"shots": 0}, "shots"),
        ({"shots": 1 << 80}, "shots"),
        ({"amplitudes": ("01x",)}, "amplitudes"),
        ({"amplitudes": ()}, "amplitudes"),
        ({"deadline_s": 0.0}, "deadline_s"),
        ({"memory_bytes": 1 << 70}, "memory_bytes"),
        ({"noise": "magic:0.1"}, "noise"),
        ({"noise": "depolarizing:0.1", "noise_profile": "x"}, "noise_profile"),
        ({"noise_profile": "not toml ["}, "noise_profile"),
        ({"noise_model": Noise((Rule((Channel("magic", (0.1,)),)),))}, "noise_model"),
    ],
)
def test_what_is_wrong_names_its_field(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(UsageError) as caught:
        intake(made(**fields))
    assert (caught.value.where or "").startswith(where), caught.value


def test_the_node_opens_no_file_whatever_is_named(tmp_path: Path) -> None:
    """A path where text belongs is only text; a device profile is not read by its name."""
    secret = tmp_path / "secret.qasm"
    secret.write_text(QASM)
    profile = tmp_path / "secret.toml"
    profile.write_text('name = "x"')
    taken = intake(made(programs=(ProgramText(qasm=str(secret), name=str(secret)),)))
    assert taken.circuits == (Source(str(secret).encode(), str(secret)),)
    for fields in ({"noise": str(profile)}, {"noise_profile": str(profile)}):
        with pytest.raises(UsageError):
            intake(made(**fields))


def test_lists_are_as_long_as_between_nodes_and_no_longer() -> None:
    assert (records.SUMS_MAX, records.BITSTRINGS_MAX) == (wire.SUMS_MAX, wire.BITSTRINGS_MAX)
    program = b'"programs":[{"qasm":"OPENQASM 3.0; qubit q;"}]'
    for name, most in (("observables", records.SUMS_MAX), ("amplitudes", records.BITSTRINGS_MAX)):
        for count, good in ((most, True), (most + 1, False)):
            raw = b"{%s,%s:[%s]}" % (program, b'"%s"' % name.encode(), b",".join([b'"1"'] * count))
            if good:
                msgspec.json.decode(raw, type=Submission)
            else:
                with pytest.raises(msgspec.ValidationError, match=name):
                    msgspec.json.decode(raw, type=Submission)


def test_a_point_binds_as_many_inputs_as_programs_can_have() -> None:
    values = {f"a{index}": 0.5 for index in range(POINT_VALUES_MAX + 1)}
    with pytest.raises(UsageError, match="100001 values in one point"):
        intake(made(points=(values,)))


def test_what_each_program_has_to_itself_is_bounded_before_it_is_read() -> None:
    """A thousand small programs with one large observable would be a thousand large observables."""
    programs = tuple(ProgramText(qasm="OPENQASM 3.0; qubit q;") for _ in range(1000))
    large = "+".join(["Z"] * 10_000)
    with pytest.raises(UsageError, match="for each of 1000 programs") as refused:
        intake(Submission(programs=programs, batch=True, observables=(large,)))
    assert refused.value.where == "observables"
    intake(Submission(programs=programs[:1], observables=(large,)))
    half = PauliSum(tuple(Term(1.0, ((0, "Z"),)) for _ in range(60_000)), "")
    with pytest.raises(UsageError, match="120000 terms"):
        intake(Submission(programs=programs[:1], observables=(half, half)))
    with pytest.raises(UsageError, match="amplitudes for each"):
        intake(Submission(programs=programs, batch=True, amplitudes=("0" * 20,) * 60_000))
