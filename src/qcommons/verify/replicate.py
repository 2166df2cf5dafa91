"""Replicate: one run at several peers that cannot see each other's answers, a third where two disagree.

Flow: lease (run, seed) -> peers -> *commitment* of each -> all have committed, or time is up -> openings ->
*judge* -> verdicts. The seed is `seed_of(task, nonce)`: the same for all, so that honest numbers agree, and fresh, so
that no earlier answer serves. A commitment hides the result and holds the node's own id: to copy another's is useless.

    node's state   event                 then
    asked          Committed             committed; when none is asked any more, all committed ones are asked to open
    asked          time to commit is up  silent; the others are asked to open
    committed      Opened                opened, or malformed where it opens something else
    committed      time to open is up    silent
    all ended      -                     judged; or a third is asked, where no answer has a majority

Never are two punished for disagreeing: without a majority and without our own recomputation nobody is wrong. A majority
of colluding peers can outvote an honest one: how often is bounded by `soundness.colluders`, and a verdict on the ground
"majority" never costs more than the pay (`verdict.punishes`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from qcommons.base.canonical import encode
from qcommons.base.effects import Note, WakeAt, Woken, note
from qcommons.base.errors import PeerError, UsageError
from qcommons.pqc.commit import COMMITMENT_BYTES, Opening, check_opening, commitment
from qcommons.verify.answers import Found, Question, fault
from qcommons.verify.compare import compare
from qcommons.verify.receipt import result_hash
from qcommons.verify.records import Comparison, Ground, Kind, Outcome

__all__ = [
    "PURPOSE", "AskOpen", "AskThird", "Committed", "Judged", "Judgement", "Opened", "Replicas", "commit_to", "judge",
    "nonce_of", "seed_of",
]  # fmt: skip

PURPOSE = "replica"
REPLICAS_MAX = 9
NONCE_BYTES_MIN = 16
KINDS: dict[Outcome, Kind] = {"agrees": "right", "differs": "wrong", "cannot tell": "unproven"}
Seen = dict[bytes, tuple[Comparison, bytes | None]]


class Committed(msgspec.Struct, frozen=True):
    """Event: a node told its commitment (32 bytes)."""

    node: bytes
    commitment: bytes


class Opened(msgspec.Struct, frozen=True):
    """Event: a node opened it, and here is its answer."""

    node: bytes
    opening: Opening
    found: Found


class AskOpen(msgspec.Struct, frozen=True):
    """Effect: ask these nodes to open their commitments."""

    nodes: tuple[bytes, ...]


class AskThird(msgspec.Struct, frozen=True):
    """Effect: lease the same run, with the same seed, to one more peer, none of these; or to ourselves."""

    exclude: tuple[bytes, ...]


class Judgement(msgspec.Struct, frozen=True):
    """kinds: of each node. ground: of "right" and "wrong". chosen: the node whose answer stands, None where none does.
    seen: of each node, the comparison and the node it was compared with (None: our own answer)."""

    kinds: dict[bytes, Kind]
    ground: Ground
    chosen: bytes | None
    seen: dict[bytes, tuple[Comparison, bytes | None]]


class Judged(msgspec.Struct, frozen=True):
    """Effect: how it ended. answers: of all who opened. faults: why a malformed one is."""

    judgement: Judgement
    answers: dict[bytes, Found]
    faults: dict[bytes, str]


def nonce_of(seed: int) -> bytes:
    """The nonce of a replicated job, 32 bytes, from its seed: who repeats the job with that seed gets the same runs,
    and a peer learns of the nonce no more than the seeds of its own runs."""
    return hashlib.sha3_256(encode(["qcommons/replica-nonce.1", seed])).digest()


def seed_of(program_id: str, run: int, nonce: bytes) -> int:
    """The seed of a replicated run, below 2^63: H(task, job nonce). nonce: the submitter's own (`nonce_of`), so that no
    peer knows the seed before the lease."""
    if len(nonce) < NONCE_BYTES_MIN:
        raise UsageError(f"a nonce of {len(nonce)} bytes; {NONCE_BYTES_MIN} or more needed", where="nonce")
    digest = hashlib.sha3_256(encode(["qcommons/replica-seed.1", program_id, run, nonce])).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def commit_to(job_id: str, run: int, node: bytes, salt: bytes, digest: bytes) -> tuple[bytes, Opening]:
    """(commitment, opening) of a node to its result. salt: 32 fresh random bytes. digest: `receipt.result_hash`."""
    opening = Opening(PURPOSE, node, salt, encode([job_id, run, digest]))
    return commitment(opening), opening


class Replicas:
    """One run at `nodes`. commit_by_ns, open_for_ns: on the machine's clock. own: our answer, where we found one: then
    it judges alone. rng: which parities are looked at. known: as of `compare`."""

    def __init__(
        self, question: Question, job_id: str, run: int, nodes: tuple[bytes, ...], commit_by_ns: int, open_for_ns: int,
        rng: np.random.Generator, own: Found | None = None, known: object = None,
    ) -> None:  # fmt: skip
        if not 2 <= len(set(nodes)) == len(nodes) <= REPLICAS_MAX:
            limit = f"2 to {REPLICAS_MAX} different nodes"
            raise UsageError(f"{len(nodes)} replicas; allowed {limit}", where="nodes", limit=limit)
        self.question, self.job_id, self.run = question, job_id, run
        self.commit_by_ns, self.open_for_ns = commit_by_ns, open_for_ns
        self.rng, self.own, self.known = rng, own, known
        self.state = dict.fromkeys(nodes, "asked")
        self.commitments: dict[bytes, bytes] = {}
        self.answers: dict[bytes, Found] = {}
        self.faults: dict[bytes, str] = {}
        self.opening = self.ended = self.third = False
        self.round = 0  # 1 when a third was added: an old alarm is not for it

    def start(self) -> list[Any]:
        return [WakeAt(self.commit_by_ns, ("commit", self.run, self.round))]

    def handle(self, event: Any, now_ns: int) -> list[Any]:
        """Events: Committed, Opened, Woken of its own tokens, `add` for a third. Effects: AskOpen, AskThird, Judged,
        WakeAt, Note."""
        if self.ended:
            return [note("replica_after_the_end", run=self.run)]
        match event:
            case Committed(node, told):
                return self._committed(node, told, now_ns)
            case Opened(node, opening, found):
                return self._opened(node, opening, found)
            case Woken(("commit", self.run, self.round)):
                for node, state in self.state.items():
                    if state == "asked":
                        self.state[node] = "silent"
                return self._ask_open(now_ns)
            case Woken(("open", self.run, self.round)):
                for node, state in self.state.items():
                    if state == "committed":
                        self.state[node] = "silent"
                return self._judge()
            case _:
                return []

    def add(self, node: bytes, commit_by_ns: int) -> list[Any]:
        """A third was found: it is asked as the others were."""
        if node in self.state:
            raise UsageError("a third must be another node", where="node")
        self.state[node] = "asked"
        self.commit_by_ns, self.opening, self.round = commit_by_ns, False, self.round + 1
        return self.start()

    def _committed(self, node: bytes, told: bytes, now_ns: int) -> list[Any]:
        if self.state.get(node) != "asked":
            return [self._dropped(node, "no commitment of it is waited for")]
        if len(told) != COMMITMENT_BYTES:
            return self._malformed(node, f"a commitment of {len(told)} bytes; {COMMITMENT_BYTES} needed", now_ns)
        self.state[node] = "committed"
        self.commitments[node] = told
        return self._ask_open(now_ns)

    def _ask_open(self, now_ns: int) -> list[Any]:
        if "asked" in self.state.values() or self.opening:
            return []
        ready = tuple(node for node, state in self.state.items() if state == "committed")
        if not ready:
            return self._judge()
        self.opening = True
        return [AskOpen(ready), WakeAt(now_ns + self.open_for_ns, ("open", self.run, self.round))]

    def _opened(self, node: bytes, opening: Opening, found: Found) -> list[Any]:
        if self.state.get(node) != "committed" or not self.opening:
            return [self._dropped(node, "it was not asked to open")]
        try:
            value = check_opening(self.commitments[node], opening, PURPOSE, node)
        except PeerError as error:
            return self._malformed(node, str(error), 0)
        if value != encode([self.job_id, self.run, result_hash(found.answer)]):
            return self._malformed(node, "it opens a commitment to another result than it sent", 0)
        why = fault(found.answer, self.question)
        if why is not None:
            return self._malformed(node, why, 0)
        self.state[node] = "opened"
        self.answers[node] = found
        return self._judge()

    def _malformed(self, node: bytes, why: str, now_ns: int) -> list[Any]:
        self.state[node] = "malformed"
        self.faults[node] = why
        return [self._dropped(node, why), *(self._judge() if self.opening else self._ask_open(now_ns))]

    def _judge(self) -> list[Any]:
        if {"asked", "committed"} & set(self.state.values()):
            return []
        found = judge(self.question, self.answers, self.rng, self.own, self.known)
        if found.chosen is None and self.own is None and not self.third:
            self.third = True
            return [AskThird(tuple(sorted(self.state)))]
        kinds: dict[bytes, Kind] = dict(found.kinds)
        for node, state in self.state.items():
            if state == "silent":
                kinds[node] = "silent"
            elif state == "malformed":
                kinds[node] = "malformed"
        self.ended = True
        judgement = msgspec.structs.replace(found, kinds=kinds)
        return [Judged(judgement, dict(self.answers), dict(self.faults))]

    def _dropped(self, node: bytes, why: str) -> Note:
        return note("replica_refused", run=self.run, node=node.hex(), why=why)


def judge(
    question: Question, answers: Mapping[bytes, Found], rng: np.random.Generator, own: Found | None = None,
    known: object = None,
) -> Judgement:  # fmt: skip
    """Who is right. With `own`, each is held to it. Without, an answer stands if more than half of all agree with it.

    Without a majority everybody is "unproven", but who sent what can be no answer: that is "malformed".
    """
    bad: dict[bytes, Kind] = {node: "malformed" for node in answers if fault(answers[node].answer, question)}
    found = _judged(question, {node: answers[node] for node in sorted(answers) if node not in bad}, rng, own, known)
    return msgspec.structs.replace(found, kinds=found.kinds | bad)


def _judged(
    question: Question, answers: Mapping[bytes, Found], rng: np.random.Generator, own: Found | None, known: object
) -> Judgement:
    nodes = list(answers)
    if own is not None:
        seen: Seen = {node: (compare(question, answers[node], own, rng, known), None) for node in nodes}
        kinds = {node: _kind(comparison) for node, (comparison, _) in seen.items()}
        right = next((node for node in nodes if kinds[node] == "right"), None)
        return Judgement(kinds, "recomputed", right, seen)
    best: Seen = {}
    chosen = None
    for reference in nodes:
        if _used_another(question, answers, reference):
            continue  # it would be measured against nothing
        seen = {
            node: (compare(question, answers[node], answers[reference], rng, known), reference)
            for node in nodes
            if node != reference
        }
        agree = 1 + sum(comparison.outcome == "agrees" for comparison, _ in seen.values())
        if agree > 1 and 2 * agree > len(nodes):
            chosen, best = reference, seen
            break
        best = best or seen
    if chosen is None:
        return Judgement(dict.fromkeys(nodes, "unproven"), "majority", None, best)
    kinds = {node: "right" if node == chosen else _kind(best[node][0]) for node in nodes}
    partner = next(node for node in nodes if node != chosen and kinds[node] == "right")
    best[chosen] = (best[partner][0], partner)
    return Judgement(kinds, "majority", chosen, best)


def _used_another(question: Question, answers: Mapping[bytes, Found], node: bytes) -> bool:
    """Whether it says that it used another engine than the lease names, and somebody used that one."""
    used = {name: (found.engine.engine, found.engine.method) for name, found in answers.items()}
    return question.engine is not None and used[node] != question.engine and question.engine in used.values()


def _kind(comparison: Comparison) -> Kind:
    return KINDS[comparison.outcome]
