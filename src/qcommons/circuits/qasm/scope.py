"""Names and what they are worth while a file is read.

Flow: registers, gatebook and builder bind names in a *Scope*, values reads them.
"""

from __future__ import annotations

import msgspec

from qcommons.circuits.program import Affine, Condition

__all__ = ["Bits", "Qubits", "Scope", "Unset", "Value"]


class Qubits(msgspec.Struct, frozen=True):
    """Flat qubit indices; `scalar` for one qubit that is no register."""

    indices: tuple[int, ...]
    scalar: bool = False


class Bits(msgspec.Struct, frozen=True):
    """Flat classical bit indices, least significant first; `signed`: two's complement, as `int[n]` reads them."""

    indices: tuple[int, ...]
    scalar: bool = False
    signed: bool = False


class Unset(msgspec.Struct, frozen=True):
    """A name that is declared, but has no value here; `what` it is goes into messages."""

    what: str


Value = (
    float | int | bool | str | Affine | Qubits | Bits | Condition | Unset
    | range | tuple[float | int | bool | Affine, ...]
)  # fmt: skip


class Scope:
    """Names of one block; `parent` is the enclosing one."""

    __slots__ = ("names", "parent")

    def __init__(self, parent: Scope | None = None, names: dict[str, Value] | None = None) -> None:
        self.parent = parent
        self.names: dict[str, Value] = {} if names is None else names

    def find(self, name: str) -> Value | None:
        scope: Scope | None = self
        while scope is not None:
            value = scope.names.get(name)
            if value is not None:
                return value
            scope = scope.parent
        return None
