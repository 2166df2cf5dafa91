"""Options as rows: times with their units."""

from __future__ import annotations

import argparse

import pytest

from qcommons.base.errors import UsageError
from qcommons.clients.cli.main import main
from qcommons.clients.cli.options import Option, build_parser, span, whole


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("2h", 7200), ("7d", 604_800), ("2w", 1_209_600), ("1.5d", 129_600)],
)
def test_a_span_is_read_in_seconds(text: str, seconds: float) -> None:
    assert span(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "0s", "-1h", "7y", "soon", "infd"])
def test_what_is_no_span_is_told_with_an_example(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pause", f"--for={text}"]) == 2
    assert "write a time, as in 30s, 10m, 2h or 7d" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "value"), [("1000", 1000), ("1e6", 10**6), ("1.5E+3", 1500), ("1e9", 10**9)])
def test_whole_numbers_may_have_an_exponent(text: str, value: int) -> None:
    assert whole(1, 10**9)(text) == value


@pytest.mark.parametrize("text", ["1.5", "1.5e0", "1e-3", "1e10", "1e99", "e6", "0", "9" * 5000, "1_0e2"])
def test_what_is_no_whole_number_in_range_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="allowed are integers from 1 to 1000000000"):
        whole(1, 10**9)(text)


@pytest.mark.parametrize(
    ("words", "observable", "switch"),
    [(["--observable", "-ZZ"], ["-ZZ"], False), (["--observable", "-0.5 XX", "-s"], ["-0.5 XX"], True),
     (["--observable=-Z", "--observable", "-X"], ["-Z", "-X"], False), (["-s", "--", "-f"], [], True)],
)  # fmt: skip
def test_a_value_may_begin_with_a_minus(words: list[str], observable: list[str], switch: bool) -> None:
    options = (
        Option("--observable", "SUM", "", repeat=True),
        Option("--switch", None, "", short="-s"),
        Option("file", "F", "", optional=True),
    )
    args = build_parser("run", "", options).parse_args(words)
    assert (args.observable, args.switch) == (observable, switch)
    assert args.file == ("-f" if "--" in words else None)


def test_an_option_is_not_taken_for_the_value_of_another() -> None:
    options = (Option("--observable", "SUM", "", repeat=True), Option("--switch", None, "", short="-s"))
    for words in (["--observable", "--switch"], ["--observable", "-s"], ["--observable"]):
        with pytest.raises(UsageError, match="expected one argument"):
            build_parser("run", "", options).parse_args(words)
