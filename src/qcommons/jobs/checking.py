"""Checks of reports: which runs are computed again, what replicas say together, and the verdicts that follow.

Flow: Reported -> *Party* -> *LeaseAudit* (assurance audit) or *judge_replicas* (replicate) -> Judgement by run ->
*verdicts* -> sign. `verify` knows nothing of leases: here its answers are put to the runs of one.

An audit of a lease: the runs to look at follow from the secret behind the offer and from what the peer signed
(`audit.choose`); they are computed by this node, in the engine and with the seed that the peer names, or where it
cannot by a third peer; when all are there, `verify.audit.Audit` is played through. Of a peer that is proved to lie
meanwhile all runs are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec

from qcommons.base.canonical import decode_record
from qcommons.base.seeds import stream
from qcommons.engines.records import Answer
from qcommons.engines.registry import load_engines
from qcommons.jobs.leases import LeaseRecord
from qcommons.jobs.outcomes import Done, Outcome
from qcommons.jobs.records import Item, Piece
from qcommons.jobs.report import Reported, asked_of
from qcommons.jobs.work import salt_of
from qcommons.mesh.peer_record import payload_of
from qcommons.mesh.records import PeerId
from qcommons.pqc.commit import COMMITMENT_BYTES
from qcommons.verify.answers import EngineClass, Found, Question, engine_class
from qcommons.verify.audit import Audit, Audited, Batch, Claim, Recompute, Recomputed, choose
from qcommons.verify.receipt import ROOT_BYTES_MAX, ROOT_ITEMS
from qcommons.verify.records import EVIDENCE_MAX, RUNS_MAX, BatchRoot, Evidence, Ground, Kind, Verdict
from qcommons.verify.replicate import Judgement, commit_to, judge
from qcommons.verify.verdict import evidence_of

__all__ = [
    "NO_RESULT", "LeaseAudit", "Party", "by_clock", "judge_replicas", "malformed", "opens", "own_found", "party",
    "questions", "recomputations", "verdicts",
]  # fmt: skip

GRAVEST: tuple[Kind, ...] = ("malformed", "wrong", "unproven", "right")
NO_RESULT = bytes(32)  # what a replica commits to for a run that it could not do


class Party(NamedTuple):
    """A report and the lease that it is of. place_of: run of the job to its place in the work."""

    record: LeaseRecord
    piece: Piece
    reported: Reported
    place_of: dict[int, int]

    @property
    def peer(self) -> PeerId:
        return PeerId(self.record.peer)

    def outcome(self, run: int) -> Outcome:
        return self.reported.runs[self.place_of[run]].outcome

    def found(self, run: int) -> Found | None:
        """What it answered, None where it could not or was not asked."""
        place = self.place_of.get(run)
        if place is None:
            return None
        one = self.reported.runs[place]
        if not isinstance(one.outcome, Done):
            return None
        receipt = one.receipt
        kind = _class(receipt.engine, receipt.method, receipt.engine_version)
        return Found(one.outcome.execution.answer, kind, receipt.seed)


def party(record: LeaseRecord, piece: Piece, reported: Reported) -> Party:
    return Party(record, piece, reported, {run: place for place, run in enumerate(record.runs)})


# audits


class LeaseAudit:
    """One report under audit. here: this node may compute. own: what came of that, by run, None where nothing did;
    thirds: reports of peers who computed the same runs again, in the order in which they were asked."""

    def __init__(self, me: PeerId, audited: Party, rate_ppm: int, here: bool) -> None:
        self.me, self.party, self.rate_ppm, self.here = me, audited, rate_ppm, here
        self.own: dict[int, Found | None] = {}
        self.free = False  # whether this node computes with an engine of its own choice: the one named fails here
        self.thirds: list[Party] = []
        self._chosen: tuple[int, tuple[int, ...]] | None = None  # at which rate, and which
        payload = payload_of(audited.reported.signed_root)
        self._root = decode_record(payload, BatchRoot, bytes_max=ROOT_BYTES_MAX, items_max=ROOT_ITEMS).root
        self._done = [place for place, run in enumerate(audited.reported.runs) if isinstance(run.outcome, Done)]

    def chosen(self) -> tuple[int, ...]:
        """Places in the work."""
        if self._chosen is None or self._chosen[0] != self.rate_ppm:
            secret = self.party.record.audit_secret
            self._chosen = self.rate_ppm, choose(secret, self._root, self._done, self.rate_ppm)
        return self._chosen[1]

    def missing(self) -> tuple[int, ...]:
        """Of the chosen places, those that nobody computed again yet; who tried and failed computed nothing."""
        known = {self.party.place_of[run] for run in self.own}
        if not self.here:
            known.update(
                self.party.place_of[run] for third in self.thirds for run in third.place_of if third.found(run)
            )
        return tuple(place for place in self.chosen() if place not in known)

    def result(self) -> tuple[Audited, dict[int, Judgement]]:
        """When nothing is missing: as `verify.audit` ends, and its judgements by run of the job."""
        runs, chosen = self.party.record.runs, self.chosen()
        asked = questions(self.party.piece, chosen)
        claims = {}
        for place in chosen:
            found = self.party.found(runs[place])
            assert found is not None  # only what was answered is chosen
            claims[place] = Claim(asked[place], found)
        thirds = [third.peer for third in self.thirds]
        audit = Audit(self.me, self.party.peer, self.party.record.audit_secret, self.rate_ppm, thirds,
                      self.here or not thirds or bool(self.own))  # fmt: skip
        left = audit.handle(Batch(self._root, claims), 0)
        while left:
            effect = left.pop(0)
            if isinstance(effect, Audited):
                return effect, {runs[place]: judged for place, judged in effect.judgements.items()}
            if isinstance(effect, Recompute):
                found = self._answer_of(effect.by, runs[effect.run])
                left += audit.handle(Recomputed(effect.run, effect.by, found), 0)
        raise AssertionError("an audit of which every answer is known has an end")

    def _answer_of(self, node: bytes, run: int) -> Found | None:
        if node == self.me:
            return self.own.get(run)
        return next((third.found(run) for third in self.thirds if third.peer == node), None)


def recomputations(name: str, audited: Party, places: Iterable[int], free: bool = False) -> list[Piece]:
    """The runs at these places for this node's workers: with the engine that the lease names, else the one that
    the peer says it used, so that numbers can be compared one by one. Items keep their place as index. free: with any
    engine, where the one that the peer says fails here; answers are then compared by statistics."""
    by_engine: dict[tuple[str | None, str | None], list[Item]] = {}
    for place in places:
        named = (audited.piece.engine, audited.piece.method) if free else _engine(audited, place)
        by_engine.setdefault(named, []).append(audited.piece.items[place])
    pieces = []
    for number, ((engine, method), items) in enumerate(by_engine.items()):
        own: dict[int, int] = {}
        renumbered = tuple(
            msgspec.structs.replace(item, program=own.setdefault(item.program, len(own))) for item in items
        )
        pieces.append(
            msgspec.structs.replace(
                audited.piece, id=f"{name}.{number}", items=renumbered, engine=engine, method=method,
                programs=tuple(audited.piece.programs[program] for program in own),
                wants=tuple(audited.piece.wants[program] for program in own),
            )
        )  # fmt: skip
    return pieces


def own_found(outcome: Outcome, seed: int) -> Found | None:
    """What this node found, None where it could not."""
    if not isinstance(outcome, Done):
        return None
    answer = outcome.execution.answer
    return Found(answer, _class(answer.engine, answer.method, _versions().get(answer.engine, "")), seed)


def questions(piece: Piece, places: Iterable[int]) -> dict[int, Question]:
    """By place; only the programs of these runs are read. Raises PeerError as `asked_of`: never for a piece of ours."""
    items = {place: piece.items[place] for place in places}
    numbers = sorted({item.program for item in items.values()})
    fewer = msgspec.structs.replace(
        piece, programs=tuple(piece.programs[number] for number in numbers),
        wants=tuple(piece.wants[number] for number in numbers),
    )  # fmt: skip
    asked = dict(zip(numbers, asked_of(fewer), strict=True))
    return {place: asked[item.program].question for place, item in items.items()}


# replicas


def opens(record: LeaseRecord, salt: bytes, reported: Reported) -> int | None:
    """The first place whose answer is not what the peer committed to, None where all are."""
    job = record.hired_job
    for place, run in enumerate(reported.runs):
        digest = run.receipt.result_hash or NO_RESULT
        told, _ = commit_to(job, place, record.peer, salt_of(salt, place), digest)
        if told != record.commitments[COMMITMENT_BYTES * place : COMMITMENT_BYTES * (place + 1)]:
            return place
    return None


def judge_replicas(
    parties: Sequence[Party], runs: Iterable[int], secret: bytes, own: Mapping[int, Found | None]
) -> dict[int, Judgement]:
    """Each run by all that answered it; by our own answer alone, where there is one. secret: nobody can know which
    parities are looked at. A run that fewer than two answered, and not we, is missing here: nothing can be said."""
    found: dict[int, Judgement] = {}
    for run in runs:
        answers: dict[bytes, Found] = {one.peer: it for one in parties if (it := one.found(run)) is not None}
        mine = own.get(run)
        if not answers or (len(answers) < 2 and mine is None):
            continue
        first = next(one for one in parties if one.peer in answers)
        place = first.place_of[run]
        question = questions(first.piece, [place])[place]
        rng = stream(int.from_bytes(secret, "big"), "replicas", run)
        found[run] = judge(question, answers, rng, mine)
    return found


# verdicts


def verdicts(
    me: PeerId, parties: Sequence[Party], judgements: Mapping[int, Judgement], own: Mapping[int, Found | None],
    at_ns: int,
) -> list[tuple[Party, Verdict]]:  # fmt: skip
    """One for each party of whose runs something was said: of the gravest kind, and of the runs of that kind."""
    found = []
    for one in parties:
        kinds = {run: judged.kinds[one.peer] for run, judged in judgements.items() if one.peer in judged.kinds}
        if not kinds:
            continue
        kind = next(grave for grave in GRAVEST if grave in kinds.values())
        runs = sorted((run for run in kinds if kinds[run] == kind), key=one.place_of.__getitem__)
        evidence = [item for run in runs if (item := _evidence(me, one, run, judgements[run], parties, own))]
        if kind == "unproven":
            evidence = [item for item in evidence if item.outcome != "agrees"]
        ground: Ground = "recomputed" if all(item.found_by in (None, me) for item in evidence) else "majority"
        if ground == "recomputed" and not evidence:
            ground = "majority"  # nobody else could: nothing was computed again
        places = [one.place_of[run] for run in runs]
        found.append((one, _verdict(one.record, places, kind, ground, evidence, at_ns)))
    return found


def malformed(record: LeaseRecord, what: str, where: str, at_ns: int) -> Verdict:
    """The peer sent what no honest node sends; this node read it itself."""
    text = "".join(sign if " " <= sign <= "~" else "?" for sign in f"malformed, {where}: {what}")[:128]
    evidence = Evidence(
        run=0, receipts=(), claimed=None, found=None, found_by=None, outcome="differs", method=text, value=1, limit=0,
        unit="shots", false_alarm_ppt=0,
    )  # fmt: skip
    return _verdict(record, range(len(record.runs)), "malformed", "recomputed", [evidence], at_ns)


def by_clock(record: LeaseRecord, kind: Kind, at_ns: int) -> Verdict:
    """ "silent" or "late"."""
    return _verdict(record, range(len(record.runs)), kind, "clock", [], at_ns)


def _verdict(
    record: LeaseRecord, places: Sequence[int], kind: Kind, ground: Ground, evidence: Sequence[Evidence], at_ns: int
) -> Verdict:
    """At most RUNS_MAX runs and EVIDENCE_MAX of what it rests on: the first ones."""
    kept = tuple(places)[:RUNS_MAX]
    inside = set(kept)
    return Verdict(
        lease=record.lease.hex(), job_id=record.hired_job, runs=kept, peer=record.peer, kind=kind, ground=ground,
        evidence=tuple(item for item in evidence if item.run in inside)[:EVIDENCE_MAX], judged_at_ns=max(at_ns, 0),
    )  # fmt: skip


def _evidence(
    me: PeerId, one: Party, run: int, judged: Judgement, parties: Sequence[Party], own: Mapping[int, Found | None]
) -> Evidence | None:
    seen = judged.seen.get(one.peer)
    claimed = one.found(run)
    if seen is None or claimed is None:
        return None
    comparison, other = seen
    against: Answer | None
    if other is None:
        mine = own.get(run)
        against, by = (mine.answer if mine else None), me
    else:
        theirs = next((party.found(run) for party in parties if party.peer == other), None)
        against, by = (theirs.answer if theirs else None), PeerId(other)
    place = one.place_of[run]
    receipt = one.reported.runs[place].receipt
    return evidence_of(place, receipt, claimed.answer, comparison, against, by if against is not None else None)


# engines


@lru_cache(maxsize=256)
def _class(engine: str, method: str, version: str) -> EngineClass:
    return engine_class(engine, method, version)


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    return {name: engine.installed() or "" for name, engine in load_engines().items()}


def _engine(audited: Party, place: int) -> tuple[str | None, str | None]:
    if audited.piece.engine is not None:
        return audited.piece.engine, audited.piece.method
    receipt = audited.reported.runs[place].receipt
    known = load_engines().get(receipt.engine)
    if known is None or receipt.method not in {row.name for row in known.methods}:
        return None, None
    return receipt.engine, receipt.method
