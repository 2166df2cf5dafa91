"""GHZ-500, 1024 shots, against Aer's automatic choice."""

from __future__ import annotations

from bench import circuits, sides
from bench.harness import Claim

CLAIMS = [Claim("GHZ-500, 1024 shots, against Aer automatic", "ours", "aer_automatic", "ratio", 500, rounds=3)]


def _text(small: bool) -> str:
    return circuits.ghz(40 if small else 500)


def ours(small: bool) -> sides.Thunk:
    return sides.ours(_text(small))


def aer_automatic(small: bool) -> sides.Thunk:
    return sides.aer(_text(small), "automatic")
