"""What `qcommons run` reads beside the circuit."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from qcommons.base.errors import UsageError
from qcommons.clients.cli.inputs import bindings, observable, read_source, read_sweep


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


def test_the_elements_of_an_array_are_bound_in_a_row() -> None:
    assert bindings(["g[]=0.1, pi/2", "h[1]=2"]) == {"g[0]": 0.1, "g[1]": math.pi / 2, "h[1]": 2.0}
    with pytest.raises(UsageError, match=r"g\[0\] is given twice"):
        bindings(["g[0]=1", "g[]=1,2"])


@pytest.mark.parametrize("digits", [401, 5001])
def test_a_long_integer_in_a_sweep_is_no_finite_number(tmp_path: Path, digits: int) -> None:
    path = tmp_path / "sweep.json"
    path.write_text('[{"a": 1}, {"a": 1' + "0" * (digits - 1) + "}]")
    with pytest.raises(UsageError, match="not a finite number") as caught:
        read_sweep(str(path))
    assert caught.value.where == f"{path}: point 1"


def test_semicolons_are_told(tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    path.write_text("a;b\n0,5;1\n")
    with pytest.raises(UsageError, match="separate them by commas"):
        read_sweep(str(path))


def test_what_nobody_writes_ends_with_the_time(tmp_path: Path) -> None:
    path = tmp_path / "ff"
    os.mkfifo(path)
    for read in (read_source, read_sweep, lambda name, wait_s: observable(f"@{name}", wait_s)):
        with pytest.raises(UsageError, match="nobody wrote to it within") as caught:
            read(str(path), 0.05)
        assert caught.value.where == str(path)
