"""Four errors, told apart by who must act."""

from __future__ import annotations

import pytest

from qcommons.base.errors import Corrupt, PeerError, QCommonsError, Unavailable, UsageError, raised_at


def test_each_error_names_who_must_act_and_its_exit_code() -> None:
    assert {(kind.__name__, kind.who, kind.exit_code) for kind in QCommonsError.__subclasses__()} == {
        ("UsageError", "caller", 2),
        ("PeerError", "peer", 5),
        ("Unavailable", "resources", 4),
        ("Corrupt", "qcommons", 5),
    }


@pytest.mark.parametrize("kind", [UsageError, PeerError, Unavailable, Corrupt])
def test_an_error_carries_place_and_limit_beside_the_sentence(kind: type[QCommonsError]) -> None:
    error = kind("5 shots; allowed 1 to 4", where="shots", limit="4 shots")
    assert (error.what, error.where, error.limit) == ("5 shots; allowed 1 to 4", "shots", "4 shots")
    assert str(error) == "shots: 5 shots; allowed 1 to 4"
    assert str(kind("no place")) == "no place"


def test_evidence_is_cut_to_a_kibibyte() -> None:
    assert PeerError("bad", evidence=b"x" * 5000).evidence == b"x" * 1024


def test_what_was_tried_stands_below_the_sentence() -> None:
    error = Unavailable(
        "too large", limit="1 GiB", tried=[("numpy", "dense", "needs 2 GiB"), ("aer", "mps", "stopped")]
    )
    assert error.tried == (("numpy", "dense", "needs 2 GiB"), ("aer", "mps", "stopped"))
    assert str(error).splitlines() == ["too large", "  numpy/dense: needs 2 GiB", "  aer/mps: stopped"]


def test_where_an_error_was_raised_is_the_last_line_of_its_trace() -> None:
    try:
        int("x")
    except ValueError as error:
        assert raised_at(error).startswith("test_errors.py:")
    assert raised_at(ValueError()) == ""
