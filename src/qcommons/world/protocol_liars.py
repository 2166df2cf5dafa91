"""Liars of the protocol: right numbers or wrong, what they do with messages is the lie. Rows beside `zoo`.

Flow: *Liar.play* -> the machines of `verify` (replicate, audit, verdict) -> Played (caught? an honest peer harmed?).
Each plays against the checks alone. What needs a mesh that leases anew, or money, says so in `waits`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from qcommons.base.effects import Woken
from qcommons.base.seeds import derive, stream
from qcommons.engines.records import Answer, Counts
from qcommons.pqc.identity import NodeKey
from qcommons.verify.answers import EngineClass, Found, Question, overstated
from qcommons.verify.audit import (
    FLOOR_PPM,
    Audit,
    Audited,
    Batch,
    Claim,
    Recompute,
    Recomputed,
    Standing,
    choose,
    rate_ppm,
)
from qcommons.verify.receipt import encode, result_hash, sign_batch
from qcommons.verify.records import Receipt
from qcommons.verify.replicate import (
    AskThird,
    Committed,
    Judged,
    Opened,
    Replicas,
    commit_to,
    judge,
)  # fmt: skip
from qcommons.verify.soundness import forfeit_needed
from qcommons.verify.verdict import equivocation

__all__ = ["PROTOCOL_LIARS", "Liar", "Played"]

NETWORK = "redteam"
JOB = "job_abcdefghijklmnop"
SHOTS = 1024
KIND = EngineClass("qulacs", "statevector", "f64", "1")
QUESTION = Question(want=Counts(SHOTS), n_bits=4, n_qubits=4, n_ops=40)
NODES = 20  # of the lottery for replicas, two of them liars
S_NS = 10**9
BATCH_RUNS = 20


class Played(NamedTuple):
    """harmed: an honest peer was held to be wrong."""

    caught: bool
    harmed: bool


class Liar(NamedTuple):
    """waits: what is not shown here, and needs the machine that places work on a mesh."""

    name: str
    help: str
    play: Callable[[int], Played]
    trials: int = 200
    waits: str = ""


def _name(number: int) -> bytes:
    return bytes([number]) * 32


def _answer(number: int, share: float = 0.0) -> Found:
    """Counts of a peaked distribution of 16 outcomes; a share of the shots is uniform."""
    rng = stream(7, "piece", number)
    p = rng.dirichlet([0.5] * 16)
    times = rng.multinomial(SHOTS, p)
    if share:
        liar = stream(8, "lie", number)
        times = liar.multinomial(SHOTS, (1 - share) * p + share / 16)
    counts = {f"{key:04b}": int(n) for key, n in enumerate(times) if n}
    return Found(Answer("qulacs", "statevector", counts=counts), KIND, number)


def _replicas(nodes: tuple[bytes, ...], number: int, own: Found | None = None) -> Replicas:
    return Replicas(QUESTION, JOB, 0, nodes, S_NS, S_NS, stream(9, "rng", number), own)


def _play(machine: Replicas, says: dict[bytes, Found], silent: tuple[bytes, ...] = ()) -> list[Any]:
    """Everybody commits to and opens what `says` holds; the silent do neither."""
    openings: dict[bytes, Any] = {}
    for node, found in says.items():
        if node in silent:
            continue
        told, openings[node] = commit_to(JOB, 0, node, node[::-1], result_hash(found.answer))
        machine.handle(Committed(node, told), 0)
    effects = machine.handle(Woken(("commit", 0, 0)), S_NS) if silent else []
    for node, opening in openings.items():
        effects = machine.handle(Opened(node, opening, says[node]), 1) or effects
    return effects


def _copies(number: int) -> Played:
    """It hears the other's commitment, tells it as its own, and later the other's opening and answer."""
    honest, copier = _name(1), _name(2)
    machine = _replicas((honest, copier), number, own=_answer(number))
    found = _answer(number)
    told, opening = commit_to(JOB, 0, honest, bytes(32), result_hash(found.answer))
    for node in (honest, copier):
        machine.handle(Committed(node, told), 0)
    machine.handle(Opened(honest, opening, found), 1)
    (ended,) = [e for e in machine.handle(Opened(copier, opening, found), 2) if isinstance(e, Judged)]
    kinds = ended.judgement.kinds
    return Played(kinds[copier] == "malformed", kinds[honest] != "right")


def _over_reports(number: int) -> Played:
    """Its receipt names three times the work."""
    work = 1000 + 17 * number
    return Played(overstated(3 * work, float(work), True), overstated(work, float(work), True))


@lru_cache(maxsize=1)
def _key() -> NodeKey:
    return NodeKey(bytes(range(32)))


def _two_receipts(number: int) -> Played:
    def file(found: Found) -> bytes:
        receipt = Receipt(
            job_id=JOB, run=0, program_id="0" * 64, want="counts", engine="qulacs", engine_version="1",
            method="statevector", seed=number, shots=SHOTS, work_units=1, duration_ns=1,
            result_hash=result_hash(found.answer), physics="emulated", status="done", ended_at_ns=number,
        )  # fmt: skip
        return encode(sign_batch(_key(), NETWORK, [receipt], number)[0])

    honest, other = file(_answer(number)), file(_answer(number, 0.3))
    again = equivocation(honest, file(_answer(number)), _key().id, NETWORK)
    return Played(equivocation(honest, other, _key().id, NETWORK) is not None, again is not None)


def _accuses(number: int) -> Played:
    """As a third peer it recomputes nothing and says something else than the peer, whoever that is."""
    me, peer, accuser = _name(1), _name(2), _name(3)
    audit = Audit(me, peer, bytes([number % 256]) * 32, 1_000_000, (accuser,))
    asked = audit.handle(Batch(bytes(32), {0: Claim(QUESTION, _answer(number))}), 0)
    assert asked == [Recompute(0, accuser)]
    asked = audit.handle(Recomputed(0, accuser, _answer(number, 0.5)), 1)
    assert asked == [Recompute(0, me)]
    (ended,) = audit.handle(Recomputed(0, me, _answer(number)), 2)
    assert isinstance(ended, Audited)
    kinds = ended.judgements[0].kinds
    return Played(kinds[accuser] == "wrong", kinds[peer] != "right" or bool(ended.doubted))


def _collude(number: int) -> Played:
    """Two of NODES answer the same lie wherever both are drawn; caught where one is held against an honest peer."""
    drawn = [0, int(stream(10, "lottery", number).integers(1, NODES))]  # one of them is drawn; is the other, too?
    says = {_name(10 + n): _answer(number, 0.3) if n < 2 else _answer(number) for n in drawn}
    machine = _replicas(tuple(says), number)
    effects = _play(machine, says)
    if any(isinstance(effect, AskThird) for effect in effects):  # the submitter computes it itself
        judgement = judge(QUESTION, says, stream(9, "own", number), _answer(number))
    else:
        judgement = next(effect.judgement for effect in effects if isinstance(effect, Judged))
    liars = [_name(10 + n) for n in drawn if n < 2]
    harmed = any(judgement.kinds[node] == "wrong" for node in says if node not in liars)
    return Played(all(judgement.kinds[node] == "wrong" for node in liars), harmed)


def _silent(number: int) -> Played:
    honest, silent = _name(1), _name(2)
    machine = _replicas((honest, silent), number)
    effects = _play(machine, {honest: _answer(number), silent: _answer(number)}, (silent,))
    asked = any(isinstance(effect, AskThird) for effect in effects)
    return Played(asked and machine.state[silent] == "silent", machine.state[honest] != "opened")


def _until_trusted(number: int) -> Played:
    """Honest until its audit rate is at the floor, then it fakes every run of a batch, again and again until found.

    Caught: found, and it lost more than it gained: the pay of all its batches that were not yet doubted, against that
    of the one it was found in and the forfeit that makes lies not pay off.
    """
    standing, batch = Standing(), 0
    secret = derive(11, "secret", number).to_bytes(32, "big")
    while rate_ppm(standing) > FLOOR_PPM:
        chosen = choose(secret, batch.to_bytes(32, "big"), range(BATCH_RUNS), rate_ppm(standing))
        standing = msgspec.structs.replace(standing, right=standing.right + len(chosen))
        batch += 1
    gained = 0
    while not choose(secret, batch.to_bytes(32, "big"), range(BATCH_RUNS), FLOOR_PPM):
        gained += BATCH_RUNS
        batch += 1
    return Played(gained < BATCH_RUNS + forfeit_needed(FLOOR_PPM), False)


PROTOCOL_LIARS: tuple[Liar, ...] = (
    Liar("copies the other replica", "tells the other's commitment and opening as its own", _copies),
    Liar("over-reports work", "names three times the work of the cost model in its receipt", _over_reports),
    Liar("two receipts", "signs two results for one run", _two_receipts, 20),
    Liar("accuses honest peers", "as an auditor, says something else than the peer", _accuses),
    Liar(
        "two colluding replicas",
        f"2 of {NODES} peers tell one lie; where one is drawn, the other is as well in 1 of {NODES - 1}",
        _collude,
        1000,
    ),
    Liar("silent", "takes the lease and is not heard of again", _silent, waits="leasing anew waits for the mesh"),
    Liar(
        "until trusted",
        "honest until its audits are rare, then fakes every run",
        _until_trusted,
        waits="taking the forfeit waits for the ledger; until then quarantine stands for it",
    ),
)
