"""Chains of beats: only their owner can go forward."""

from __future__ import annotations

import hashlib

import pytest

from qcommons.base.errors import UsageError
from qcommons.mesh.beats import CHAIN_BEATS, FAREWELL, Chain, follows, step


def hashed(value: bytes, times: int) -> bytes:
    for _ in range(times):
        value = hashlib.sha3_256(b"qcommons/beat.1" + value).digest()[:16]
    return value


def test_values_are_the_hashes_of_the_page() -> None:
    chain = Chain(bytes(32), 10)
    assert [chain.value(count) for count in (10, 9, 0)] == [
        hashed(bytes(32), 1),
        hashed(bytes(32), 2),
        hashed(bytes(32), 11),
    ]
    # docs/protocol/beats.md
    assert chain.value(0).hex() == "f4eaed6d2b43d84b2ddc2b074be00c0b"


def test_a_later_value_follows_an_earlier_one_by_as_many_steps_as_lie_between() -> None:
    chain = Chain(b"secret of sixteen bytes or more.", 20)
    assert follows(chain.value(7), 7, chain.value(0))
    assert follows(chain.value(20), 13, chain.value(7))
    assert not follows(chain.value(7), 6, chain.value(0))
    assert not follows(chain.value(3), 4, chain.value(7))


def test_what_everybody_can_compute_from_a_value_lies_before_it_never_after() -> None:
    chain = Chain(bytes(range(32)), 20)
    assert step(chain.value(5)) == chain.value(4)
    assert step(chain.value(5)) != chain.value(6)


@pytest.mark.parametrize("steps", [-1, CHAIN_BEATS + 1, 1 << 60])
def test_a_liar_cannot_make_others_hash_for_ever(steps: int) -> None:
    assert not follows(bytes(16), steps, bytes(16))


def test_values_of_other_lengths_follow_nothing() -> None:
    assert not follows(b"", 0, b"")


def test_the_farewell_is_the_last_value() -> None:
    chain = Chain(bytes(32))
    assert FAREWELL == CHAIN_BEATS == chain.beats
    assert follows(chain.value(FAREWELL), CHAIN_BEATS, chain.value(0))


@pytest.mark.parametrize("count", [-1, 11])
def test_a_value_outside_the_chain_is_a_mistake(count: int) -> None:
    with pytest.raises(UsageError, match="chain of 10"):
        Chain(bytes(32), 10).value(count)


def test_a_secret_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(UsageError, match="16 secret bytes"):
        Chain(bytes(15), 10)
