"""The settings of the mesh: readers for their rows, and all of them as one record.

Flow: config file, environment -> `config.SETTINGS` with these *readers* -> `mesh_settings` -> service. Light: the
command line imports it with every setting.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from qcommons.base.errors import UsageError

__all__ = ["BOOTSTRAP_MAX", "MESH_PORT", "MeshSettings", "addresses", "listen", "mesh_settings", "network", "yes_no",
           "yes_no_text"]  # fmt: skip

MESH_PORT = 8741  # one above the API's
BOOTSTRAP_MAX = 32  # a handful is enough to join; more would only slow the start
ADDRESS_CHARS_MAX = 100  # as in records of peers (`mesh/records.py`)
NETWORK = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")  # as in signatures (`pqc/signing.py`)
HOST_PORT = re.compile(r"(?:tcp/)?(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9][A-Za-z0-9.-]{0,79}):([0-9]{1,5})")
WORDS = {"true": 1, "yes": 1, "on": 1, "1": 1, "false": 0, "no": 0, "off": 0, "0": 0}


class MeshSettings(NamedTuple):
    """listen: "lan", "loopback" or an IP address. bootstrap: "tcp/HOST:PORT" each. sharing: whether work of
    strangers is taken (`share.enabled`)."""

    enabled: bool
    network: str
    port: int
    listen: str
    mdns: bool
    bootstrap: tuple[str, ...]
    relay: bool
    sharing: bool = False


def mesh_settings(values: Mapping[str, Any]) -> MeshSettings:
    """values: `config.Settings`."""
    return MeshSettings(
        enabled=bool(values["mesh.enabled"].value),
        network=str(values["mesh.network"].value),
        port=int(values["mesh.port"].value),
        listen=str(values["mesh.listen"].value),
        mdns=bool(values["mesh.mdns"].value),
        bootstrap=tuple(str(values["mesh.bootstrap"].value).split()),
        relay=bool(values["mesh.relay"].value),
        sharing=bool(values["share.enabled"].value),
    )


def yes_no(text: str, where: str) -> int:
    """1 or 0 of true, yes, on, false, no, off."""
    value = WORDS.get(text.strip().lower())
    if value is None:
        raise UsageError(f"cannot read {text[:40]!r}; write true or false", where=where, limit="true or false")
    return value


def yes_no_text(value: Any) -> str:
    return "true" if value else "false"


def network(text: str, where: str) -> str:
    """A network id."""
    if not NETWORK.fullmatch(text):
        form = "1 to 64 characters a-z 0-9 . _ -, a letter or digit first"
        raise UsageError(f"{text[:80]!r} is no network id; write {form}", where=where, limit=form)
    return text


def listen(text: str, where: str) -> str:
    """ "lan", "loopback" or an IP address in its usual form."""
    word = text.strip().lower()
    if word in ("lan", "loopback"):
        return word
    try:
        return str(ipaddress.ip_address(word.strip("[]")))
    except ValueError:
        what = f"cannot read {text[:60]!r}; write lan, loopback or an IP address of this machine"
        raise UsageError(what, where=where, limit="lan, loopback or an address") from None


def addresses(text: str, where: str) -> str:
    """Addresses "HOST:PORT" or "tcp/HOST:PORT", apart by commas or blanks; as "tcp/..." apart by one blank."""
    words = text.replace(",", " ").split()
    if len(words) > BOOTSTRAP_MAX:
        limit = f"{BOOTSTRAP_MAX} addresses"
        raise UsageError(f"{len(words)} addresses; allowed {limit}", where=where, limit=limit)
    return " ".join(dict.fromkeys(_address(word, where) for word in words))


def _address(word: str, where: str) -> str:
    match = HOST_PORT.fullmatch(word)
    if match is None or not 1 <= int(match[2]) <= 65_535 or len(word) > ADDRESS_CHARS_MAX:
        what = f"{word[:80]!r} is no address; write HOST:PORT, as in 192.168.1.20:{MESH_PORT} or [fd00::1]:{MESH_PORT}"
        raise UsageError(what, where=where)
    return f"tcp/{_host(match[1].lower(), where)}:{int(match[2])}"


def _host(host: str, where: str) -> str:
    """In its one spelling (RFC 5952 for IPv6)."""
    bare = host.strip("[]")
    try:
        ip = ipaddress.ip_address(bare)
    except ValueError:
        if host.startswith("[") or host.rpartition(".")[2].isdigit():
            raise UsageError(f"{host[:80]!r} is no IP address", where=where) from None
        return host
    return f"[{ip}]" if ip.version == 6 else str(ip)
