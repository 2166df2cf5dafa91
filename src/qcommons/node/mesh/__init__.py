"""The mesh on real sockets: what carries out what MeshCore asks for, and tells it what happened.

Flow: `daemon` -> *service* -> driver <-> MeshCore; driver -> listener, pipes, timers, disk; door -> API -> people.
Nothing of it is imported before the mesh starts, so that a node without one stays small.
"""

__all__: list[str] = []
