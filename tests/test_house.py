"""Rules of the house that no linter knows: docstrings, sizes, front doors, what is never called."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in SOURCES]
LINES_MAX = 450  # "about 400": past it there is a second noun inside
SHORT_LINES = 6
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_IMPORTS = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_file_opens_with_what_it_is_for_and_stays_small(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "open the file with what it is for"
    assert text.count("\n") <= LINES_MAX, "look for the second noun inside"


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_public_functions_and_classes_have_docstrings(path: Path) -> None:
    """Of what a module exports; what is so short that its name and its lines say it all is let off."""
    tree = ast.parse(path.read_text())
    exported = _exported(tree)
    bare = [
        node.name
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        and node.name in exported
        and not ast.get_docstring(node)
        and (node.end_lineno or 0) - node.lineno >= SHORT_LINES
    ]
    assert not bare


def _exported(tree: ast.Module) -> set[str]:
    for node in tree.body:
        target = node.target if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [None])[0]
        if isinstance(target, ast.Name) and target.id == "__all__" and isinstance(node, (ast.Assign, ast.AnnAssign)):
            return set(ast.literal_eval(node.value)) if node.value else set()
    return set()


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_nothing_is_evaluated_or_unpickled(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in FORBIDDEN_CALLS, f"line {node.lineno}"
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            roots = {alias.name.split(".")[0] for alias in node.names} | {
                (getattr(node, "module", "") or "").split(".")[0]
            }
            assert not roots & FORBIDDEN_IMPORTS, f"line {node.lineno}"


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_what_msgspec_reads_into_is_described_first(path: Path) -> None:
    """See base/typed.py: two threads that read into a new type at once end the process."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not ast.unparse(node.func).startswith("msgspec."):
            continue
        verb = ast.unparse(node.func).rpartition(".")[2]
        place = {"convert": 1, "Decoder": 0, "decode": 1}.get(verb, len(node.args))
        kinds = [*node.args[place : place + 1], *(word.value for word in node.keywords if word.arg == "type")]
        if path.name != "typed.py":
            assert all(ast.unparse(kind).startswith("described(") for kind in kinds), f"line {node.lineno}"


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name == "__init__.py"], ids=lambda p: p.parent.name)
def test_front_door_says_what_it_exports(path: Path) -> None:
    names = {
        target.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    assert "__all__" in names


def test_every_module_has_a_test_that_names_it() -> None:
    """A module has its own test file, or the tests of its room name it as a word."""
    missing = []
    for path in SOURCES:
        inside = path.relative_to(ROOT / "src" / "qcommons")
        if path.name == "__init__.py" or len(inside.parts) > 2:  # a room inside a room is tested through its door
            continue
        texts = [test.read_text() for test in (ROOT / "tests" / inside.parts[0]).rglob("*.py")]
        if not any(re.search(rf"\b{path.stem}\b", text) for text in texts):
            missing.append(".".join(inside.with_suffix("").parts))
    assert not missing
