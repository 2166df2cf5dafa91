"""Under which key the node keeps what: one ordered table, so that prefixes are lists.

Flow: core -> *keys* -> Store(key, value) -> store; store -> *keys* -> core (after a start) and api.

    job/NUMBER          Entry: one small line, rewritten at every phase
    spec/NUMBER         Spec: the job as it was asked
    phase/NUMBER/K      Phase: its timeline
    ends/NUMBER/K       [(index, outcome)]: runs that are answered while others are not; gone once it has ended
    result/NUMBER       Answered: the one result
    derived/NUMBER      [outcome]: of the runs of its plan, where those are not the ones that were asked
    receipt/NUMBER      bytes: its signed receipts
    open/NUMBER         nothing: there while the job is open
    unsealed/NUMBER     nothing: there from its end until its receipts are signed
    id/JOB_ID           the job's NUMBER
    request/WHO/NAME    the NUMBER of the job that this request of WHO made
    event/SEQ           NodeEvent
    owner/pause         Pause
    owner/policy        Policy
    node/clean          nothing: there if the node ended by itself the last time
    own/WHO/job/PLACE   the NUMBER of the job that is PLACE of all jobs of this guest (`own_lists.py`)
    own/WHO/event/PLACE NodeEvent that is PLACE of all events of this guest
    token/ID            Token (`tokens.py`)

What work between nodes keeps (`jobs/spread.py`, `jobs/hire.py`) lies beside these under names of its own.

Numbers have twelve digits, so that the order of the keys is theirs; values are msgpack.
"""

from __future__ import annotations

__all__ = [
    "CLEAN", "PAUSE", "POLICY", "derived_key", "ends_key", "ends_of", "event_key", "id_key", "job_key", "number_of",
    "open_key", "own_events_of", "own_jobs_of", "own_key", "past", "phase_key", "phases_of", "receipt_key",
    "request_key", "result_key", "spec_key", "token_key", "unsealed_key",
]  # fmt: skip

DIGITS = 12
PAUSE = "owner/pause"
POLICY = "owner/policy"
CLEAN = "node/clean"


def job_key(number: int) -> str:
    return f"job/{number:0{DIGITS}d}"


def spec_key(number: int) -> str:
    return f"spec/{number:0{DIGITS}d}"


def phases_of(number: int) -> str:
    """The prefix of a job's timeline."""
    return f"phase/{number:0{DIGITS}d}/"


def phase_key(number: int, place: int) -> str:
    return f"{phases_of(number)}{place:0{DIGITS}d}"


def ends_of(number: int) -> str:
    """The prefix of a job's outcomes so far."""
    return f"ends/{number:0{DIGITS}d}/"


def ends_key(number: int, place: int) -> str:
    return f"{ends_of(number)}{place:0{DIGITS}d}"


def result_key(number: int) -> str:
    return f"result/{number:0{DIGITS}d}"


def derived_key(number: int) -> str:
    return f"derived/{number:0{DIGITS}d}"


def receipt_key(number: int) -> str:
    return f"receipt/{number:0{DIGITS}d}"


def open_key(number: int) -> str:
    return f"open/{number:0{DIGITS}d}"


def unsealed_key(number: int) -> str:
    return f"unsealed/{number:0{DIGITS}d}"


def number_of(key: str) -> int:
    """The number in the second part of a key; in a guest's list, its place there."""
    return int(key.split("/")[3 if key.startswith("own/") else 1])


def id_key(job_id: str) -> str:
    return f"id/{job_id}"


def request_key(who: str, name: str) -> str:
    return f"request/{who}/{name}"


def event_key(seq: int) -> str:
    return f"event/{seq:0{DIGITS}d}"


def own_jobs_of(who: str) -> str:
    """The prefix of a guest's jobs."""
    return f"own/{who}/job/"


def own_events_of(who: str) -> str:
    """The prefix of a guest's events."""
    return f"own/{who}/event/"


def own_key(folder: str, place: int) -> str:
    return f"{folder}{place:0{DIGITS}d}"


def token_key(token_id: str) -> str:
    return f"token/{token_id}"


def past(prefix: str) -> str:
    """The end of a scan over all keys that begin with `prefix` (which ends in "/")."""
    return prefix[:-1] + chr(ord("/") + 1)
