"""The edge and the submission: what users write, read as they meant it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from tests.node.making import BELL

from qcommons.base.errors import UsageError
from qcommons.circuits.program import DEFAULT_CAPS
from qcommons.engines.records import Amplitudes, Counts, Expectations, Limits, Statevector
from qcommons.jobs.outcomes import Misused
from qcommons.jobs.records import Card, Job
from qcommons.node import edge
from qcommons.node.card import card_of
from qcommons.node.frames import Source
from qcommons.node.submission import positive, submission

LIMITS = Limits(memory_bytes=1, seconds=1.0)
COUNTS = edge.asked(None, None, None, False)


@pytest.mark.parametrize("text", ["OPENQASM 3;", "qubit q;", "x\ny", "gate g a { }"])
def test_text_is_told_from_a_file_name(text: str) -> None:
    assert edge.circuits(text)[0] == [Source(text.encode(), "<text>")]


def test_a_file_longer_than_the_cap_is_refused_before_it_is_read_whole(tmp_path: Path) -> None:
    huge = tmp_path / "huge.qasm"
    with huge.open("wb") as file:
        file.truncate(DEFAULT_CAPS.bytes_max + 1)
    with pytest.raises(UsageError, match="more than") as caught:
        edge.circuits(huge)
    assert caught.value.limit == f"{DEFAULT_CAPS.bytes_max} bytes"
    with pytest.raises(UsageError, match="cannot read"):
        edge.circuits(tmp_path)


def test_what_is_no_program_is_named_with_its_place() -> None:
    with pytest.raises(UsageError, match="of type int") as caught:
        edge.circuits([BELL, 3])
    assert caught.value.where == "program[1]"


def test_a_grid_is_in_row_major_order() -> None:
    points, shape = edge.points({"a": np.array([[1], [2]]), "b": [10, 20, 30]})
    assert shape == (2, 3)
    assert [(p["a"], p["b"]) for p in points] == [(1, 10), (1, 20), (1, 30), (2, 10), (2, 20), (2, 30)]
    assert edge.points({"a": 1, "b": np.float32(2)}) == ([{"a": 1.0, "b": 2.0}], None)
    assert edge.points({}) == ([{}], None)


def test_a_sweep_that_would_not_end_is_refused_before_it_is_built() -> None:
    with pytest.raises(UsageError, match="points"):
        edge.points({"a": np.zeros((2_000, 1)), "b": np.zeros(2_000)})


def test_each_want_is_the_one_asked_for() -> None:
    card = card_of(BELL)
    assert edge.want_for(card, COUNTS) == Counts(1024)
    assert edge.want_for(card, edge.asked(7, None, None, False)) == Counts(7)
    assert edge.want_for(card, edge.asked(None, None, " 01, 11", False)) == Amplitudes(("01", "11"))
    assert edge.want_for(card, edge.asked(None, None, None, True)) == Statevector()


def test_a_single_run_takes_the_seed_itself_and_several_take_derived_ones() -> None:
    card = card_of(BELL)
    options = {"batch": True, "noise": None, "engine": None, "method": None, "limits": LIMITS, "deadline_s": 1.0}
    assert submission([card], [{}], COUNTS, seed=5, **options).points[0].seed == 5
    seeds = [point.seed for point in submission([card, card], [{}], COUNTS, seed=5, **options).points]
    assert 5 not in seeds
    assert len(set(seeds)) == 2


def test_a_program_that_did_not_parse_keeps_its_place_in_the_batch() -> None:
    options = {"batch": True, "noise": None, "engine": None, "method": None, "limits": LIMITS, "deadline_s": 1.0}
    trouble = Misused("bad", where="b.qasm:1:1")
    job = submission([card_of(BELL), trouble], [{}, {}], COUNTS, seed=5, **options)
    assert job.settled == {2: trouble, 3: trouble}
    assert len(job.points) == 4


@pytest.mark.parametrize("number", ["a", True, 1.5, float("nan"), float("inf"), 10**400, None, [3]])
def test_shots_and_seeds_that_are_no_integers_in_range_are_refused_with_the_range(number: object) -> None:
    if number is not None:
        with pytest.raises(UsageError, match="allowed 1 to 1000000000"):
            edge.asked(number, None, None, False)
        with pytest.raises(UsageError, match=r"allowed 0 to 2\^63-1"):
            _submitted(number)


def test_integers_of_other_types_are_integers() -> None:
    assert edge.asked(np.int64(7), None, None, False).shots == edge.asked(7.0, None, None, False).shots == 7
    assert _submitted(np.uint8(9)).seed == 9


def _submitted(seed: object) -> Job:
    rest = {"batch": False, "noise": None, "engine": None, "method": None, "limits": LIMITS, "deadline_s": 1.0}
    return submission([card_of(BELL)], [{}], COUNTS, seed=seed, **rest)


def test_a_wrong_binding_says_what_is_wrong_and_nothing_else() -> None:
    card = Card(b"", "", 1, (), ("theta",), 0)
    with pytest.raises(UsageError) as missing:
        edge.values_for(card, {}, batch=False)
    assert missing.value.what.startswith("no value for theta: give one, as in --bind theta=0.3")
    with pytest.raises(UsageError) as unknown:
        edge.values_for(card, {"theta": 1.0, "phi": 2.0}, batch=False)
    assert unknown.value.what == "this program has no input phi; its inputs are: theta"
    with pytest.raises(UsageError, match="no input phi; it has none"):
        edge.values_for(Card(b"", "", 1, (), (), 0), {"phi": 2.0}, batch=False)


@pytest.mark.parametrize("text", ["", " \n", b""])
def test_an_empty_text_is_no_program(text: str | bytes) -> None:
    with pytest.raises(UsageError, match="an empty text is no program"):
        edge.circuits(text)


def test_one_qubit_is_not_many() -> None:
    with pytest.raises(UsageError, match=r"has 2 bits; this program has 1 qubit$") as caught:
        edge.want_for(Card(b"", "", 1, (), (), 0), edge.asked(None, None, "01", False))
    assert caught.value.limit == "1 bit"


@pytest.mark.parametrize("text", ["schema = 2", "= 1", "schema = 1\nn_qubits = 1\n[gates]\nhh = {}"])
def test_what_is_wrong_in_a_profile_is_named_with_its_file(text: str, tmp_path: Path) -> None:
    path = tmp_path / "device.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        edge.noise_of(path)
    assert str(caught.value).startswith((f"{path}: profile ", f"{path}:1:1: not TOML"))


@pytest.mark.parametrize("value", [0, -1.0, float("nan")])
def test_limits_are_above_zero(value: float) -> None:
    with pytest.raises(UsageError, match="deadline_s"):
        positive("deadline_s", value)


def test_observables_and_noise_are_read_from_text_and_files(tmp_path: Path) -> None:
    want = edge.want_for(card_of(BELL), edge.asked(50, ["ZZ", "0.5 XI"], None, False))
    assert isinstance(want, Expectations)
    assert [one.text for one in want.observables] == ["ZZ", "0.5 XI"]
    assert want.shots == 50
    with pytest.raises(UsageError):
        edge.want_for(card_of(BELL), edge.asked(None, "ZZZ", None, False))
    noise = edge.noise_of("depolarizing:0.01")
    assert noise is not None
    assert noise.rules[0].channels[0].values == (0.01,)
    assert edge.noise_of(noise) is noise
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="not UTF-8 at byte 0"):
        edge.noise_of(tmp_path / "bad.toml")


@pytest.mark.parametrize(
    "value", [10**400, 10**5000, float("nan"), float("-inf"), 1j, None, [[1], [2, 3]], "pie", b"1"],
    ids=lambda value: f"{type(value).__name__}",
)  # fmt: skip
def test_what_is_no_finite_number_is_refused_alike_in_every_form(value: object) -> None:
    for bind in ({"a": value}, {"a": [0.1, value]}, [{"a": 0.1}, {"a": value}]):
        with pytest.raises(UsageError) as caught:
            edge.points(bind)
        assert "a" in str(caught.value.where) and len(str(caught.value)) < 200
    with pytest.raises(UsageError, match="True is no finite number"):
        edge.points({"a": True})


def test_angles_are_understood_as_on_the_command_line() -> None:
    assert edge.points({"a": "pi/2", "b": 1}) == ([{"a": np.pi / 2, "b": 1.0}], None)
    assert edge.points({"a": ["pi", "0.5"]}) == ([{"a": np.pi}, {"a": 0.5}], (2,))
    assert edge.points([{"a": "-3*pi/4"}])[0] == [{"a": -3 * np.pi / 4}]


def test_an_array_input_is_bound_at_once_and_swept_along_the_axes_before() -> None:
    assert edge.points({"g[]": [0.1, "pi"]}) == ([{"g[0]": 0.1, "g[1]": np.pi}], None)
    points, shape = edge.points({"g[]": [[1, 2], [3, 4], [5, 6]], "b": 7})
    assert shape == (3,) and points[1] == {"g[0]": 3.0, "g[1]": 4.0, "b": 7.0}
    assert edge.points([{"g[]": [1, 2]}, {"g[]": [3, 4]}])[0] == [
        {"g[0]": 1.0, "g[1]": 2.0},
        {"g[0]": 3.0, "g[1]": 4.0},
    ]
    with pytest.raises(UsageError, match="one number"):
        edge.points({"g[]": 1.0})
    with pytest.raises(UsageError, match="given twice"):
        edge.points({"g[]": [1.0, 2.0], "g[1]": 1.0})
    card = Card(b"", "", 1, (), ("g[0]", "g[1]"), 0)
    with pytest.raises(UsageError, match=r'its g is an array: bind it as \{"g\[\]": \[0.1, 0.2, ...\]\}'):
        edge.values_for(card, {"g": 0.1}, batch=False)


def test_a_circuit_of_qiskit_is_told_how_to_come() -> None:
    qiskit = pytest.importorskip("qiskit")
    with pytest.raises(UsageError, match=r"qiskit\.qasm3\.dumps\(circuit\)"):
        edge.circuits(qiskit.QuantumCircuit(1))


def test_a_fifo_is_read_as_a_program_and_refused_as_a_profile(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ff.toml")
    with pytest.raises(UsageError, match="nobody wrote to it within"):
        edge.circuits(tmp_path / "ff.toml", 0.05)
    with pytest.raises(UsageError, match="a FIFO, no regular file"):
        edge.noise_of(tmp_path / "ff.toml")
