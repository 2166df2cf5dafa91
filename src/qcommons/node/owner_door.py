"""The owner's half of the door: how the node is, what it may do, who may come in.

Flow: api/routes -> *OwnerDoor* (half of `api.door.Door`) -> shell -> core; settings -> config file.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable

import msgspec

from qcommons.base.errors import Unavailable, UsageError
from qcommons.base.units import s_to_ns
from qcommons.base.version import package_version
from qcommons.node import config, health
from qcommons.node.api.mesh_door import MeshDoor
from qcommons.node.api.records import (
    NewToken,
    Now,
    Pausing,
    PolicyChange,
    PolicyView,
    SettingView,
    Status,
    TokenGiven,
    TokenView,
    Trouble,
)
from qcommons.node.home import DRAIN_S
from qcommons.node.keys import token_key
from qcommons.node.logbook import Logbook, newest
from qcommons.node.mesh.slot import MeshSlot
from qcommons.node.messages import Drain, LimitsSet, PauseAsked, PolicySet, ResumeAsked
from qcommons.node.metrics import Metrics
from qcommons.node.owner import Pause, Policy, parse_rule
from qcommons.node.shell import Shell
from qcommons.node.tokens import Tokens

__all__ = ["NodeFacts", "OwnerDoor"]

SETTLED_NS = 15_000_000_000  # some sensors answer at their second reading


class NodeFacts(msgspec.Struct, frozen=True):
    """What does not change while the node runs."""

    node_id: str
    home: str
    url: str
    started_ns: int


class OwnerDoor:
    """settings: as they are now; `reload` reads them again after a change."""

    def __init__(
        self,
        shell: Shell,
        facts: NodeFacts,
        tokens: Tokens,
        logbook: Logbook,
        metrics: Metrics,
        settings: Callable[[], config.Settings],
        reload: Callable[[], config.Settings],
        ended: Counter[str],
        mesh: MeshSlot | None = None,
    ) -> None:
        self._shell, self.facts, self._tokens = shell, facts, tokens
        self._logbook, self._metrics = logbook, metrics
        self._settings, self._reload = settings, reload
        self._ended = ended
        self._mesh = mesh
        self._jumped_since_ns: int | None = None
        self._editing = asyncio.Lock()  # of the config file

    @property
    def mesh(self) -> MeshDoor:
        if self._mesh is None:
            raise Unavailable("this node has no mesh", where="mesh")
        return self._mesh.door

    # how it is

    def status(self) -> Status:
        shell, facts = self._shell, self.facts
        core, now_ns = shell.core, shell.clock.now_ns()
        troubles = self.troubles(now_ns)
        running = tuple(
            Now(job=held.entry.id, principal=held.entry.principal, tags=held.entry.tags, title=held.entry.title,
                since_ns=held.entry.since_ns, runs=held.entry.runs, answered=held.entry.answered,
                attempts=shell.attempts(held.entry.id))
            for held in (*core.desk.running.values(), *core.desk.abroad.values())
        )  # fmt: skip
        open_jobs = Counter(held.entry.state for held in core.desk)
        return Status(
            health=health.worst(troubles),
            sentence=health.sentence(troubles, len(running), core.desk.waiting, now_ns),
            troubles=troubles, node_id=facts.node_id, version=package_version(), url=facts.url, home=facts.home,
            pid=os.getpid(), started_ns=facts.started_ns, now_ns=now_ns, running=running, waiting=core.desk.waiting,
            jobs=dict(self._ended + open_jobs), workers=shell.pool.size, workers_alive=len(shell.pool.pids()),
            memory_bytes=int(float(self._settings()["limits.memory"].value)), policy=self.policy(),
            draining=core.gate.draining, mesh=None if self._mesh is None else self._mesh.summary(),
        )  # fmt: skip

    def troubles(self, now_ns: int) -> tuple[Trouble, ...]:
        """Red ones first."""
        shell, core = self._shell, self._shell.core
        found: list[Trouble | None] = []
        if shell.failed is not None:
            what, cause = "the node stopped by its own fault", f"{type(shell.failed).__name__}: {shell.failed}"
            found.append(
                _red(what, cause, "qcommons", now_ns, "see qcommons logs, then start it again: qcommons up -d")
            )
        disk = shell.disk.trouble
        if disk is not None:
            found.append(health.disk_trouble(disk.kind, disk.cause, disk.since_ns, disk.action))
        if shell.not_started is not None:
            cause = shell.not_started.what
            found.append(_red("no worker can be started", cause, "resources", now_ns, "see qcommons doctor"))
        found += [] if self._mesh is None else self._mesh.troubles()
        found.append(health.gate_trouble(core.gate.start(now_ns)))
        if now_ns - self.facts.started_ns > SETTLED_NS:
            found += health.unchecked_troubles(core.gate.limits, core.gate.sense, self.facts.started_ns)
        jumped_ns = shell.clock.jumped_ns()
        if abs(jumped_ns) <= health.JUMP_NS:
            self._jumped_since_ns = None
        elif self._jumped_since_ns is None:
            self._jumped_since_ns = now_ns
        since_ns = self._jumped_since_ns or now_ns
        found.append(health.clock_trouble(jumped_ns, shell.clock.set_back_ns, self.facts.started_ns, since_ns))
        return tuple(sorted((one for one in found if one is not None), key=lambda one: one.level != "red"))

    def log_lines(self, last: int) -> list[str]:
        return newest(self._logbook.path, last)

    def metrics(self) -> str:
        return self._metrics.text()

    # what it may do

    async def pause(self, pausing: Pausing, who: str) -> Status:
        now_ns = self._shell.clock.now_ns()
        until_ns = None if pausing.for_s is None else now_ns + s_to_ns(pausing.for_s)
        pause = Pause(now_ns, until_ns, pausing.finish, who)
        await self._shell.ask(lambda ticket: PauseAsked(ticket, pause))
        return self.status()

    async def resume(self, who: str) -> Status:
        await self._shell.ask(lambda ticket: ResumeAsked(ticket, who))
        return self.status()

    def policy(self) -> PolicyView:
        policy = self._shell.core.gate.policy
        return PolicyView(policy.allow, policy.deny)

    async def set_policy(self, change: PolicyChange, who: str) -> PolicyView:
        allow, deny, remove = (
            [parse_rule(rule, name) for rule in rules]
            for name, rules in (("allow", change.allow), ("deny", change.deny), ("remove", change.remove))
        )
        old = self._shell.core.gate.policy
        missing = [rule for rule in remove if rule not in (*old.allow, *old.deny)]
        if missing:
            raise UsageError(f"there is no rule {missing[0]!r}; see them: qcommons policy", where="remove")
        new = Policy(
            tuple(rule for rule in dict.fromkeys((*old.allow, *allow)) if rule not in (*remove, *deny)),
            tuple(rule for rule in dict.fromkeys((*old.deny, *deny)) if rule not in (*remove, *allow)),
        )
        await self._shell.ask(lambda ticket: PolicySet(ticket, new))
        return self.policy()

    def settings(self) -> list[SettingView]:
        values = self._settings()
        return [_view(row, values[row.key]) for row in config.SETTINGS]

    async def set_setting(self, key: str, value: str | None, who: str) -> SettingView:
        row = next((row for row in config.SETTINGS if key and key in (row.key, row.also)), None)
        if row is None:
            raise UsageError(config.unknown(key), where="setting")
        async with self._editing:
            if value is None:
                await asyncio.to_thread(config.unset, key)
            else:
                await asyncio.to_thread(config.set_value, key, value)
            settings = self._reload()
        self._shell.deliver(LimitsSet(config.owner_limits(settings)))
        return _view(row, settings[row.key])

    # who may come in

    def principal_of(self, token: str) -> str | None:
        return self._tokens.principal_of(token)

    def tokens(self) -> list[TokenView]:
        return [
            TokenView(id=token.id, principal=token.principal, made_ns=token.made_ns, expires_ns=token.expires_ns)
            for token in self._tokens.listed()
        ]

    async def new_token(self, asked: NewToken) -> TokenGiven:
        now_ns = self._shell.clock.now_ns()
        expires_ns = None if asked.for_s is None else now_ns + s_to_ns(asked.for_s)
        token, text = self._tokens.make(asked.principal, expires_ns)
        try:
            await self._shell.keep(token_key(token.id), msgspec.msgpack.encode(token))
        except BaseException:
            self._tokens.revoke(token.id)
            raise
        return TokenGiven(id=token.id, principal=token.principal, token=text, expires_ns=expires_ns)

    async def revoke_token(self, token_id: str) -> None:
        self._tokens.revoke(token_id)
        await self._shell.keep(token_key(token_id), None)

    async def shut_down(self, drain_s: float = DRAIN_S) -> Status:
        now_ns = self._shell.clock.now_ns()
        if not self._shell.core.gate.draining:
            self._shell.deliver(Drain(now_ns + s_to_ns(drain_s)))
        return self.status()


def _view(row: config.Setting, value: config.Value) -> SettingView:
    restart = row.key in ("limits.workers", "limits.operations", "api.port") or row.key.startswith(("mesh.", "share."))
    return SettingView(
        key=row.key, value=value.value, text=row.show(value.value), unit=row.unit, origin=value.origin,
        applies="restart" if restart else "now",
    )  # fmt: skip


def _red(what: str, cause: str, who: str, since_ns: int, action: str) -> Trouble:
    return Trouble(level="red", what=what, cause=cause, who=who, since_ns=since_ns, action=action)
