"""Assembly: the parts of a node above membership, and how they are put together.

Flow: MeshCore -> *standard_parts* -> exchange, gossip, blobs, find, relay, reach, probe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from qcommons.mesh.blobs import Blobs
from qcommons.mesh.events import Crypto
from qcommons.mesh.exchange import Exchange
from qcommons.mesh.find import Find
from qcommons.mesh.gossip import Gossip
from qcommons.mesh.parts import PartBase, Peers
from qcommons.mesh.probe import Probe
from qcommons.mesh.reach import Reach
from qcommons.mesh.relay import Relay

__all__ = ["MakeParts", "standard_parts"]

MakeParts = Callable[[Peers, np.random.Generator, Crypto], Sequence[PartBase]]


def standard_parts(peers: Peers, rng: np.random.Generator, crypto: Crypto, *, relays: bool = True) -> list[PartBase]:
    """In the order in which they hear of links. relays: whether this node relays for others."""
    exchange = Exchange(peers)
    gossip = Gossip(peers, rng)
    relay = Relay(peers, exchange, rng, relays)
    return [
        exchange,
        gossip,
        Blobs(peers, exchange),
        Find(peers, exchange, rng),
        relay,
        Reach(peers, exchange, relay, rng),
        Probe(peers, gossip, exchange, crypto),
    ]
