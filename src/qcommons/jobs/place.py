"""Place: which peers can run a piece, why the others cannot, which one gets it, and when another is asked as well.

Flow: Needs, Candidates -> *considered* (a reason for each that is left out) -> *Chooser.choose* -> Pick -> lease ->
`reported` at once (latency, failure), `judged` after the check; *hedge_after_s* -> a second lease for a straggler.

The choice is a discounted linear bandit: LinUCB with one model a peer (Li et al. 2010, arXiv 1003.0146, algorithm 1),
forgetting as in D-LinUCB (Russac et al. 2019, arXiv 1909.09146, algorithm 1). Two models a peer share the features:

    x = (1, log10 of the predicted seconds from 1 ms (0) to 100 s (1), leases held there / its places)
    speed   of a piece predicted at e seconds and answered after t: e / (e + t); 0 if nothing came. Expected beforehand:
            as fast as this machine, e / (2 e + round trip); the model learns the difference. Learnt at once.
    worth   1 for a run found right, LIE for one found wrong; expected beforehand: WORTH. Learnt from verdicts only.

What is compared is the product of the two upper bounds. Everything is learnt here and stays here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from qcommons.base.canonical import decode, decode_record, encode, encode_record
from qcommons.base.clock import duration_text, seconds_text
from qcommons.base.errors import Corrupt, PeerError
from qcommons.base.units import NS_PER_S, bytes_text
from qcommons.jobs.asks import Ask, due_units, why_closed
from qcommons.mesh.records import PeerId
from qcommons.verify.records import Verdict
from qcommons.verify.verdict import punishes

__all__ = [
    "EGRESS", "PROVEN_RIGHT", "Candidate", "Chooser", "Needs", "Pick", "Relation", "considered", "free",
    "hedge_after_s",
]  # fmt: skip

Relation = Literal["own", "allowed", "stranger"]
Array = NDArray[np.float64]

# egress -> whose nodes the job may reach
EGRESS: dict[str, tuple[Relation, ...]] = {
    "home": (),
    "peers": ("own", "allowed"),
    "public": ("own", "allowed", "stranger"),
}
# state in the mesh -> why nothing is sent there
STATES: dict[str, str] = {
    "known": "others told of it, but no sign of life of its own came yet",
    "suspect": "unreachable: its last sign of life is too long ago; it is asked again when one comes",
    "lost": "unreachable: it is lost since it showed no sign of life; see `qcommons peers`",
    "stopped": "its owner stopped it; it is asked again when it is back",
    "banned": "banned; see `qcommons peers`",
}


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A peer as it stands now, gathered by the node.

    state: of the mesh (known, alive, suspect, lost, stopped, away, banned). round_trip_ns: 0 where not measured.
    offers: engine to its most qubits. memory_bytes: of one run, 0 where unknown. in_flight: our leases there; places:
    its most.
    right: runs found right since its last lie (`quarantine.Standing`). barred_until_s, barred_why: of its quarantine.
    away_until_s: end of a planned absence. refuses: purposes that it refused before.
    """

    peer: PeerId
    node_id: str
    relation: Relation
    state: str
    round_trip_ns: int = 0
    offers: Mapping[str, int]
    version: str = ""
    ask: Ask | None = None
    memory_bytes: int = 0
    in_flight: int = 0
    places: int = 1
    right: int = 0
    barred_until_s: int = 0
    barred_why: str = ""
    away_until_s: int = 0
    refuses: frozenset[str] = frozenset()


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What a piece needs of who runs it.

    engines: any one of them; empty: any at all. expected_s: predicted for this machine. budget: base units for this
    piece, None for no bound. deadline_s: left from now on, None for none. taken: peers that hold this piece already.
    """

    engines: tuple[str, ...]
    qubits: int
    memory_bytes: int
    egress: str
    expected_s: float
    work_units: int
    budget: int | None = None
    deadline_s: float | None = None
    purpose: str = ""
    taken: frozenset[PeerId] = frozenset()


# who is considered


def considered(needs: Needs, candidates: Sequence[Candidate], now_s: int) -> list[tuple[Candidate, str | None]]:
    """Each candidate with None, or the first reason (in the order of `RULES`) why it is left out. now_s: Unix."""
    return [
        (one, next((why for rule in RULES if (why := rule(needs, one, now_s))), None))
        for one in sorted(candidates, key=lambda one: one.peer)
    ]


def free(rows: Sequence[tuple[Candidate, str | None]]) -> list[Candidate]:
    """Those that are not left out."""
    return [one for one, why in rows if why is None]


def _egress(needs: Needs, one: Candidate, now_s: int) -> str:
    if one.relation in EGRESS.get(needs.egress, ()):
        return ""
    if needs.egress == "peers":
        return f"a stranger, and the job's egress is peers; submit it with --egress public, or allow {one.node_id}"
    return (
        f"the job's egress is {needs.egress}: it leaves this node for nobody; submit it with --egress peers or public"
    )


def _taken(needs: Needs, one: Candidate, now_s: int) -> str:
    return "it holds this piece already" if one.peer in needs.taken else ""


def _state(needs: Needs, one: Candidate, now_s: int) -> str:
    if one.state == "away" or one.away_until_s > now_s:
        left_s = one.away_until_s - now_s
        return f"away as planned, for another {_span(left_s)}" if left_s > 0 else "away as planned"
    return STATES.get(one.state, "")


def _barred(needs: Needs, one: Candidate, now_s: int) -> str:
    return f"in quarantine: {one.barred_why}" if one.barred_until_s > now_s else ""


def _purpose(needs: Needs, one: Candidate, now_s: int) -> str:
    return f"its owner refuses the purpose {needs.purpose!r}" if needs.purpose in one.refuses else ""


def _engine(needs: Needs, one: Candidate, now_s: int) -> str:
    if not one.offers:
        return "it offers no engine: sharing is off there"
    fitting = {name: one.offers[name] for name in needs.engines or sorted(one.offers) if name in one.offers}
    if not fitting:
        return f"it offers {', '.join(sorted(one.offers))}; {' or '.join(needs.engines)} is needed"
    name = max(sorted(fitting), key=lambda name: fitting[name])
    widest = fitting[name]
    return f"too narrow: {name} up to {widest} qubits there; {needs.qubits} are needed" if widest < needs.qubits else ""


def _memory(needs: Needs, one: Candidate, now_s: int) -> str:
    if not 0 < one.memory_bytes < needs.memory_bytes:
        return ""
    return f"a run may take {bytes_text(one.memory_bytes)} there; {bytes_text(needs.memory_bytes)} are needed"


def _ask(needs: Needs, one: Candidate, now_s: int) -> str:
    if one.ask is not None:
        return why_closed(one.ask, now_s)
    if one.relation == "stranger" and needs.budget is not None:
        return "it asks no price, and a stranger's work without one fits no budget; leave the budget out to try it"
    return ""


def _price(needs: Needs, one: Candidate, now_s: int) -> str:
    if one.ask is None or needs.budget is None:
        return ""
    due = due_units(one.ask.price_per_giga, needs.work_units)
    return (
        f"it asks {due} base units for this piece; {needs.budget} are left of the budget" if due > needs.budget else ""
    )


def _deadline(needs: Needs, one: Candidate, now_s: int) -> str:
    if needs.deadline_s is None:
        return ""
    takes_s = one.round_trip_ns / NS_PER_S
    if one.ask is not None and one.ask.capacity_per_s:  # its own word, which it would not make worse than it is
        takes_s += needs.work_units / one.ask.capacity_per_s
    if takes_s <= needs.deadline_s:
        return ""
    return f"too slow: {seconds_text(takes_s)} by its own word; {seconds_text(max(needs.deadline_s, 0.0))} are left"


def _places(needs: Needs, one: Candidate, now_s: int) -> str:
    places = min(one.places, one.ask.places) if one.ask is not None else one.places
    return f"no free place: we hold {one.in_flight} of {places} there" if one.in_flight >= places else ""


RULES: tuple[Callable[[Needs, Candidate, int], str], ...] = (
    _egress, _taken, _state, _barred, _purpose, _engine, _memory, _ask, _price, _deadline, _places,
)  # fmt: skip


def _span(seconds: int) -> str:
    return duration_text(seconds * NS_PER_S)


# who is chosen

VERSION = "qcommons/chooser.1"
GAMMA = 0.998  # a choice 500 choices ago weighs 1/e: drift is noticed, twenty peers are still told apart
RIDGE = 1.0  # lambda: as if each feature had been seen once, as expected
ALPHA = 0.4  # width of the upper bound, as a share of full speed or worth
WORTH = 0.5  # of who was never checked
LIE = -1.0  # one lie outweighs three right answers
PROVEN_RIGHT = 3  # runs found right since the last lie, to count as proven
UNPROVEN_EACH = 5  # one of so many choices where somebody proven was free may go to who is not, at most
UNPROVEN_SAVED = 10  # of those, if they were not used: so a flood of fresh names finds no more than ten at once
PEERS_MAX = 512  # of 0.4 KB stored; who was not chosen for the longest is forgotten
SHORTEST_S, DECADES = 1e-3, 5
SPEED, TRUST = 0, 1  # first axis of what is learnt of a peer
FEATURES = 3
KEPT_BYTES_MAX = 1 << 19
KEPT_ITEMS_MAX = PEERS_MAX * 50

Vector = Annotated[tuple[float, ...], msgspec.Meta(min_length=2 * FEATURES, max_length=2 * FEATURES)]
Matrix = Annotated[tuple[float, ...], msgspec.Meta(min_length=2 * FEATURES**2, max_length=2 * FEATURES**2)]


class Pick(msgspec.Struct, frozen=True, kw_only=True):
    """One choice, kept with the lease until its report and its verdict. x: features. expected_s: as in `Needs`, at
    least SHORTEST_S; prior: expected speed. why: for people."""

    peer: PeerId
    x: tuple[float, float, float]
    expected_s: float
    prior: float
    why: str


class _Arm:
    """What is learnt of one peer, of its speed and its worth: s, t (2, 3, 3): sums of x x^T with weights gamma^age and
    gamma^(2 age); b (2, 3): of (what came - what was expected) x. seen: the choice up to which it has faded."""

    def __init__(self, seen: int) -> None:
        self.s, self.t = np.zeros((2, FEATURES, FEATURES)), np.zeros((2, FEATURES, FEATURES))
        self.b = np.zeros((2, FEATURES))
        self.seen = seen

    def add(self, model: int, x: Sequence[float], surprise: float, now: int) -> None:
        fade = GAMMA ** (now - self.seen)
        self.s, self.t, self.b, self.seen = self.s * fade, self.t * fade**2, self.b * fade, now
        outer = np.outer(x, x)
        self.s[model] += outer
        self.t[model] += outer
        self.b[model] += surprise * np.array(x)


class _KeptArm(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    peer: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    seen: int
    s: Matrix
    t: Matrix
    b: Vector


class _Kept(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    step: Annotated[int, msgspec.Meta(ge=0)]
    credit: Annotated[int, msgspec.Meta(ge=0, le=UNPROVEN_EACH * UNPROVEN_SAVED)]
    arms: Annotated[tuple[_KeptArm, ...], msgspec.Meta(max_length=PEERS_MAX)]


class Chooser:
    """State: a model of each peer that was chosen, how many choices there were, and the credit for unproven peers: a
    choice where both kinds are free adds 1, one that falls on an unproven peer takes UNPROVEN_EACH."""

    def __init__(self) -> None:
        self._arms: dict[PeerId, _Arm] = {}
        self._step = self._credit = 0

    def choose(self, needs: Needs, candidates: Sequence[Candidate], rng: np.random.Generator) -> Pick | None:
        """One of the candidates, all of which can run the piece (`free`); None where there are none. rng: for ties.

        Same history, candidates and generator: same choice, in whatever order they come.
        """
        rows = sorted(candidates, key=lambda one: one.peer)
        if not rows:
            return None
        proven = [one for one in rows if one.right >= PROVEN_RIGHT]
        is_mixed = 0 < len(proven) < len(rows)
        if is_mixed:
            self._credit = min(self._credit + 1, UNPROVEN_EACH * UNPROVEN_SAVED)
            rows = rows if self._credit >= UNPROVEN_EACH else proven
        self._step += 1
        speeds, worths, xs = self._bounds(needs, rows)
        scores = speeds * worths
        best = np.flatnonzero(scores >= scores.max() - 1e-12)
        at = int(best[int(rng.integers(len(best)))])
        one = rows[at]
        is_new = one.right < PROVEN_RIGHT
        self._credit -= UNPROVEN_EACH * (is_mixed and is_new)
        checked = f"{one.right} runs of it were found right" + (", so it is tried" if is_new else "")
        why = f"best of {len(candidates)} by speed {speeds[at]:.2f} times worth {worths[at]:.2f} at most; {checked}"
        x = (float(xs[at, 0]), float(xs[at, 1]), float(xs[at, 2]))
        return Pick(peer=one.peer, x=x, expected_s=_predicted_s(needs), prior=_prior(needs, one), why=why)

    def reported(self, pick: Pick, latency_s: float | None) -> None:
        """Its answer came after so many seconds; None: it failed, was late or stayed away. Learnt at once."""
        speed = 0.0 if latency_s is None else pick.expected_s / (pick.expected_s + max(latency_s, 0.0))
        self._arm(pick.peer).add(SPEED, pick.x, speed - pick.prior, self._step)

    def judged(self, pick: Pick, verdict: Verdict) -> None:
        """A check of this node ended. Only what it decided is learnt: nothing from a majority for or against the peer,
        which liars can be, nor from the clock, which is in `reported`."""
        if (verdict.kind == "right" and verdict.ground == "recomputed") or punishes(verdict):
            worth = 1.0 if verdict.kind == "right" else LIE
            self._arm(pick.peer).add(TRUST, pick.x, worth - WORTH, self._step)

    def kept(self) -> bytes:
        """All of it, for a `Store`."""
        arms = tuple(
            _KeptArm(peer, arm.seen, tuple(arm.s.ravel().tolist()), tuple(arm.t.ravel().tolist()),
                     tuple(arm.b.ravel().tolist()))
            for peer, arm in sorted(self._arms.items())
        )  # fmt: skip
        return encode([VERSION, encode_record(_Kept(self._step, self._credit, arms))])

    @classmethod
    def restored(cls, raw: bytes) -> Chooser:
        """What `kept` wrote; of another version, one that learns anew. Raises Corrupt."""
        chooser = cls()
        try:
            found = decode(raw, bytes_max=KEPT_BYTES_MAX, items_max=4)
            if not (isinstance(found, list) and len(found) == 2 and isinstance(found[1], bytes)):
                raise PeerError("no version and content")
            if found[0] != VERSION:
                return chooser
            kept = decode_record(found[1], _Kept, bytes_max=KEPT_BYTES_MAX, items_max=KEPT_ITEMS_MAX)
        except PeerError as error:
            raise Corrupt(f"what was learnt of peers cannot be read: {error}", where="chooser") from error
        chooser._step, chooser._credit = kept.step, kept.credit
        for row in kept.arms:
            arm = chooser._arms[PeerId(row.peer)] = _Arm(row.seen)
            arm.s, arm.t = (np.array(m).reshape(2, FEATURES, FEATURES) for m in (row.s, row.t))
            arm.b = np.array(row.b).reshape(2, FEATURES)
            if row.seen > kept.step or not all(np.isfinite(part).all() for part in (arm.s, arm.t, arm.b)):
                raise Corrupt(f"what was learnt of {row.peer.hex()} is out of range", where="chooser")
        return chooser

    def _bounds(self, needs: Needs, rows: Sequence[Candidate]) -> tuple[Array, Array, Array]:
        """Upper bounds of speed and worth, 0 to 1, and the features, of each."""
        arms = [self._arms.get(one.peer) or _Arm(self._step) for one in rows]
        size = math.log10(_predicted_s(needs) / SHORTEST_S) / DECADES
        xs = np.array([(1.0, min(size, 1.0), one.in_flight / max(one.places, 1)) for one in rows])
        fade = GAMMA ** (self._step - np.array([arm.seen for arm in arms]))[:, None, None, None]
        ridge = RIDGE * np.eye(FEATURES)
        v = np.stack([arm.s for arm in arms]) * fade + ridge
        w = np.stack([arm.t for arm in arms]) * fade**2 + ridge
        theta = np.linalg.solve(v, (np.stack([arm.b for arm in arms]) * fade[..., 0])[..., None])[..., 0]
        u = np.linalg.solve(v, np.broadcast_to(xs[:, None, :, None], (len(rows), 2, FEATURES, 1)))[..., 0]
        width = ALPHA * np.sqrt(np.einsum("nmi,nmij,nmj->nm", u, w, u))
        means = np.einsum("nmi,ni->nm", theta, xs) + np.array([(_prior(needs, one), WORTH) for one in rows])
        bounds = np.clip(means + width, 0.0, 1.0)
        return bounds[:, SPEED], bounds[:, TRUST], xs

    def _arm(self, peer: PeerId) -> _Arm:
        if peer not in self._arms and len(self._arms) >= PEERS_MAX:
            del self._arms[min(self._arms, key=lambda other: (self._arms[other].seen, other))]
        return self._arms.setdefault(peer, _Arm(self._step))


def _prior(needs: Needs, one: Candidate) -> float:
    """Speed to expect of who was never chosen: as fast as this machine, and the round trip."""
    predicted_s = _predicted_s(needs)
    return predicted_s / (2 * predicted_s + one.round_trip_ns / NS_PER_S)


def _predicted_s(needs: Needs) -> float:
    """Below a millisecond everything takes as long as offer, receipt and check do."""
    return max(needs.expected_s, SHORTEST_S)


# when another is asked as well

SAMPLES_MIN = 5  # below, a quantile says nothing
QUANTILE = 0.95  # as hedged requests wait (Dean & Barroso, "The Tail at Scale", CACM 56(2), 2013: 5 % more load)
BEHIND = 3.0  # times what is usual in this job: nobody is waited for longer, however slow it always was
UNKNOWN = 4.0  # times the predicted seconds, where nothing is known yet


def hedge_after_s(
    expected_s: float, round_trip_s: float, job: Sequence[float], own: Sequence[float], left_s: float | None = None
) -> float:
    """Seconds after its lease at which a piece is given to another peer as well (backup tasks: Dean & Ghemawat,
    "MapReduce", OSDI 2004, section 3.6).

    As long as is usual for the job or for this peer (the greater one), at most 3 times the job's, and not past the last
    moment at which a fresh run would still meet the deadline.

    Args:
        expected_s: predicted for this machine. job, own: seconds from lease to report by predicted seconds, of this
            job's pieces and of this peer's last ones. left_s: until the deadline, None for none.
    """
    usual_s = (_quantile(job) or UNKNOWN) * expected_s + round_trip_s
    own_s = (_quantile(own) or 0.0) * expected_s
    after_s = min(max(usual_s, own_s), BEHIND * usual_s)
    return after_s if left_s is None else max(0.0, min(after_s, left_s - usual_s))


def _quantile(ratios: Sequence[float]) -> float:
    """0.0 where there are too few."""
    return float(np.quantile(ratios, QUANTILE)) if len(ratios) >= SAMPLES_MIN else 0.0
