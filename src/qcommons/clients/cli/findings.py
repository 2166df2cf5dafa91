"""A finding of `qcommons doctor`: one thing looked at.

Flow: checks (`doctor`, `doctor_node`) -> *Finding* -> text or JSON.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Finding"]


class Finding(NamedTuple):
    """state: "green" (well), "yellow" (works, but) or "red" (does not work)."""

    name: str
    state: str
    value: str
    cause: str = ""
    action: str = ""
