"""The Engine protocol: what every engine offers, built-in or plugged in.

An engine is one module-level object named ENGINE, registered under the entry-point group
`qcommons.engines`. Importing its module must not import the heavy library behind it: `installed`
looks without importing, `run` imports inside the worker process.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata
from typing import Protocol, runtime_checkable

from qcommons.circuits.features import Features
from qcommons.engines.records import Answer, Cost, Method, Task, Unsuited, Want

__all__ = ["Engine", "version_of"]


@lru_cache(maxsize=256)
def version_of(distribution: str) -> str | None:
    """Version of an installed distribution, None if it is not there; remembered, for a look costs 0.3 ms.

    What is installed while the process runs is seen after `registry.refresh()`.
    """
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


@runtime_checkable
class Engine(Protocol):
    """Attributes are constant; methods are pure but for `run`, which only computes.

    An engine may have a property `use`: "named" where it is chosen only by name (it runs the task elsewhere), "first"
    where the owner wants it before all others; without it engines are chosen by their cost.

    name: entry-point name. distribution: PyPI name looked up for the version. install: the exact
    command that installs it. licence: SPDX. methods: capabilities, a row a method.
    constants: the cost model's numbers with their defaults (seconds a unit of work unless the name
    ends otherwise); a self-benchmark refits them on each machine.
    """

    name: str
    distribution: str
    install: str
    licence: str
    methods: tuple[Method, ...]
    constants: Mapping[str, float]

    def installed(self) -> str | None:
        """Version if the library is there, None otherwise; never imports it."""
        ...

    def cost(self, method: str, features: Features, want: Want, constants: Mapping[str, float]) -> Cost | Unsuited:
        """Predict, from features alone, what one attempt would take, or say why it cannot be."""
        ...

    def run(self, task: Task) -> Answer:
        """Run one task with one thread.

        Raises:
            CapExceeded: a limit of `task.limits` was passed.
            UsageError: the task is outside the method's capabilities.
        """
        ...

    def probes(self) -> tuple[tuple[str, Task, float], ...]:
        """(constant name, small task, units of work) for the self-benchmark; < 0.25 s each."""
        ...
