"""The checks of `qcommons doctor` that look at the mesh: can others reach this node, do links work both ways, is the
post-quantum TLS of this machine good, is its clock where the others' are.

Flow: settings, the node where one runs -> *checks* -> findings. Without a node there is nothing to find but TLS.
"""

from __future__ import annotations

from collections.abc import Callable

from qcommons.base.clock import duration_text
from qcommons.base.errors import QCommonsError, Unavailable
from qcommons.clients.cli.asking import count
from qcommons.clients.cli.doctor_node import named_node
from qcommons.clients.cli.findings import Finding
from qcommons.node.home import LOCK_FILE, home_path
from qcommons.node.lock import read_lock

__all__ = ["MESH_CHECKS"]

OFF = "off (mesh.enabled)"


def _tls() -> Finding:
    from qcommons.node import config

    if not config.load()["mesh.enabled"].value:
        return Finding("tls", "green", OFF)
    try:
        from qcommons.mesh.tls import GROUP, SIGNATURE, check_openssl

        check_openssl()
    except (ImportError, QCommonsError) as error:
        action = "reinstall: pip install -e . (cryptography and pyOpenSSL as pinned)"
        return Finding("tls", "red", "no post-quantum sessions", str(error), action)
    return Finding("tls", "green", f"post-quantum sessions: {GROUP}, {SIGNATURE}")


def _mesh() -> Finding:
    from qcommons.node import config

    if not named_node() and not config.load()["mesh.enabled"].value:
        return Finding("mesh", "green", OFF)
    holder = read_lock(home_path() / LOCK_FILE)
    if not named_node() and (holder is None or not holder.url):
        return Finding("mesh", "green", "no node runs here, so nobody was asked")
    from qcommons.clients.http.node import Node

    try:
        with Node.connect() as node:
            view = node.mesh.view()
    except Unavailable as error:
        if error.where != "mesh":
            return Finding("mesh", "red", "cannot be asked", str(error), "see what the row of the node says")
        return Finding("mesh", "red", "it does not run", str(error), "see qcommons logs; restart the node")
    alive = sum(row.state == "alive" for row in view.peers)
    reach = view.reach
    since = duration_text(max(0, view.now_ns - reach.since_ns))
    head = f"{count(alive, 'peer')} alive, {view.links} linked"
    if reach.state == "yes":
        if reach.one_way:
            names = ", ".join(node[:16] for node in reach.one_way)
            cause = f"these reach this node, but dialling back failed: {names}"
            return Finding("mesh", "yellow", f"{head}; links are one-way", cause, "their owners run: qcommons doctor")
        return Finding("mesh", "green", f"{head}; can be reached at {reach.address} (for {since}): {reach.cause}")
    if reach.state == "unknown":
        return Finding("mesh", "green", f"{head}; whether it can be reached is not known: {reach.cause}")
    relays = f", {len(reach.relays)} relay for it" if reach.relays else ", and nobody relays for it"
    value = f"{head}; cannot be reached (for {since}){relays}"
    return Finding("mesh", "yellow", value, reach.cause, reach.action or "see docs/mesh.md")


MESH_CHECKS: tuple[tuple[str, Callable[[], Finding]], ...] = (("tls", _tls), ("mesh", _mesh))
