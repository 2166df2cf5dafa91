"""Four errors, by who must act.

`UsageError`   the caller: change the input and try again.
`PeerError`    a remote peer sent something it must not have sent; feeds its reputation.
`Unavailable`  nobody is at fault: later, elsewhere, or with more resources.
`Corrupt`      our own data or code broke a rule; stop and look.

Expected outcomes are records, not exceptions. A message says what, which value, the allowed
range and what next; `where` and `limit` carry the same facts for programs.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Corrupt", "PeerError", "QCommonsError", "Unavailable", "UsageError", "raised_at"]


class QCommonsError(Exception):
    """Base of the four; never raised itself.

    Args:
        what: one sentence for a person: what, value, allowed range, what next.
        where: the place (file, line and column, field, option), if there is one.
        limit: the limit that was passed, as text with its unit, if there is one.
        tried: (engine, method, why not) of each that might have done it; `what` says it in one sentence.
    """

    who = "qcommons"
    exit_code = 5

    def __init__(
        self, what: str, *, where: str | None = None, limit: str | None = None,
        tried: Iterable[tuple[str, str, str]] = (),
    ) -> None:  # fmt: skip
        super().__init__(what)
        self.what = what
        self.where = where
        self.limit = limit
        self.tried = tuple(tried)

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return "\n".join([head, *(f"  {engine}/{method}: {why}" for engine, method, why in self.tried)])


class UsageError(QCommonsError):
    """The caller must change the input. Exit code 2."""

    who = "caller"
    exit_code = 2


class PeerError(QCommonsError):
    """A remote peer broke the protocol; `evidence` holds the offending bytes (cut to 1 KiB)."""

    who = "peer"
    exit_code = 5

    def __init__(self, what: str, *, where: str | None = None, limit: str | None = None, evidence: bytes = b"") -> None:
        super().__init__(what, where=where, limit=limit)
        self.evidence = evidence[:1024]


class Unavailable(QCommonsError):
    """Later, elsewhere or with more resources. Exit code 4 (3 where numbers refuse it)."""

    who = "resources"
    exit_code = 4


class Corrupt(QCommonsError):
    """Our own state or code broke a rule: nothing is served from it. Exit code 5."""

    who = "qcommons"
    exit_code = 5


def raised_at(error: BaseException) -> str:
    """File and line of the code that raised it, "" where that is not known."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
