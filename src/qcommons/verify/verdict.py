"""Verdicts: what was found of a peer's work, signed, with its evidence; anyone can check it offline.

Flow: Comparison -> *evidence_of* -> Verdict -> *sign_verdict* -> file -> *check_verdict* -> reputation, settlement.
And with the receipts and answers at hand -> *check_evidence*: does it rest on them? *equivocation*: two receipts of one
run are a proof by themselves.

A verdict is the word of who signed it. It binds its judge: whoever holds the receipts and answers it names can redo
the comparison, and a false one is proved against the judge. `punishes` says which verdicts may cost more than the pay
for the work: never those that rest on a majority, which liars can be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import pairwise

from qcommons.base.canonical import decode_record, encode_record
from qcommons.base.errors import PeerError, UsageError
from qcommons.engines.records import Answer
from qcommons.pqc.identity import NodeKey, node_hash, node_id_of_hash, parse_node_id
from qcommons.pqc.signing import OVERHEAD_BYTES_MAX, PAYLOAD_BYTES_MAX, sign, verify
from qcommons.verify.receipt import check, result_hash
from qcommons.verify.records import Comparison, Evidence, Receipt, SignedVerdict, Verdict

__all__ = [
    "OBJECT_TYPE", "SIGNED_VERDICT_BYTES_MAX", "check_evidence", "check_verdict", "equivocation", "evidence_of",
    "punishes", "receipt_hash", "sign_verdict",
]  # fmt: skip

OBJECT_TYPE = "qcommons/verdict.1"
SIGNED_VERDICT_BYTES_MAX = PAYLOAD_BYTES_MAX + OVERHEAD_BYTES_MAX + 2048  # and the public key
VERDICT_ITEMS_MAX = 8192  # 4096 runs, 64 pieces of evidence of 15 items
PPT = 10**12
NUMBER_MAX = (1 << 63) - 1


def receipt_hash(receipt: Receipt) -> bytes:
    """SHA3-256 of a receipt's canonical bytes."""
    return hashlib.sha3_256(encode_record(receipt)).digest()


def evidence_of(
    run: int, receipt: Receipt | None, claimed: Answer | None, comparison: Comparison,
    found: Answer | None = None, found_by: bytes | None = None,
) -> Evidence:  # fmt: skip
    """One comparison as it stands in a verdict.

    Args:
        claimed: the peer's answer, None where there was none that could be read.
        found, found_by: the answer it was compared with, and the hash of the node that made it.
    """
    whole = comparison.unit == "shots"
    return Evidence(
        run=run,
        receipts=(receipt_hash(receipt),) if receipt is not None else (),
        claimed=result_hash(claimed) if claimed is not None else None,
        found=result_hash(found) if found is not None else None,
        found_by=found_by,
        outcome=comparison.outcome,
        method=f"{comparison.method}, {comparison.test}" if comparison.test else comparison.method,
        value=_integer(comparison.value, 1 if whole else PPT),
        limit=_integer(comparison.limit, 1 if whole else PPT),
        unit="shots" if whole else "ppt",
        false_alarm_ppt=_integer(comparison.false_alarm, PPT),
    )


def equivocation(first: bytes, second: bytes, node: str, network: str) -> Evidence | None:
    """Evidence against `node` if two receipt files of its own name different results for one run of one job.

    None where they do not contradict each other: two wants, shots, engines or methods may have two results. A run
    that failed and was then done is no contradiction: only two results are.

    Raises:
        PeerError, UsageError: as `receipt.check`.
    """
    one, two = check(first, node, network), check(second, node, network)
    first_asked, second_asked = (
        (of.job_id, of.run, of.program_id, of.seed, of.want, of.shots, of.engine, of.method) for of in (one, two)
    )
    results = {one.result_hash, two.result_hash}
    if first_asked != second_asked or None in results or len(results) < 2:
        return None
    hashes = sorted((receipt_hash(one), receipt_hash(two)))
    return Evidence(
        run=one.run, receipts=tuple(hashes), claimed=one.result_hash, found=two.result_hash,
        found_by=parse_node_id(node), outcome="differs", method="two receipts", value=2, limit=1, unit="shots",
        false_alarm_ppt=0,
    )  # fmt: skip


def sign_verdict(key: NodeKey, network: str, verdict: Verdict) -> bytes:
    """The file of a verdict by the node of `key`.

    Raises:
        UsageError: the verdict breaks a rule of `check_verdict`: our own mistake, nobody else's.
    """
    payload = encode_record(verdict)
    try:
        _rules(_verdict(payload), key.hash)
    except PeerError as error:
        raise UsageError(error.what, where=error.where, limit=error.limit) from error
    return encode_record(SignedVerdict(sign(key, OBJECT_TYPE, network, payload), key.public_key))


def check_verdict(data: bytes, judge: str, network: str) -> Verdict:
    """The verdict in a file that the node with id `judge` signed for `network`.

    Raises:
        UsageError: `judge` is no node id, or `network` no network id.
        PeerError: the first rule that failed is in `where`.
    """
    expected = parse_node_id(judge)
    file = decode_record(data, SignedVerdict, bytes_max=SIGNED_VERDICT_BYTES_MAX, items_max=8)
    found = node_hash(file.public_key)
    if found != expected:
        raise PeerError(f"signed by {node_id_of_hash(found)}; {judge} expected", where="judge")
    verdict = _verdict(verify(file.public_key, OBJECT_TYPE, network, file.signed))
    _rules(verdict, expected)
    return verdict


def check_evidence(
    verdict: Verdict, receipts: Sequence[Receipt], answers: Mapping[int, tuple[Answer, Answer | None]]
) -> None:
    """Hold a verdict to what it names: the peer's receipts (checked before), and by run the claimed and found answer.

    Raises:
        PeerError: against the judge: a receipt or an answer is missing or another one.
    """
    known = {receipt_hash(receipt): receipt for receipt in receipts}
    for item in verdict.evidence:
        where = f"run {item.run}"
        for digest in item.receipts:
            receipt = known.get(digest)
            if receipt is None:
                raise PeerError("it names a receipt that is not at hand", where=where, evidence=digest)
            if (receipt.run, receipt.job_id) != (item.run, verdict.job_id):
                raise PeerError(f"it names the receipt of run {receipt.run} of {receipt.job_id}", where=where)
            if item.method != "two receipts" and item.claimed not in (None, receipt.result_hash):
                raise PeerError("the receipt is of another result than the one it judges", where=where)
        if item.method == "two receipts":
            continue
        at_hand: tuple[Answer | None, Answer | None] = answers.get(item.run, (None, None))
        claimed, found = at_hand
        for name, answer, named in (("claimed", claimed, item.claimed), ("found", found, item.found)):
            if (result_hash(answer) if answer is not None else None) != named:
                raise PeerError(f"the {name} answer is not the one it names", where=where)


def punishes(verdict: Verdict) -> bool:
    """May it cost the peer more than the pay for these runs? Only where no third party's word is needed."""
    return verdict.kind in ("wrong", "malformed") and verdict.ground in ("recomputed", "record")


def _verdict(payload: bytes) -> Verdict:
    return decode_record(payload, Verdict, bytes_max=PAYLOAD_BYTES_MAX, items_max=VERDICT_ITEMS_MAX)


def _rules(verdict: Verdict, judge: bytes) -> None:
    """A verdict follows from its evidence."""
    runs = verdict.runs
    if any(a >= b for a, b in pairwise(runs)):
        raise PeerError("runs must rise", where="runs")
    outside = sorted({item.run for item in verdict.evidence} - set(runs))
    if outside:
        raise PeerError(f"evidence of run {outside[0]}, which it is not about", where="evidence")
    outcomes = {item.outcome for item in verdict.evidence}
    by_clock = verdict.kind in ("late", "silent")
    if by_clock != (verdict.ground == "clock"):
        raise PeerError(f"kind {verdict.kind} on the ground {verdict.ground}", where="ground")
    if verdict.kind == "right" and outcomes != {"agrees"}:
        raise PeerError("right, but not all of its evidence agrees", where="evidence")
    if verdict.kind == "wrong" and "differs" not in outcomes:
        raise PeerError("wrong, but nothing in its evidence differs", where="evidence")
    if verdict.kind == "unproven" and outcomes == {"agrees"}:
        raise PeerError("unproven, but all of its evidence agrees", where="evidence")
    if verdict.ground == "record" and not any(_proves_itself(item) for item in verdict.evidence):
        raise PeerError("no record in it contradicts another", where="evidence")
    if verdict.ground == "recomputed" and any(item.found_by not in (None, judge) for item in verdict.evidence):
        raise PeerError("recomputed by somebody else than the judge: that is a majority", where="ground")
    if verdict.peer == judge:
        raise PeerError("nobody judges himself", where="peer")


def _proves_itself(item: Evidence) -> bool:
    two = item.method == "two receipts" and len(set(item.receipts)) == 2 and item.claimed != item.found
    return two or (item.method == "malformed" and bool(item.receipts))


def _integer(value: float, scale: int) -> int:
    """Rounded up, so that what is above a limit stays above it; what is too large is NUMBER_MAX."""
    scaled = value * scale
    return NUMBER_MAX if not scaled < NUMBER_MAX else -int(-scaled // 1)
