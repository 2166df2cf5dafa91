"""Bech32m: bytes as text that people can copy, with a checksum (BIP-350).

Flow: identity -> *bech32m* -> node ids in interfaces, files and invitations -> *bech32m* -> identity.

    prefix, "1", data in 5-bit characters, 6 characters of checksum; at most 90 in all

Any four wrong characters are noticed, more of them with probability 1 - 2^-30 (BIP-173, BIP-350). An own
module, since the packages for it in Python are single releases without a maintainer, or wallets.
Mistakes are pointed at, never corrected: a corrected id could be somebody else's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qcommons.base.errors import UsageError

__all__ = ["decode", "encode", "from_words", "to_words", "words_from_text", "words_to_text"]

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"  # BIP-173: similar characters differ in one bit
VALUES = {character: value for value, character in enumerate(ALPHABET)}
GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)  # BIP-173
BECH32M = 0x2BC830A3  # BIP-350; 1 would be the older Bech32
TEXT_CHARS_MAX = 90  # BIP-173: beyond it the checksum promises less
CHECKSUM_CHARS = 6


def encode(prefix: str, data: bytes, *, chars_max: int = TEXT_CHARS_MAX) -> str:
    """`data` as text, in lower case. Raises UsageError where the text would be longer than `chars_max`: beyond the 90
    characters of BIP-173 fewer mistakes are sure to be noticed."""
    return words_to_text(prefix, to_words(data), chars_max=chars_max)


def decode(prefix: str, text: str, *, chars_max: int = TEXT_CHARS_MAX) -> bytes:
    """The bytes of a text that `encode` wrote, or its upper-case form.

    Raises:
        UsageError: another prefix, a character that does not belong there, a checksum that does not match.
    """
    found, words = words_from_text(text, chars_max=chars_max)
    if found != prefix:
        raise UsageError(f"{text!r} begins with {found!r}; {prefix!r} and 1 needed", where="prefix")
    return from_words(words)


def to_words(data: bytes) -> list[int]:
    """Bytes as numbers of 5 bits, most significant first; the last one is filled with zeros."""
    count = -(-len(data) * 8 // 5)
    bits = int.from_bytes(data, "big") << (count * 5 - len(data) * 8)
    return [bits >> (5 * place) & 31 for place in reversed(range(count))]


def from_words(words: Sequence[int]) -> bytes:
    """The bytes of `to_words`. Raises UsageError where whole characters or ones are left over (BIP-173)."""
    n_bytes, n_over = divmod(len(words) * 5, 8)
    bits = 0
    for word in words:
        bits = bits << 5 | word
    if n_over >= 5 or bits & ((1 << n_over) - 1):
        raise UsageError("the data does not end at a whole byte; copy it again", where="padding")
    return (bits >> n_over).to_bytes(n_bytes, "big")


def words_to_text(prefix: str, words: Sequence[int], *, chars_max: int = TEXT_CHARS_MAX) -> str:
    """Prefix and 5-bit numbers as text with its checksum. Raises UsageError for a bad prefix or length."""
    _check_prefix(prefix)
    length = len(prefix) + 1 + len(words) + CHECKSUM_CHARS
    if length > chars_max:
        limit = f"{chars_max} characters"
        raise UsageError(f"the text would have {length} characters; allowed {chars_max}", limit=limit)
    check = _polymod([*_expanded(prefix), *words, *[0] * CHECKSUM_CHARS]) ^ BECH32M
    tail = [check >> (5 * place) & 31 for place in reversed(range(CHECKSUM_CHARS))]
    return prefix + "1" + "".join(ALPHABET[word] for word in (*words, *tail))


def words_from_text(text: str, *, chars_max: int = TEXT_CHARS_MAX) -> tuple[str, list[int]]:
    """(prefix, 5-bit numbers without the checksum) of a Bech32m text.

    Raises:
        UsageError: too long or short, of mixed case, a character that does not belong there (`where` counts
            from 1), or a checksum that does not match.
    """
    if len(text) > chars_max:
        limit = f"{chars_max} characters"
        raise UsageError(f"{len(text)} characters; allowed {chars_max}", where="length", limit=limit)
    for place, character in enumerate(text, start=1):
        if not "!" <= character <= "~":  # also keeps out letters whose lower case is ASCII (the Kelvin sign)
            raise UsageError(f"{character!r} is no character from ! to ~", where=f"character {place}")
    if text.lower() != text and text.upper() != text:
        raise UsageError(f"{text!r} mixes upper and lower case; write it in lower case", where="case")
    at = text.rfind("1")
    if at < 1:
        raise UsageError(f"{text!r} has no prefix before a 1", where="prefix")
    prefix = text[:at].lower()
    _check_prefix(prefix)
    words = [_value(character, place) for place, character in enumerate(text[at + 1 :].lower(), start=at + 2)]
    if len(words) < CHECKSUM_CHARS:
        raise UsageError(f"{text!r} is cut: at least {CHECKSUM_CHARS} characters follow the 1", where="length")
    if _polymod([*_expanded(prefix), *words]) != BECH32M:
        raise UsageError(f"{text!r} has a wrong checksum: a character is mistyped or missing", where="checksum")
    return prefix, words[:-CHECKSUM_CHARS]


def _value(character: str, place: int) -> int:
    value = VALUES.get(character)
    if value is None:
        raise UsageError(f"{character!r} is none of the characters {ALPHABET}", where=f"character {place}")
    return value


def _check_prefix(prefix: str) -> None:
    if not prefix or any(not "!" <= c <= "~" or c.isupper() for c in prefix):
        raise UsageError(f"{prefix!r} is no prefix: lower-case characters from ! to ~ needed", where="prefix")


def _expanded(prefix: str) -> list[int]:
    return [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]


def _polymod(values: Iterable[int]) -> int:
    """The remainder of the BCH code over GF(32) (BIP-173, section "Checksum")."""
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(GENERATOR):
            if top >> bit & 1:
                check ^= generator
    return check
