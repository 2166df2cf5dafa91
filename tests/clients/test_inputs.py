"""What `qcommons run` reads beside the circuit."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from qcommons.base.errors import UsageError
from qcommons.clients.cli.inputs import bindings, observable, read_sweep


def test_bindings_are_names_and_radians() -> None:
    assert bindings(["theta=0.3", "phi = pi/2"]) == {"theta": 0.3, "phi": math.pi / 2}


@pytest.mark.parametrize("texts", [["theta"], ["=1"], ["theta=x"], ["a=1", "a=2"]])
def test_a_wrong_binding_is_refused(texts: list[str]) -> None:
    with pytest.raises(UsageError):
        bindings(texts)


@pytest.mark.parametrize(
    "text",
    ['[{"a": 0.5, "b": 1}, {"a": 0.25, "b": 2}]', '{"a": [0.5, 0.25], "b": [1, 2]}', "a, b\n0.5, 1\n0.25, 2\n"],
)
def test_three_forms_of_a_sweep_say_the_same(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sweep"
    path.write_text(text)
    assert read_sweep(str(path)) == [{"a": 0.5, "b": 1.0}, {"a": 0.25, "b": 2.0}]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "[1]", '{"a": [1], "b": [1, 2]}', '[{"a": NaN}]', '[{"a": true}]', "a\nx\n", "a,b\n1\n",
     "[" * 100_000, '{"a": 1}', "a\n1,2\n"],
)  # fmt: skip
def test_other_sweeps_are_refused_with_the_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sweep.csv"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_sweep(str(path))
    assert str(path) in str(caught.value.where)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    path.write_bytes(b"a\n\xff\n")
    with pytest.raises(UsageError, match="UTF-8"):
        read_sweep(str(path))


def test_an_observable_may_stand_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "sum.txt"
    path.write_text("ZZ\n+ 0.5 XX\n")
    assert observable(f"@{path}") == "ZZ + 0.5 XX"
    assert observable("Z0") == "Z0"
