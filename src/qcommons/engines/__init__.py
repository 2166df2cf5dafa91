"""Engines: who runs a circuit here, and who is chosen for which.

Flow: jobs -> *execute* -> select -> one of the engines -> Answer. An engine is one file with one
ENGINE object, found through entry points; `qcommons.testing.check_engine` says whether it is right.
Libraries are imported only when a task runs. Import the module that defines a thing:

    from qcommons.engines.registry import load_engines
    print(sorted(load_engines()))
"""

__all__ = ["engine", "execute", "records", "registry", "select"]
