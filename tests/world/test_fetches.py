"""Fetches: what came is what was asked for, whoever lies or falls; a spoiled or endless fetch breaks a rule."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from qcommons.base.effects import Send
from qcommons.mesh.events import BlobCame, WriteChunk
from qcommons.world.play import Case, play
from qcommons.world.stage import mesh_core

CASE = Case("blobs", 2, 4, 10)


def test_blobs_come_whole_though_some_give_other_bytes() -> None:
    report = play(Case("blobs", 1, 6, 30))
    assert not report.violations, report.violations
    assert report.measures["blobs that came"] >= 5
    assert {"right blob", "fetched"} <= set(report.checked)
    assert "spoiled" in {moment.fault for moment in report.timeline}


class Changed:
    """A core whose effects are changed."""

    def __init__(self, core: Any, change: Any) -> None:
        self.core = core
        self.change = change

    def handle(self, event: Any, now_ns: int) -> list[Any]:
        return [changed for effect in self.core.handle(event, now_ns) for changed in self.change(effect)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.core, name)


def writes_another_byte(effect: Any) -> list[Any]:
    if isinstance(effect, WriteChunk):
        return [msgspec.structs.replace(effect, data=bytes(len(effect.data)))]
    return [effect]


def says_nothing_at_the_end(effect: Any) -> list[Any]:
    ends = isinstance(effect, Send) and effect.to.startswith("fetch-")
    return [] if ends else [effect]


def says_twice_that_it_came(effect: Any) -> list[Any]:
    return [effect, effect] if isinstance(effect, Send) and isinstance(effect.message, BlobCame) else [effect]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (writes_another_byte, "right blob"), (says_nothing_at_the_end, "right blob"),
        (says_nothing_at_the_end, "fetched"), (says_twice_that_it_came, "right blob"),
    ],
)  # fmt: skip
def test_a_broken_core_is_caught(change: Any, rule: str) -> None:
    def make(crypto: Any, network: str, rng: np.random.Generator, book_cap: int) -> Any:
        return Changed(mesh_core(crypto, network, rng, book_cap), change)

    assert rule in {violation.check for violation in play(CASE, core=make).violations}


def test_a_core_that_is_not_broken_passes_there() -> None:
    assert not play(CASE).violations
