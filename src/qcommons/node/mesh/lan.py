"""The LAN: nodes of the same network find each other by mDNS, without an address.

Flow: addresses of this node -> *Lan* -> mDNS (RFC 6762, 6763) -> other nodes; their answers -> *Lan* -> core (Reached).
Service type `_qcommons._tcp.local.`; TXT: n = network id, id = node id. An answer is a claim: only those that name the
configured network are followed, and the session proves who is there. zeroconf (LGPL, a package of its own) is loaded
when this starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qcommons.base.errors import UsageError
from qcommons.mesh.addresses import parse, tcp_address
from qcommons.mesh.records import PeerId
from qcommons.pqc.identity import parse_node_id

if TYPE_CHECKING:
    from zeroconf import Zeroconf
    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

__all__ = ["SERVICE", "Lan", "claims_of"]

SERVICE = "_qcommons._tcp.local."
RESOLVE_MS = 3_000
RESOLVING_MAX = 16  # at once; a LAN that announces more is heard later
LABEL_CHARS = 40  # of a node id in the instance's name, which may have 63 (RFC 6763, 4.1.1)


class Lan:
    """found: address and node of each claim. on_note: name and facts, for the log."""

    def __init__(
        self, network: str, node_id: str, found: Callable[[str, PeerId], None], on_note: Callable[..., None]
    ) -> None:
        self._network, self._node_id = network, node_id
        self._found, self._on_note = found, on_note
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: Any = None
        self._service: AsyncServiceInfo | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> bool:
        return self._zeroconf is not None

    async def announce(self, hosts: list[str], port: int) -> None:
        """Be found at these addresses from now on, and look for others; none: stop. Trouble goes to the log."""
        await self.close()
        if not hosts:
            return
        from zeroconf import Error
        from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

        packed = [ipaddress.ip_address(host).packed for host in hosts]
        label = self._node_id[:LABEL_CHARS]
        self._service = AsyncServiceInfo(
            SERVICE, f"{label}.{SERVICE}", port=port, addresses=packed, server=f"{label}.local.",
            properties={"n": self._network, "id": self._node_id},
        )  # fmt: skip
        try:
            self._zeroconf = AsyncZeroconf(interfaces=hosts)
            await self._zeroconf.async_register_service(self._service, allow_name_change=True)
            self._browser = AsyncServiceBrowser(self._zeroconf.zeroconf, SERVICE, handlers=[self._changed])
        except (OSError, Error, ValueError) as error:
            self._on_note("mesh_mdns_failed", why=f"{type(error).__name__}: {error}")
            await self.close()

    async def close(self) -> None:
        """Say goodbye on the LAN."""
        zeroconf, self._zeroconf, browser, self._browser = self._zeroconf, None, self._browser, None
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(Exception):  # it ends whatever happens; its sockets may be gone with the network
            if browser is not None:
                await browser.async_cancel()
            if zeroconf is not None:
                if self._service is not None:
                    await zeroconf.async_unregister_service(self._service)
                await zeroconf.async_close()

    def _changed(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: Any) -> None:
        if state_change.name == "Removed" or len(self._tasks) >= RESOLVING_MAX:
            return
        task = asyncio.get_running_loop().create_task(self._resolve(zeroconf, name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _resolve(self, zeroconf: Zeroconf, name: str) -> None:
        from zeroconf.asyncio import AsyncServiceInfo

        info = AsyncServiceInfo(SERVICE, name)
        if not await info.async_request(zeroconf, RESOLVE_MS):
            return
        said = {key: value for key, value in info.properties.items() if value is not None}
        hosts = info.parsed_scoped_addresses()
        for address, peer in claims_of(said, hosts, info.port or 0, self._network, self._node_id):
            self._found(address, peer)


def claims_of(
    said: dict[bytes, bytes], hosts: list[str], port: int, network: str, own_id: str
) -> list[tuple[str, PeerId]]:
    """(address, node) of an answer that is of our network and not our own; nothing where it makes no sense."""
    if said.get(b"n") != network.encode():
        return []
    try:
        node_id = said.get(b"id", b"").decode("ascii")
        peer = PeerId(parse_node_id(node_id))
    except (UsageError, UnicodeDecodeError):
        return []
    if node_id == own_id:
        return []
    claims = []
    for host in hosts[:8]:
        with contextlib.suppress(UsageError):
            claims.append((parse(tcp_address(host, port)).text, peer))
    return claims
