"""On which terms a job runs: here or on the mesh, how it is checked, how far it may travel, what it may cost.

Flow: command line, API, Python -> *terms_of* -> Terms -> Job, planner. The same rules at every edge; messages name the
argument at fault.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, get_args

from qcommons.base.errors import UsageError
from qcommons.base.text import shown

__all__ = [
    "ASSURANCES",
    "BUDGET_MAX",
    "EGRESSES",
    "PEERS_MAX",
    "PLACES",
    "Assurance",
    "Egress",
    "On",
    "Terms",
    "terms_of",
]

On = Literal["here", "mesh"]
Assurance = Literal["none", "audit", "replicate"]
Egress = Literal["home", "peers", "public"]
PLACES: tuple[str, ...] = get_args(On)
ASSURANCES: tuple[str, ...] = get_args(Assurance)
EGRESSES: tuple[str, ...] = get_args(Egress)
PEERS_MAX = 1_000
BUDGET_MAX = (1 << 63) - 1
PURPOSE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@/+-]{0,127}", re.ASCII)  # as rules of owners name it (`owner.RULE`)
REPLICAS = 2
HERE = {"assurance": "none", "egress": "home"}
MESH = {"assurance": "audit", "egress": "peers"}  # strangers must be asked for by name: they read the circuit


class Terms(NamedTuple):
    """See `jobs.records.Job`. plan: name of the planner's row that is wanted, None to let it choose."""

    on: str
    assurance: str
    egress: str
    peers: int | None
    budget: int | None
    purpose: str | None
    plan: str | None


def terms_of(
    on: str = "here",
    assurance: str | None = None,
    egress: str | None = None,
    peers: int | None = None,
    budget: int | None = None,
    purpose: str | None = None,
    plan: str | None = None,
) -> Terms:
    """The terms as they were asked, the rest by default: on the mesh audited, at own and allowed nodes only.

    Raises:
        UsageError: a value that cannot be, or one that is for jobs on the mesh alone.
    """
    for name, chosen, allowed in (
        ("on", on, PLACES),
        ("assurance", assurance, ASSURANCES),
        ("egress", egress, EGRESSES),
    ):
        if chosen is not None and chosen not in allowed:
            raise UsageError(
                f"{name}={shown(chosen)}; allowed {', '.join(allowed)}", where=name, limit=", ".join(allowed)
            )
    for name, number, least, most in (("peers", peers, 1, PEERS_MAX), ("budget", budget, 0, BUDGET_MAX)):
        is_whole = isinstance(number, int) and not isinstance(number, bool)
        if number is not None and not (is_whole and least <= number <= most):
            raise UsageError(f"{name}={shown(number)}; allowed {least} to {most}", where=name, limit=f"{most}")
    if purpose is not None and not (isinstance(purpose, str) and PURPOSE.fullmatch(purpose)):
        raise UsageError(
            f"purpose={shown(purpose)}; 1 to 128 of a-z A-Z 0-9 . _ @ / + - and no sign in front", where="purpose"
        )
    terms = Terms(
        on, assurance or (MESH if on == "mesh" else HERE)["assurance"],
        egress or (MESH if on == "mesh" else HERE)["egress"], peers, budget, purpose, plan,
    )  # fmt: skip
    return _on_mesh(terms) if on == "mesh" else _here(terms)


def _here(terms: Terms) -> Terms:
    asked = (
        ("assurance", terms.assurance != "none"), ("peers", terms.peers is not None),
        ("budget", terms.budget is not None), ("plan", terms.plan is not None),
    )  # fmt: skip
    for name, is_asked in asked:
        if is_asked:
            what = f'{name} is for jobs on the mesh: say --on mesh (on="mesh") as well, or leave it out'
            raise UsageError(what, where=name)
    return terms


def _on_mesh(terms: Terms) -> Terms:
    if terms.egress == "home":
        what = (
            "a job with egress home runs on this node and nowhere else: leave --on mesh out, or say --egress peers "
            "(own and allowed nodes) or --egress public (anybody's)"
        )
        raise UsageError(what, where="egress", limit="peers, public")
    if terms.assurance == "replicate" and terms.peers is not None and terms.peers < REPLICAS:
        what = f"assurance replicate needs {REPLICAS} peers or more; peers={terms.peers}"
        raise UsageError(what, where="peers", limit=f"{REPLICAS}")
    return terms
