"""Every call of the API as data: what is sent, how its answer is read, whether it may be sent again.

Flow: Node, AsyncNode -> *Call* -> transport -> status and body -> *Call.take* -> a struct, or the error that the node
named. No transport is here, so the sync and the async node share all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, NoReturn, TypeVar
from urllib import parse

import msgspec

from qcommons.base.errors import Corrupt, PeerError, QCommonsError, Unavailable, UsageError
from qcommons.base.typed import described
from qcommons.engines.registry import EngineRow
from qcommons.jobs.results import Result, Results
from qcommons.node.api.quote_records import Quote
from qcommons.node.api.records import (
    Accepted,
    AnsweredRuns,
    Cancel,
    Failure,
    Health,
    JobList,
    JobView,
    LogLines,
    NewToken,
    Pausing,
    PolicyChange,
    PolicyView,
    SettingChange,
    SettingView,
    ShutDown,
    Status,
    Submission,
    TokenGiven,
    TokenView,
    Why,
)

__all__ = ["Call", "NotEnded", "nothing", "part", "raise_failure", "reading", "results_of"]

T = TypeVar("T")
ERRORS: dict[str, type[QCommonsError]] = {error.who: error for error in (UsageError, Unavailable, Corrupt, PeerError)}
REFUSED_EXIT_CODE = 3
ANSWER_S = 60.0  # for a large answer on a busy machine
ARCHIVE_S = 300.0  # the largest take a minute to make
QUOTE_S = 150.0  # reading and planning may take a minute each (`node/planner.py`)
HELLO_S = 5.0


class NotEnded(Unavailable):
    """The job has no result yet."""


class Call(Generic[T]):
    """One request.

    read: body of success -> answer. again: sending it twice does what sending it once does, so a broken connection
    is no reason to give up. wait_s: how long the node may hold the answer; answer_s: how long it may be silent beyond.
    """

    def __init__(
        self,
        method: str,
        path: str,
        read: Callable[[bytes], T],
        *,
        query: Mapping[str, str | int | float | None] | None = None,
        body: Any = None,
        accept: str = "application/json",
        again: bool = True,
        wait_s: float = 0.0,
        answer_s: float = ANSWER_S,
    ) -> None:
        self.method = method
        self.path = path
        self.query = {name: value for name, value in (query or {}).items() if value is not None}
        if wait_s:
            self.query["wait_s"] = wait_s
        self.body = None if body is None else msgspec.json.encode(body)
        self.headers = {"accept": accept} | ({"content-type": "application/json"} if body is not None else {})
        self.again = again
        self.timeout_s = wait_s + answer_s
        self._read = read

    def take(self, status: int, body: bytes) -> T:
        """The answer. Raises the error that the node named, Unavailable if it is no node's answer."""
        if not 200 <= status < 300:
            raise_failure(status, body)
        try:
            return self._read(body)
        except msgspec.DecodeError as error:
            what = f"what answers is no node of this version: {error}"
            raise Unavailable(what, where=self.path) from None


def raise_failure(status: int, body: bytes) -> NoReturn:
    """The error of an answer that is not 2xx."""
    try:
        info = msgspec.json.decode(body, type=described(Failure)).error
    except msgspec.DecodeError:
        raise Unavailable(f"what answers is no node: HTTP status {status} without a reason") from None
    kind = NotEnded if status == 409 else ERRORS.get(info.who, Corrupt)
    error = kind(info.what, where=info.where, limit=info.limit)
    error.tried = tuple((one.engine, one.method, one.why) for one in info.tried)
    if status == 422:
        error.exit_code = REFUSED_EXIT_CODE
    raise error


def reading(kind: type[T]) -> Callable[[bytes], T]:
    """A reader of JSON bodies."""
    decoder = msgspec.json.Decoder(described(kind))
    return decoder.decode


class _Run(Call["Accepted | AnsweredRuns"]):
    def take(self, status: int, body: bytes) -> Accepted | AnsweredRuns:
        return READ_ACCEPTED(body) if status == 202 else super().take(status, body)


class _Hello(Call[None]):
    def take(self, status: int, body: bytes) -> None:
        if status != 503:  # its health is red: it answers all the same
            super().take(status, body)


def _greeted(body: bytes) -> None:
    msgspec.json.decode(body, type=described(Health))


def nothing(_: bytes) -> None:
    """The reader of an empty body."""


def results_of(answered: AnsweredRuns) -> Result | Results:
    """What an embedded run would have returned. Raises the error of a single run that was not answered."""
    if answered.single:
        answered.runs[0].raise_for_error()
        return answered.runs[0]
    return Results(
        answered.runs, job=answered.job, seed=answered.seed, status=answered.status, cause=answered.cause,
        seconds=answered.seconds, shape=answered.shape,
    )  # fmt: skip


READ_ACCEPTED = reading(Accepted)
READ_JOB = reading(JobView)
READ_STATUS = reading(Status)
READ_RUNS = msgspec.msgpack.Decoder(described(AnsweredRuns)).decode


# jobs


def submit(submission: Submission, wait_s: float = 0.0) -> Call[Accepted]:
    """Safe to send again where it carries its `request`."""
    again = submission.request is not None
    return Call("POST", "/v1/jobs", READ_ACCEPTED, body=submission, again=again, wait_s=wait_s)


def run(submission: Submission, wait_s: float) -> Call[Accepted | AnsweredRuns]:
    """The answer, or the job's id where it has not ended within `wait_s`. Sent again as `submit`."""
    again = submission.request is not None
    return _Run(
        "POST", "/v1/run", READ_RUNS, body=submission, accept="application/msgpack", again=again, wait_s=wait_s
    )  # fmt: skip


def quote(submission: Submission) -> Call[Quote]:
    """Planning may search for a cut or a path, once a row."""
    return Call("POST", "/v1/quote", reading(Quote), body=submission, answer_s=QUOTE_S)


def jobs(state: str | None, tag: str | None, limit: int, before: int | None) -> Call[JobList]:
    query = {"state": state, "tag": tag, "limit": limit, "before": before}
    return Call("GET", "/v1/jobs", reading(JobList), query=query)


def job(job_id: str, wait_s: float = 0.0) -> Call[JobView]:
    return Call("GET", f"/v1/jobs/{part(job_id)}", READ_JOB, wait_s=wait_s)


def result(job_id: str, wait_s: float) -> Call[AnsweredRuns]:
    path = f"/v1/jobs/{part(job_id)}/result"
    return Call("GET", path, READ_RUNS, accept="application/msgpack", wait_s=wait_s)


def receipt(job_id: str, run: int) -> Call[bytes]:
    path = f"/v1/jobs/{part(job_id)}/receipt"
    return Call("GET", path, bytes, query={"run": run}, accept="application/cbor")


def archive(job_id: str, licence: str) -> Call[bytes]:
    """The node makes it before it sends the first byte."""
    path, query = f"/v1/jobs/{part(job_id)}/archive", {"licence": licence or None}
    return Call("GET", path, bytes, query=query, accept="application/zip", answer_s=ARCHIVE_S)


def cancel(job_id: str, cause: str) -> Call[JobView]:
    return Call("POST", f"/v1/jobs/{part(job_id)}/cancel", READ_JOB, body=Cancel(cause))


def why(job_id: str) -> Call[Why]:
    return Call("GET", f"/v1/jobs/{part(job_id)}/why", reading(Why))


# the node


def status() -> Call[Status]:
    return Call("GET", "/v1/status", READ_STATUS)


def hello(answer_s: float = HELLO_S) -> Call[None]:
    """Whether a node answers, with any token and in any health."""
    return _Hello("GET", "/v1/health", _greeted, answer_s=answer_s)


def pause(for_s: float | None, finish: bool) -> Call[Status]:
    return Call("POST", "/v1/pause", READ_STATUS, body=Pausing(finish=finish, for_s=for_s))


def resume() -> Call[Status]:
    return Call("POST", "/v1/resume", READ_STATUS)


def policy() -> Call[PolicyView]:
    return Call("GET", "/v1/policy", reading(PolicyView))


def change_policy(change: PolicyChange) -> Call[PolicyView]:
    return Call("POST", "/v1/policy", reading(PolicyView), body=change)


def settings() -> Call[list[SettingView]]:
    return Call("GET", "/v1/settings", reading(list[SettingView]))


def set_setting(key: str, value: str | None) -> Call[SettingView]:
    return Call("PUT", f"/v1/settings/{part(key)}", reading(SettingView), body=SettingChange(value))


def tokens() -> Call[list[TokenView]]:
    return Call("GET", "/v1/tokens", reading(list[TokenView]))


def new_token(principal: str, for_s: float | None) -> Call[TokenGiven]:
    body = NewToken(principal=principal, for_s=for_s)
    return Call("POST", "/v1/tokens", reading(TokenGiven), body=body, again=False)


def revoke_token(token_id: str) -> Call[None]:
    return Call("DELETE", f"/v1/tokens/{part(token_id)}", nothing, again=False)


def logs(last: int) -> Call[LogLines]:
    return Call("GET", "/v1/logs", reading(LogLines), query={"last": last})


def engines() -> Call[list[EngineRow]]:
    return Call("GET", "/v1/engines", reading(list[EngineRow]))


def metrics() -> Call[str]:
    return Call("GET", "/metrics", bytes.decode, accept="application/openmetrics-text")


def shut_down(drain_s: float) -> Call[Status]:
    return Call("POST", "/v1/shutdown", READ_STATUS, body=ShutDown(drain_s), again=False)


def part(text: str) -> str:
    """A name inside a path (RFC 3986, 3.3)."""
    return parse.quote(text, safe="")
