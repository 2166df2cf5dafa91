"""Archives checked: an honest one holds in every row; each lie, also of the node that signs it, is found in its own."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.node.archived import LIAR, ME, archivist, kept_home, kept_mesh, key
from tests.node.small_world import Disk

from qcommons.base.errors import PeerError
from qcommons.jobs.archive import Contents, LeaseFile
from qcommons.jobs.archive_checks import CHECKS, check_all
from qcommons.jobs.archive_crate import Made
from qcommons.jobs.archive_files import made, opened, sealed
from qcommons.jobs.archive_finding import FAULTS_KEPT, Check
from qcommons.jobs.archive_leases import root_of
from qcommons.jobs.archive_result import result_bytes, same
from qcommons.jobs.archive_zip import read_zip
from qcommons.jobs.outcomes import Done
from qcommons.jobs.plan.records import CountsSum, Same
from qcommons.verify.audit import choose

Change = Callable[[Contents], Contents]


@lru_cache(maxsize=2)
def contents(mesh: bool = True) -> Contents:
    disk = Disk()
    entry = (kept_mesh if mesh else kept_home)(disk)
    return archivist(disk, Path(tempfile.gettempdir())).contents(entry)


def files_of(of: Contents) -> dict[str, bytes]:
    return dict(sealed(of, made(of), ME))


def table(files: dict[str, bytes]) -> dict[str, Check]:
    return {check.name: check for check in check_all(opened(files))}


def wrong(files: dict[str, bytes]) -> set[str]:
    return {name for name, check in table(files).items() if not check.holds}


@pytest.mark.parametrize("mesh", [False, True])
def test_everything_holds_of_an_honest_archive(mesh: bool) -> None:
    disk = Disk()
    entry = (kept_mesh if mesh else kept_home)(disk)
    with archivist(disk, Path(tempfile.gettempdir())).write(entry) as file:
        found = check_all(opened(read_zip(file)))
    assert [(check.name, check.faults) for check in found if not check.holds] == []
    counted = {check.name: check.checked for check in found}
    assert counted == dict(zip(
        [row.name for row in CHECKS],
        [17, 1, 1, 2, 3, 4, 3, 1, 2, 2, 2, 2] if mesh else [7, 1, 1, 3, 0, 0, 3, 0, 0, 0, 3, 3], strict=True,
    ))  # fmt: skip


# somebody else changes it


def test_a_file_changed_added_or_taken_out_is_named() -> None:
    files = files_of(contents())
    changed = files | {"versions.json": files["versions.json"].replace(b"3.", b"4.")}
    added = files | {"programs/more.cbor": b""}
    fewer = {name: data for name, data in files.items() if not name.endswith(".qasm")}
    for broken, name in ((changed, "versions.json"), (added, "programs/more.cbor"), (fewer, ".qasm")):
        check = table(broken)["files"]
        assert check.fault_count == 1 and name in check.faults[0]


def test_a_list_of_files_that_the_node_did_not_sign_is_no_archive_of_it() -> None:
    mine, other = files_of(contents()), dict(sealed(contents(), made(contents()), key("somebody")))
    assert wrong(other) == {"signature"}
    metadata = mine["ro-crate-metadata.json"]
    assert "signature" in wrong(mine | {"ro-crate-metadata.json": metadata.replace(b"plan", b"plot")})
    unsigned = {name: data for name, data in mine.items() if name != "signature.cbor"}
    assert "this file is missing" in table(unsigned)["signature"].faults[0]
    assert (
        "another description"
        in table(mine | {"signature.cbor": files_of(contents(mesh=False))["signature.cbor"]})["signature"].faults[0]
    )


# the node that signs it lies


def lease(of: Contents, number: int, **changed: Any) -> Contents:
    leases = list(of.leases)
    leases[number] = replace(leases[number], **changed)
    return replace(of, leases=tuple(leases))


def outcome(of: Contents, run: int, **changed: Any) -> Contents:
    outcomes = list(of.outcomes)
    done = outcomes[run]
    assert isinstance(done, Done)
    answer = replace(done.execution.answer, **changed)
    outcomes[run] = Done(replace(done.execution, answer=answer))
    return replace(of, outcomes=tuple(outcomes))


def batch(of: Contents, number: int, **changed: Any) -> Contents:
    name = of.leases[number].lease
    return replace(of, batches=of.batches | {name: replace(of.batches[name], **changed)})


def parts(of: Contents, *changed: Any) -> Contents:
    assert of.plan is not None
    return replace(of, plan=replace(of.plan, parts=changed))


def job(of: Contents, **changed: Any) -> Contents:
    return replace(of, head=replace(of.head, job=replace(of.head.job, **changed)))


def shown_again(of: Contents) -> Contents:
    """With the result that follows from its outcomes."""
    return replace(of, result=result_bytes(of))


def other_digit(of: Any, field: str) -> Any:
    text = getattr(of, field)
    return replace(of, **{field: ("1" if text[0] == "0" else "0") + text[1:]})


LIES: dict[str, tuple[set[str], Change]] = {
    "another answer in an outcome": ({"answers", "result"}, lambda c: outcome(c, 0, counts={"00": 500})),
    "another answer in outcome and result": (
        {"answers", "own receipts"}, lambda c: shown_again(outcome(c, 2, counts={"00": 400, "11": 600})),
    ),
    "an answer that is none": ({"answers", "result"}, lambda c: outcome(c, 2, counts={"000": 1000})),
    "another number in the result": (
        {"result"},
        lambda c: replace(c, result=c.result.replace(b'"counts":{"', b'"counts":{"0')),
    ),
    "another root of all seeds": ({"seeds", "result"}, lambda c: job(c, seed=6)),
    "a seed that does not follow": (
        {"seeds", "own receipts", "result"},
        lambda c: job(c, points=(replace(c.head.job.points[0], seed=1), c.head.job.points[1])),
    ),
    "one share counted twice": (
        {"seeds", "result"}, lambda c: parts(c, CountsSum((0, 0)), Same(2)),
    ),
    "a part left out": ({"seeds", "own receipts", "result"}, lambda c: parts(c, Same(2))),
    "a part that points nowhere": ({"seeds", "own receipts", "result"}, lambda c: parts(c, CountsSum((0, 9)), Same(2))),
    "an answer of the liar": ({"answers", "verdicts"}, lambda c: lease(lease(c, 2, accepted=()), 1, accepted=(2,))),
    "used twice": ({"answers", "verdicts"}, lambda c: lease(c, 1, accepted=(2,))),
    "used of a lease that has it not": ({"leases", "answers"}, lambda c: lease(c, 2, accepted=(0,))),
    "other work than was offered": ({"leases", "verdicts", "peers' receipts"}, lambda c: lease(c, 0, task="00" * 32)),
    "runs of another order": (
        {"leases", "answers", "peers' receipts"},
        lambda c: lease(c, 0, runs=(1, 0)),
    ),
    "another peer": ({"peers' receipts", "audits", "verdicts"}, lambda c: lease(c, 0, node_id=LIAR.id)),
    "a receipt left out": (
        {"answers", "peers' receipts", "audits"},
        lambda c: batch(c, 0, leaves=c.batches[c.leases[0].lease].leaves[:1]),
    ),
    "a receipt changed": (
        {"peers' receipts", "verdicts"},
        lambda c: batch(c, 0, leaves=tuple(
            replace(leaf, receipt=leaf.receipt.replace(b"emulated", b"hardware"))
            for leaf in c.batches[c.leases[0].lease].leaves
        )),
    ),
    "a signature of another batch": (
        {"peers' receipts", "audits"},
        lambda c: batch(c, 0, signed_root=c.batches[c.leases[1].lease].signed_root),
    ),
    "no receipts": (
        {"leases", "answers"},
        lambda c: replace(c, batches={n: b for n, b in c.batches.items() if n != c.leases[2].lease}),
    ),
    "another engine than the lease names": ({"leases", "peers' receipts"}, lambda c: lease(c, 2, engine="stim")),
    "another commitment": (
        {"replicas"},
        lambda c: lease(c, 2, replica=other_digit(c.leases[2].replica, "salt")),
    ),
    "no commitment": ({"replicas"}, lambda c: lease(c, 2, replica=None)),
    "another secret of the audit": (
        {"audits"},
        lambda c: lease(c, 0, audit=other_digit(c.leases[0].audit, "secret")),
    ),
    "fewer runs computed again than were chosen": ({"audits"}, lambda c: lease(c, 0, checked=_spared(c.leases[0]))),
    "a verdict on another lease": (
        {"verdicts"},
        lambda c: replace(c, verdicts={c.leases[0].lease: c.verdicts[c.leases[1].lease]}),
    ),
    "no receipts of its own": ({"own receipts"}, lambda c: replace(c, receipts=None)),
    "another end": ({"result"}, lambda c: replace(c, head=replace(c.head, state="failed"))),
    "another time": ({"own receipts", "result"}, lambda c: replace(c, head=replace(c.head, ended_ns=10**18))),
}  # fmt: skip


def _spared(of: LeaseFile) -> tuple[int, ...]:
    """One of the two runs that were computed again: the one that the secret chooses first is left out."""
    assert of.audit is not None
    root, secret = root_of(contents().batches[of.lease], of.node_id, "commons").root, bytes.fromhex(of.audit.secret)
    by_rate = (choose(secret, root, (0, 1), rate) for rate in range(0, 1_000_001, 1_000))
    first = next(found for found in by_rate if len(found) == 1)
    return tuple(run for place, run in enumerate(of.runs) if place not in first)


@pytest.mark.parametrize("name", LIES)
def test_a_lie_of_the_node_that_signs_is_found_where_it_is(name: str) -> None:
    expected, change = LIES[name]
    found = table(files_of(change(contents())))
    assert expected == {row for row, check in found.items() if not check.holds}, [
        (check.name, check.faults) for check in found.values() if not check.holds
    ]


def test_a_program_that_is_not_its_name_and_a_text_that_is_not_its_program_are_found() -> None:
    rows = list(made(contents()))
    for end, data in ((".cbor", b"\x80"), (".qasm", b"OPENQASM 3.0;\nqubit[2] q;\n")):
        told = [
            Made(row.name, data, row.title, row.media)
            if row.name.startswith("programs/") and row.name.endswith(end)
            else row
            for row in rows
        ]
        found = table(dict(sealed(contents(), told, ME)))
        assert not found["programs"].holds and end in found["programs"].faults[0]


# what is shown


def test_only_the_first_faults_are_kept_and_all_are_counted() -> None:
    files = files_of(contents()) | {f"programs/{k}.cbor": b"" for k in range(FAULTS_KEPT + 5)}
    check = table(files)["files"]
    assert (len(check.faults), check.fault_count) == (FAULTS_KEPT, FAULTS_KEPT + 5)


def test_faults_do_nothing_to_a_terminal() -> None:
    files = files_of(replace(contents(), result=b'{"\\u001b[2J": 1}'))
    said = " ".join(fault for check in table(files).values() for fault in check.faults)
    assert "[2J" in said and "\x1b" not in said


def test_numbers_agree_up_to_rounding_and_everything_else_exactly() -> None:
    shown: dict[str, Any] = {"a": [1.0, 2], "b": "x", "c": None}
    assert list(same(shown, {"a": (1.0 + 1e-12, 2), "b": "x", "c": None})) == []
    other = {"a": [1.0 + 1e-6, 3], "b": "y", "d": 1}
    assert {where for where, _ in same(shown, other)} == {".c", ".d", ".a[0]", ".a[1]", ".b"}
    assert list(same([1], [1, 2])) == [("", "2 of them; 1 follow")]
    assert list(same(True, 1.0)) != []


def test_checking_raises_nothing_whatever_an_archive_says() -> None:
    """Hostile but well-formed: numbers out of range in every integer of the plan and the leases."""
    of = contents()
    for told in (
        lease(of, 0, runs=(10**9,)), lease(of, 0, runs=()), lease(of, 0, lease="ab"), lease(of, 0, nonce="00"),
        parts(of, CountsSum(()), Same(10**9)), parts(of, Same(0), Same(1)),
        job(of, points=of.head.job.points[:1]), replace(of, outcomes=of.outcomes[:1]),
        replace(of, result=b"[" * 10_000), replace(of, result=b"{}"),
    ):  # fmt: skip
        try:
            found = check_all(opened(files_of(told)))
        except PeerError:
            continue
        assert not all(check.holds for check in found)


@pytest.mark.parametrize("shots", [b"-1", b"18446744073709551616"])
def test_a_count_outside_64_bits_is_refused_wherever_it_stands(shots: bytes) -> None:
    files = files_of(contents())
    files["outcomes.jsonl"] = re.sub(rb'("counts":\{"[01]+":)\d+', rb"\g<1>" + shots, files["outcomes.jsonl"])
    with pytest.raises(PeerError, match="allowed 0 to 2\\^64 - 1"):
        opened(files)
    files = files_of(contents())
    files["result.json"] = re.sub(rb'("counts":\{"[01 ]+":)\d+', rb"\g<1>" + shots, files["result.json"])
    assert "own receipts" in wrong(files)  # found, not raised


def test_a_verdict_with_another_signature_is_none() -> None:
    files = files_of(contents())
    name = next(name for name in files if name.startswith("verdicts/"))
    assert wrong(files | {name: files[name][:-1] + b"\x00"}) == {"files", "verdicts"}


def test_what_is_read_is_what_was_written() -> None:
    of = contents()
    again = opened(files_of(of)).contents
    assert msgspec.to_builtins(replace(again, versions=of.versions)) == msgspec.to_builtins(of)
