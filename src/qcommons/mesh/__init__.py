"""Mesh: how nodes find, know and reach each other, with no centre.

Flow: pipe (bytes) -> session (TLS 1.3, post-quantum) -> frame -> message -> *MeshCore* -> effects -> node's sockets, or
world's virtual ones. The core is a router over small parts: links and dialler (connections), peerbook (signed records),
membership (beats), view (neighbours), guard (rates, bans); above them gossip, exchange, blobs, relay, reach and find.
`records`, `messages`, `events` and `parts` are the contract between all of them.

    from qcommons.base.seeds import stream
    from qcommons.mesh.core import MeshCore
    from qcommons.mesh.crypto import NodeCrypto
    core = MeshCore(NodeCrypto(key, "home", secrets.token_bytes), "home", "0.1.0", stream(seed, "mesh"))
    effects = core.handle(Begin(kept), now_ns)
"""

__all__ = ["core", "crypto", "events", "invite", "messages", "parts", "records"]
