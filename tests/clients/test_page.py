"""`docs/cli.md` and `docs/metrics.md` are what the rows say today."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from qcommons.clients.cli.main import COMMANDS, entry
from qcommons.clients.cli.options import build_parser
from qcommons.clients.cli.page import metrics_page, page

DOCS = Path(__file__).parents[2] / "docs"


def test_page_is_current() -> None:
    assert (DOCS / "cli.md").read_text() == page(), "run: python -m qcommons.clients.cli.page > docs/cli.md"


def test_page_of_the_metrics_is_current() -> None:
    written = (DOCS / "metrics.md").read_text()
    assert written == metrics_page(), "run: python -m qcommons.clients.cli.page metrics > docs/metrics.md"


def test_every_command_of_running_a_node_is_one() -> None:
    """Each line of its `sh` blocks that calls qcommons parses, whatever it would then do."""
    text = (DOCS / "running-a-node.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("qcommons ")]
    assert len(lines) > 30
    for line in lines:
        words = shlex.split(re.split(r" > | 3< ", line)[0])[1:]
        name = " ".join(words[:2]) if any(row.name == " ".join(words[:2]) for row in COMMANDS) else words[0]
        row = next(row for row in COMMANDS if row.name == name)
        build_parser(name, row.help, entry(row)[0]).parse_args(words[len(name.split()) :])
