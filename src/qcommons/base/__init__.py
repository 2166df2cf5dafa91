"""Base: the words that every other room shares. Ground floor: imports no other room.

Flow: everywhere. `errors` says who must act, `seeds` gives randomness by name, `canonical` turns
records to bytes and back, `ids` names things, `units` and `clock` keep quantities straight,
`quantities` reads them as people type them, `effects` is how a machine asks the world for anything.
Nothing here reads a clock, a socket or a generator.

Import the module that defines a name:

    from qcommons.base.errors import UsageError
    from qcommons.base.seeds import stream
"""

__all__ = ["canonical", "clock", "effects", "errors", "ids", "quantities", "seeds", "units"]
