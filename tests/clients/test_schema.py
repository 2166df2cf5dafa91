"""docs/schema/cli.schema.json is what the rows say, and each command has a row. `a_node.body` holds answers to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from tests.clients.json_shapes import check_shape

from qcommons.clients.cli import schema
from qcommons.clients.cli.main import COMMANDS, main

FILE = Path(__file__).parents[2] / "docs/schema/cli.schema.json"


def test_the_file_is_current() -> None:
    assert FILE.read_text() == schema.schema_text(), "run: python -m qcommons.clients.cli.schema > docs/schema/..."


def test_every_command_has_a_definition_and_no_other_has() -> None:
    assert list(schema.SHAPES) == [row.name for row in COMMANDS]
    Draft202012Validator.check_schema(schema.schema())


@pytest.mark.parametrize(
    "words",
    [("version",), ("completion", "bash"), ("config",), ("config", "show"), ("engines",), ("world", "--list"),
     ("keys", "show"), ("keys", "backup"), ("owner", "show"), ("down",), ("status",), ("dev", "status"),
     ("world", "--scenario", "join", "--nodes", "3", "--for", "1s")],
)  # fmt: skip
def test_commands_without_a_node_fit_their_definitions(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("QCOMMONS_NODE", "QCOMMONS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QCOMMONS_HOME", str(tmp_path))
    main([*words, "--json"])
    check_shape(words, json.loads(capsys.readouterr().out))


def test_a_field_that_nobody_named_is_found() -> None:
    with pytest.raises(AssertionError, match="version"):
        check_shape(("version",), {"qcommons": "1", "python": "3", "secret": "x"})
