"""Bech32m against the vectors of BIP-350, and against mistakes people make."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcommons.base.errors import UsageError
from qcommons.pqc import bech32m

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "pqc" / "bech32m.json").read_text())


@pytest.mark.parametrize("text", VECTORS["accepted"])
def test_published_texts_are_read_and_written_again(text: str) -> None:
    prefix, words = bech32m.words_from_text(text)
    assert bech32m.words_to_text(prefix, words) == text.lower()


@pytest.mark.parametrize(("text", "_reason", "where"), VECTORS["refused"], ids=[v[1] for v in VECTORS["refused"]])
def test_published_mistakes_are_named(text: str, _reason: str, where: str) -> None:
    with pytest.raises(UsageError) as caught:
        bech32m.words_from_text(text)
    assert caught.value.where == where


@pytest.mark.parametrize(("text", "version", "program"), VECTORS["programs"])
def test_published_programs_turn_into_bytes_and_back(text: str, version: int, program: str) -> None:
    """A witness address is a version word, then bytes in words of 5 bits."""
    _, words = bech32m.words_from_text(text)
    assert words[0] == version
    assert bech32m.from_words(words[1:]).hex() == program
    assert bech32m.to_words(bytes.fromhex(program)) == words[1:]


@pytest.mark.parametrize(("text", "_reason"), VECTORS["bad_padding"])
def test_bits_that_make_no_byte_are_refused(text: str, _reason: str) -> None:
    _, words = bech32m.words_from_text(text)
    with pytest.raises(UsageError, match="whole byte"):
        bech32m.from_words(words[1:])


@given(st.binary(max_size=40))
def test_bytes_come_back_in_either_case(data: bytes) -> None:
    text = bech32m.encode("qn", data)
    assert bech32m.decode("qn", text) == bech32m.decode("qn", text.upper()) == data


@given(st.data())
def test_up_to_four_wrong_characters_are_always_noticed(data: st.DataObject) -> None:
    """The promise of the code up to 90 characters (BIP-173)."""
    text = bech32m.encode("qn", bytes(range(32)))
    places = data.draw(st.sets(st.integers(3, len(text) - 1), min_size=1, max_size=4))
    wrong = list(text)
    for place in places:
        wrong[place] = data.draw(st.sampled_from([c for c in bech32m.ALPHABET if c != text[place]]))
    with pytest.raises(UsageError) as caught:
        bech32m.decode("qn", "".join(wrong))
    assert caught.value.where == "checksum"


@given(st.text(max_size=100))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        bech32m.decode("qn", text)
    except UsageError as error:
        assert error.what


def test_letters_that_only_lower_to_ascii_are_no_spelling() -> None:
    """The Kelvin sign lowers to k: one id must not have two spellings beyond its case."""
    text = bech32m.encode("qn", bytes(range(32))).upper()
    assert "K" in text
    with pytest.raises(UsageError) as caught:
        bech32m.decode("qn", text.replace("K", "\u212a", 1))
    assert caught.value.where == f"character {text.index('K') + 1}"


def test_another_prefix_and_too_much_data_are_refused() -> None:
    with pytest.raises(UsageError, match="'bc'"):
        bech32m.decode("qn", bech32m.encode("bc", b"abc"))
    with pytest.raises(UsageError, match="90"):
        bech32m.encode("qn", bytes(52))
    with pytest.raises(UsageError, match="prefix"):
        bech32m.encode("Qn", b"abc")
