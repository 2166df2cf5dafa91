"""Shares: a guest has as much under way as its share says, the owner as much as the machine."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from qcommons.node.api.connections import Bounds
from qcommons.node.api.door import OWNER
from qcommons.node.api.guard import UPLOADS_BYTES_MAX
from qcommons.node.api.problem import HttpFailure
from qcommons.node.api.shares import SHARES, Shares, What


def take(shares: Shares, stack: ExitStack, who: str | None, **amounts: int) -> None:
    named: dict[What, int] = {"requests": 1}
    for what in SHARES:
        if what in amounts:
            named[what] = amounts[what]
    stack.enter_context(shares.taken(who, named))


def refused(shares: Shares, who: str, **amounts: int) -> HttpFailure:
    with pytest.raises(HttpFailure) as caught, ExitStack() as stack:
        take(shares, stack, who, **amounts)
    return caught.value


def test_guests_leave_half_of_everything_to_the_owner() -> None:
    assert SHARES["requests"].all <= Bounds().connections_max // 2
    assert SHARES["upload_bytes"].all <= UPLOADS_BYTES_MAX // 2
    assert all(share.each <= share.all // 2 for share in SHARES.values())  # nor does one guest keep out the others


def test_a_guest_gets_its_share_and_then_429_with_what_to_do() -> None:
    shares, most = Shares(), SHARES["requests"].each
    with ExitStack() as stack:
        for _ in range(most):
            take(shares, stack, "ann")
        failure = refused(shares, "ann")
        assert (failure.status, failure.error.who, failure.error.where) == (429, "caller", "token")
        assert f"'ann' has {most} requests" in failure.error.what and "let one end" in failure.error.what
        assert failure.error.limit is not None and failure.error.limit.startswith(f"{most} requests")
        assert (b"retry-after", b"2") in failure.headers
        take(shares, stack, "ben")


def test_streams_have_a_share_of_their_own() -> None:
    shares = Shares()
    with ExitStack() as stack:
        for _ in range(SHARES["streams"].each):
            take(shares, stack, "ann", streams=1)
        assert "event streams" in refused(shares, "ann", streams=1).error.what
        take(shares, stack, "ann")


def test_all_guests_together_get_503_and_the_owner_goes_on() -> None:
    shares, share = Shares(), SHARES["requests"]
    with ExitStack() as stack:
        for number in range(share.all):
            take(shares, stack, f"guest{number % (share.all // share.each)}")
        failure = refused(shares, "ann")
        assert (failure.status, failure.error.who) == (503, "resources") and "owner" in failure.error.what
        for who in (OWNER, None):
            for _ in range(2 * share.all):
                take(shares, stack, who, streams=1)


def test_what_ends_is_given_back_also_by_an_error_and_by_what_was_refused() -> None:
    shares, most = Shares(), SHARES["upload_bytes"].each
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), shares.taken("ann", {"requests": 1, "upload_bytes": most}):
            assert refused(shares, "ann", upload_bytes=1).status == 429
            raise ZeroDivisionError
    with ExitStack() as stack:
        for _ in range(SHARES["requests"].each):  # the refused ones took no request either
            take(shares, stack, "ann")
