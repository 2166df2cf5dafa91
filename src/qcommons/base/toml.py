"""TOML of a person, read with the line that is wrong.

Flow: config file, device profile -> *read_toml* -> tables; *line_of* finds a key again when its value turns out wrong.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

from qcommons.base.errors import UsageError

__all__ = ["line_of", "read_toml"]

AT_LINE = re.compile(r" \(at line ([0-9]+), column ([0-9]+)\)$")  # how tomllib ends its messages
DIGITS_MAX = 4_000  # Python refuses to read integers a little above
LONG_INTEGER = re.compile(rf"[0-9][0-9_]{{{DIGITS_MAX}}}")
HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]")
PLAIN_KEY = re.compile(
    r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""
)


def read_toml(text: str, where: str) -> dict[str, Any]:
    """The tables of a TOML text.

    where: the file, for messages; the line is added as ":3".

    Raises:
        UsageError: not TOML, nested too deep, or an integer too long for anything.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = AT_LINE.search(str(error))
        what = AT_LINE.sub("", str(error))
        place = f"{where}:{found[1]}:{found[2]}" if found else f"{where}:{len(text.splitlines())}"  # at its end
        raise UsageError(f"not TOML: {what}", where=place) from None
    except RecursionError:
        raise UsageError("not TOML that anybody wrote: nested too deep", where=where) from None
    except ValueError:  # int() of more digits than it reads
        found = LONG_INTEGER.search(text)
        place = f"{where}:{text.count(chr(10), 0, found.start()) + 1}" if found else where
        limit = f"{DIGITS_MAX} digits"
        raise UsageError(f"an integer of more than {limit}", where=place, limit=limit) from None


def line_of(text: str, key: str) -> int | None:
    """The line, from 1, that gives `key` ("section.name") its value, where it is written plainly; else None.

    A section alone ("section") is found by its header or its own line.
    """
    table = ""
    for number, words in enumerate(text.splitlines(), 1):
        header = HEADER.match(words)
        if header:
            table = _dotted(header[1])
            if table == key:
                return number
            continue
        plain = PLAIN_KEY.match(words)
        if plain and ".".join(filter(None, (table, _dotted(plain[1])))) == key:
            return number
    return None


def _dotted(written: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in written.split("."))
