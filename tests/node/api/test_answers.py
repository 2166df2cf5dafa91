"""Answers in pieces: the same objects as in one, held by few, and forgotten when their reader goes."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import httpx
import msgspec
import pytest
from tests.jobs.making import EXPECTATIONS, done, job
from tests.node.api.serving import request, served
from tests.node.api.standin import GUEST_TOKEN, TOKEN, StandIn
from tests.node.making import eventually

from qcommons.engines.records import Amplitudes, Counts, Statevector, Want
from qcommons.jobs.assemble import assemble
from qcommons.jobs.machine import JobEnded
from qcommons.jobs.outcomes import Outcome, Refused
from qcommons.jobs.records import Phase
from qcommons.jobs.schema import batch_object, run_object
from qcommons.node.answered import ROWS, KeptAnswer, read_answered
from qcommons.node.api import answers
from qcommons.node.api.answers import json_parts, msgpack_parts
from qcommons.node.api.records import AnsweredRuns
from qcommons.node.api.shares import SHARES
from qcommons.node.records import Answered, Form, Spec

N = 13  # qubits: 8192 amplitudes, more than are handled at once
WAVE = tuple((index / 3, -1 / (1 + index)) for index in range(1 << N))
MANY = {format(index, f"0{N}b"): 1 + index % 5 for index in range(ROWS + 7)}
STRINGS = tuple(format(index, f"0{N}b") for index in range(ROWS + 1))
CASES: list[tuple[Want, Outcome]] = [
    (Counts(1000), done({"00": 400, "11": 600})),
    (Counts(1000), done(MANY, cregs=(("a", 3), ("b", N - 3)))),
    (Statevector(), done(amplitudes=WAVE)),
    (Amplitudes(STRINGS), done(amplitudes=WAVE[: len(STRINGS)])),
    (EXPECTATIONS, done(estimates=((0.5, 0.1), (1.0, 0.0)))),
    (Statevector(), Refused('no room for "amplitudes":{}', "memory", "1 GiB")),
]


def kept(want: Want, outcome: Outcome, runs: int | None) -> tuple[Spec, Answered]:
    asked = job(runs or 1, want=want, n_qubits=N)
    phase = Phase("done", "all", 5_000_000)
    whole = Answered(job_id=asked.id, outcomes=(outcome,) * (runs or 1), phase=phase, submitted_ns=1)
    return Spec(asked, Form((runs,) if runs else (), scalar=False, single=runs is None)), whole


@pytest.mark.parametrize("runs", [None, 1, 3])
@pytest.mark.parametrize(("want", "outcome"), CASES)
def test_the_pieces_are_the_whole_in_both_forms_from_memory_and_from_disk(
    want: Want, outcome: Outcome, runs: int | None
) -> None:
    spec, whole = kept(want, outcome, runs)
    results = assemble(
        spec.job, JobEnded(whole.job_id, whole.outcomes, whole.phase), 1, shape=spec.form.shape, scalar=False
    )  # fmt: skip
    expected = run_object(results[0]) if runs is None else batch_object(results)
    for answered in (whole, read_answered("result/0", msgspec.msgpack.encode(whole))):
        said = b"".join(json_parts(spec, answered))
        assert said == msgspec.json.encode(expected)
        packed = b"".join(msgpack_parts(spec, answered))
        typed = msgspec.msgpack.decode(packed, type=AnsweredRuns)
        assert typed.runs == tuple(results) and typed.single == (runs is None) and typed.shape == spec.form.shape


class Large(StandIn):
    """Answers of eight million bytes on disk; counts the pieces that are made."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__()
        self.size_bytes, self.made = size_bytes, 0
        spec, whole = kept(Statevector(), done(amplitudes=WAVE), 40)
        self._kept = spec, read_answered("result/0", msgspec.msgpack.encode(whole))

    def result(self, job: str, who: str) -> KeptAnswer:
        self.job(job, who)
        return KeptAnswer(self.size_bytes, lambda: self._kept)


def a_job(port: int, token: str) -> str:
    program = {"qasm": "OPENQASM 3.0; qubit q;"}
    said = httpx.post(
        f"http://127.0.0.1:{port}/v1/jobs", json={"programs": [program]}, headers={"authorization": f"Bearer {token}"}
    )
    return str(said.json()["job"])


def status(link: socket.socket) -> int:
    return int(link.recv(12)[9:12])


def test_answers_that_a_guest_does_not_read_are_few_and_the_owner_has_its_own() -> None:
    most = SHARES["answer_bytes"].each
    with served(Large(most // 2)) as node:
        theirs, own = a_job(node.port, GUEST_TOKEN), a_job(node.port, TOKEN)
        head = request("GET", f"/v1/jobs/{theirs}/result", node.port, token=GUEST_TOKEN)
        links = [node.connect(receive_bytes=4096) for _ in range(3)]
        said = []
        for link in links:
            link.sendall(head)
            said.append(status(link))
        assert said == [200, 200, 429]
        url = f"http://127.0.0.1:{node.port}/v1/jobs/{own}/result"
        answer = httpx.get(url, headers={"authorization": f"Bearer {TOKEN}"}, timeout=30.0)
        assert len(answer.json()["results"]) == 40
        for link in links:
            link.close()
        again = node.connect()
        assert eventually(lambda: not node.server._state.tasks)
        again.sendall(head)
        assert status(again) == 200, "who is gone holds nothing"
        again.close()


def test_an_answer_ends_with_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0

    def counted(*given: Any) -> Any:
        nonlocal made
        for part in json_parts(*given):
            made += 1
            yield part

    monkeypatch.setattr(answers, "json_parts", counted)
    with served(Large(1 << 20)) as node:
        one = a_job(node.port, TOKEN)
        with node.connect(receive_bytes=4096) as link:
            link.sendall(request("GET", f"/v1/jobs/{one}/result", node.port))
            assert status(link) == 200
            time.sleep(0.2)
            waiting = made
        assert eventually(lambda: not node.server._state.tasks)
        assert waiting <= made < waiting + 20 < 40 * (1 << N) // ROWS  # a piece on its way, not all the rest


def test_the_form_of_errors_is_json_too() -> None:
    spec, whole = kept(*CASES[-1], None)
    assert json.loads(b"".join(json_parts(spec, whole)))["status"] == "refused"
