"""Words: 32 secret bytes as 24 words that a person can write on paper and type again (BIP-39, English).

Flow: seed -> *to_words* -> paper -> *from_words* -> seed. 256 bits and 8 bits of their SHA-256 are cut into 24 numbers
of 11 bits, each a word of a list of 2,048 in which the first four letters tell every word from every other. A word
that is mistyped into another one of the list, or two that changed places, pass with probability 1/256.

BIP-39's own step from words to a wallet (PBKDF2) has no part in this: the words are the seed. Nothing here prints.
docs/protocol/backup.md says it with vectors.
"""

from __future__ import annotations

import difflib
from functools import lru_cache
from typing import TYPE_CHECKING

from qcommons.base.errors import UsageError
from qcommons.base.text import shown
from qcommons.pqc.identity import SEED_BYTES

if TYPE_CHECKING:
    from mnemonic import Mnemonic

__all__ = ["WORDS", "from_words", "known_word", "question_places", "same_word", "to_words"]

WORDS = 24  # of 32 bytes (BIP-39, table)
LETTERS = 4  # enough to tell a word (BIP-39, section "Wordlist")
WORD_CHARS_MAX = 8
TEXT_CHARS_MAX = 2048  # far above 24 words with blanks and numbers
SUGGESTIONS = 3


@lru_cache(maxsize=1)
def _list() -> Mnemonic:
    """The English list, read from a file of that package: on demand and once."""
    from mnemonic import Mnemonic

    return Mnemonic("english")


def to_words(seed: bytes) -> list[str]:
    """The 24 words of 32 bytes. Whoever reads them has the key."""
    if len(seed) != SEED_BYTES:
        limit = f"{SEED_BYTES} bytes"
        raise UsageError(f"a seed of {len(seed)} bytes; allowed {limit}", where="seed", limit=limit)
    return _list().to_mnemonic(seed).split(" ")


def from_words(text: str) -> bytes:
    """The 32 bytes of 24 words as a person typed them: any blanks, upper case, the first four letters of a word do.

    Raises:
        UsageError: another number of words, one that is in no list (`where` is "word N", and the nearest are named),
            or a checksum that does not match. The message holds no other word.
    """
    if len(text) > TEXT_CHARS_MAX:
        limit = f"{TEXT_CHARS_MAX} characters"
        raise UsageError(f"{len(text)} characters; allowed {limit}", where="words", limit=limit)
    typed = text.lower().split()
    if len(typed) != WORDS:
        raise UsageError(f"{len(typed)} words; {WORDS} needed", where="words", limit=f"{WORDS} words")
    words = [known_word(word, place) for place, word in enumerate(typed, start=1)]
    try:
        return bytes(_list().to_entropy(words))
    except ValueError:
        what = "all words are of the list, but they do not belong together: one is another word, or two changed places"
        raise UsageError(what, where="checksum") from None


def question_places(entropy: bytes) -> tuple[int, int, int]:
    """Three different places (1 to 24, ascending) of words to ask back, from 3 or more random bytes."""
    left = list(range(1, WORDS + 1))
    places = [left.pop(byte % len(left)) for byte in entropy[:3]]
    first, second, third = sorted(places)
    return first, second, third


def same_word(typed: str, word: str) -> bool:
    """Whether a person meant `word`."""
    typed = typed.strip().lower()
    return typed == word or (len(typed) >= LETTERS and word.startswith(typed))


def known_word(typed: str, place: int) -> str:
    """The word of the list that was meant by the one at `place`. Raises UsageError, as `from_words`."""
    found = [word for word in _list().wordlist if same_word(typed, word)]
    if typed in found:
        return typed
    if len(found) == 1:
        return found[0]
    near = difflib.get_close_matches(typed[: 4 * WORD_CHARS_MAX], _list().wordlist, SUGGESTIONS)
    hint = f"; near it are: {', '.join(near)}" if near else ""
    raise UsageError(f"{shown(typed)} is no word of the list{hint}", where=f"word {place}")
