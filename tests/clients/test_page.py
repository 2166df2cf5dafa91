"""`docs/cli.md` is what the option rows say today."""

from __future__ import annotations

from pathlib import Path

from qcommons.clients.cli.page import page

PAGE = Path(__file__).parents[2] / "docs/cli.md"


def test_page_is_current() -> None:
    assert PAGE.read_text() == page(), "run: python -m qcommons.clients.cli.page > docs/cli.md"
