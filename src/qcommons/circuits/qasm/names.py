"""Names of registers and inputs in OpenQASM text, and back.

Flow: writer -> *names* -> builder. A Program's names are free text; an OpenQASM identifier is not,
and must not hide a gate, a keyword or a constant. Such a name is written as the hexadecimal digits
of its UTF-8 bytes after `qc_name_`; the reader turns exactly those back.
"""

from __future__ import annotations

import re

from qcommons.circuits.gates import ALIASES, GATES
from qcommons.circuits.program import NAME

__all__ = ["decoded", "encoded"]

_PREFIX = "qc_name_"
_SECOND_PREFIX = "qc_bits_"  # for a register that bears the name of an input
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORDS = frozenset(
    [
        "OPENQASM",
        "include",
        "defcalgrammar",
        "def",
        "cal",
        "defcal",
        "gate",
        "extern",
        "box",
        "let",
        "break",
        "continue",
        "if",
        "else",
        "end",
        "return",
        "for",
        "while",
        "in",
        "switch",
        "case",
        "default",
        "nop",
        "pragma",
        "input",
        "output",
        "const",
        "readonly",
        "mutable",
        "qreg",
        "qubit",
        "creg",
        "bool",
        "bit",
        "int",
        "uint",
        "float",
        "angle",
        "complex",
        "array",
        "void",
        "duration",
        "stretch",
        "gphase",
        "inv",
        "pow",
        "ctrl",
        "negctrl",
        "dim",
        "durationof",
        "delay",
        "reset",
        "measure",
        "barrier",
        "true",
        "false",
        "im",
        "pi",
        "tau",
        "euler",
        "U",
        "CX",
        "sizeof",
        "arccos",
        "arcsin",
        "arctan",
        "ceiling",
        "cos",
        "exp",
        "floor",
        "log",
        "mod",
        "popcount",
        "rotl",
        "rotr",
        "sin",
        "sqrt",
        "tan",
        "real",
        "imag",
        "opaque",
    ]
)


def encoded(name: str, taken: frozenset[str] = frozenset()) -> str:
    """An identifier that stands for `name`; `name` itself where it is a harmless one, not in `taken`."""
    if name in taken:
        return _SECOND_PREFIX + name.encode().hex()
    harmless = _PLAIN.fullmatch(name) and name not in _WORDS and name not in GATES and name not in ALIASES
    if harmless and not name.startswith("qc_"):
        return name
    return _PREFIX + name.encode().hex()


def decoded(name: str) -> str:
    """The name that `encoded` wrote; any other name stays what it is."""
    if not name.startswith((_PREFIX, _SECOND_PREFIX)):
        return name
    try:
        text = bytes.fromhex(name[len(_PREFIX) :]).decode()
    except ValueError:
        return name
    if not NAME.fullmatch(text):
        return name
    return text if name.startswith(_SECOND_PREFIX) or encoded(text) == name else name
