"""TOML of a person: the place of a mistake is told."""

from __future__ import annotations

import pytest

from qcommons.base.errors import UsageError
from qcommons.base.toml import line_of, read_toml

TEXT = """# comment = 1
top = 1
[limits]   # [other]
memory = "1GiB"  # workers = 3
"workers" = 2
[ a . b ]
c.d = 1
"""


def test_a_text_is_read_as_tomllib_reads_it() -> None:
    assert read_toml('[a]\nb = 1\nc = "x"', "file") == {"a": {"b": 1, "c": "x"}}


@pytest.mark.parametrize(
    ("text", "where"),
    [("a = 1\nb = = 2", "f.toml:2:5"), ("a = 1\nb = " + "9" * 5000, "f.toml:2"), ("a = " + "[" * 20_000, "f.toml"),
     ("a = 1\n\nb = -9" + "_9" * 5000, "f.toml:3")],
)  # fmt: skip
def test_what_is_no_toml_is_refused_with_its_line(text: str, where: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_toml(text, "f.toml")
    assert caught.value.where == where
    assert len(caught.value.what) < 200


@pytest.mark.parametrize(
    ("key", "number"),
    [("top", 2), ("limits", 3), ("limits.memory", 4), ("limits.workers", 5), ("a.b.c.d", 7), ("comment", None),
     ("other", None), ("limits.nothing", None)],
)  # fmt: skip
def test_the_line_of_a_key(key: str, number: int | None) -> None:
    assert line_of(TEXT, key) == number
