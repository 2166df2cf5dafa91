"""The registry: built-ins without metadata, broken plug-ins listed, nothing heavy imported."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import msgspec
import pytest

from qcommons.engines import registry
from qcommons.engines.engine import Engine
from qcommons.engines.numpy_engine import ENGINE


@pytest.fixture
def points(monkeypatch):
    """Replace the installed entry points."""

    def use(*rows):
        found = [metadata.EntryPoint(name, value, registry.GROUP) for name, value in rows]
        monkeypatch.setattr(registry.metadata, "entry_points", lambda group: found)
        registry.refresh()

    yield use
    registry.refresh()


def test_built_ins_load_without_installed_metadata(points):
    points()
    engines = registry.load_engines()
    assert engines["numpy"] is ENGINE and all(isinstance(e, Engine) for e in engines.values())


def test_built_in_rows_equal_those_of_pyproject():
    root = Path(__file__).parents[2]
    rows = tomllib.loads((root / "pyproject.toml").read_text())["project"]["entry-points"][registry.GROUP]
    assert rows == registry.BUILT_IN


@pytest.mark.parametrize(
    "target, error",
    [
        ("no_such_module:ENGINE", "ModuleNotFoundError"),
        ("qcommons.engines.numpy_engine:NOTHING", "AttributeError"),
        ("qcommons.engines.records:Task", "TypeError"),
        ("qcommons.engines.numpy_engine:ENGINE", "ValueError"),
    ],
)
def test_a_broken_plug_in_is_listed_with_its_error_and_harms_nobody(points, target, error):
    points(("mine", target))
    assert "numpy" in registry.load_engines() and "mine" not in registry.load_engines()
    row = next(row for row in registry.describe() if row.name == "mine")
    assert row.error is not None and row.error.startswith(error) and row.version is None


def test_a_plug_in_cannot_replace_a_built_in(points):
    points(("numpy", "no_such_module:ENGINE"))
    assert registry.load_engines()["numpy"] is ENGINE


def test_describe_gives_json_with_measured_constants_over_defaults():
    rows = {row.name: row for row in registry.describe({"numpy": {"term": 5e-8}})}
    numpy = rows["numpy"]
    assert numpy.version == metadata.version("numpy") and numpy.constants["term"] == 5e-8
    assert numpy.constants["gate"] == ENGINE.constants["gate"]
    assert [m.name for m in numpy.methods] == ["dense", "density", "sparse"]
    assert msgspec.json.decode(msgspec.json.encode(list(rows.values())))[0]["name"] == "numpy"


def test_listing_engines_imports_no_heavy_library():
    code = (
        "import sys; from qcommons.engines.registry import describe; describe(); "
        "heavy = {'qiskit', 'qiskit_aer', 'qulacs', 'stim', 'cirq', 'quimb', 'cotengra', 'clifft'}; "
        "print(sorted(set(sys.modules) & heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
