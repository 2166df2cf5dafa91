"""24 words: the published ones, and what a person who mistypes is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcommons.base.errors import UsageError
from qcommons.pqc.words import WORDS, from_words, question_places, same_word, to_words

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "pqc" / "words.json").read_text())["vectors"]
PANDA = VECTORS[5]["words"].split()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["words"].split()[0])
def test_seeds_and_words_are_those_of_bip_39(vector: dict[str, str]) -> None:
    assert to_words(bytes.fromhex(vector["seed"])) == vector["words"].split()
    assert from_words(vector["words"]).hex() == vector["seed"]


@given(st.binary(min_size=32, max_size=32))
def test_every_seed_comes_back(seed: bytes) -> None:
    words = to_words(seed)
    assert len(words) == WORDS
    assert from_words(" ".join(words)) == seed


def test_capitals_blanks_and_first_four_letters_are_forgiven() -> None:
    short = "\n\t ".join(word[:4].upper() for word in PANDA)
    assert from_words(f" {short}\n").hex() == VECTORS[5]["seed"]


@pytest.mark.parametrize(
    ("typed", "near"),
    [("pandda", "panda"), ("gorila", "gorilla"), ("mufin", "muffin"), ("gho", "ghost")],
)
def test_an_unknown_word_is_named_with_the_nearest(typed: str, near: str) -> None:
    words = [typed if word == near else word for word in PANDA]
    with pytest.raises(UsageError) as caught:
        from_words(" ".join(words))
    assert caught.value.where == f"word {PANDA.index(near) + 1}"
    assert repr(typed) in caught.value.what and near in caught.value.what
    others = set(PANDA) - {near}
    assert not others & set(caught.value.what.replace(",", "").split())  # nothing else of the secret is quoted


def test_a_word_near_none_is_named_alone() -> None:
    with pytest.raises(UsageError, match=r"word 24: 'qqqqqqqq' is no word of the list$"):
        from_words(" ".join([*PANDA[:23], "qqqqqqqq"]))


def test_words_that_changed_places_do_not_belong_together() -> None:
    """1 in 256 swaps would pass; this one does not."""
    with pytest.raises(UsageError) as caught:
        from_words(" ".join([PANDA[1], PANDA[0], *PANDA[2:]]))
    assert caught.value.where == "checksum"
    assert not set(PANDA) & set(caught.value.what.split())


@pytest.mark.parametrize("count", [0, 12, 23, 25])
def test_there_are_24_of_them(count: int) -> None:
    with pytest.raises(UsageError) as caught:
        from_words(" ".join(["zoo"] * count))
    assert caught.value.limit == "24 words"


def test_text_is_bounded_before_it_is_split() -> None:
    with pytest.raises(UsageError, match="characters"):
        from_words("zoo " * 1000)


def test_a_seed_has_32_bytes() -> None:
    with pytest.raises(UsageError, match="31 bytes"):
        to_words(bytes(31))


@given(st.binary(min_size=3, max_size=8))
def test_three_different_places_are_asked(entropy: bytes) -> None:
    places = question_places(entropy)
    assert len(set(places)) == 3 and list(places) == sorted(places)
    assert all(1 <= place <= WORDS for place in places)


def test_every_place_may_be_asked() -> None:
    asked = {place for byte in range(24) for place in question_places(bytes([byte, byte, byte]))}
    assert asked == set(range(1, 25))


def test_a_word_is_known_again() -> None:
    assert same_word(" Panda ", "panda") and same_word("pand", "panda")
    assert not same_word("pan", "panda") and not same_word("pandas", "panda") and not same_word("", "panda")
