"""Addresses: where a peer may be, as text in records, and what may be done with such text.

Flow: settings, invitations, records of peers -> *parse* -> dialler (may it be dialled, from which budget).

    tcp/HOST:PORT     HOST: IPv4, [IPv6] (RFC 5952 spelling), or a name, which only this node's owner may give
    relay/NODE        a circuit through the node of that id

An address is what somebody claims. So it has a scope (loopback, private, public), and only who lives in a scope may
speak of it: a stranger from outside cannot make this node knock at doors inside (`may_tell`). `prefix` names whom a
dial would bother, for budgets.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from enum import IntEnum

import msgspec

from qcommons.base.errors import PeerError, UsageError
from qcommons.mesh.records import ADDRESS_CHARS_MAX, PeerId
from qcommons.pqc.identity import node_id_of_hash, parse_node_id

__all__ = ["Address", "Scope", "check_record_addresses", "may_tell", "parse", "relay_address", "tcp_address"]

NAME = re.compile(r"(?=.{1,80}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
PORT = re.compile(r"[1-9][0-9]{0,4}")
PORT_MAX = 65_535
# one household or one provider's customer: what a flood of lies about one network is counted by
PREFIX_BITS = {4: 24, 6: 48}
# addresses of networks inside networks that ipaddress does not call private: RFC 6598
SHARED = ipaddress.ip_network("100.64.0.0/10")
CACHE = 4_096


class Scope(IntEnum):
    """How far an address reaches; greater is farther."""

    LOOPBACK = 0
    PRIVATE = 1
    PUBLIC = 2


class Address(msgspec.Struct, frozen=True):
    """text: the one spelling. prefix: whom a dial bothers. via: who relays. host and port: empty and 0 of a relay."""

    text: str
    scope: Scope
    prefix: str
    host: str = ""
    port: int = 0
    via: PeerId | None = None
    is_name: bool = False


@functools.lru_cache(CACHE)
def parse(text: str) -> Address:
    """Raises UsageError: what of `text` is no address, and the form that is."""
    if len(text) > ADDRESS_CHARS_MAX:
        limit = f"{ADDRESS_CHARS_MAX} characters"
        raise UsageError(f"an address of {len(text)} characters; allowed {limit}", where="address", limit=limit)
    kind, _, rest = text.partition("/")
    if kind == "relay":
        via = PeerId(parse_node_id(rest))
        if relay_address(via) != text:
            raise UsageError(f"{text!r} is written in another way than {relay_address(via)!r}", where="address")
        return Address(text, Scope.PUBLIC, text, via=via)
    host, colon, port = rest.rpartition(":")
    if kind != "tcp" or not colon:
        raise UsageError(f"{text[:80]!r} is no address; tcp/HOST:PORT or relay/NODE needed", where="address")
    if not PORT.fullmatch(port) or int(port) > PORT_MAX:
        limit = f"1 to {PORT_MAX}"
        raise UsageError(f"port {port!r} of {text!r}; allowed {limit}", where="address", limit=limit)
    return _of_host(text, host, int(port))


def _of_host(text: str, host: str, port: int) -> Address:
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        ip = ipaddress.ip_address(bare)
    except ValueError:
        if not NAME.fullmatch(host) or host.rpartition(".")[2].isdigit():
            raise UsageError(f"{host[:80]!r} is neither an IP address nor a name", where="address") from None
        return Address(text, Scope.PUBLIC, f"name {host}", host, port, is_name=True)
    if isinstance(ip, ipaddress.IPv6Address) and (ip.ipv4_mapped or ip.scope_id):
        # an IPv4 address in disguise would get past the scopes; a zone means something on one machine alone
        raise UsageError(f"{bare!r}: write mapped addresses as IPv4, and none with a zone", where="address")
    if ip.is_multicast or ip.is_unspecified or ip == ipaddress.IPv4Address("255.255.255.255"):
        raise UsageError(f"{bare!r} is not the address of one machine", where="address")
    spelled = f"tcp/[{ip}]:{port}" if ip.version == 6 else f"tcp/{ip}:{port}"
    if spelled != text:
        raise UsageError(f"{text!r} is written in another way than {spelled!r}", where="address")
    if ip.is_loopback:
        return Address(text, Scope.LOOPBACK, "loopback", bare, port)
    network = ipaddress.ip_network((ip, PREFIX_BITS[ip.version]), strict=False)
    private = ip.is_link_local or (ip in SHARED if ip.version == 4 else False) or _is_private(ip)
    return Address(text, Scope.PRIVATE if private else Scope.PUBLIC, str(network), bare, port)


def _is_private(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Networks for use inside (RFC 1918, RFC 4193); ipaddress.is_private holds examples and benchmarks too."""
    return any(ip in network for network in INSIDE[ip.version])


INSIDE: dict[int, tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]] = {
    4: tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))),
    6: (ipaddress.IPv6Network("fc00::/7"),),
}


def tcp_address(host: str, port: int) -> str:
    """The text for a socket's (host, port): IPv6 in brackets, IPv4 inside IPv6 as IPv4, zones left out."""
    bare = host.partition("%")[0]
    try:
        ip = ipaddress.ip_address(bare)
    except ValueError:
        return f"tcp/{host}:{port}"
    if isinstance(ip, ipaddress.IPv6Address):
        return f"tcp/{ip.ipv4_mapped}:{port}" if ip.ipv4_mapped else f"tcp/[{ip}]:{port}"
    return f"tcp/{ip}:{port}"


def relay_address(via: PeerId) -> str:
    return "relay/" + node_id_of_hash(via)


def check_record_addresses(texts: tuple[str, ...], count_max: int) -> None:
    """Raises PeerError: more than `count_max`, or one that a record may not hold (names are for owners alone:
    looking up whatever strangers write would bother name servers for them)."""
    if len(texts) > count_max:
        raise PeerError(f"{len(texts)} addresses; allowed {count_max}", where="addresses", limit=str(count_max))
    for text in texts:
        try:
            found = parse(text)
        except UsageError as error:
            raise PeerError(error.what, where="addresses", limit=error.limit) from error
        if found.is_name:
            raise PeerError(f"{text!r} is a name; records hold IP addresses", where="addresses")


def may_tell(teller: Scope, address: Address) -> bool:
    """Whether an address is dialled on the word of somebody who was met at `teller`: a neighbour of this machine may
    speak of it, one of the local network of that network, and one from outside of the outside only."""
    return address.scope >= teller
