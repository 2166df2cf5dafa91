"""The listener: sockets on the addresses where others may reach this node, as they come and go.

Flow: settings, interfaces -> *Listener* -> sockets -> pipes; addresses -> core (MyAddresses). A laptop changes its
network: the interfaces are looked at again every `LOOK_S`. All sockets share one port: the one of the settings, else
the one of the last time, else a free one.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

from qcommons.base.errors import Unavailable, UsageError
from qcommons.mesh.addresses import tcp_address
from qcommons.node.mesh.interfaces import advertised, own_addresses, to_listen_on
from qcommons.node.mesh.pipes import SocketPipe

__all__ = ["Listener"]

LOOK_S = 15.0
BACKLOG = 128  # connections that wait to be taken; the doorkeeper looks at each
TRIES = 8  # free ports that are taken by another on one of the addresses: next one


class Listener:
    """make_pipe: for each connection that comes in. on_change: the addresses that others may be told, on every
    change. on_note: name and facts, for the log."""

    def __init__(
        self,
        listen: str,
        port: int,
        make_pipe: Callable[[], SocketPipe],
        *,
        on_change: Callable[[tuple[str, ...]], None],
        on_note: Callable[..., None],
    ) -> None:
        self._listen, self._wanted_port = listen, port
        self._make_pipe, self._on_change, self._on_note = make_pipe, on_change, on_note
        self._servers: dict[str, asyncio.Server] = {}
        self._told: tuple[str, ...] | None = None
        self._watching: asyncio.Task[None] | None = None
        self.port = 0
        self.moved_from: int | None = None  # the port that was wanted, where another had it

    @property
    def hosts(self) -> list[str]:
        return list(self._servers)

    @property
    def listening(self) -> tuple[str, ...]:
        """host:port of each socket."""
        return tuple(tcp_address(host, self.port).removeprefix("tcp/") for host in self._servers)

    async def start(self, last_port: int | None = None) -> None:
        """Listen, and go on looking. last_port: of the last time, for a setting of 0 or a port that is taken.

        Raises:
            UsageError: an address that this machine has not.
        """
        hosts = to_listen_on(self._listen, own_addresses())
        known = [port for port in (self._wanted_port, last_port) if port]
        for port in dict.fromkeys((*known, 0)):
            if await self._open_all(hosts, port):
                break
        if self._wanted_port and self.port != self._wanted_port and self._servers:
            self.moved_from = self._wanted_port
            self._on_note("mesh_port_taken", wanted=self._wanted_port, port=self.port)
        self._tell()
        if self._listen == "lan" or self._listen in ("0.0.0.0", "::"):
            self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        for server in self._servers.values():
            server.close()
        self._servers.clear()

    async def _open_all(self, hosts: list[str], port: int) -> bool:
        """On every host with one port; False where it is taken."""
        for _ in range(1 if port else TRIES):
            chosen, opened = port, dict[str, asyncio.Server]()
            try:
                for host in hosts:
                    opened[host] = await self._open(host, chosen)
                    chosen = chosen or _port(opened[host])
            except OSError as error:
                for server in opened.values():
                    server.close()
                if error.errno == errno.EADDRNOTAVAIL:
                    what = f"this machine has no address {self._listen}; write lan, loopback or one of its own"
                    raise UsageError(what, where="mesh.listen") from None
                if error.errno != errno.EADDRINUSE:
                    raise Unavailable(f"cannot listen: {error.strerror}", where="mesh.listen") from None
                continue
            self._servers, self.port = opened, chosen
            return True
        return False

    async def _open(self, host: str, port: int) -> asyncio.Server:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        one = socket.socket(family, socket.SOCK_STREAM)
        try:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # its IPv4 has a socket of its own
            one.bind((host, port))
        except BaseException:
            one.close()
            raise
        return await asyncio.get_running_loop().create_server(self._make_pipe, sock=one, backlog=BACKLOG)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            wanted = to_listen_on(self._listen, own_addresses())
            for host in [host for host in self._servers if host not in wanted]:
                self._servers.pop(host).close()
            for host in [host for host in wanted if host not in self._servers]:
                try:
                    server = await self._open(host, self.port)
                except OSError as error:  # the address is gone again, or another has the port there
                    self._on_note("mesh_not_listening", host=host, why=str(error.strerror))
                    continue
                self._servers[host] = server
                self.port = self.port or _port(server)
            self._tell()

    def _tell(self) -> None:
        hosts = advertised(self._servers, own_addresses()) if self._servers else []
        told = tuple(tcp_address(host, self.port) for host in hosts)
        if told != self._told:
            self._told = told
            self._on_change(told)


def _port(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])
