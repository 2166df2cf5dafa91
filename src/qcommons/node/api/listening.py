"""Where the API listens: a loopback port or a unix socket, bound before anything else is started.

Flow: settings -> *listening socket* -> server. A port that is taken is said so, with its holder if the system tells.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from qcommons.base.errors import Unavailable, UsageError

__all__ = ["file_id", "holder_of", "listen_tcp", "listen_unix", "url_of"]

BACKLOG = 1024
PROBE_S = 1.0
SEND_BYTES = 256 << 10  # held by the system for a client that does not read; it would grow to many MB by itself
UNIX_PATH_BYTES_MAX = 103  # sockaddr_un holds 104 bytes on macOS, 108 on Linux, with the final NUL
LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp (include/net/tcp_states.h)
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def listen_tcp(host: str, port: int, *, allow_remote: bool) -> socket.socket:
    """A listening socket. port 0: any free one.

    Raises:
        UsageError: no address of this machine, a public one without allow_remote, a port out of range.
        Unavailable: the port is taken or may not be used.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"port {port}; allowed 0 to 65535", where="port", limit="65535")
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"{host!r} is no address: {error}; use 127.0.0.1", where="host") from None
    family, _, _, _, address = found[0]
    if not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback and not allow_remote:
        what = f"{host} can be reached from other machines; use 127.0.0.1, or --allow-remote if you mean it"
        raise UsageError(what, where="host")
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # else asyncio leaves Nagle on: 40 ms
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)  # its connections inherit it
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _not_bound(error, host, port) from None
    listener.setblocking(False)
    return listener


def _not_bound(error: OSError, host: str, port: int) -> Unavailable | UsageError:
    if error.errno == errno.EADDRNOTAVAIL:
        return UsageError(f"{host} is no address of this machine; use 127.0.0.1", where="host")
    if error.errno == errno.EADDRINUSE:
        holder = holder_of(port)
        by = f" by {holder}" if holder else ""
        what = f"port {port} is taken{by}; stop that, or choose another port (0: any free one)"
        return Unavailable(what, where=f"{host}:{port}")
    return Unavailable(f"cannot listen on port {port}: {error.strerror}; choose another", where=f"{host}:{port}")


def listen_unix(path: Path) -> socket.socket:
    """A listening unix socket, its file 0600; one that nobody answers on is replaced.

    Raises:
        UsageError: the path is too long, something else than a socket (a link, say) is there, or everybody could put
            another socket in its place, which would get the tokens.
        Unavailable: somebody answers there, or the file cannot be made.
    """
    if len(bytes(path)) > UNIX_PATH_BYTES_MAX:
        limit = f"{UNIX_PATH_BYTES_MAX} bytes"
        raise UsageError(f"a path of {len(bytes(path))} bytes is too long for a socket", where=str(path), limit=limit)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear(path)
        listener.bind(str(path))
        path.chmod(0o600)  # before `listen`: until then nobody can connect
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise Unavailable(f"cannot make this socket: {error.strerror}", where=str(path)) from None
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _clear(path: Path) -> None:
    folder = path.absolute().parent
    above = folder.stat().st_mode
    if above & stat.S_IWOTH and not above & stat.S_ISVTX:  # sticky, as /tmp: only its owner replaces a file (inode(7))
        what = f"all can write in {folder}, and put their own socket there; choose a folder of yours, the home for one"
        raise UsageError(what, where=str(path))
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise UsageError("there is something else than a socket; choose another path", where=str(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_S)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise Unavailable(f"cannot tell who holds this socket: {error}", where=str(path)) from None
    raise Unavailable("another node answers on this socket; stop it, or choose another path", where=str(path))


def file_id(path: Path) -> tuple[int, int] | None:
    """What tells one file of a name from the next one: device and inode; None where there is none."""
    try:
        facts = path.lstat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def url_of(listener: socket.socket) -> str:
    """What clients connect to: http://HOST:PORT or unix:PATH."""
    if listener.family == socket.AF_UNIX:
        return f"unix:{Path(listener.getsockname()).absolute()}"
    host, port = listener.getsockname()[:2]
    host = WILDCARDS.get(host, host)  # "all addresses" is none that one connects to
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def holder_of(port: int) -> str | None:
    """Name and number of the process that listens on `port`, as far as /proc lets this user see."""
    inodes = set(_listening(port))
    if not inodes:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(descriptor.readlink()) in inodes:
                        name = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
                        return f"{name} (process {process.name})"
    return None


def _listening(port: int) -> Iterator[str]:
    """Links of the sockets that listen on `port`, as they stand in /proc/PID/fd (proc_pid_net(5))."""
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path("/proc/net", table).read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    yield f"socket:[{fields[9]}]"
