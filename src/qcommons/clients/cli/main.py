"""The front of the command line: the table of commands, dispatch, errors to exit codes.

Flow: argv -> row of `COMMANDS` -> its module, imported now -> the command -> exit code.
`qcommons --help` is answered from the table alone, so it costs little more than starting Python.

Exit codes: 0 done, 2 bad input, 3 refused with numbers, 4 unavailable, 5 failed, 6 cancelled.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from qcommons.base.errors import QCommonsError, Unavailable, UsageError

__all__ = ["COMMANDS", "Command", "error_object", "exit_code", "main"]


class Command(NamedTuple):
    """One row. `module` holds `OPTIONS` (rows of options.Option) and `command(args) -> exit code`."""

    name: str
    module: str
    help: str


COMMANDS = (
    Command("run", "qcommons.clients.cli.run", "Run a circuit and print its answer."),
    Command("engines", "qcommons.clients.cli.engines", "List engines: what each can do, what is missing."),
    Command("demo", "qcommons.clients.cli.demo", "Run circuits of different kinds and check each answer."),
    Command("config", "qcommons.clients.cli.config", "Show every setting, its value and its origin."),
    Command("doctor", "qcommons.clients.cli.doctor", "Check this installation; say what to do about it."),
    Command("version", "qcommons.clients.cli.version", "Print the version."),
)
CANCELLED = 6
STATUS = {3: "refused", CANCELLED: "cancelled"}  # every other failure is "failed"
HELP = """\
Usage: qcommons COMMAND [OPTIONS]

Quantum Commons: any circuit run well, locally. Qubits are emulated.

Commands:
{rows}

Every command has --help and --json. Exit codes: 0 done, 2 bad input,
3 refused with numbers, 4 unavailable, 5 failed, 6 cancelled.
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
    except KeyboardInterrupt:
        return _report("caller", "cancelled from the keyboard", None, None, CANCELLED, words)
    except QCommonsError as error:
        return _report(error.who, error.what, error.where, error.limit, exit_code(error), words)
    except OSError as error:
        if not _of_output(error):
            return _fault(error, words)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to flush at exit
        print(f"qcommons: cannot write the answer: {error.strerror}", file=sys.stderr)
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
    return _report("qcommons", what, None, None, 5, words)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        rows = "\n".join(f"  {row.name:<9}{row.help}" for row in COMMANDS)
        print(HELP.format(rows=rows), end="")
        return 0 if words else 2
    name = "version" if words[0] == "--version" else words[0]
    row = next((row for row in COMMANDS if row.name == name), None)
    if row is None:
        known = ", ".join(row.name for row in COMMANDS)
        raise UsageError(f"no command {name!r}; there are: {known}", where="command line")

    import importlib

    from qcommons.clients.cli.options import build_parser

    module = importlib.import_module(row.module)
    try:
        args = build_parser(row.name, row.help, module.OPTIONS).parse_args(words[1:])
    except SystemExit:  # argparse has printed the help
        return 0
    return int(module.command(args))


def exit_code(error: QCommonsError) -> int:
    """Its own code where the outcome set one; else `Unavailable` with a limit was refused with numbers."""
    if "exit_code" not in vars(error) and isinstance(error, Unavailable) and error.limit is not None:
        return 3
    return error.exit_code


def error_object(who: str, what: str, where: str | None, limit: str | None) -> dict[str, str | None]:
    """The `error` field of every JSON answer."""
    return {"who": who, "what": what, "where": where, "limit": limit}


def _report(who: str, what: str, where: str | None, limit: str | None, code: int, words: list[str]) -> int:
    """Say what went wrong: one JSON object on stdout where JSON was asked for, else a line on stderr."""
    if "--json" in words:
        import json

        body = {"job": None, "status": STATUS.get(code, "failed"), "error": error_object(who, what, where, limit)}
        print(json.dumps(body))
    else:
        print(f"qcommons: {where}: {what}" if where else f"qcommons: {what}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
