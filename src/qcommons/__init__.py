"""Quantum Commons: a quantum computing network that nobody owns but its users.

Flow: this front door -> node.default -> jobs -> engines. Nothing heavy is imported before it is
used:

    from qcommons import Node, run
    print(run("bell.qasm", shots=4096))            # in this process
    with Node.connect() as node:                   # on the node of this home
        print(node.run("bell.qasm", shots=4096))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qcommons.clients.http.async_node import AsyncNode
    from qcommons.clients.http.node import Node
    from qcommons.node.default import run

__all__ = ["AsyncNode", "Node", "__version__", "run"]


def __getattr__(name: str) -> Any:
    if name == "run":
        from qcommons.node.default import run

        return run
    if name == "Node":
        from qcommons.clients.http.node import Node

        return Node
    if name == "AsyncNode":
        from qcommons.clients.http.async_node import AsyncNode

        return AsyncNode
    if name == "__version__":
        from qcommons.base.version import package_version

        return package_version()
    raise AttributeError(f"module 'qcommons' has no attribute {name!r}")
