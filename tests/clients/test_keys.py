"""`qcommons keys`: secrets on a terminal alone, and every other word safe to pipe."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.clients.a_node import a_home, body, command, text

from qcommons.node.backup import restore
from qcommons.pqc.identity import NodeKey
from qcommons.pqc.keyfile import LIGHT
from qcommons.pqc.words import to_words

SCRIPT = Path(sys.executable).parent / "qcommons"
SEED = bytes(range(32))
NODE = NodeKey(SEED).id
SCREEN, SCREEN_GONE = "\x1b[?1049h", "\x1b[?1049l"
PATIENCE_S = 30.0


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with a_home(tmp_path / "home") as path:
        yield path


def words_fd(text_of_words: str) -> str:
    """A descriptor from which the words are read; it stays open until the process ends."""
    reading, writing = os.pipe()
    os.write(writing, text_of_words.encode())
    os.close(writing)
    return str(reading)


def restored(*more: str, seed: bytes = SEED) -> dict[str, object]:
    found: dict[str, object] = body("keys", "restore", "--words-fd", words_fd(" ".join(to_words(seed))), *more)
    return found


class Terminal:
    """A command on a pty of its own, and what a person would see there."""

    def __init__(self, home: Path, *words: str) -> None:
        self.leader, follower = pty.openpty()
        environment = os.environ | {"QCOMMONS_HOME": str(home), "TERM": "xterm"}
        self.process = subprocess.Popen(
            [SCRIPT, *words], stdin=follower, stdout=follower, stderr=follower, env=environment, start_new_session=True
        )
        os.close(follower)
        self.seen = ""

    def until(self, what: str) -> str:
        """Everything since the last call up to `what`; fails after half a minute."""
        end = time.monotonic() + PATIENCE_S
        while what not in self.seen:
            ready, _, _ = select.select([self.leader], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"never said {what!r}: {self.seen!r}"
            self.seen += self._read() or "(the end)\n"
            assert not self.seen.endswith("(the end)\n"), self.seen
        before, _, self.seen = self.seen.partition(what)
        return before + what

    def type(self, line: str) -> None:
        os.write(self.leader, line.encode() + b"\n")

    def end(self) -> tuple[int, str]:
        """(exit code, the rest of what it said)."""
        until = time.monotonic() + PATIENCE_S
        while select.select([self.leader], [], [], max(0.0, until - time.monotonic()))[0] and (part := self._read()):
            self.seen += part
        os.close(self.leader)
        return self.process.wait(PATIENCE_S), self.seen.replace("\r\n", "\n")

    def _read(self) -> str:
        try:
            return os.read(self.leader, 1 << 16).decode()
        except OSError:  # the end, on Linux
            return ""


Person = Callable[..., Terminal]


@pytest.fixture
def person(home: Path) -> Iterator[Person]:
    """Somebody at a terminal; what is left running at the end is killed."""
    terminals: list[Terminal] = []

    def sit(*words: str) -> Terminal:
        terminals.append(Terminal(home, *words))
        return terminals[-1]

    yield sit
    for terminal in terminals:
        terminal.process.kill()
        terminal.process.wait()


# show


def test_keys_are_shown_before_and_after_they_exist(home: Path) -> None:
    assert body("keys", "show") == {"node": None, "owner": None, "successions": []}
    assert "the first start of a node makes it" in text("keys", "show")
    restored()
    shown = body("keys", "show")
    assert shown["node"] == {
        "id": NODE, "sealed_by": "machine key", "light": False, "file": str(home / "keys" / "node.key"),
    }  # fmt: skip
    assert NODE in text("keys", "show")


# backup


def words_of(page: str) -> dict[int, str]:
    return {int(number): word for number, word in re.findall(r"(\d+)  ([a-z]+)", page)}


def test_a_backup_shows_the_words_once_and_asks_three_back(home: Path, person: Person) -> None:
    restored()
    terminal = person("keys", "backup")
    terminal.until(SCREEN)
    page = terminal.until("disappears. ")
    words = words_of(page)
    assert [words[place] for place in range(1, 25)] == to_words(SEED)
    assert NODE in page
    terminal.type("")
    terminal.until(SCREEN_GONE)
    for _ in range(3):
        place = int(re.findall(r"word (\d+): $", terminal.until(": "))[0])
        terminal.type(words[place])
    code, rest = terminal.end()
    assert code == 0 and "right." in rest
    assert not [word for word in set(words.values()) if rest.count(f"  {word}")]


def test_a_wrong_answer_says_which_word_to_look_at(home: Path, person: Person) -> None:
    restored()
    terminal = person("keys", "backup")
    terminal.until("disappears. ")
    terminal.type("")
    terminal.until(SCREEN_GONE)
    place = re.findall(r"word (\d+): $", terminal.until(": "))[0]
    terminal.type("wrong")
    code, rest = terminal.end()
    assert code == 2 and f"word {place} is another one" in rest


def test_ctrl_c_takes_the_page_away(home: Path, person: Person) -> None:
    restored()
    terminal = person("keys", "backup")
    terminal.until("disappears. ")
    terminal.process.send_signal(signal.SIGINT)
    code, rest = terminal.end()
    assert code == 6 and SCREEN_GONE in rest


def test_words_never_go_to_a_pipe_or_into_json(home: Path) -> None:
    restored()
    for words in (("keys", "backup"), ("keys", "backup", "--owner")):
        done = command(*words)
        assert done.code == 2 and done.out == "" and "terminal only" in done.err
    told = body("keys", "backup", code=2)
    assert "leave --json out" in told["error"]["what"]
    # a terminal at one end alone is a pipe at the other
    leader, follower = pty.openpty()
    done_too = subprocess.run(
        [SCRIPT, "keys", "backup"], stdin=follower, capture_output=True, text=True, check=False,
        env=os.environ | {"QCOMMONS_HOME": str(home)},
    )  # fmt: skip
    os.close(leader)
    os.close(follower)
    assert done_too.returncode == 2 and done_too.stdout == ""


# restore


def test_a_key_is_typed_in_again_with_help_for_a_wrong_word(home: Path, person: Person) -> None:
    terminal = person("keys", "restore")
    words = to_words(SEED)
    terminal.until("word 1: ")
    terminal.type("  ".join(words[:10]).upper())
    terminal.until("word 11: ")
    terminal.type(words[10] + "zz")
    terminal.until("is no word of the list")
    terminal.until("word 11: ")
    for place in range(11, 25):
        terminal.type(words[place - 1][:4])
        terminal.until(f"word {place + 1}: " if place < 24 else SCREEN_GONE)
    code, rest = terminal.end()
    assert code == 0 and f"restored {NODE}" in rest


def test_restoring_over_another_key_needs_the_word_for_it(home: Path) -> None:
    first = restored()
    assert first.pop("warning").startswith("One key, one running node")
    assert first == {"id": NODE, "sealed_by": "machine key", "was_there": False, "kept_as": None}
    assert restored()["was_there"] is True
    other = bytes(32)
    descriptor = words_fd(" ".join(to_words(other)))
    told = body("keys", "restore", "--words-fd", descriptor, code=2)["error"]
    assert NODE in told["what"] and "--replace" in told["what"]
    done = restored("--replace", seed=other)
    assert (done["id"], done["kept_as"]) == (NodeKey(other).id, str(home / "keys" / "node.1.key"))


def test_mistakes_in_words_say_which_and_no_more(home: Path) -> None:
    words = to_words(SEED)
    done = command("keys", "restore", "--words-fd", words_fd(" ".join([*words[:23], "zebraz"])))
    assert done.code == 2 and "word 24: 'zebraz'" in done.err and "zebra" in done.err
    assert not [word for word in words[:23] if f" {word} " in done.err]
    swapped = [words[1], words[0], *words[2:]]
    assert "do not belong together" in text("keys", "restore", "--words-fd", words_fd(" ".join(swapped)), code=2)
    assert "terminal" in text("keys", "restore", code=2)
    assert "cannot read descriptor" in text("keys", "restore", "--words-fd", "9999", code=2)
    assert not (home / "keys").exists()


def test_a_passphrase_comes_by_descriptor_or_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    restore(home, "owner", SEED, b"open sesame", kdf=LIGHT)
    assert body("keys", "rotate", "--owner", "--passphrase-fd", words_fd("open sesame\n"))["new"].startswith("qo1")
    assert "give it" in text("keys", "rotate", "--owner", code=2)
    monkeypatch.setenv("QCOMMONS_PASSPHRASE", "wrong")
    assert "wrong passphrase" in text("keys", "rotate", "--owner", code=2)
    monkeypatch.setenv("QCOMMONS_PASSPHRASE", "open sesame")
    assert body("keys", "rotate", "--owner")["new"].startswith("qo1")


# rotate


def test_a_rotation_says_what_follows_what(home: Path) -> None:
    assert "no key to rotate" in text("keys", "rotate", code=2)
    restored()
    done = body("keys", "rotate")
    assert done["old"] == NODE and done["kept_as"].endswith("node.1.key")
    (told,) = body("keys", "show")["successions"]
    assert (told["of"], told["old"], told["new"]) == ("node", NODE, done["new"])
    assert isinstance(told["at_ns"], int)
    assert f"{NODE} was followed by {done['new']}" in text("keys", "show")
