"""Holds what a command prints with --json to its definition in docs/schema/cli.schema.json, exactly: no field more."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from qcommons.clients.cli.main import COMMANDS

FOLDER = Path(__file__).parents[2] / "docs/schema"
NAMES = {row.name for row in COMMANDS}


def check_shape(words: tuple[str, ...], body: Any) -> None:
    """Raises AssertionError, naming the place, where the object is not what the schema says."""
    name = " ".join(words[:2]) if " ".join(words[:2]) in NAMES else words[0]
    failed = isinstance(body, dict) and body.keys() == {"job", "status", "error"}
    found = [f"{error.json_path}: {error.message}" for error in _validator(name, failed=failed).iter_errors(body)]
    assert not found, (name, found[:3])


@functools.cache
def _validator(name: str, *, failed: bool) -> Any:
    files = {path.name: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
    _close(files["cli.schema.json"])
    registry: Any = Registry().with_resources([(key, Resource.from_contents(file)) for key, file in files.items()])
    where = "Failed" if failed else name.replace(" ", "-")
    return Draft202012Validator({"$ref": f"cli.schema.json#/$defs/{where}"}, registry=registry)


def _close(schema: Any) -> None:
    """An object with named fields has no others."""
    if isinstance(schema, dict):
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
        for value in schema.values():
            _close(value)
    elif isinstance(schema, list):
        for value in schema:
            _close(value)
