"""The arguments of `run` become a submission that the node reads back as the same parts of a job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.node.making import BELL, QASM, TURN

from qcommons.base.errors import UsageError
from qcommons.circuits.noise import Channel, Noise, Rule
from qcommons.circuits.observables import PauliSum, Term
from qcommons.clients.http.submissions import submission
from qcommons.node import edge
from qcommons.node.api.intake import intake
from qcommons.node.api.records import Submission
from qcommons.node.card import card_of

ZZ = PauliSum((Term(1.0, ((0, "Z"), (1, "Z"))),), "my label")
PROFILE = """
name = "two"
n_qubits = 2
[[rule]]
channels = [{ kind = "depolarizing", p = 0.01 }]
"""


def sent(program: Any, **asked: Any) -> Submission:
    """As it arrives."""
    return msgspec.json.decode(msgspec.json.encode(submission(program, **asked)), type=Submission)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"shots": 4096},
        {"shots": np.int64(10)},
        {"observable": "ZZ"},
        {"observable": ["ZZ", ZZ], "shots": 5},
        {"observable": ZZ},
        {"observable": [ZZ]},
        {"amplitudes": "00, 11"},
        {"amplitudes": ["01"]},
        {"statevector": True},
    ],
)
def test_what_is_wanted_arrives_as_an_embedded_run_has_it(asked: dict[str, Any]) -> None:
    wanted = {"shots": None, "observable": None, "amplitudes": None, "statevector": False} | asked
    assert intake(sent(BELL, **asked)).asked == edge.asked(**wanted)


@pytest.mark.parametrize(
    "bind",
    [
        None,
        {"theta": 0.5},
        {"theta": np.linspace(0, 1, 5)},
        {"a": np.zeros((2, 1)), "b": np.ones(3)},
        [{"theta": 0.5}],
        [{"theta": 1}, {"theta": 2}],
        {"theta": [0.1]},
    ],
)
@pytest.mark.parametrize("batch", [False, True])
def test_bindings_arrive_as_an_embedded_run_has_them(bind: Any, batch: bool) -> None:
    points, shape = edge.points(bind)
    taken = intake(sent([TURN] if batch else TURN, bind=bind))
    assert (taken.points, taken.shape, taken.batch) == (points, shape, batch)


def test_programs_travel_as_bytes_files_as_text(tmp_path: Path) -> None:
    file = tmp_path / "turn.qasm"
    file.write_text(QASM)
    taken = intake(sent([BELL, card_of(BELL, "named"), file, QASM]))
    assert taken.circuits == (
        card_of(BELL),
        card_of(BELL, "named"),
        edge.Source(QASM.encode(), str(file)),
        edge.Source(QASM.encode(), "<text>"),
    )


def test_noise_travels_as_text_profile_or_rules(tmp_path: Path) -> None:
    model = Noise((Rule((Channel("depolarizing", (0.01,)),)),), "mine")
    assert intake(sent(BELL, noise=model)).noise == model
    assert intake(sent(BELL, noise="readout:0.02")).noise == edge.noise_of("readout:0.02")
    assert sent(BELL).noise is None


def test_a_missing_file_is_told_on_the_clients_side(tmp_path: Path) -> None:
    for asked in ({"program": str(tmp_path / "no.qasm")}, {"program": BELL, "noise": str(tmp_path / "no.toml")}):
        with pytest.raises(UsageError, match="cannot read"):
            submission(**asked)


@pytest.mark.parametrize(
    ("asked", "where"),
    [
        ({"seed": -1}, "seed"),
        ({"shots": 0}, "shots"),
        ({"bind": {"theta": float("nan")}}, "bind theta"),
        ({"deadline_s": 0}, "deadline_s"),
        ({"memory_bytes": -5}, "memory_bytes"),
        ({"noise": 5}, "noise"),
    ],
)
def test_mistakes_are_told_in_terms_of_the_arguments(asked: dict[str, Any], where: str) -> None:
    with pytest.raises(UsageError) as caught:
        submission(TURN, **asked)
    assert caught.value.where == where


def test_every_submission_has_a_name_of_its_own() -> None:
    assert submission(BELL).request != submission(BELL).request
    assert submission(BELL, request="mine").request == "mine"
