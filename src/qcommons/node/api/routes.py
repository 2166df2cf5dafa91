"""Every route of the API, one row each; the OpenAPI description and docs/api.md are made from the rows.

Flow: Router -> row -> *handler* -> door -> Response. A handler decodes, asks the door, encodes: no more.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
from starlette.responses import Response

from qcommons.base.clock import duration_text
from qcommons.base.errors import Unavailable
from qcommons.engines.registry import EngineRow
from qcommons.jobs.outcomes import ErrorInfo
from qcommons.jobs.schema import AnyRun, BatchObject
from qcommons.node.api.answers import AnswerResponse
from qcommons.node.api.archive_routes import ARCHIVE_ROUTES
from qcommons.node.api.ask_routes import ASK_ROUTES
from qcommons.node.api.call import MSGPACK, Call, json_answer
from qcommons.node.api.events import EventStream, cursor
from qcommons.node.api.mesh_routes import MESH_ROUTES
from qcommons.node.api.problem import HttpFailure
from qcommons.node.api.queries import EventsQuery, JobsQuery, LogsQuery, ReceiptQuery, WaitQuery
from qcommons.node.api.quote_records import Quote
from qcommons.node.api.records import (
    Accepted,
    Cancel,
    EventView,
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
from qcommons.node.api.route import Route, Who

__all__ = ["EVENTS", "ROUTES", "Route", "Who"]

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
CBOR = "application/cbor"
EVENTS = "text/event-stream"


# jobs


async def _submit(call: Call) -> Response:
    wait_s = call.query(WaitQuery).wait_s
    accepted = await call.door.submit(await call.body(Submission), call.who)
    if wait_s > 0:
        view = await call.ended(accepted.job, wait_s)
        accepted = msgspec.structs.replace(accepted, state=view.state)
    return json_answer(accepted, 202)


async def _run(call: Call) -> Response:
    wait_s = call.query(WaitQuery).wait_s
    accepted = await call.door.submit(await call.body(Submission), call.who, stays=wait_s > 0)
    view = await call.ended(accepted.job, wait_s)
    if view.ended_ns is None:
        return json_answer(msgspec.structs.replace(accepted, state=view.state), 202)
    return await _answered(call, accepted.job)


async def _quote(call: Call) -> Response:
    return json_answer(await call.door.quote(await call.body(Submission), call.who))


async def _jobs(call: Call) -> Response:
    query = call.query(JobsQuery)
    found = await call.door.jobs(call.who, state=query.state, tag=query.tag, limit=query.limit, before=query.before)
    return json_answer(found)


async def _job(call: Call) -> Response:
    return json_answer(await call.ended(call.path["job"], call.query(WaitQuery).wait_s))


async def _result(call: Call) -> Response:
    job = call.path["job"]
    view = await call.ended(job, call.query(WaitQuery).wait_s)
    if view.ended_ns is None:
        since = duration_text(max(0, time.time_ns() - view.since_ns))
        what = f"{job} has not ended: {view.state} for {since}, {view.cause}; wait with wait_s, or ask why"
        raise HttpFailure(409, ErrorInfo(Unavailable.who, what, "job"))
    return await _answered(call, job)


async def _answered(call: Call, job: str) -> Response:
    msgpack = MSGPACK in call.request.headers.get("accept", "")
    media = MSGPACK if msgpack else "application/json"
    kept = call.door.result(job, call.who)
    return AnswerResponse(kept, call, media=media, msgpack=msgpack, location=f"/v1/jobs/{job}")


async def _receipt(call: Call) -> Response:
    run = call.query(ReceiptQuery).run
    return Response(call.door.receipt(call.path["job"], call.who, run), media_type=CBOR)


async def _cancel(call: Call) -> Response:
    asked = await call.body(Cancel)
    return json_answer(await call.door.cancel(call.path["job"], call.who, asked.cause))


async def _why(call: Call) -> Response:
    return json_answer(call.door.why(call.path["job"], call.who))


# the node


async def _status(call: Call) -> Response:
    return json_answer(call.door.status())


async def _pause(call: Call) -> Response:
    return json_answer(await call.door.pause(await call.body(Pausing), call.who))


async def _resume(call: Call) -> Response:
    return json_answer(await call.door.resume(call.who))


async def _policy(call: Call) -> Response:
    return json_answer(call.door.policy())


async def _set_policy(call: Call) -> Response:
    return json_answer(await call.door.set_policy(await call.body(PolicyChange), call.who))


async def _settings(call: Call) -> Response:
    return json_answer(call.door.settings())


async def _set_setting(call: Call) -> Response:
    change = await call.body(SettingChange)
    return json_answer(await call.door.set_setting(call.path["key"], change.value, call.who))


async def _tokens(call: Call) -> Response:
    return json_answer(call.door.tokens())


async def _new_token(call: Call) -> Response:
    return json_answer(await call.door.new_token(await call.body(NewToken)), 201)


async def _revoke_token(call: Call) -> Response:
    await call.door.revoke_token(call.path["token"])
    return Response(None, 204)


async def _events(call: Call) -> Response:
    first = cursor(call, call.query(EventsQuery).since)
    return EventStream(call, call.door.events(first, call.who), first)


async def _logs(call: Call) -> Response:
    return json_answer(LogLines(tuple(call.door.log_lines(call.query(LogsQuery).last))))


async def _engines(call: Call) -> Response:
    return json_answer(await call.door.engines())


async def _shut_down(call: Call) -> Response:
    return json_answer(await call.door.shut_down((await call.body(ShutDown)).drain_s), 202)


# for machines


async def _health(call: Call) -> Response:
    health = call.door.status().health
    if health == "red":
        raise HttpFailure(503, ErrorInfo(Unavailable.who, "health is red; `qcommons status` says why"))
    return json_answer(Health(health))


async def _metrics(call: Call) -> Response:
    return Response(call.door.metrics(), headers={"content-type": OPENMETRICS})


async def _openapi(call: Call) -> Response:
    from qcommons.node.api.openapi import openapi_text

    return Response(openapi_text(), media_type="application/json")


ROUTES: tuple[Route, ...] = (
    Route("POST", "/v1/jobs", _submit, "principal", "Submit a job; the answer comes when it is on disk.",
          WaitQuery, Submission, Accepted, status=202, errors=(422,)),
    Route("POST", "/v1/run", _run, "principal",
          "Submit a job and wait for its answer; 202 and the job's id if it has not ended within `wait_s`.", WaitQuery,
          Submission, (AnyRun, BatchObject), media=("application/json", MSGPACK), errors=(422,)),
    Route("POST", "/v1/quote", _quote, "owner",
          "What a submission would meet: plan, price, peers, time, and what a liar gets past; nothing is kept or run.",
          body=Submission, answer=Quote, errors=(422,)),
    Route("GET", "/v1/jobs", _jobs, "principal", "List jobs, newest first.", JobsQuery, answer=JobList),
    Route("GET", "/v1/jobs/{job}", _job, "principal", "One job with its timeline.", WaitQuery, answer=JobView),
    Route("GET", "/v1/jobs/{job}/result", _result, "principal",
          "The answer of an ended job (docs/schema/run.schema.json); 409 while it has not ended.", WaitQuery,
          answer=(AnyRun, BatchObject), media=("application/json", MSGPACK), errors=(409,)),
    Route("GET", "/v1/jobs/{job}/receipt", _receipt, "principal", 
          "The signed receipt of one run of an ended job (docs/protocol/receipt.md).", ReceiptQuery, media=(CBOR,)),
    *ARCHIVE_ROUTES,
    Route("POST", "/v1/jobs/{job}/cancel", _cancel, "principal", "Cancel a job; an ended one stays as it is.",
          body=Cancel, answer=JobView),
    Route("GET", "/v1/jobs/{job}/why", _why, "principal", "Why a job is where it is, and whose move it is.",
          answer=Why),
    Route("GET", "/v1/status", _status, "owner", "Health, and what runs now and for whom.", answer=Status),
    Route("POST", "/v1/pause", _pause, "owner", "Take no new runs, for a time or until resumed.", body=Pausing,
          answer=Status),
    Route("POST", "/v1/resume", _resume, "owner", "End a pause.", answer=Status),
    Route("GET", "/v1/policy", _policy, "owner", "Whose work is taken.", answer=PolicyView),
    Route("POST", "/v1/policy", _set_policy, "owner", "Allow or deny by principal, tag and purpose.", body=PolicyChange,
          answer=PolicyView),
    Route("GET", "/v1/settings", _settings, "owner", "Every setting with its origin.", answer=list[SettingView]),
    Route("PUT", "/v1/settings/{key}", _set_setting, "owner", "Change a setting in the config file.",
          body=SettingChange, answer=SettingView),
    Route("GET", "/v1/tokens", _tokens, "owner", "Tokens given to others.", answer=list[TokenView]),
    Route("POST", "/v1/tokens", _new_token, "owner", "Give a token; it is shown this once.", body=NewToken,
          answer=TokenGiven, status=201),
    Route("DELETE", "/v1/tokens/{token}", _revoke_token, "owner", "Revoke a token by its id.", status=204),
    Route("GET", "/v1/events", _events, "principal",
          "Events as they happen, server-sent; goes on after Last-Event-ID or from `since`.", EventsQuery,
          answer=EventView, media=(EVENTS,)),
    Route("GET", "/v1/logs", _logs, "owner", "The newest lines of the node's log.", LogsQuery, answer=LogLines),
    Route("GET", "/v1/engines", _engines, "principal", "Engines: what each can do, what is missing.",
          answer=list[EngineRow]),
    Route("POST", "/v1/shutdown", _shut_down, "owner", "Drain, then stop.", body=ShutDown, answer=Status, status=202),
    *MESH_ROUTES,
    *ASK_ROUTES,
    Route("GET", "/v1/health", _health, "open", "Health alone, for checks of containers.", answer=Health,
          errors=(503,)),
    Route("GET", "/metrics", _metrics, "owner", "Metrics in OpenMetrics.", media=(OPENMETRICS,)),
    Route("GET", "/openapi.json", _openapi, "open", "This description.", answer=dict[str, Any]),
)  # fmt: skip
