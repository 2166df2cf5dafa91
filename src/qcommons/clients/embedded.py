"""An embedded node as the settings say: how a command gets one.

Flow: config -> *open_node* -> node.embedded -> answers. The node lives as long as the command.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qcommons.clients.config import Value
from qcommons.node.embedded import EmbeddedNode

__all__ = ["limits", "open_node"]


def open_node(settings: Mapping[str, Value]) -> EmbeddedNode:
    """A node with the workers and the operations cap of the settings; a context manager.

    It does not measure the machine in the background: the command would end before that does.
    """
    return EmbeddedNode(int(settings["limits.workers"].value), operations_max=int(settings["limits.operations"].value))


def limits(settings: Mapping[str, Value]) -> dict[str, Any]:
    """`deadline_s` and `memory_bytes` for a run; memory that nobody set is divided by the node when the job comes."""
    memory = settings["limits.memory"]
    return {
        "deadline_s": settings["limits.seconds"].value,
        "memory_bytes": None if memory.origin == "default" else int(memory.value),
    }
