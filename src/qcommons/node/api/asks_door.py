"""What the API asks of the market behind it.

Flow: ask_routes -> *AsksDoor* -> node/mesh/asks -> bazaar. Errors are the four of `base.errors`.
"""

from __future__ import annotations

from typing import Protocol

from qcommons.jobs.asks import Resource
from qcommons.node.api.ask_records import AskAsked, AskList, OwnAsk

__all__ = ["AsksDoor"]


class AsksDoor(Protocol):
    """What the handlers may ask."""

    def listed(self, resource: Resource | None, *, everything: bool) -> AskList:
        """everything: also asks that cannot be used now."""
        ...

    async def set(self, resource: Resource, asked: AskAsked) -> OwnAsk:
        """On disk, signed and told where sharing is on. Raises UsageError, with ranges."""
        ...

    async def withdraw(self, resource: Resource) -> OwnAsk:
        """On disk, and told. Raises UsageError where there is none."""
        ...
