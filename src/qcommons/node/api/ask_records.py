"""Nouns of the API about asks: what this node offers, and the market as it sees it.

Flow: mesh/asks -> *these* -> JSON -> client. Prices are base units for 10^9 units of the resource; what is due is
rounded up. Seconds since 1970 (`_s`), as asks are signed.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from qcommons.jobs.asks import PLACES_MAX, WINDOWS_MAX, Resource
from qcommons.node.api.mesh_records import Window

__all__ = ["AskAsked", "AskList", "AskRow", "AsksQuery", "OwnAsk"]

INT63 = (1 << 63) - 1
SECONDS_MAX = 1 << 40
PPM = 1_000_000

Seconds = Annotated[int, msgspec.Meta(ge=0, le=SECONDS_MAX)]


class AsksQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """resource: only of this one. all: also those that cannot be used now, with the reason."""

    resource: Resource | None = None
    all: bool = False


class AskAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What this node wants for a resource, in place of what it wanted before. until_s: None until it is withdrawn."""

    price_per_giga: Annotated[int, msgspec.Meta(ge=0, le=INT63)]
    capacity_per_s: Annotated[int, msgspec.Meta(ge=1, le=INT63)]
    places: Annotated[int, msgspec.Meta(ge=1, le=PLACES_MAX)]
    fidelity_ppm: Annotated[int, msgspec.Meta(ge=0, le=PPM)] = 0
    from_s: Seconds = 0
    until_s: Seconds | None = None
    windows: Annotated[tuple[Window, ...], msgspec.Meta(max_length=WINDOWS_MAX)] = ()
    transferable: bool = False


class OwnAsk(msgspec.Struct, frozen=True, kw_only=True):
    """One resource of this node. state: offered; later (it begins in the future); off (sharing is off, so nothing is
    offered); over; withdrawn. cause, action: why, and what to do, where it is not offered.

    until_s: of one with windows, the end of the last at the latest; None: until it is withdrawn.
    told_until_s: until then others may count on what they were told; None: they were told nothing. made_ns: when that
    was signed.
    """

    resource: Resource
    state: Literal["offered", "later", "off", "over", "withdrawn"]
    cause: str
    action: str
    price_per_giga: int
    capacity_per_s: int
    places: int
    fidelity_ppm: int
    from_s: int
    until_s: int | None
    windows: tuple[Window, ...]
    transferable: bool
    told_until_s: int | None
    made_ns: int | None


class AskRow(msgspec.Struct, frozen=True, kw_only=True):
    """The newest ask of another node for a resource. why: it cannot be used now, "" where it can. known: how well its
    node is known here: stranger, proven (its work was found right) or trusted (the owner's own, or allowed). peer: its
    state in the mesh, "unknown" where no record of it is here. from_s: 0 for at once. made_ns: when it was signed."""

    node: str
    resource: Resource
    price_per_giga: int
    capacity_per_s: int
    places: int
    fidelity_ppm: int
    from_s: int
    until_s: int
    windows: tuple[Window, ...]
    transferable: bool
    made_ns: int
    known: Literal["stranger", "proven", "trusted"]
    peer: str
    why: str


class AskList(msgspec.Struct, frozen=True, kw_only=True):
    """asks: of others, cheapest first. hidden: how many more there are that cannot be used now. now_ns: the node's
    clock. units: what one unit of each resource is."""

    now_ns: int
    asks: tuple[AskRow, ...]
    own: tuple[OwnAsk, ...]
    hidden: int
    units: dict[str, str]
