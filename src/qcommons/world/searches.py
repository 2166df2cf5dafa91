"""Searches: nodes that look for a provider of an offer, what they find, and what it costs.

Flow: scenario with `providers` -> *Searches*: some hosts offer OFFER; at random times a node is told `Seek` -> core
(`mesh/find.py`) -> Found -> counted here. Rule "found": when all is well, at least nine of ten searches find somebody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qcommons.base.seeds import stream
from qcommons.mesh.events import Found, Seek
from qcommons.mesh.find import FIND
from qcommons.mesh.messages import Request
from qcommons.world.draws import Draws
from qcommons.world.host import Host, Life

if TYPE_CHECKING:
    from qcommons.world.stage import Stage

__all__ = ["OFFER", "RULES", "Searches"]

S_NS = 10**9
OFFER = "aer:30"
WITHIN_NS = 5 * S_NS
CALM = 40  # searches when all is well
# of these must find somebody. Where one search in a thousand fails, the chance that five of forty do is below 1e-9
FOUND_MIN = 36
HEAD = bytes([len(FIND)]) + FIND.encode()

RULES: dict[str, str] = {
    "found": f"{FOUND_MIN} of {CALM} searches for an offer that somebody has find somebody, when all is well",
}


class Searches:
    """seeks: ticket -> what came, None where nothing has yet. messages: requests that searches sent, over all steps."""

    def __init__(self, stage: Stage) -> None:
        self.seeks: dict[str, Found | None] = {}
        self.messages = 0
        self._stage = stage
        self._draws = Draws(stream(stage.seed, "world", "searches"))
        row, hosts = stage.scenario, stage.world.hosts
        self.is_on = row.providers > 0
        if not self.is_on:
            return
        count = max(1, round(row.providers * len(hosts)))
        for host in self._draws.some(hosts, count):
            host.offers = (OFFER,)
        stage.world.heard[Found] = [self._found]
        stage.world.network.watched[Request] = self._sent

    def begin(self) -> None:
        """Searches at random times, until the faults are over."""
        if self.is_on and self._stage.scenario.seek_s:
            self._later()

    def calm(self) -> None:
        """Many at once, when all is well."""
        if not self.is_on:
            return
        seekers, world = self._seekers(), self._stage.world
        if not seekers or len(seekers) == len(self._stage.live()):
            return
        before = set(self.seeks)
        for place in range(CALM):
            self.seek(seekers[place * len(seekers) // CALM])
        world.run(world.now_ns + WITHIN_NS + S_NS)
        found = [what for ticket, what in self.seeks.items() if ticket not in before]
        good = sum(1 for what in found if what is not None and what.records)
        if good < FOUND_MIN:
            world.violated("found", -1, f"{good} of {CALM} searches found a provider; {FOUND_MIN} needed")

    def finish(self) -> None:
        """At the end of the run: nothing."""

    def seek(self, host: Host) -> None:
        """`host` looks for one provider."""
        ticket = f"seek-{len(self.seeks)}"
        self.seeks[ticket] = None
        self._stage.world.tell(host, Seek(ticket, OFFER, 1, WITHIN_NS))

    def rules(self) -> tuple[str, ...]:
        """Names of what is checked here."""
        return tuple(RULES) if self.is_on else ()

    def measures(self) -> dict[str, float]:
        """Figures of the report."""
        ended = [what for what in self.seeks.values() if what is not None]
        if not ended:
            return {}
        return {
            "searches": len(ended),
            "share of searches that found a provider": round(sum(bool(w.records) for w in ended) / len(ended), 4),
            "nodes that looked, per search": round(sum(w.asked for w in ended) / len(ended), 2),
            "messages per search": round(2 * self.messages / len(ended), 2),  # each request has its answer
        }

    def _later(self) -> None:
        after_ns = int(self._draws.exponential(self._stage.scenario.seek_s) * S_NS) + 1
        self._stage.world.call(self._stage.world.now_ns + after_ns, self._again)

    def _again(self) -> None:
        if self._stage.over:
            return
        seekers = self._seekers()
        if seekers:
            self.seek(self._draws.one(seekers))
        self._later()

    def _seekers(self) -> list[Host]:
        """Who is up and has not got it itself."""
        return [host for host in self._stage.live() if not host.offers]

    def _found(self, life: Life, to: str, what: Found, at_ns: int) -> None:
        self.seeks[to] = what

    def _sent(self, life: Life, message: Request) -> None:
        self.messages += message.payload.startswith(HEAD)
