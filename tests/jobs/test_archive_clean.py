"""What leaves the house with an archive: no paths, no principals, no last words, and numbers that JSON can write."""

from __future__ import annotations

import math

import msgspec
import pytest
from tests.jobs.making import done, job

from qcommons.jobs.archive_clean import clean_job, clean_outcomes, clean_text, finite
from qcommons.jobs.outcomes import Crashed, Misused, Outcome, Refused, Tried


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("/home/ada/secret/bell.qasm: line 3", "bell.qasm: line 3"),
        ("cannot read '/tmp/a.b/x-1/c.txt'", "cannot read 'c.txt'"),
        ("~/private/bell.qasm", "bell.qasm"),
        ("qulacs/statevector took 2 of 3 s", "qulacs/statevector took 2 of 3 s"),
        ("rz(pi/2) and 1/sqrt(2)", "rz(pi/2) and 1/sqrt(2)"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("no path", "no path"),
    ],
)
def test_of_a_path_its_last_part_stays(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned


def test_numbers_that_json_cannot_write_are_replaced() -> None:
    assert [finite(x) for x in (1.5, math.inf, -math.inf, math.nan)] == [
        1.5,
        1.7976931348623157e308,
        -1.7976931348623157e308,
        0,
    ]


def test_a_job_is_nobodys_and_its_programs_have_names_without_folders() -> None:
    made = job(1)
    named = msgspec.structs.replace(
        made, principal="ada", programs=(msgspec.structs.replace(made.programs[0], name="/home/ada/bell.qasm"),),
        settled={0: Misused("bad", "/home/ada/bell.qasm:3")},
    )  # fmt: skip
    cleaned = clean_job(named)
    assert (cleaned.principal, cleaned.programs[0].name, cleaned.settled[0]) == (
        "home", "bell.qasm", Misused("bad", "bell.qasm:3"),
    )  # fmt: skip


def test_outcomes_keep_their_answers_and_come_back_from_json() -> None:
    answered = done({"00": 1000})
    story = msgspec.structs.replace(
        answered.execution, predicted=msgspec.structs.replace(answered.execution.predicted, work_units=math.inf),
        notes=("read from /home/ada/x/y.json",),
        answer=msgspec.structs.replace(answered.execution.answer, facts={"peak": math.nan, "width": 2.0}),
    )  # fmt: skip
    kept: list[Outcome] = [
        msgspec.structs.replace(answered, execution=story), Crashed(11, 0, "File /home/ada/x.py, line 3"),
        Refused("too large", None, "4 GiB", (Tried("numpy", "dense", "/home/ada/tmp is full"),)),
    ]  # fmt: skip
    cleaned = clean_outcomes(kept)
    again = msgspec.json.decode(msgspec.json.encode(cleaned), type=tuple[Outcome, ...])
    assert again == cleaned and b"ada" not in msgspec.json.encode(cleaned)
    first = cleaned[0].execution.answer  # type: ignore[union-attr]
    assert first.counts == {"00": 1000} and first.facts == {"width": 2.0}
    assert cleaned[1:] == (
        Crashed(11, 0, ""),
        Refused("too large", None, "4 GiB", (Tried("numpy", "dense", "tmp is full"),)),
    )
