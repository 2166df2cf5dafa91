"""What `int[n]` and `uint[n]` can hold, and what a cast makes of a number that they cannot.

Flow: values, registers -> *casts*. Source: OpenQASM 3.0, "Integers" and "Casting specifics": two's
complement, C99 conversion, and `x == int[n](uint[n](x))`. Without a width: 64 bits, the sign free for
`int` as the numbers of a file are (up to 2**64 - 1).
"""

from __future__ import annotations

from qcommons.circuits.qasm.arithmetic import INT_BITS_MAX

__all__ = ["described", "holds", "wrapped"]


def holds(kind: str, width: int | None, number: int) -> bool:
    """True where `kind` ("int" or "uint") of `width` bits has this number; other kinds have any."""
    if kind == "uint":
        return number >= 0 and number.bit_length() <= (width or INT_BITS_MAX)
    if kind == "int" and width is not None:
        return (number if number >= 0 else ~number).bit_length() < width
    return True


def described(kind: str, width: int | None) -> str:
    """The range of a type in words, for messages."""
    bits = width or INT_BITS_MAX
    if kind == "uint":
        return f"uint of {bits} bits holds 0 to 2^{bits}-1"
    return f"int of {bits} bits holds -2^{bits - 1} to 2^{bits - 1}-1"


def wrapped(kind: str, width: int, number: int) -> int:
    """The number whose `width` bits are the lowest ones of `number`."""
    rest = number & ((1 << width) - 1)
    return rest - (1 << width) if kind == "int" and rest >> (width - 1) else rest
