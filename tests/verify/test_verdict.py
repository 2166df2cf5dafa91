"""Verdicts: they follow from their evidence, are checked offline, and a false one is held against its judge."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.verify.regenerate import (
    ANSWERS,
    DONE,
    JUDGE,
    NETWORK,
    SIGNED_AT_NS,
    VERDICT_FILE,
    VERDICTS,
)  # fmt: skip

from qcommons.base.canonical import encode_record
from qcommons.base.errors import PeerError, UsageError
from qcommons.pqc.identity import NodeKey
from qcommons.pqc.signing import sign
from qcommons.verify.receipt import encode, result_hash, sign_batch
from qcommons.verify.records import EVIDENCE_MAX, RUNS_MAX, Comparison, Evidence, SignedVerdict, Verdict
from qcommons.verify.verdict import (
    NUMBER_MAX,
    OBJECT_TYPE,
    SIGNED_VERDICT_BYTES_MAX,
    check_evidence,
    check_verdict,
    equivocation,
    evidence_of,
    punishes,
    receipt_hash,
    sign_verdict,
)  # fmt: skip

VECTORS = json.loads(VERDICT_FILE.read_text())["vectors"]
PEER = NodeKey(b"\x02" * 32)
WRONG = VERDICTS["wrong"]


@pytest.mark.parametrize("vector", VECTORS["verdicts"], ids=lambda vector: vector["name"])
def test_published_verdicts_stand(vector: dict[str, str]) -> None:
    verdict = VERDICTS[vector["name"]]
    assert encode_record(verdict).hex() == vector["verdict"]
    assert check_verdict(bytes.fromhex(vector["file"]), VECTORS["judge"], VECTORS["network"]) == verdict


def test_a_verdict_holds_integers_only() -> None:
    def floats(value: Any) -> bool:
        if isinstance(value, (list, tuple)):
            return any(map(floats, value))
        return isinstance(value, float)

    assert not any(floats(msgspec.to_builtins(verdict)) for verdict in VERDICTS.values())


def test_the_largest_verdict_fits() -> None:
    wide = (1 << 64) - 1
    item = msgspec.structs.replace(
        WRONG.evidence[0], run=wide, method="m" * 128, value=wide, limit=wide, false_alarm_ppt=wide,
        receipts=(bytes(32), b"1" * 32), claimed=bytes(32), found=bytes(32), found_by=JUDGE.hash,
    )  # fmt: skip
    runs = tuple(range(wide - RUNS_MAX + 1, wide + 1))
    verdict = msgspec.structs.replace(WRONG, lease="l" * 128, runs=runs, evidence=(item,) * EVIDENCE_MAX)
    data = sign_verdict(JUDGE, NETWORK, verdict)
    assert len(data) <= SIGNED_VERDICT_BYTES_MAX
    assert check_verdict(data, JUDGE.id, NETWORK) == verdict


AGREES = msgspec.structs.replace(WRONG.evidence[0], outcome="agrees")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"runs": (3, 2)}, "runs"),
        ({"runs": (2, 2)}, "runs"),
        ({"runs": ()}, ""),
        ({"runs": (7,)}, "evidence"),
        ({"kind": "right"}, "evidence"),
        ({"evidence": (AGREES,)}, "evidence"),
        ({"evidence": ()}, "evidence"),
        ({"kind": "unproven", "evidence": (AGREES,)}, "evidence"),
        ({"kind": "late"}, "ground"),
        ({"ground": "clock"}, "ground"),
        ({"ground": "record"}, "evidence"),
        (
            {"ground": "recomputed", "evidence": (msgspec.structs.replace(WRONG.evidence[0], found_by=bytes(32)),)},
            "ground",
        ),
        ({"peer": JUDGE.hash}, "peer"),
        ({"kind": "guilty"}, ""),
        ({"lease": ""}, ""),
    ],
)
def test_a_verdict_follows_from_its_evidence(change: dict[str, Any], where: str) -> None:
    with pytest.raises(UsageError) as caught:
        sign_verdict(JUDGE, NETWORK, msgspec.structs.replace(WRONG, **change))
    assert (caught.value.where or "").startswith(where)


def test_a_reader_applies_the_same_rules() -> None:
    bad = encode_record(msgspec.structs.replace(WRONG, kind="right"))
    data = encode_record(SignedVerdict(sign(JUDGE, OBJECT_TYPE, NETWORK, bad), JUDGE.public_key))
    with pytest.raises(PeerError, match="not all of its evidence agrees"):
        check_verdict(data, JUDGE.id, NETWORK)


def test_another_judge_network_or_object_is_refused() -> None:
    data = sign_verdict(JUDGE, NETWORK, WRONG)
    for judge, network in ((PEER.id, NETWORK), (JUDGE.id, "mars")):
        with pytest.raises(PeerError):
            check_verdict(data, judge, network)
    with pytest.raises(PeerError):
        check_verdict(encode(sign_batch(JUDGE, NETWORK, [DONE], 1)[0]), JUDGE.id, NETWORK)


@given(st.integers(0, len(sign_verdict(JUDGE, NETWORK, WRONG)) - 1), st.integers(1, 255))
@settings(max_examples=100)
def test_any_changed_byte_is_the_peers_error(place: int, change: int) -> None:
    data = bytearray(bytes.fromhex(next(v["file"] for v in VECTORS["verdicts"] if v["name"] == "wrong")))
    data[place % len(data)] ^= change
    with pytest.raises(PeerError):
        check_verdict(bytes(data), JUDGE.id, NETWORK)


def test_evidence_names_receipt_and_answers_by_their_hash() -> None:
    claimed, found = ANSWERS["counts"], ANSWERS["no bits"]
    comparison = Comparison(
        outcome="differs", method="counts", says="", value=7, limit=4, unit="shots", false_alarm=1e-7
    )
    item = evidence_of(0, DONE, claimed, comparison, found, JUDGE.hash)
    assert (item.value, item.limit, item.unit, item.false_alarm_ppt) == (7, 4, "shots", 100_000)
    assert (item.claimed, item.found) == (result_hash(claimed), result_hash(found))
    verdict = msgspec.structs.replace(WRONG, runs=(0,), evidence=(item,), job_id=DONE.job_id)
    check_evidence(verdict, [DONE], {0: (claimed, found)})
    for receipts, answers in (
        ([], {0: (claimed, found)}),
        ([DONE], {0: (found, found)}),
        ([DONE], {0: (claimed, None)}),
        ([DONE], {}),
    ):
        with pytest.raises(PeerError):
            check_evidence(verdict, receipts, answers)
    other = msgspec.structs.replace(DONE, result_hash=bytes(32))
    forged = msgspec.structs.replace(item, receipts=(receipt_hash(other),))
    with pytest.raises(PeerError, match="another result"):
        check_evidence(msgspec.structs.replace(verdict, evidence=(forged,)), [other], {0: (claimed, found)})


def test_numbers_are_rounded_up_and_bounded() -> None:
    for value, expected in ((1e-13, 1), (0.5, 500_000_000_000), (1e300, NUMBER_MAX), (0.0, 0)):
        comparison = Comparison(outcome="differs", method="m", says="", value=value)
        assert evidence_of(0, None, None, comparison).value == expected


def file(key: NodeKey, digest: bytes | None = b"1" * 32, **changes: Any) -> bytes:
    receipt = msgspec.structs.replace(DONE, result_hash=digest, **changes)
    return encode(sign_batch(key, NETWORK, [receipt], SIGNED_AT_NS)[0])


def test_two_receipts_of_one_run_prove_themselves() -> None:
    item = equivocation(file(PEER), file(PEER, b"2" * 32), PEER.id, NETWORK)
    assert item is not None and item.outcome == "differs"
    verdict = Verdict(
        lease="lease", job_id=DONE.job_id, runs=(0,), peer=PEER.hash, kind="wrong", ground="record", evidence=(item,),
        judged_at_ns=1,
    )  # fmt: skip
    assert punishes(check_verdict(sign_verdict(JUDGE, NETWORK, verdict), JUDGE.id, NETWORK))
    receipts = [msgspec.structs.replace(DONE, result_hash=digest) for digest in (b"1" * 32, b"2" * 32)]
    check_evidence(verdict, receipts, {})


@pytest.mark.parametrize(
    "changes", [{"run": 1}, {"seed": 8}, {"digest": b"1" * 32}, {"job_id": "job_bbbbbbbbbbbbbbbb"}]
)
def test_two_receipts_that_may_stand_together_prove_nothing(changes: dict[str, Any]) -> None:
    digest = changes.pop("digest", b"2" * 32)
    assert equivocation(file(PEER), file(PEER, digest, **changes), PEER.id, NETWORK) is None


def test_a_failed_run_done_later_proves_nothing_and_strangers_cannot_accuse() -> None:
    failed = file(PEER, None, status="failed")
    assert equivocation(failed, file(PEER), PEER.id, NETWORK) is None
    with pytest.raises(PeerError):
        equivocation(file(JUDGE), file(PEER), PEER.id, NETWORK)


@pytest.mark.parametrize(
    ("kind", "ground", "punished"),
    [
        ("wrong", "recomputed", True),
        ("wrong", "record", True),
        ("wrong", "majority", False),
        ("malformed", "record", True),
        ("right", "recomputed", False),
        ("silent", "clock", False),
        ("late", "clock", False),
        ("unproven", "majority", False),
    ],
)
def test_a_majority_alone_punishes_nobody(kind: Any, ground: Any, punished: bool) -> None:
    assert punishes(msgspec.structs.replace(WRONG, kind=kind, ground=ground)) is punished


def test_evidence_is_frozen_and_typed() -> None:
    with pytest.raises(AttributeError):
        WRONG.evidence[0].value = 3  # type: ignore[misc]
    assert isinstance(WRONG.evidence[0], Evidence)
