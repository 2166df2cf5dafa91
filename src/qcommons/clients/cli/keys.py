"""`qcommons keys`: the keys of this home, shown, written down as words, restored from them, rotated.

Flow: home -> *keys* -> pqc.keyfile, pqc.words, node.backup -> what became of it. Words are shown on a terminal and
nowhere else; every other word here prints no secret, so `--json` is safe.
"""

from __future__ import annotations

import argparse
import os
import secrets
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from qcommons.base.errors import UsageError
from qcommons.base.units import NS_PER_S
from qcommons.clients.cli.asking import moment, say
from qcommons.clients.cli.options import JSON, Option, whole
from qcommons.clients.cli.passphrase import PASSPHRASE, passphrase

if TYPE_CHECKING:
    from pathlib import Path

    from qcommons.pqc.keyfile import Purpose

__all__ = ["WORDS"]

OWNER = Option("--owner", None, "The owner's key in place of the node's.")
OVER = Option("--replace", None, "Also where another key is there; its file is kept under another name.")
WORDS_FD = Option("--words-fd", "N", "Read the 24 words from this descriptor instead of a terminal.",
                  kind=whole(0, 65535))  # fmt: skip
WORDS_BYTES_MAX = 4096
ONCE = (
    "One key, one running node: if the node that had it runs elsewhere, stop it there before you start this one "
    "(qcommons down). Two of them contradict each other before all peers; status turns red."
)
COLUMNS = 3
PURPOSES: tuple[Purpose, ...] = ("node", "owner")


def _show(args: argparse.Namespace) -> int:
    """Say which keys this home has and how they are sealed."""
    from qcommons.node.backup import followers, id_of, key_folder
    from qcommons.pqc.keyfile import key_facts

    home = _home()
    keys: dict[str, Any] = {}
    for purpose in PURPOSES:
        facts = key_facts(key_folder(home), purpose)
        keys[purpose] = facts and {
            "id": id_of(purpose, facts.hash),
            "sealed_by": facts.sealed_by,
            "light": facts.light,
            "file": str(facts.path),
        }
    keys["successions"] = [
        {"of": purpose, "old": id_of(purpose, one.old), "new": id_of(purpose, one.new), "at_ns": one.at_s * NS_PER_S}
        for purpose in PURPOSES
        for one in followers(home, purpose)
    ]
    say(args, keys, _lines(keys))
    return 0


def _lines(keys: dict[str, Any]) -> Iterator[str]:
    missing = {"node": "the first start of a node makes it", "owner": "the first `qcommons owner certify` makes it"}
    for purpose, hint in missing.items():
        key = keys[purpose]
        if key is None:
            yield f"{purpose:<6} none yet; {hint}"
        else:
            light = ", stretched lightly" if key["light"] else ""
            yield f"{purpose:<6} {key['id']}"
            yield f"       sealed by a {key['sealed_by']}{light}, in {key['file']}"
    for one in keys["successions"]:
        yield f"{one['old']} was followed by {one['new']} ({moment(one['at_ns'])})"


def _backup(args: argparse.Namespace) -> int:
    """Show the 24 words once, then ask for three of them."""
    from qcommons.clients.cli.secret_screen import ask, need_terminal, screen
    from qcommons.node.backup import id_of, key_folder
    from qcommons.pqc.keyfile import key_facts, load
    from qcommons.pqc.words import question_places, same_word, to_words

    if args.json:
        raise UsageError("the words are shown on a terminal only; leave --json out", where="--json")
    need_terminal("The words are shown")
    purpose = _purpose(args)
    folder = key_folder(_home())
    key = load(folder, passphrase(args, key_facts(folder, purpose)), purpose=purpose)
    if key is None:
        raise UsageError(f"there is no {purpose}'s key here yet", where=str(folder))
    words = to_words(key.secret_seed())
    with screen():
        print(f"The key of {id_of(purpose, key.hash)}, in 24 words:\n")
        print("\n".join(_table(words)))
        print("\nWhoever reads them has the key. Write them on paper, with their numbers, and nowhere else.")
        ask("\nPress Enter when that is done; this page then disappears. ")
    for place in question_places(secrets.token_bytes(3)):
        if not same_word(ask(f"word {place}: "), words[place - 1]):
            what = f"word {place} is another one; compare what you wrote: qcommons keys backup"
            raise UsageError(what, where=f"word {place}")
    say(args, {}, [f"right. The words make the key of {id_of(purpose, key.hash)} again: qcommons keys restore"])
    return 0


def _table(words: list[str]) -> Iterator[str]:
    rows = len(words) // COLUMNS
    for row in range(rows):
        places = range(row, len(words), rows)
        yield "".join(f"  {place + 1:>2}  {words[place]:<12}" for place in places).rstrip()


def _restore(args: argparse.Namespace) -> int:
    """Make the key file from 24 words."""
    from qcommons.node.backup import key_folder, restore
    from qcommons.pqc.keyfile import key_facts
    from qcommons.pqc.words import from_words

    purpose, home = _purpose(args), _home()
    seed = from_words(_typed_words() if args.words_fd is None else _read_words(args.words_fd))
    secret = passphrase(args, None)
    done = restore(home, purpose, seed, secret, over=args.replace)
    facts = key_facts(key_folder(home), purpose)
    aside = None if done.aside is None else str(done.aside)
    sealed_by = facts.sealed_by if facts else None
    warning = ONCE if purpose == "node" else ""
    body = {
        "id": done.id, "sealed_by": sealed_by, "was_there": done.was_there, "kept_as": aside, "warning": warning,
    }  # fmt: skip
    lines = [f"{done.id} is here already" if done.was_there else f"restored {done.id}, sealed by a {sealed_by}"]
    if aside:
        lines.append(f"the file that was there is kept as {aside}")
    if warning:
        lines.append(warning)
    say(args, body, lines)
    return 0


def _typed_words() -> str:
    """24 words from a terminal, one or more a line; a wrong one is asked for again at once."""
    from qcommons.clients.cli.secret_screen import ask, need_terminal, screen
    from qcommons.pqc.words import WORDS as COUNT
    from qcommons.pqc.words import known_word

    need_terminal("The words are asked for", "give them with --words-fd")
    words: list[str] = []
    with screen():
        print("The 24 words, one or more a line; the first four letters of a word do.\n")
        while len(words) < COUNT:
            for typed in ask(f"word {len(words) + 1}: ").lower().split()[: COUNT - len(words)]:
                try:
                    words.append(known_word(typed, len(words) + 1))
                except UsageError as error:
                    print(f"  {error}")
                    break
    return " ".join(words)


def _read_words(descriptor: int) -> str:
    try:
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(WORDS_BYTES_MAX).decode("ascii", "replace")
    except OSError as error:
        raise UsageError(f"cannot read descriptor {descriptor}: {error.strerror}", where="--words-fd") from None


def _rotate(args: argparse.Namespace) -> int:
    """Let a fresh key follow the present one. The node has to be stopped: it holds its key."""
    from qcommons.node.backup import key_folder, rotate
    from qcommons.node.config import network
    from qcommons.pqc.keyfile import key_facts

    purpose, home = _purpose(args), _home()
    secret = passphrase(args, key_facts(key_folder(home), purpose))
    done = rotate(home, purpose, secret, time.time_ns() // NS_PER_S, network=network())
    body = {"old": done.old, "new": done.new, "record": str(done.record), "kept_as": str(done.aside)}
    lines = [
        f"{done.new} follows {done.old}",
        f"  the old key's file is kept as {done.aside}; the words of the backup were the old key's",
        "  next: qcommons keys backup" + (" --owner" if purpose == "owner" else ", then qcommons up -d"),
        "  certificates name keys: sign them again with qcommons owner certify",
    ]
    say(args, body, lines)
    return 0


def _purpose(args: argparse.Namespace) -> Purpose:
    return "owner" if args.owner else "node"


def _home() -> Path:
    from qcommons.node.home import home_path

    return home_path()


WORDS = {
    "keys show": ((JSON,), _show),
    "keys backup": ((OWNER, PASSPHRASE, JSON), _backup),
    "keys restore": ((OWNER, OVER, WORDS_FD, PASSPHRASE, JSON), _restore),
    "keys rotate": ((OWNER, PASSPHRASE, JSON), _rotate),
}
