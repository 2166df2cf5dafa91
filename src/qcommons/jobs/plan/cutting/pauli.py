"""Pauli letters: products with their phases, and the gates that apply them.

Flow: interaction, fragments -> *pauli*.
"""

from __future__ import annotations

from qcommons.circuits.program import Op

__all__ = ["LETTERS", "controlled", "over", "plain", "turned"]

LETTERS = "IXYZ"
_CYCLE = {"XY": "Z", "YZ": "X", "ZX": "Y"}
# of Pauli letter -> gates that turn its eigenbasis into the measured one, Z
TURNS: dict[str, tuple[str, ...]] = {"X": ("h",), "Y": ("sdg", "h"), "Z": ()}


def over(a: str, b: str) -> tuple[complex, str]:
    """(phase, letter) of the matrix product a b."""
    if a == "I" or b == "I":
        return 1.0, b if a == "I" else a
    if a == b:
        return 1.0, "I"
    return (1j, _CYCLE[a + b]) if a + b in _CYCLE else (-1j, _CYCLE[b + a])


def plain(letter: str, qubit: int) -> tuple[Op, ...]:
    """The letter as gates."""
    return () if letter == "I" else (Op(letter.lower(), (qubit,)),)


def controlled(letter: str, control: int, qubit: int) -> tuple[Op, ...]:
    """The letter where `control` is 1."""
    return () if letter == "I" else (Op("c" + letter.lower(), (control, qubit)),)


def turned(letter: str, qubit: int) -> tuple[Op, ...]:
    """Gates after which measuring Z measures the letter."""
    return tuple(Op(gate, (qubit,)) for gate in TURNS[letter])
