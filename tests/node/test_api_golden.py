"""Golden exchanges: what a node answers, field by field, as clients of this version know it.

`python -m tests.node.test_api_golden` writes tests/vectors/api.json anew; a change there is a change of the protocol.
What differs from run to run (ids, times, places, figures of this machine) is replaced by its kind.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
from tests.node.daemons import BELL, Daemon, submission

VECTORS = Path(__file__).parents[1] / "vectors" / "api.json"
PAUSED = ("post", "/v1/pause", {"for_s": 3600})
EXCHANGES: tuple[tuple[str, str, Any], ...] = (
    ("get", "/v1/health", None),
    ("get", "/v1/status", None),
    ("get", "/v1/jobs", None),
    ("post", "/v1/run?wait_s=30", submission(seed=11, tags=["golden"], request="one")),
    ("post", "/v1/jobs?wait_s=30", submission(seed=11, tags=["golden"], request="one")),
    ("get", "/v1/jobs/JOB", None),
    ("get", "/v1/jobs/JOB/result", None),
    ("get", "/v1/jobs/JOB/why", None),
    ("get", "/v1/jobs?tag=golden&limit=1", None),
    ("post", "/v1/run?wait_s=30", {"programs": [{"qasm": BELL}], "observables": ["ZZ", "XX"], "seed": 5}),
    ("post", "/v1/jobs", {"programs": [{"qasm": "OPENQASM 3.0; qubit q; foo q;", "name": "bad.qasm"}]}),
    ("post", "/v1/jobs", {"programs": [], "shots": 1}),
    ("post", "/v1/jobs", {"programs": [{"qasm": BELL}], "shotz": 1}),
    ("get", "/v1/jobs/job_aaaaaaaaaaaaaaaa", None),
    PAUSED,
    ("post", "/v1/jobs", submission(request="two")),
    ("get", "/v1/jobs/JOB/why", None),
    ("get", "/v1/jobs/JOB/result", None),
    ("post", "/v1/jobs/JOB/cancel", {"cause": "no longer needed"}),
    ("post", "/v1/resume", None),
    ("post", "/v1/policy", {"deny": ["tag:mining"]}),
    ("post", "/v1/jobs", submission(tags=["mining"])),
    ("post", "/v1/tokens", {"principal": "alice"}),
    ("get", "/v1/tokens", None),
    ("put", "/v1/settings/limits.qubits", {"value": "many"}),
    ("get", "/v1/nothing", None),
    ("delete", "/v1/jobs", None),
)
PLACES = (
    (re.compile(r"job_[a-z2-7]{16}"), "JOB"),
    (re.compile(r"qn1[a-z0-9]{20,}"), "NODE"),
    (re.compile(r"qct_[\w-]+"), "TOKEN"),
    (re.compile(r"\b(?:\d+(?:\.\d+)? (?:ns|us|ms|s|min|h|d)(?: |\b))+"), "TIME "),
)
KINDS = {"seconds": 0, "pid": 0, "memory_bytes": 0, "workers": 0, "workers_alive": 0, "version": "", "home": "",
         "url": "", "work_units": 0, "addresses": [], "facts": {}, "counts": {}, "id": "ID"}  # fmt: skip


def plain(value: Any, name: str = "") -> Any:
    if name in KINDS:
        return KINDS[name]
    if isinstance(value, float):
        return round(value, 9)
    if isinstance(value, dict):
        return {key: plain(one, key) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if name.endswith("_ns") and value is not None:
        return 0
    if isinstance(value, str):
        for pattern, kind in PLACES:
            value = pattern.sub(kind, value)
    return value


def exchanges(client: httpx.Client) -> list[dict[str, Any]]:
    found, job = [], ""
    for method, path, body in EXCHANGES:
        said = client.request(method, path.replace("JOB", job), json=body)
        answer = said.json()
        job = answer.get("job", job) if isinstance(answer, dict) and "error" not in answer else job
        found.append({"request": [method.upper(), path, body], "status": said.status_code, "answer": plain(answer)})
    return found


def played() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as place, Daemon(Path(place) / "home") as daemon, daemon.client() as client:
        return exchanges(client)


def test_a_node_answers_as_the_golden_file_says() -> None:
    for said, known in zip(played(), json.loads(VECTORS.read_text()), strict=True):
        assert said == known, said["request"]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(played(), indent=1, ensure_ascii=False) + "\n")
