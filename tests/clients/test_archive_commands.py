"""`qcommons job export` and `qcommons verify` with a real node: what is exported holds, what is changed does not."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.clients.a_node import BELL, a_node, body, text

from qcommons.jobs.archive_checks import CHECKS
from qcommons.jobs.archive_zip import write_zip


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A job of a node and its archive, exported at once: it waits for the signature."""
    with a_node(tmp_path_factory.mktemp("node") / "home") as node:
        job = body("run", BELL, "--shots", "100", "--seed", "5")["job"]
        file = tmp_path_factory.mktemp("out") / "a.zip"
        said = body("job", "export", job, "-o", str(file), "--licence", "CC0-1.0")
        assert said == {"job": job, "file": str(file), "bytes": file.stat().st_size}
        yield {"job": job, "file": file, "node_id": node["node_id"]}


def changed(file: Path, folder: Path, name: str, old: bytes, new: bytes) -> str:
    with zipfile.ZipFile(file) as packed:
        files = {info.filename: packed.read(info) for info in packed.infolist()}
    assert old in files[name]
    out = io.BytesIO()
    write_zip(out, [(key, data.replace(old, new) if key == name else data) for key, data in files.items()])
    (folder / "changed.zip").write_bytes(out.getvalue())
    return str(folder / "changed.zip")


def test_an_archive_holds_without_its_node(exported: dict[str, Any]) -> None:
    said = body("verify", str(exported["file"]), "--node-id", exported["node_id"], "--network", "commons")
    assert said["valid"] and (said["job"], said["node_id"]) == (exported["job"], exported["node_id"])
    assert [check["name"] for check in said["checks"]] == [row.name for row in CHECKS]
    shown = text("verify", str(exported["file"]))
    assert "everything holds" in shown and exported["node_id"] in shown and "WRONG" not in shown


def test_a_run_of_it_is_run_again_here(exported: dict[str, Any]) -> None:
    said = body("verify", str(exported["file"]), "--recompute", "3")
    assert said["checks"][-1]["name"] == "run again" and said["checks"][-1]["checked"] == 1 and said["valid"]


def test_what_was_changed_is_shown_with_its_place_and_exit_code_5(exported: dict[str, Any], tmp_path: Path) -> None:
    file = changed(exported["file"], tmp_path, "result.json", b'"00"', b'"01"')
    said = body("verify", file, code=5)
    wrong = [check for check in said["checks"] if check["fault_count"]]
    assert not said["valid"] and [check["name"] for check in wrong] == ["files", "result"]
    shown = text("verify", file, "--recompute", "1", code=5)
    assert "result.json: its SHA-256" in shown and "2 of 12 checks found something wrong" in shown


def test_another_node_or_network_than_expected_is_refused(exported: dict[str, Any]) -> None:
    other = "qn15jpztma2d059h448jklhky9q88l84tgfvcfj4wtt4dny6ztltd9q5xzl49"
    for option, value in (("--node-id", other), ("--network", "elsewhere")):
        assert body("verify", str(exported["file"]), option, value, code=5)["error"]["where"] == option


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_bytes(b"PK nothing")
    assert body("verify", str(tmp_path / "no.zip"), code=5)["error"]["who"] == "peer"
    assert "cannot read the file" in text("verify", str(tmp_path / "none"), code=2)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("a.txt", "hello")
    assert "ro-crate-metadata.json: this file is missing" in text("verify", str(tmp_path / "other.zip"), code=5)


def test_a_file_that_is_there_stays_unless_forced(exported: dict[str, Any]) -> None:
    file = str(exported["file"])
    assert "there already" in text("job", "export", exported["job"], "-o", file, code=2)
    again = text("job", "export", exported["job"], "-o", file, "--force")
    assert f"qcommons verify {file}" in again and "everything holds" in text("verify", file)


def test_a_job_that_is_not_there_has_no_archive(exported: dict[str, Any], tmp_path: Path) -> None:
    said = text("job", "export", "job_" + "a" * 16, "-o", str(tmp_path / "x"), code=2)
    assert "there is no job" in said and not (tmp_path / "x").exists()
    assert body("job", "export", exported["job"], "-o", str(tmp_path / "y"), "--licence", "x" * 201, code=2)
