"""Progress: a bar only on a terminal and past a second, elsewhere one line past two."""

from __future__ import annotations

import io
import time

import pytest

from qcommons.clients.cli import progress
from qcommons.clients.cli.progress import Progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_no_bar_is_written_off_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE_S", 0.0)
    stream = io.StringIO()
    with Progress(stream) as bar:
        bar(1, 2)
        time.sleep(0.05)
    assert stream.getvalue() == ""


def test_a_short_run_shows_no_bar() -> None:
    stream = Terminal()
    with Progress(stream) as bar:
        bar(1, 2)
    assert stream.getvalue() == ""


def test_a_long_run_shows_done_and_total(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE_S", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with Progress(stream) as bar:
        bar(1, 2)
        until = time.monotonic() + 10
        while "1/2" not in stream.getvalue() and time.monotonic() < until:
            time.sleep(0.02)
    assert "running" in stream.getvalue() and "1/2" in stream.getvalue()


def test_a_log_gets_one_line_and_whoever_wants_silence_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_S", 0.05)
    stream, silent = io.StringIO(), io.StringIO()
    with Progress(stream) as bar, Progress(silent, silent=True):
        bar.name("waiting: \x1b[31m")
        bar(3, 7)
        time.sleep(0.3)
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("qcommons: waiting: \\x1b[31m for ") and line.endswith(" ms, 3 of 7 runs have ended")
    assert silent.getvalue() == ""


@pytest.mark.parametrize(("silent", "said"), [(False, "qcommons: waiting 2 s for answers\n"), (True, "")])
def test_off_a_terminal_a_wait_is_one_line_and_none_for_whoever_reads_json(
    silent: bool, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "PATIENCE_S", 0.01)
    with progress.patiently("waiting 2 s for answers", silent=silent):
        time.sleep(0.2)
    assert capsys.readouterr() == ("", said)
