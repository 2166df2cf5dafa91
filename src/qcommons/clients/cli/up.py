"""`qcommons up`: the node of this home, in the foreground or (`-d`) as a process of its own.

Flow: options -> *up* -> node.daemon here until Ctrl-C; or `start` -> `python -m qcommons.node.daemon` -> its line of
readiness -> what was started. A node that runs already is named, and that is no error.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import msgspec

from qcommons.base.errors import QCommonsError, Unavailable, UsageError
from qcommons.base.typed import described
from qcommons.clients.cli.asking import say
from qcommons.clients.cli.options import JSON, Option, whole
from qcommons.clients.cli.progress import patiently
from qcommons.node.home import DRAIN_S, home_path
from qcommons.node.lock import Holder, read_lock

if TYPE_CHECKING:
    from qcommons.node.daemon import Ready

__all__ = ["OPTIONS", "command"]

OPTIONS = (
    Option("--detach", None, "Return when the node is ready; it goes on by itself.", short="-d"),
    Option("--port", "PORT", "Listen on this port (8740); 0: any free one.", kind=whole(0, 65535)),
    Option("--host", "ADDRESS", "Listen on this address (127.0.0.1)."),
    Option("--socket", "PATH", "Listen on a unix socket in place of a port."),
    Option("--allow-remote", None, "Allow an address that other machines reach. Put TLS before it."),
    Option("--name", "HOST", "Also answer requests that call the node by this name, as behind a proxy. Repeatable.",
           repeat=True),
    Option("--passphrase-fd", "N", "Read the passphrase of the node's key from this descriptor, up to its end; else "
           "QCOMMONS_PASSPHRASE, else the key is sealed by a file.", kind=whole(0, 65535)),
    JSON,
)  # fmt: skip
PASSPHRASE_BYTES_MAX = 1024
ANOTHER_S = 1.0  # a node answers at once; what is silent for so long is another program
TAKEN = re.compile(r"port \d+ is taken(?: by .*?( \(process \d+\)))?;")  # as `node/api/listening.py` says it


def command(args: argparse.Namespace) -> int:
    """Start the node; with `-d` returns once it serves, else when it has been stopped."""
    if args.socket is not None and (args.host is not None or args.port is not None):
        raise UsageError("a node listens on a socket or on a port; leave one out", where="--socket")
    holder = read_lock(home_path() / "node.lock")
    if holder is not None:
        return _runs_already(args, holder)
    options = {
        "host": args.host or "127.0.0.1",
        "port": args.port,
        "uds": None if args.socket is None else str(Path(args.socket).absolute()),
        "allow_remote": args.allow_remote,
        "hosts": [*args.name, *([_as_host(args.host)] if args.host else [])],
    }
    passphrase = _passphrase(args.passphrase_fd)
    try:
        return _start(args, options, passphrase)
    except Unavailable as error:
        raise _explained(error) from None


def _start(args: argparse.Namespace, options: dict[str, Any], passphrase: bytes | None) -> int:
    if not args.detach:
        return _foreground(args, options, passphrase)
    from qcommons.clients.cli.start import start

    with patiently("starting the node", silent=args.json):
        ready = start(options, home_path(), passphrase)
    _say_ready(args, ready, already=False)
    return 0


def _explained(error: Unavailable) -> Unavailable:
    """A port that is taken: by another node, where one answers there, which is nothing to stop."""
    taken = TAKEN.match(error.what)
    if taken is None or error.where is None:
        return error
    from qcommons.clients.http import calls
    from qcommons.clients.http.target import Target
    from qcommons.clients.http.transport import Transport

    host, _, port = error.where.rpartition(":")
    transport = Transport(Target(f"http://{_as_host(host)}:{port}", ""))
    try:
        transport.send(calls.hello(ANOTHER_S), again=False)
    except QCommonsError:
        return error
    finally:
        transport.close()
    what = (
        f"port {port} is taken by a qcommons node of another home{taken[1] or ''}; it may go on: give this one a port "
        "of its own, any free one with qcommons up -d --port 0, or for good with qcommons config set api.port PORT"
    )
    return Unavailable(what, where=error.where)


def _as_host(address: str) -> str:
    """As it stands in a URL (RFC 3986, 3.2.2): "all addresses" is how this machine's own commands then call it."""
    return f"[{address.strip('[]')}]" if ":" in address else address


def _runs_already(args: argparse.Namespace, holder: Holder) -> int:
    from qcommons.clients.http.node import Node

    try:
        with Node.connect(holder.url or None) as node:
            status = node.status()
    except Unavailable as error:
        what = f"process {holder.pid} holds this home but does not answer ({error.what}); wait, or end it: kill PID"
        raise Unavailable(what.replace("PID", str(holder.pid)), where=str(home_path())) from None
    facts = {name: getattr(status, name) for name in ("url", "pid", "home", "node_id")}
    _say_ready(args, facts | {"token_file": str(Path(status.home) / "token")}, already=True)
    return 0


def _say_ready(args: argparse.Namespace, ready: Mapping[str, Any], *, already: bool) -> None:
    """ready: as daemon.Ready. already: it ran before; what this command line says of host and port is not applied."""
    verb = "runs already; options given now change nothing, give them when it is started" if already else "is ready"
    lines = [
        f"The node {verb}: {ready['url']}",
        f"  id       {ready['node_id']}",
        f"  process  {ready['pid']}",
        f"  home     {ready['home']}",
        f"  token    in {ready['token_file']}",
    ]
    say(args, {**ready, "already": already}, lines)
    sys.stdout.flush()


def _passphrase(descriptor: int | None) -> bytes | None:
    """From the descriptor, else from the environment, where no child finds it afterwards."""
    from_environment = os.environ.pop("QCOMMONS_PASSPHRASE", None)
    if descriptor is None:
        return None if from_environment is None else from_environment.encode("utf-8", "surrogateescape")
    try:
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            text = file.read(PASSPHRASE_BYTES_MAX + 2)
    except OSError as error:
        raise UsageError(f"cannot read descriptor {descriptor}: {error.strerror}", where="--passphrase-fd") from None
    return text.removesuffix(b"\n")


class Screen(io.TextIOBase):
    """Standard error for the daemon's lines; once nobody reads them, they are dropped and the node goes on."""

    def write(self, text: str) -> int:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:  # what is left in the buffer must find somewhere to go at exit, or Python ends with 120
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
        return len(text)


def _foreground(args: argparse.Namespace, options: dict[str, Any], passphrase: bytes | None) -> int:
    """Serve here. The first Ctrl-C (or SIGTERM, or a terminal that closes) drains, the second stops at once."""
    import asyncio
    import signal

    from qcommons.node.daemon import Daemon, Options, serve
    from qcommons.node.home import Home

    screen = Screen()
    daemon = Daemon(msgspec.convert(options, described(Options)), Home(), passphrase, cast(TextIO, screen))

    def drain() -> None:
        running = len(daemon.shell.core.desk.running)
        if daemon.shell.core.gate.draining:
            screen.write("stopping at once\n")
        elif running:
            screen.write(f"draining: jobs that run: {running}, for {DRAIN_S:g} s at most; Ctrl-C again stops at once\n")
        daemon.drain()

    def ready(facts: Ready) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                loop.add_signal_handler(number, drain)
        _say_ready(args, msgspec.to_builtins(facts), already=False)

    return asyncio.run(serve(daemon, ready))
