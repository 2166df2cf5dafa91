"""`qcommons policy`, `allow`, `deny`: whose work the node takes. Deny wins; no allow rule means everybody.

Flow: rules -> node -> PolicyView -> *policy* -> text or JSON. The owner's own work is taken whatever `allow` says.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from qcommons.clients.cli.asking import connect, say
from qcommons.clients.cli.options import JSON, NODE, Option

if TYPE_CHECKING:
    from qcommons.node.api.records import PolicyView

__all__ = ["WORDS"]

RULES = Option(
    "rule", "RULE",
    "principal:NAME (whom a token was given to; a node, by its id; yourself: principal:home), tag:NAME, purpose:NAME "
    "(a campaign, as who submits names it), or * for everybody.", repeat=True,
)  # fmt: skip
OWN = {"principal:home", "*"}  # rules that name the owner's own work


def _policy(args: argparse.Namespace) -> int:
    """Print the rules."""
    with connect(args) as node:
        return _say(args, node.policy())


def _allow(args: argparse.Namespace) -> int:
    """Add rules that let work in."""
    with connect(args) as node:
        return _say(args, node.allow(*args.rule))


def _deny(args: argparse.Namespace) -> int:
    """Add rules that keep work out."""
    with connect(args) as node:
        return _say(args, node.deny(*args.rule))


def _remove(args: argparse.Namespace) -> int:
    """Take rules out of both lists."""
    with connect(args) as node:
        return _say(args, node.forget_rules(*args.rule))


def _say(args: argparse.Namespace, policy: PolicyView) -> int:
    say(args, policy, _lines(policy))
    return 0


def _lines(policy: PolicyView) -> Iterator[str]:
    yield f"allow  {', '.join(policy.allow) or 'everybody who has a token'}"
    yield f"deny   {', '.join(policy.deny) or 'nobody'}"
    holding = [rule for rule in policy.deny if rule in OWN]
    if holding:
        yield f"Your own work is held back too, by deny {holding[0]}. Let it in: qcommons policy remove '{holding[0]}'"
    elif policy.allow and not OWN.intersection(policy.allow):
        yield "Your own work is taken as before; only deny principal:home holds it back."


WORDS = {
    "policy": ((NODE, JSON), _policy),
    "policy remove": ((RULES, NODE, JSON), _remove),
    "allow": ((RULES, NODE, JSON), _allow),
    "deny": ((RULES, NODE, JSON), _deny),
}
