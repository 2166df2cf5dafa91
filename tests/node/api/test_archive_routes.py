"""The route of archives: the file as it is, closed whatever happens, and only for whose job it is."""

from __future__ import annotations

from tests.node.api.standin import GUEST_TOKEN, StandIn
from tests.node.api.test_app import ask, error, submitted


def test_the_file_arrives_whole_with_its_size_and_name_and_is_closed() -> None:
    door = StandIn()
    job = submitted(door)
    response = ask(door, "GET", f"/v1/jobs/{job}/archive", params={"licence": "CC-BY-4.0"})
    assert response.status_code == 200 and response.headers["content-type"] == "application/zip"
    assert response.headers["content-disposition"] == f'attachment; filename="{job}.crate.zip"'
    assert response.content == b"PK" * 300_000 + b"CC-BY-4.0"
    assert response.headers["content-length"] == str(len(response.content))
    assert door.archived.closed


def test_of_a_job_that_has_not_ended_there_is_none() -> None:
    door = StandIn(instant=False)
    response = ask(door, "GET", f"/v1/jobs/{submitted(door)}/archive")
    assert response.status_code == 503 and error(response)["where"] == "archive"


def test_a_guest_gets_its_own_only() -> None:
    door = StandIn()
    assert ask(door, "GET", f"/v1/jobs/{submitted(door)}/archive", token=GUEST_TOKEN).status_code == 404


def test_a_licence_is_one_short_line() -> None:
    door = StandIn()
    job = submitted(door)
    for bad in ("x" * 201, "a\nb"):
        response = ask(door, "GET", f"/v1/jobs/{job}/archive", params={"licence": bad})
        assert response.status_code == 400 and error(response)["where"] == "query.licence", bad
