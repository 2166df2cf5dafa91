"""Spread and Hire of a real node: what follows from its key."""

from __future__ import annotations

from typing import Any

import pytest

from qcommons.base.errors import PeerError
from qcommons.node import work_parts as module
from qcommons.node.work_parts import work_parts
from qcommons.pqc.identity import NodeKey
from qcommons.verify.records import Verdict

ONE, OTHER = NodeKey(bytes(32)), NodeKey(bytes(range(32)))
VERDICT = Verdict(
    peer=OTHER.hash, job_id="job_aaaaaaaaaaaaaaaa", lease="ab" * 16, runs=(0,), kind="silent", ground="clock",
    evidence=(), judged_at_ns=5,
)  # fmt: skip


def made(key: NodeKey, network: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What both machines are made with."""
    found: dict[str, Any] = {}

    def spread(me: bytes, secret: bytes, kept: Any, *, price: Any, sign: Any) -> Any:
        found.update(me=me, secret=secret, sign=sign)

    def hire(me: bytes, secret: bytes, kept: Any, *, check_verdict: Any) -> Any:
        found.update(hired_me=me, hired_secret=secret, check=check_verdict)

    monkeypatch.setattr(module, "Spread", spread)
    monkeypatch.setattr(module, "Hire", hire)
    work_parts(key, network)({}, lambda piece: None)  # type: ignore[arg-type, return-value]
    return found


def test_the_secret_is_the_keys_alone_and_the_same_after_every_start(monkeypatch: pytest.MonkeyPatch) -> None:
    first, again = made(ONE, "commons", monkeypatch), made(ONE, "commons", monkeypatch)
    assert first["secret"] == again["secret"] == first["hired_secret"] and len(first["secret"]) == 32
    assert first["secret"] != made(OTHER, "commons", monkeypatch)["secret"]
    assert first["secret"] != ONE.secret_seed() and first["me"] == first["hired_me"] == ONE.hash


def test_a_verdict_is_read_by_others_of_the_network_and_by_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    file = made(ONE, "commons", monkeypatch)["sign"](VERDICT)
    assert made(OTHER, "commons", monkeypatch)["check"](file, ONE.hash) == VERDICT
    with pytest.raises(PeerError):
        made(OTHER, "elsewhere", monkeypatch)["check"](file, ONE.hash)
    with pytest.raises(PeerError):
        made(OTHER, "commons", monkeypatch)["check"](file, OTHER.hash)
