"""The progress bar: only on a terminal, only past a second."""

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


def test_nothing_is_written_off_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
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
