"""A development node that was told to lie lies as the row says, through the real worker; no other node can."""

from __future__ import annotations

from pathlib import Path

import pytest

from qcommons.node.dev import MARK_FILE, DevFolder, worker_command
from qcommons.node.embedded import EmbeddedNode
from qcommons.node.process import WORKER_COMMAND
from qcommons.world.lying_worker import row_of
from qcommons.world.zoo import ZOO

BELL = "OPENQASM 3.0; qubit[2] q; bit[2] c; h q[0]; cx q[0], q[1]; c = measure q;"


def test_only_a_development_home_that_was_told_to_lie_starts_a_lying_worker(tmp_path: Path) -> None:
    folder = DevFolder(tmp_path / "dev")
    honest, liar = folder.make(2, seed="a", workers=1, liars={1: "uniform bits"})
    assert worker_command(honest) == WORKER_COMMAND == worker_command(tmp_path)
    assert worker_command(liar)[-2:] == ("qcommons.world.lying_worker", "uniform bits")
    folder.make(2, seed="a", workers=1)
    assert worker_command(liar)[-1] == "uniform bits"  # until it is told otherwise
    folder.make(2, seed="a", workers=1, liars={1: ""})
    assert worker_command(liar) == WORKER_COMMAND
    assert (liar / MARK_FILE).stat().st_mode & 0o077 == 0


def test_a_lying_worker_answers_as_its_row_says_and_names_the_engine_it_should(tmp_path: Path) -> None:
    """A Bell pair has no 01 and 10; of 4,096 uniform shots fewer than 1,800 of these come with p < 1e-14."""
    (home,) = DevFolder(tmp_path / "dev").make(1, seed="a", workers=1, liars={0: "uniform bits"})
    runs = {}
    for name, command in (("liar", worker_command(home)), ("honest", WORKER_COMMAND)):
        with EmbeddedNode(1, command=command) as node:
            runs[name] = node.run(BELL, shots=4096, seed=1)
    counts = runs["liar"].counts
    assert sum(counts.values()) == 4096
    assert counts["01"] + counts["10"] > 1800
    assert set(runs["honest"].counts) == {"00", "11"}
    assert runs["liar"].engine == runs["honest"].engine


@pytest.mark.parametrize("row", ZOO, ids=lambda row: row.name)
def test_every_row_is_found_by_its_name_and_by_its_name_with_dashes(row: object) -> None:
    name = row.name  # type: ignore[attr-defined]
    assert row_of(name) is row
    assert row_of(name.replace(" ", "-")) is row


def test_an_unknown_liar_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(LookupError, match="uniform bits"):
        row_of("saint")
