"""Notes of the mesh as lines of the log: peers by their node ids, in place of hashes in hexadecimal.

Flow: core -> Note -> *readable* -> log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qcommons.base.errors import UsageError
from qcommons.pqc.identity import node_id_of_hash

__all__ = ["readable"]

NAMES = frozenset({"peer", "by", "origin", "via", "relay", "source"})  # facts that hold a node hash
HEX_CHARS = 64


def readable(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The same facts; what is no hash stays as it is."""
    return {name: _node_id(value) if name in NAMES else value for name, value in facts.items()}


def _node_id(value: Any) -> Any:
    if not isinstance(value, str) or len(value) != HEX_CHARS:
        return value
    try:
        return node_id_of_hash(bytes.fromhex(value))
    except (ValueError, UsageError):
        return value
