"""Archives' files: a description that other programs read, nothing that leads to anybody, and strict reading."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace
from tests.jobs.test_archive_checks import contents, files_of
from tests.node.archived import HONEST, LIAR, ME, REPLICA

from qcommons.base.errors import PeerError
from qcommons.circuits.qasm.reader import parse
from qcommons.circuits.wire import encode
from qcommons.jobs.archive_citations import CITATIONS
from qcommons.jobs.archive_crate import NO_LICENCE
from qcommons.jobs.archive_files import made, opened, sealed
from qcommons.jobs.plan.rows import load_rows
from qcommons.verify.receipt import check
from qcommons.verify.receipt import encode as receipt_file
from qcommons.verify.records import SignedReceipt


def crate(licence: str = "") -> dict[str, Any]:
    of = contents()
    graph = json.loads(dict(sealed(of, made(of), ME, licence))["ro-crate-metadata.json"])["@graph"]
    assert len({entity["@id"] for entity in graph}) == len(graph)  # RO-Crate 1.2: each entity once, flat
    return {entity["@id"]: entity for entity in graph}


def test_the_description_has_what_ro_crate_demands() -> None:
    """RO-Crate 1.2, "Root Data Entity": descriptor, and name, description, datePublished and license of the root."""
    entities = crate()
    descriptor, root = entities["ro-crate-metadata.json"], entities["./"]
    assert descriptor["@type"] == "CreativeWork" and descriptor["about"] == {"@id": "./"}
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.2"}
    assert root["@type"] == "Dataset" and root["license"] == NO_LICENCE
    assert root["datePublished"] == "2025-06-15T15:06:40Z" and root["name"] and root["description"]
    assert root["author"] == {"@id": f"#{ME.id}"}
    parts = {part["@id"] for part in root["hasPart"]}
    files = {name for name, entity in entities.items() if entity["@type"] == "File"}
    assert parts == files == files_of(contents()).keys() - {"ro-crate-metadata.json"}
    assert all("encodingFormat" in entities[name] for name in files)


def test_every_reference_in_the_description_is_to_something_in_it() -> None:
    entities = crate("https://spdx.org/licenses/CC-BY-4.0")

    def refs(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [value["@id"]] if value.keys() == {"@id"} else [one for item in value.values() for one in refs(item)]
        return [one for item in value for one in refs(item)] if isinstance(value, list) else []

    outside = {"https://w3id.org/ro/crate/1.2", "http://schema.org/CompletedActionStatus"}
    assert set(refs(list(entities.values()))) - entities.keys() == outside
    assert entities["./"]["license"] == {"@id": "https://spdx.org/licenses/CC-BY-4.0"}


def test_the_description_says_who_did_what_with_which_engine() -> None:
    entities = crate()
    actions = {name: one for name, one in entities.items() if one["@type"] == "CreateAction"}
    agents = {one["agent"]["@id"] for one in actions.values()}
    assert agents == {f"#{ME.id}", f"#{HONEST.id}", f"#{REPLICA.id}"}  # nothing of the liar was used
    assert f"#{LIAR.id}" in entities
    engines = [one for one in entities.values() if one["@type"] == "SoftwareApplication"]
    assert engines and all(one["version"] == "2" for one in engines)  # as the receipts say


def test_nothing_in_it_leads_to_anybody() -> None:
    for name, data in (files_of(contents()) | files_of(contents(mesh=False))).items():
        for secret in (
            b"/home",
            b"augusta",
            b"secret/turn",
            b"127.0.0.1",
            ME.secret_seed(),
            ME.secret_seed().hex().encode(),
        ):
            assert secret not in data, (name, secret)


def test_the_text_of_a_program_is_the_program() -> None:
    files = files_of(contents())
    (name,) = [name for name in files if name.endswith(".qasm")]
    assert encode(parse(files[name]).program) == files[name.replace(".qasm", ".cbor")]


def test_a_receipt_of_it_is_one_that_receipt_check_takes() -> None:
    of = contents()
    for batch in (*of.batches.values(), of.receipts):
        assert batch is not None
        for leaf in batch.leaves:
            one = SignedReceipt(leaf.receipt, leaf.index, leaf.path, batch.signed_root, batch.public_key)
            assert check(receipt_file(one), batch.node_id, "commons").status == "done"


def test_only_the_signature_differs_between_two_archives_of_one_job() -> None:
    one, two = files_of(contents()), files_of(contents())
    assert {name for name in one if one[name] != two[name]} == {"signature.cbor"}


@pytest.mark.parametrize(
    "name", ["job.json", "outcomes.jsonl", "result.json", "versions.json", "ro-crate-metadata.json"]
)
def test_a_file_that_is_missing_or_no_json_is_named(name: str) -> None:
    files = files_of(contents())
    with pytest.raises(PeerError, match="missing"):
        opened({key: data for key, data in files.items() if key != name})
    if name != "result.json":  # that one is read when it is compared
        for data in (b"\xff", b"[" * 100_000, b'{"run": 1}\n', b"null"):
            with pytest.raises(PeerError) as error:
                opened(files | {name: data})
            assert error.value.where == name


def test_a_program_that_is_missing_is_named() -> None:
    files = files_of(contents())
    name = next(name for name in files if name.startswith("programs/") and name.endswith(".cbor"))
    with pytest.raises(PeerError) as error:
        opened({key: data for key, data in files.items() if key != name})
    assert error.value.where == name


def test_a_run_of_a_program_that_is_not_there_is_refused() -> None:
    of = contents()
    job = replace(of.head.job, points=(replace(of.head.job.points[0], program=7), of.head.job.points[1]))
    files = files_of(of)
    told = files | {"job.json": files["job.json"].replace(b'"program": 0', b'"program": 7')}
    assert job.points[0].program == 7 and told != files
    with pytest.raises(PeerError, match="program that is not there"):
        opened(told)


def test_whom_to_cite_is_named_after_what_there_is() -> None:
    from qcommons.engines.registry import load_engines

    engines = load_engines()
    known = {f"engine {name}" for name in engines} | {f"plan {name}" for name in load_rows()[0]}
    known |= {f"method {row.name}" for engine in engines.values() for row in engine.methods}
    known |= {"check signature", "check receipt"}
    assert {name for row in CITATIONS for name in row.of} <= known
    assert all(row.url.startswith(("https://doi.org/", "https://arxiv.org/abs/")) for row in CITATIONS)
