"""What the owner says of work for others."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.node.small_world import ANY_TIME, Disk, SmallWorld

from qcommons.node import config
from qcommons.node.messages import LimitsSet, PolicySet
from qcommons.node.owner import OwnerLimits, Policy
from qcommons.node.sharing import offers_of, sharing_of


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QCOMMONS_HOME", str(tmp_path))


def test_a_node_offers_and_takes_nothing_until_its_owner_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    core = SmallWorld(Disk(), sense=ANY_TIME).core
    settings = config.load()
    assert offers_of(settings) == () and not sharing_of(settings, core, 1 << 30, None).enabled
    monkeypatch.setenv("QCOMMONS_SHARE", "true")
    settings = config.load()
    assert any(offer.startswith("qulacs:") for offer in offers_of(settings))
    assert sharing_of(settings, core, 1 << 30, None).enabled


def test_places_memory_and_refused_campaigns_are_those_of_now() -> None:
    world = SmallWorld(Disk(), workers=3)
    said = sharing_of(config.load(), world.core, 5 << 30, None)
    assert (said.places, said.memory_bytes, said.refuses) == (3, 5 << 30, frozenset())
    world.give(LimitsSet(OwnerLimits(memory_bytes=1 << 30)))
    world.give(PolicySet("", Policy(deny=("purpose:mining", "principal:qn1x"))))
    said = sharing_of(config.load(), world.core, 5 << 30, None)
    assert (said.memory_bytes, said.refuses) == (1 << 30, frozenset({"mining"}))
