"""`run` on the default node: the same settings as the command line, read once."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.node.making import BELL, QASM

from qcommons.base.errors import Unavailable, UsageError
from qcommons.circuits.program import Op, Program
from qcommons.node import default
from qcommons.node.config import SETTINGS, load
from qcommons.node.default import default_node, open_node, run
from qcommons.node.embedded import EmbeddedNode

# A state of 2^18 amplitudes, 4 MiB: beyond the smallest limit that may be set.
WIDE = Program(18, (), (Op("h", (0,)), Op("t", (0,)), Op("cx", (0, 1))))


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The config file of a fresh home; no node yet, no variable set."""
    monkeypatch.setenv("QCOMMONS_HOME", str(tmp_path))
    for row in SETTINGS:
        monkeypatch.delenv(row.env, raising=False)
    nodes: dict[int, EmbeddedNode] = {}
    monkeypatch.setattr(default, "_NODES", nodes)
    yield tmp_path / "config.toml"
    for node in nodes.values():
        node.close()


def test_the_file_sets_workers_operations_and_memory(config: Path) -> None:
    config.write_text('[limits]\nworkers = 3\noperations = 3\nmemory = "1MiB"\n')
    assert default_node().pool.size == 3
    with pytest.raises(UsageError, match="4 operations; allowed 0 to 3"):
        run(BELL)
    with pytest.raises(Unavailable, match="limit 1 MiB") as refused:
        run(WIDE, statevector=True, engine="numpy", method="dense")
    assert refused.value.exit_code == 3


def test_the_environment_beats_the_file_and_an_argument_beats_both(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text('[limits]\nseconds = "1us"\nmemory = "1MiB"\nworkers = 3\n')
    monkeypatch.setenv("QCOMMONS_SECONDS", "2us")
    monkeypatch.setenv("QCOMMONS_WORKERS", "1")
    assert default_node().pool.size == 1
    with pytest.raises(Unavailable, match="deadline of 2e-06 s"):
        run(BELL)
    with pytest.raises(Unavailable, match="limit 1 MiB"):
        run(WIDE, statevector=True, engine="numpy", method="dense", deadline_s=60.0)
    assert run(BELL, deadline_s=60.0, memory_bytes=1 << 30, shots=10).status == "done"


def test_the_settings_are_read_once_and_a_wrong_file_leaves_no_node(config: Path) -> None:
    config.write_text("[limits]\nworkers = 0\n")
    with pytest.raises(UsageError, match=r"limits\.workers") as caught:
        run(QASM)
    assert caught.value.where == f"{config}:2: limits.workers"
    config.write_text("[limits]\nworkers = 1\n")
    node = default_node()
    config.write_text("[limits]\nworkers = 0\n")
    assert default_node() is node
    assert list(default._NODES) == [os.getpid()]


def test_without_settings_memory_is_left_to_the_moment_of_the_job(config: Path) -> None:
    with open_node(load(), calibrate=True) as node:
        assert node._memory_bytes is None
        assert node._deadline_s == 3600.0


@pytest.mark.usefixtures("config")
def test_threads_that_ask_at_once_get_one_node() -> None:
    barrier = threading.Barrier(8)
    nodes: list[EmbeddedNode] = []

    def ask() -> None:
        barrier.wait()
        nodes.append(default_node())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(nodes) == 8
    assert len(set(map(id, nodes))) == 1
