"""Which addresses this machine has, and on which of them the mesh listens.

Flow: network interfaces -> *own_addresses* -> listener. "lan" means the private addresses (RFC 1918, RFC 4193): no
router is touched, and an address that the whole internet sees is used only where the owner names it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

__all__ = ["ANY", "LOOPBACK", "advertised", "own_addresses", "to_listen_on"]

LOOPBACK = "127.0.0.1"
ANY = ("0.0.0.0", "::")
ADDRESSES_MAX = 8  # of a record (`mesh/records.py`)
# of containers and virtual machines on this machine: seldom of use to others, so they come last
VIRTUAL = ("docker", "br-", "veth", "virbr", "vmnet", "vboxnet", "lxc", "lxd", "podman", "cni")


def own_addresses() -> list[str]:
    """Addresses of the interfaces that are up, real interfaces and IPv4 first; without loopback and link-local."""
    import ifaddr  # comes with zeroconf; ctypes alone

    found: list[tuple[bool, bool, str]] = []
    for adapter in ifaddr.get_adapters():
        virtual = adapter.name.startswith(VIRTUAL)
        for own in adapter.ips:
            text = own.ip if isinstance(own.ip, str) else own.ip[0]
            address = ipaddress.ip_address(text.partition("%")[0])
            if not (address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified):
                found.append((virtual, address.version == 6, str(address)))
    return [text for _, _, text in sorted(found, key=lambda row: row[:2])]


def to_listen_on(listen: str, own: Iterable[str]) -> list[str]:
    """listen: as the setting `mesh.listen`. own: as `own_addresses`."""
    if listen == "loopback":
        return [LOOPBACK]
    if listen == "lan":
        return [text for text in own if is_private(text)][:ADDRESSES_MAX]
    return [listen]


def advertised(hosts: Iterable[str], own: Iterable[str]) -> list[str]:
    """What others are told: what is listened on, with "all addresses" written out."""
    told: list[str] = []
    for host in hosts:
        if host in ANY:
            version = ipaddress.ip_address(host).version
            told += [text for text in own if ipaddress.ip_address(text).version == version]
        else:
            told.append(host)
    return list(dict.fromkeys(told))[:ADDRESSES_MAX]


def is_private(text: str) -> bool:
    """RFC 1918, RFC 4193, and the shared space of RFC 6598, in which overlay networks live."""
    address = ipaddress.ip_address(text)
    shared = address.version == 4 and address in ipaddress.ip_network("100.64.0.0/10")
    return shared or (address.is_private and not address.is_loopback)
