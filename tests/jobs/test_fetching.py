"""Reports in parts: put together in whatever order they come, refused where they are not what was told."""

from __future__ import annotations

import hashlib
import random

import pytest

from qcommons.base.errors import PeerError
from qcommons.jobs.fetching import PARTS_AT_ONCE, Fetch
from qcommons.jobs.offer import PART_BYTES, parts_of
from qcommons.jobs.work import Ready

DATA = random.Random(1).randbytes(5 * PART_BYTES + 17)
TOLD = Ready(len(DATA), hashlib.sha3_256(DATA).digest(), DATA[:PART_BYTES])


def test_parts_in_any_order_make_the_report() -> None:
    for seed in range(5):
        fetch, parts = Fetch(TOLD), parts_of(DATA)
        waiting = fetch.ask()
        assert len(waiting) == PARTS_AT_ONCE
        while waiting:
            assert fetch.whole() is None
            number = waiting.pop(random.Random(seed).randrange(len(waiting)))
            fetch.came(number, parts[number])
            waiting += fetch.ask()
        assert fetch.whole() == DATA


def test_a_part_that_was_lost_is_asked_for_again_and_no_other() -> None:
    fetch = Fetch(TOLD)
    first = fetch.ask()
    assert fetch.ask() == []
    fetch.lost(first[1])
    assert fetch.ask() == [first[1]]


def test_a_part_of_another_length_or_content_is_the_peers_fault() -> None:
    with pytest.raises(PeerError, match="part 0"):
        Fetch(Ready(len(DATA), TOLD.digest, b"short"))
    fetch = Fetch(TOLD)
    with pytest.raises(PeerError, match="part 5 of a report has 18 bytes; 17 were told"):
        fetch.came(5, DATA[:18])
    small = Fetch(Ready(3, hashlib.sha3_256(b"abc").digest(), b"abd"))
    with pytest.raises(PeerError, match="not of the report"):
        small.whole()
