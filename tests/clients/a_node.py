"""A real node for the tests of the command line: its own home, a free port, stopped at the end."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.clients.json_shapes import check_shape

from qcommons.clients.cli.main import main

EXAMPLES = Path(__file__).parents[2] / "examples"
BELL = str(EXAMPLES / "bell.qasm")


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def command(*words: str) -> Done:
    """A command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(words))
    return Done(code, out.getvalue(), err.getvalue())


def text(*words: str, code: int = 0) -> str:
    """What it prints for people; its exit code is checked."""
    done = command(*words)
    assert done.code == code, done
    return done.out + done.err


def body(*words: str, code: int = 0) -> Any:
    """Its one JSON object; its exit code is checked, and that it is what docs/schema says."""
    done = command(*words, "--json")
    assert done.code == code, done
    answer = json.loads(done.out)
    check_shape(words, answer)
    return answer


@contextlib.contextmanager
def a_home(path: Path) -> Iterator[Path]:
    """QCOMMONS_HOME is `path`, and no other setting comes from the surroundings."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("QCOMMONS_NODE", "QCOMMONS_TOKEN", "QCOMMONS_PASSPHRASE"):
            patch.delenv(name, raising=False)
        patch.setenv("QCOMMONS_HOME", str(path))
        yield path
        command("down", "--now")


@contextlib.contextmanager
def a_node(path: Path) -> Iterator[dict[str, Any]]:
    """What `up -d --json` prints."""
    with a_home(path):
        yield body("up", "-d", "--port", "0")


def long_circuit(path: Path) -> str:
    """A file whose run takes minutes with `--engine numpy --method dense`, and 64 MiB: 22 qubits, 4,300 gates."""
    layers = (
        "for int l in [0:100] { for int i in [0:21] { ry(0.1*l+i) q[i]; } for int i in [0:20] { cx q[i], q[i+1]; } }"
    )
    file = path / "long.qasm"
    file.write_text(f'OPENQASM 3.0; include "stdgates.inc"; qubit[22] q; {layers}')
    return str(file)


LONG = ("--engine", "numpy", "--method", "dense")
