"""A market of one made-up ask, for tests of the API and of its clients."""

from __future__ import annotations

from qcommons.base.errors import UsageError
from qcommons.jobs.asks import RESOURCES, Resource
from qcommons.node.api.ask_records import AskAsked, AskList, AskRow, OwnAsk
from qcommons.pqc.identity import node_id_of_hash

__all__ = ["AsksStandIn"]

NOW_S = 1_800_000_000
ROW = AskRow(
    node=node_id_of_hash(b"\2" * 32), resource="work", price_per_giga=7, capacity_per_s=10**9, places=3,
    fidelity_ppm=0, from_s=0, until_s=NOW_S + 3_600, windows=(), transferable=True, made_ns=(NOW_S - 60) * 10**9,
    known="stranger", peer="alive", why="",
)  # fmt: skip


class AsksStandIn:
    """AsksDoor."""

    def __init__(self) -> None:
        self.own: dict[Resource, OwnAsk] = {}

    def listed(self, resource: Resource | None, *, everything: bool) -> AskList:
        wanted = (resource,) if resource else tuple(RESOURCES)
        rows = tuple(row for row in (ROW,) if row.resource in wanted)
        own = tuple(own for own in self.own.values() if own.resource in wanted)
        units = {kind: RESOURCES[kind] for kind in wanted}
        return AskList(now_ns=NOW_S * 10**9, asks=rows, own=own, hidden=0 if everything else 2, units=units)

    async def set(self, resource: Resource, asked: AskAsked) -> OwnAsk:
        self.own[resource] = OwnAsk(
            resource=resource, state="off", cause="sharing is off", action="turn it on",
            price_per_giga=asked.price_per_giga, capacity_per_s=asked.capacity_per_s, places=asked.places,
            fidelity_ppm=asked.fidelity_ppm, from_s=asked.from_s, until_s=asked.until_s, windows=asked.windows,
            transferable=asked.transferable, told_until_s=None, made_ns=None,
        )  # fmt: skip
        return self.own[resource]

    async def withdraw(self, resource: Resource) -> OwnAsk:
        if resource not in self.own:
            raise UsageError(f"this node has no ask for {resource}", where="resource")
        return self.own.pop(resource)
