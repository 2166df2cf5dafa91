"""version: what the installation says."""

from __future__ import annotations

import tomllib
from pathlib import Path

import qcommons
from qcommons.base.version import package_version


def test_the_version_is_that_of_the_project_file() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert package_version() == qcommons.__version__ == project["version"]
