"""The zoo: every row lies as its sentence says, the checks catch it as often as is quoted, and the protocol's liars
gain nothing. Few trials here; `make redteam` runs many."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qcommons.engines.records import Counts, Expectations
from qcommons.verify import soundness
from qcommons.verify.answers import Question, fault
from qcommons.world import protocol_liars, redteam, zoo
from qcommons.world.protocol_liars import PROTOCOL_LIARS, Liar
from qcommons.world.redteam import CHECKS, cell, circuits, honest, main, run
from qcommons.world.zoo import ONCE_IN, ZOO, Asked, Row

MEASURED = {
    (row["liar"], row["check"], row["shots"]): row
    for row in json.loads((Path(soundness.__file__).parent / "detection.json").read_text())["rows"]
}


def test_rows_have_names_and_sentences_of_their_own() -> None:
    names = [row.name for row in (*ZOO, *PROTOCOL_LIARS)]
    assert len(set(names)) == len(names) == 22
    assert all(row.help for row in (*ZOO, *PROTOCOL_LIARS))


@pytest.mark.parametrize("row", ZOO, ids=lambda row: row.name)
def test_a_liar_answers_in_form_and_not_the_truth(row: Row) -> None:
    """A lie that can be seen without a check is none of the zoo; one that is the truth is none either."""
    circuit = circuits(6, 1)[0]
    for want in (Counts(500), Expectations(circuit.observables)):
        asked = Asked(circuit.program, want, 5, run, ONCE_IN - 1)
        question = Question(want=want, n_bits=6, n_qubits=6, n_ops=len(circuit.program.ops))
        said = row.answer(asked)
        assert fault(said, question) is None
        assert (said.counts, said.estimates) != (asked.honest().counts, asked.honest().estimates)


def test_those_who_lie_seldom_are_honest_in_between() -> None:
    circuit = circuits(6, 1)[0]
    row = next(row for row in ZOO if row.every == ONCE_IN)
    asked = [Asked(circuit.program, Counts(500), 5, run, number) for number in range(ONCE_IN)]
    assert [row.answer(one).counts == one.honest().counts for one in asked] == [True] * (ONCE_IN - 1) + [False]


@pytest.mark.parametrize("row", ZOO, ids=lambda row: row.name)
def test_every_lie_is_caught_number_by_number(row: Row) -> None:
    """24 of 24: a liar that were caught in 82 % only would pass this once in a hundred times."""
    for check, shots in CHECKS[:2]:
        found = cell(row, check, shots, 24)
        assert (found.refused, found.proved) == (24, 24), check


@pytest.mark.parametrize("row", ZOO, ids=lambda row: row.name)
def test_statistics_catch_as_often_as_is_quoted(row: Row) -> None:
    """24 answers: fewer than the rate's lower end less 5 sigma is one in 1.7 million."""
    for check, shots in CHECKS[2:]:
        measured = MEASURED[row.name, check, shots]
        low, _ = soundness.clopper_pearson(measured["caught"], measured["tried"])
        found = cell(row, check, shots, 24)
        assert found.refused >= 24 * low - 5 * (24 * low * (1 - low)) ** 0.5 - 1, check


def test_what_defeats_other_networks_is_caught_always() -> None:
    """But where all that is known is another sample of 1,024 shots: then in four of five."""
    for name in ("product state", "no entanglement", "right on small", "uniform bits"):
        for check, shots in CHECKS:
            row = MEASURED[name, check, shots]
            needed = 0.8 if (check, shots) == ("samples", 1024) else 1.0
            assert row["caught"] >= needed * row["tried"], (name, check)


def test_honest_pieces_are_seldom_refused_and_never_held_to_be_lies() -> None:
    """300 pieces at a level of 1e-4: more than one refused has probability 0.0005."""
    found = honest(300)
    assert sum(one.refused for one in found.values()) <= 1
    assert sum(one.proved for one in found.values()) == 0
    assert sum(one.tried for one in found.values()) == 300


@pytest.mark.parametrize("liar", PROTOCOL_LIARS, ids=lambda liar: liar.name)
def test_liars_of_the_protocol_harm_nobody(liar: Liar) -> None:
    played = [liar.play(number) for number in range(20)]
    assert not any(one.harmed for one in played)
    if liar.name not in ("two colluding replicas", "until trusted"):
        assert all(one.caught for one in played)


def test_two_colluders_pass_as_often_as_the_bound_says() -> None:
    """Where one of 20 is drawn, the other is too in 1 of 19: 1000 draws, 53 +- 7, within 5 sigma."""
    liar = next(liar for liar in PROTOCOL_LIARS if liar.name == "two colluding replicas")
    passed = sum(not liar.play(number).caught for number in range(1000))
    nodes = protocol_liars.NODES
    assert abs(passed - 1000 / (nodes - 1)) < 36
    both = soundness.colluders(nodes, 2, 2)
    either = 1 - soundness.colluders(nodes, nodes - 2, 2)
    assert both / either == pytest.approx(1 / (2 * nodes - 3))


def test_who_behaves_until_trusted_loses_more_than_it_gained_on_average() -> None:
    """A career: batches gained before the one in which it is found, against that batch and the forfeit."""
    liar = next(liar for liar in PROTOCOL_LIARS if liar.name == "until trusted")
    lost = sum(liar.play(number).caught for number in range(100))
    assert lost >= 70  # it gains a second batch, 40 runs against 39, with probability 0.95^40 = 0.13: 87 +- 3.4
    assert zoo.SMALL_QUBITS < 6


def test_the_table_is_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "detection.json"
    assert main(["--trials", "1", "--honest", "10", "--write", str(file)]) == 0
    printed = capsys.readouterr().out
    assert all(row.name in printed for row in (*ZOO, *PROTOCOL_LIARS))
    assert "honest pieces refused" in printed
    rows = json.loads(file.read_text())["rows"]
    assert len(rows) == len(ZOO) * len(CHECKS)
    assert redteam.SEED == 20_261
