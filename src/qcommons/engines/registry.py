"""Registry: which engines there are, built-in or plugged in.

Flow: entry points `qcommons.engines` -> *load_engines* -> select, execute, `qcommons engines`.
Loading an engine's module never imports the library behind it. A plug-in that fails to load is
listed with its error and left out; it never takes the others down.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from importlib import import_module, metadata

import msgspec

from qcommons.engines.engine import Engine, version_of

__all__ = ["BUILT_IN", "Broken", "EngineRow", "MethodRow", "broken_engines", "describe", "load_engines", "refresh"]

GROUP = "qcommons.engines"
# The same rows as in pyproject.toml, for a source checkout that was never installed.
BUILT_IN: dict[str, str] = {
    name: f"qcommons.engines.{name}_engine:ENGINE"
    for name in ("numpy", "qulacs", "stim", "frames", "aer", "clifft", "qsim", "tn", "ray", "dask")
}


class Broken(msgspec.Struct, frozen=True):
    """An entry point that gave no engine, and why."""

    name: str
    target: str
    error: str


class MethodRow(msgspec.Struct, frozen=True):
    """A method as listed: names sorted."""

    name: str
    help: str
    wants: tuple[str, ...]
    noise: tuple[str, ...]
    dynamic: bool
    gates: str
    precision: str
    cost_hint: str


class EngineRow(msgspec.Struct, frozen=True):
    """An engine as `qcommons engines` lists it.

    version: of the installed library, None if missing; then `install` is what to run.
    error: why the engine could not be loaded; the other fields are then empty.
    """

    name: str
    version: str | None
    install: str
    licence: str
    methods: tuple[MethodRow, ...]
    constants: dict[str, float]
    error: str | None = None


def load_engines() -> dict[str, Engine]:
    """Every engine that loads, installed library or not, by name in a stable order (cached)."""
    return dict(_loaded()[0])


def broken_engines() -> tuple[Broken, ...]:
    """Entry points that gave no engine (cached with `load_engines`)."""
    return _loaded()[1]


def refresh() -> None:
    """Forget what was found: for tests, and after an installation."""
    _loaded.cache_clear()
    version_of.cache_clear()


def describe(constants: dict[str, dict[str, float]] | None = None) -> tuple[EngineRow, ...]:
    """Rows for people and for `--json`, without importing any heavy library.

    Args:
        constants: this machine's measured constants by engine; they replace the defaults shown.
    """
    measured = constants or {}
    rows = [
        EngineRow(
            name, engine.installed(), engine.install, engine.licence,
            tuple(_method_row(m) for m in engine.methods), {**engine.constants, **measured.get(name, {})},
        )
        for name, engine in load_engines().items()
    ]  # fmt: skip
    rows += [EngineRow(b.name, None, "", "", (), {}, error=b.error) for b in broken_engines()]
    return tuple(rows)


def _method_row(method: object) -> MethodRow:
    fields = {name: getattr(method, name) for name in MethodRow.__struct_fields__}
    fields["wants"], fields["noise"] = tuple(sorted(fields["wants"])), tuple(sorted(fields["noise"]))
    return MethodRow(**fields)


@lru_cache(maxsize=1)
def _loaded() -> tuple[dict[str, Engine], tuple[Broken, ...]]:
    engines: dict[str, Engine] = {}
    broken: list[Broken] = []
    for name, target in _targets():
        try:
            engine = _load(name, target)
        except Exception as error:  # a plug-in may fail in any way; it is reported, not raised
            broken.append(Broken(name, target, f"{type(error).__name__}: {error}"))
        else:
            engines[name] = engine
    return engines, tuple(broken)


def _load(name: str, target: str) -> Engine:
    module, _, attribute = target.partition(":")
    engine = getattr(import_module(module), attribute or "ENGINE")
    if not isinstance(engine, Engine):
        raise TypeError(f"{target} is no Engine: see docs/adding-an-engine.md")
    if engine.name != name:
        raise ValueError(f"entry point {name!r} gives an engine named {engine.name!r}; the two must agree")
    return engine


def _targets() -> Iterable[tuple[str, str]]:
    """Built-ins first in their own order, then plug-ins by name; a plug-in cannot replace a built-in."""
    found = {point.name: point.value for point in metadata.entry_points(group=GROUP)}
    yield from BUILT_IN.items()
    yield from sorted((name, target) for name, target in found.items() if name not in BUILT_IN)
