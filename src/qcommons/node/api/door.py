"""What the API asks of the node behind it: the one seam between HTTP and the shell.

Flow: routes -> *Door* -> shell -> core. The shell implements it; tests of the routes may stand in for it.
Every coroutine runs on the shell's event loop. Errors are the four of `base.errors`; `who` is the principal of
the token, and a method that gets `who` shows and touches that principal's jobs only, unless it is OWNER.

What is not there: UsageError whose `where` is "job", "peer", "token" or "setting" (the API answers 404). Refused with
numbers: Unavailable with `exit_code` 3 (422); any other Unavailable is 503. The message of a Corrupt is shown to
the owner only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import BinaryIO, Protocol

from qcommons.engines.registry import EngineRow
from qcommons.node.answered import KeptAnswer
from qcommons.node.api.mesh_door import MeshDoor
from qcommons.node.api.quote_records import Quote
from qcommons.node.api.records import (
    Accepted,
    EventView,
    JobList,
    JobView,
    NewToken,
    Pausing,
    PolicyChange,
    PolicyView,
    SettingView,
    Status,
    Submission,
    TokenGiven,
    TokenView,
    Why,
)

__all__ = ["OWNER", "Door"]

OWNER = "home"  # the principal of the owner's own token


class Door(Protocol):
    """What the handlers may ask; see above for who and for errors."""

    @property
    def mesh(self) -> MeshDoor:
        """The mesh. Raises Unavailable where it is off."""
        ...

    def principal_of(self, token: str) -> str | None:
        """Whose token this is; None for a wrong, revoked or expired one. Constant time in the token's text."""
        ...

    async def submit(self, submission: Submission, who: str, *, stays: bool = False) -> Accepted:
        """Parsed, admitted, on disk. stays: the caller waits for the result anyway, so acceptance may take some
        milliseconds. Raises UsageError (bad program), Unavailable (refused by the owner's limits or
        policy, queue full, database trouble, draining), with numbers."""
        ...

    async def quote(self, submission: Submission, who: str) -> Quote:
        """What a submission would meet now: read and planned as `submit` does, nothing is kept or run. Raises as
        `submit`, but where nobody can take it the quote says so."""
        ...

    async def jobs(self, who: str, *, state: str | None, tag: str | None, limit: int, before: int | None) -> JobList:
        """Newest first. A guest's `total` and `more` count its own jobs only."""
        ...

    def job(self, job: str, who: str) -> JobView:
        """With its timeline. Raises UsageError (`where` "job") for an unknown id or somebody else's."""
        ...

    async def ended(self, job: str, who: str, wait_s: float) -> JobView:
        """The job once it has ended, or as it is after `wait_s`."""
        ...

    def result(self, job: str, who: str) -> KeptAnswer:
        """Where it lies, and how large it is. Raises Unavailable while it has none; says why and since when."""
        ...

    def receipt(self, job: str, who: str, run: int = 0) -> bytes:
        """The signed receipt of one run of an ended job (docs/protocol/receipt.md). Raises Unavailable before it is
        signed, UsageError for a run that the job has not."""
        ...

    async def archive(self, job: str, who: str, licence: str = "") -> BinaryIO:
        """The archive of an ended job (docs/archive.md), an open file at its begin; whoever gets it closes it. Raises
        Unavailable before it has ended and its receipts are signed, and where it is too large, with the numbers."""
        ...

    async def cancel(self, job: str, who: str, cause: str) -> JobView:
        """Cancelled, on disk; an ended job stays as it is."""
        ...

    def why(self, job: str, who: str) -> Why: ...

    def status(self) -> Status: ...

    async def pause(self, pausing: Pausing, who: str) -> Status: ...

    async def resume(self, who: str) -> Status: ...

    def policy(self) -> PolicyView: ...

    async def set_policy(self, change: PolicyChange, who: str) -> PolicyView: ...

    def settings(self) -> list[SettingView]: ...

    async def set_setting(self, key: str, value: str | None, who: str) -> SettingView:
        """Raises UsageError, `where` "setting" for an unknown key, else the key for a bad value."""
        ...

    def tokens(self) -> list[TokenView]: ...

    async def new_token(self, asked: NewToken) -> TokenGiven: ...

    async def revoke_token(self, token_id: str) -> None:
        """It opens nothing from now on. Raises UsageError (`where` "token") for an unknown id."""
        ...

    def next_seq(self, who: str) -> int:
        """The seq that the next event of `who` will have: the cursor of "from now on". A guest's count its own."""
        ...

    def events(self, since: int, who: str) -> AsyncIterator[EventView | None]:
        """Events with seq >= `since` (0 or more), then each new one as it happens, none lost; None now and then when
        nothing happens (a heartbeat, at least every 15 s). A listener is only as fast as its reader: keep a cursor
        for it, not a queue. Raises UsageError (`where` "since") if `since` is older than what is kept."""
        ...

    def log_lines(self, last: int) -> list[str]:
        """The newest lines of the node's log file (JSON, one event a line)."""
        ...

    async def engines(self) -> list[EngineRow]:
        """`engines.registry.describe` with this machine's constants."""
        ...

    def metrics(self) -> str:
        """OpenMetrics text."""
        ...

    async def shut_down(self, drain_s: float) -> Status:
        """Begin to drain: no new jobs, running ones may end within `drain_s`; then the process ends."""
        ...
