"""Parameters after "?" of the routes that have some, typed; an unknown one is refused.

Flow: URL -> *a struct of these* -> handler; openapi makes its parameters from them.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from qcommons.node.api.records import WAIT_S_MAX, Tag

__all__ = ["EventsQuery", "JobsQuery", "LogsQuery", "NoQuery", "ReceiptQuery", "WaitQuery"]

Wait = Annotated[float, msgspec.Meta(ge=0, le=WAIT_S_MAX, description="seconds to wait for the end of the job")]
State = Literal["accepted", "planned", "running", "assembling", "done", "failed", "refused", "cancelled"]
NUMBER_MAX = (1 << 53) - 1  # what every JSON reader holds exactly (RFC 8259, section 6)


class NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """None."""


class WaitQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    wait_s: Wait = 0.0


class ReceiptQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    run: Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX, description="index of the run in the job")] = 0


class JobsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    state: Annotated[State, msgspec.Meta(description="only jobs in this state")] | None = None
    tag: Tag | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000, description="most jobs of this page")] = 100
    before: Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX, description="`more` of the page before")] | None = None


class EventsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    since: Annotated[int, msgspec.Meta(ge=-1, le=NUMBER_MAX, description="first seq to send; -1: from now on")] = -1


class LogsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    last: Annotated[int, msgspec.Meta(ge=1, le=10_000, description="how many lines, the newest")] = 100
