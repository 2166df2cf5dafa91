"""The front of the command line: the table of commands, dispatch, errors to exit codes.

Flow: argv -> row of `COMMANDS` -> its module, imported now -> the command -> exit code.
`qcommons --help` is answered from the table alone, so it costs little more than starting Python.

Exit codes: 0 done, 2 bad input, 3 refused with numbers, 4 unavailable,
5 failed, 6 cancelled.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from qcommons.base.errors import QCommonsError, Unavailable, UsageError
from qcommons.base.text import line, printable

if TYPE_CHECKING:
    from argparse import Namespace

    from qcommons.clients.cli.options import Option

    Entry = tuple[Sequence[Option], Callable[[Namespace], int]]

__all__ = ["COMMANDS", "Command", "entry", "error_object", "exit_code", "main"]


class Command(NamedTuple):
    """One row. group: a heading of the help. name: one word or two. file: the module that holds it, see `entry`."""

    group: str
    name: str
    file: str
    help: str


COMMANDS = (
    Command("Work", "run", "run", "Run a circuit and print its answer."),
    Command("Work", "quote", "quote", "Say what a run takes and costs, and what a liar gets past."),
    Command("Work", "jobs", "jobs", "List the jobs of the node, newest first."),
    Command("Work", "job", "job", "Show one job with its states."),
    Command("Work", "job result", "job", "Print the answer of a job."),
    Command("Work", "job cancel", "job", "Cancel a job."),
    Command("Work", "job receipt", "job", "Write the signed receipt of a run to a file."),
    Command("Work", "job export", "export", "Write all of a job to an archive, to keep or to give."),
    Command("Work", "verify", "verify", "Check the archive of a job, offline."),
    Command("Work", "why", "why", "Say why a job is where it is, and whose move it is."),
    Command("Node", "up", "up", "Start the node of this home."),
    Command("Node", "down", "down", "Let running jobs end, then stop the node."),
    Command("Node", "status", "status", "Say how the node is, and what runs for whom."),
    Command("Node", "logs", "logs", "Show the log of the node."),
    Command("Node", "events", "events", "Show what happened on the node."),
    Command("Owner", "pause", "pause", "Run nothing until resumed, or for a time."),
    Command("Owner", "resume", "pause", "End a pause."),
    Command("Owner", "policy", "policy", "Show whose work is taken."),
    Command("Owner", "policy remove", "policy", "Take rules back."),
    Command("Owner", "allow", "policy", "Take work only of these, of those allowed before, and yours."),
    Command("Owner", "deny", "policy", "Take no work of these."),
    Command("Owner", "token new", "tokens", "Give somebody a token for jobs on this node."),
    Command("Owner", "token list", "tokens", "List the tokens given."),
    Command("Owner", "token revoke", "tokens", "Revoke a token."),
    Command("Owner", "keys show", "keys", "Say which keys this home has, and how they are sealed."),
    Command("Owner", "keys backup", "keys", "Show a key as 24 words, on a terminal, to write down."),
    Command("Owner", "keys restore", "keys", "Make a key again from its 24 words."),
    Command("Owner", "keys rotate", "keys", "Let a fresh key follow the present one."),
    Command("Owner", "owner show", "owner", "List the nodes that this home's owner certified."),
    Command("Owner", "owner certify", "owner", "Sign that a node is mine."),
    Command("Owner", "owner accept", "owner", "Keep an owner's certificate for this node."),
    Command("Owner", "owner revoke", "owner", "Take certificates back."),
    Command("Owner", "config", "config", "Show every setting and its value."),
    Command("Owner", "config show", "config", "The same."),
    Command("Owner", "config set", "config", "Set a setting."),
    Command("Owner", "config unset", "config", "Take a setting back to its default."),
    Command("Mesh", "peers", "peers", "Show the other nodes: state, round trip, why one is red."),
    Command("Mesh", "peers allow", "peers", "Let nothing ban a peer."),
    Command("Mesh", "peers deny", "peers", "Have no link with a peer."),
    Command("Mesh", "peers forget", "peers", "Forget a peer. Gossip may bring it back; deny keeps it away."),
    Command("Mesh", "peers measure", "peers", "Measure round trips to a peer, and the rate of a blob."),
    Command("Mesh", "peers papers", "peers", "Ask a peer whose node it is, and check what it shows."),
    Command("Mesh", "peers probe", "peers", "Tell everybody, and see who heard and how soon."),
    Command("Mesh", "invite", "invite", "Print an invitation, one string, by which others join."),
    Command("Mesh", "join", "join", "Join the mesh of an invitation."),
    Command("Mesh", "asks", "asks", "Show what others ask for their work and links."),
    Command("Mesh", "ask set", "asks", "Offer work, e-bits, key bits or slots at a price."),
    Command("Mesh", "ask show", "asks", "Show what this node offers."),
    Command("Mesh", "ask withdraw", "asks", "Offer a resource no more."),
    Command("Mesh", "away", "away", "Plan an absence, so that nobody suspects a fault."),
    Command("Mesh", "dev up", "dev", "Start some nodes on loopback, to try things on."),
    Command("Mesh", "dev status", "dev", "Say how they are."),
    Command("Mesh", "dev down", "dev", "Stop them."),
    Command("Mesh", "world", "world", "Play a whole mesh in one process, with faults."),
    Command("This machine", "doctor", "doctor", "Check this installation; say what to do about it."),
    Command("This machine", "engines", "engines", "List engines: what each can do, what is missing."),
    Command("This machine", "demo", "demo", "Check known answers on five nodes, with a liar and a crash."),
    Command("This machine", "receipt check", "receipt", "Check a receipt file, offline."),
    Command("This machine", "completion", "completion", "Print the completion script of a shell."),
    Command("This machine", "version", "version", "Print the version."),
)
HELP_WORDS = ("-h", "--help", "help")
CANCELLED = 6
STATUS = {3: "refused", CANCELLED: "cancelled"}  # every other failure is "failed"
HELP = """\
Usage: qcommons COMMAND [OPTIONS]

Quantum Commons: a quantum computing network that only its users own.
{rows}
Qubits are emulated. Each command has --help, which lists its WORDs, and --json.
Exit: 0 done, 2 bad input, 3 refused, 4 unavailable, 5 failed, 6 cancelled.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code (the console script hands it to the system)."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader of a pipe (head, less) has gone: nothing is left to say, nor to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as error:
        told = error_object("caller", "cancelled from the keyboard", None, None)
        return _report(told, CANCELLED, words, vars(error).get("job"))
    except QCommonsError as error:
        told = error_object(error.who, error.what, error.where, error.limit, error.tried)
        return _report(told, exit_code(error), words, vars(error).get("job"))
    except OSError as error:
        if not _of_output(error):
            return _fault(error, words)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to flush at exit
        print(line(f"qcommons: cannot write the answer: {error.strerror}"), file=sys.stderr)
        return 4
    except Exception as error:
        return _fault(error, words)


def _of_output(error: OSError) -> bool:
    """A full disk, a closed or broken standard output: no file of ours is named."""
    return error.filename is None and error.errno in (errno.ENOSPC, errno.EBADF, errno.EIO, errno.EDQUOT)


def _fault(error: Exception, words: list[str]) -> int:
    """An error that no part of the house expected."""
    if os.environ.get("QCOMMONS_TRACEBACK"):
        raise error
    what = f"{type(error).__name__}: {error}. This is a fault of qcommons; QCOMMONS_TRACEBACK=1 shows where"
    return _report(error_object("qcommons", what, None, None), 5, words)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in HELP_WORDS:
        print(HELP.format(rows=_rows(_front())), end="")
        return 0 if words else 2
    name = "version" if words[0] == "--version" else words[0]
    row = _row(" ".join((name, *words[1:2])))
    if row is None and any(word in HELP_WORDS for word in words[1:2]) and _row(name) is None:
        family = _family(name)
        if family:
            print(f"Usage: qcommons {name} WORD [OPTIONS]\n{_rows(family)}", end="")
            return 0
    rest = words[2:]
    if row is None:
        row, rest = _row(name), words[1:]
    if row is None:
        raise UsageError(_unknown(name), where="command line")

    from qcommons.clients.cli.options import build_parser

    options, command = entry(row)
    try:
        args = build_parser(row.name, row.help, options).parse_args(rest)
    except SystemExit:  # argparse has printed the help
        if _family(row.name):
            print("\nwith a word after it:\n" + "\n".join(_rows(_family(row.name)).split("\n")[2:]), end="")
        return 0
    return command(args)


def entry(row: Command) -> Entry:
    """Options and function of a command: `OPTIONS` and `command` of its module, or its row of the module's `WORDS`."""
    import importlib

    module = importlib.import_module(f"qcommons.clients.cli.{row.file}")
    words: dict[str, Entry] = getattr(module, "WORDS", {})
    return words[row.name] if words else (module.OPTIONS, module.command)


def _row(name: str) -> Command | None:
    return next((row for row in COMMANDS if row.name == name), None)


def _family(name: str) -> list[Command]:
    """The commands of two words that begin with this one."""
    return [row for row in COMMANDS if row.name.startswith(f"{name} ")]


def _front() -> list[Command]:
    """One row for each first word: the front page stays a screen; the second words are in the help of the first."""
    return [_first(word) for word in dict.fromkeys(row.name.partition(" ")[0] for row in COMMANDS)]


def _first(word: str) -> Command:
    own, family = _row(word), _family(word)
    if own is None:
        return family[0]._replace(name=f"{word} WORD")
    return own._replace(name=f"{word} [WORD]") if family else own


def _rows(rows: Sequence[Command]) -> str:
    """Lines of the help, under the headings of their groups."""
    lines: list[str] = []
    for place, row in enumerate(rows):
        if place == 0 or rows[place - 1].group != row.group:
            lines.append(f"\n{row.group}:")
        lines.append(f"  {row.name:<14}{row.help}")
    return "\n".join(lines) + "\n"


def _unknown(name: str) -> str:
    second = [row.name.partition(" ")[2] for row in COMMANDS if row.name.startswith(f"{name} ")]
    if second:
        return f"{name} needs a word after it: {', '.join(second)}. See: qcommons {name} --help"
    import difflib

    known = list(dict.fromkeys(row.name.partition(" ")[0] for row in COMMANDS))
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    return f"no command {name!r}; {meant}there are: {', '.join(known)}"


def exit_code(error: QCommonsError) -> int:
    """Its own code where the outcome set one; else `Unavailable` with a limit was refused with numbers."""
    if "exit_code" not in vars(error) and isinstance(error, Unavailable) and error.limit is not None:
        return 3
    return error.exit_code


def error_object(
    who: str, what: str, where: str | None, limit: str | None, tried: Iterable[tuple[str, str, str]] = ()
) -> dict[str, Any]:
    """The `error` field of every JSON answer."""
    rows = [{"engine": engine, "method": method, "why": why} for engine, method, why in tried]
    return {"who": who, "what": what, "where": where, "limit": limit, "tried": rows}


def _report(error: dict[str, Any], code: int, words: list[str], job: str | None = None) -> int:
    """Say what went wrong: one JSON object on stdout where JSON was asked for, else a line on stderr.

    job: its id where one was submitted to a node (`through` marks its errors with it).
    """
    if "--json" in words:
        import json

        print(json.dumps({"job": job, "status": STATUS.get(code, "failed"), "error": error}))
    else:
        place = f"{error['where']}: " if error["where"] else ""
        which = f" ({job})" if job and job not in str(error["what"]) else ""
        print(printable(f"qcommons: {line(place)}{error['what']}{which}"), file=sys.stderr)
        for row in error["tried"]:
            print(line(f"  {row['engine']}/{row['method']}: {row['why']}"), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
