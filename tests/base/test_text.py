"""Text of others: nothing that a terminal obeys passes, and nothing of the value is lost."""

from __future__ import annotations

import json

import pytest

from qcommons.base.text import json_printable, line, printable, shown

# ESC [ (ECMA-48 CSI), OSC, the C1 form of CSI, right-to-left override and isolate (Unicode TR 9), a zero-width space,
# a line separator, a lone surrogate as of an undecodable file name
NASTY = ["\x1b[31m", "\x1b]0;title\x07", "\x9b31m", "\u202e", "\u2066", "\u200b", "\u2028", "\udcff", "\x7f", "\r"]


@pytest.mark.parametrize("nasty", NASTY, ids=ascii)
def test_no_control_or_format_character_passes(nasty: str) -> None:
    for made in (line(f"a{nasty}b\n"), shown(f"a{nasty}b")):
        assert made.isprintable()
    lines = printable(f"a{nasty}b\nc")
    assert lines.split("\n")[1] == "c" and all(part.isprintable() for part in lines.split("\n"))


def test_letters_of_every_script_and_spaces_stay() -> None:
    text = "θ = π/2, 量子 квант ± █ é"
    assert line(text) == printable(text) == text


def test_what_the_encoding_lacks_is_escaped_and_our_marks_have_a_stand_in() -> None:
    assert printable("0 ██ ± θ", "ascii") == "0 ## +- \\u03b8"


@pytest.mark.parametrize("nasty", [*NASTY[:-3], "\U000e0001", "\x85"], ids=ascii)
def test_json_means_the_same_and_is_printable(nasty: str) -> None:
    body = {"tag": f"a{nasty}b", "n": 1}
    written = json_printable(json.dumps(body, ensure_ascii=False))
    assert written.isprintable()
    assert json.loads(written) == body


def test_values_are_cut_and_never_fail() -> None:
    assert shown("a" * 100) == "'" + "a" * 56 + "..."
    assert shown(10**5000) == "int of thousands of digits"
    assert shown([1.5]) == "[1.5]"
