"""Invitations: one string that survives mail, and says what is wrong with it where it did not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcommons.base.canonical import encode
from qcommons.base.errors import UsageError
from qcommons.mesh.invite import PREFIX, Invite, make, parse
from qcommons.mesh.records import PeerId
from qcommons.pqc import bech32m

NODE = PeerId(bytes(range(32)))
INVITE = Invite(1, "commons", NODE, ("tcp/192.168.1.20:8741", "tcp/[2a01:4f8::1]:8741"), "Ada's lab")
TEXT = (
    "qcinvite1s5qkwcm0d4kk7mnntqsqqqgzqvzq2ps8pqys5zcvp58q7yq3zgf3g9gkzuvpjxsmrsw3u8uzw46xxup0xyunyt33xcuzuvfwxgcr5wphx"
    "schvarrwqh4kvnpxqcn5drx8qar5v2a8gurwdp3d9qkgcf8wvsxcctzmckn43"
)  # docs/protocol/invite.md


def test_the_text_of_the_page() -> None:
    assert INVITE.text() == TEXT
    assert parse(TEXT) == INVITE


def test_it_is_canonical_cbor_in_bech32m() -> None:
    fields = [1, "commons", NODE, ["tcp/192.168.1.20:8741", "tcp/[2a01:4f8::1]:8741"], "Ada's lab"]
    assert bech32m.encode(PREFIX, encode(fields), chars_max=1023) == INVITE.text()


def test_blanks_line_breaks_and_upper_case_are_forgiven() -> None:
    text = INVITE.text()
    assert parse(f"  {text[:70]}\r\n   {text[70:]}\n") == INVITE
    assert parse(text.upper()) == INVITE


@given(st.data())
def test_a_mistyped_character_is_noticed(data: st.DataObject) -> None:
    text = INVITE.text()
    at = data.draw(st.integers(len(PREFIX) + 1, len(text) - 1))
    other = data.draw(st.sampled_from([c for c in bech32m.ALPHABET if c != text[at]]))
    with pytest.raises(UsageError, match="checksum"):
        parse(text[:at] + other + text[at + 1 :])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "begin with qcinvite1"),
        ("hello", "begin with qcinvite1"),
        ("qn1qqqsyqcyq5rqwzqfpg9scrgwpugpzysnzs23v9ccrydpk8qarc0snr4a06", "begin with qcinvite1"),
        ("qcinvite1" + "q" * 1100, "1023"),
        ("qcinvite1qqqq", "checksum|cut"),
    ],
)
def test_what_is_none_says_so_shortly(text: str, what: str) -> None:
    with pytest.raises(UsageError, match=what) as caught:
        parse(text)
    assert len(str(caught.value)) < 200


def test_another_version_is_named() -> None:
    fields = [2, "commons", NODE, ["tcp/192.168.1.20:8741"], ""]
    with pytest.raises(UsageError, match="version 2"):
        parse(bech32m.encode(PREFIX, encode(fields), chars_max=1023))


@pytest.mark.parametrize(
    "fields",
    [
        [1, "Commons!", NODE, ["tcp/1.2.3.4:5"], ""],
        [1, "commons", NODE[:31], ["tcp/1.2.3.4:5"], ""],
        [1, "commons", NODE, [], ""],
        [1, "commons", NODE, ["tcp/1.2.3.4:5"] * 9, ""],
        [1, "commons", NODE, ["tcp/0.0.0.0:5"], ""],
        [1, "commons", NODE, ["tcp/1.2.3.4:5"], "\x1b[2J"],
        [1, "commons", NODE, ["tcp/1.2.3.4:5"], "x" * 41],
        [1, "commons", NODE, ["tcp/1.2.3.4:5"]],
        {"network": "commons"},
    ],
)
def test_well_written_nonsense_is_refused(fields: object) -> None:
    with pytest.raises(UsageError):
        parse(bech32m.encode(PREFIX, encode(fields), chars_max=1023))


def test_names_are_allowed_and_a_bad_field_is_found_before_it_is_sent() -> None:
    assert parse(make("commons", NODE, ("tcp/node.example.org:8741",)).text()).label == ""
    with pytest.raises(UsageError, match=re.escape("no address")):
        make("commons", NODE, ("node.example.org",))
