"""The JSON of every command: what `--json` prints where the command did what it was asked.

Flow: rows of `SHAPES` -> *schema_text* -> docs/schema/cli.schema.json, one definition a command, under its name.
`python -m qcommons.clients.cli.schema` prints it; a test holds the file equal, and the tests of each command hold what
it prints to its definition. Answers of `run` and `job result` are in docs/schema/run.schema.json, of `world` in
world.schema.json.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from qcommons.clients.cli import key_shapes as k
from qcommons.clients.cli import shapes as s
from qcommons.node.api.ask_records import AskList, OwnAsk
from qcommons.node.api.mesh_records import AwayView, InviteView, Joined, MeshView, PapersView, PeerRow, Probed
from qcommons.node.api.quote_records import Quote
from qcommons.node.api.records import JobList, JobView, PolicyView, Status, TokenGiven, Why

__all__ = ["SHAPES", "schema", "schema_text"]

RUN, WORLD = "run.schema.json", "world.schema.json"
# command -> what it prints: types, or files of this folder; several where it depends on the options
SHAPES: dict[str, tuple[Any, ...]] = {
    "run": (RUN, s.Detached),
    "quote": (Quote,),
    "jobs": (JobList,),
    "job": (JobView,),
    "job result": (RUN,),
    "job cancel": (JobView,),
    "job receipt": (s.ReceiptFile,),
    "job export": (s.ArchiveFile,),
    "verify": (s.ArchiveVerified,),
    "why": (Why,),
    "up": (s.Up,),
    "down": (s.Down,),
    "status": (s.StatusLimits,),
    "logs": (s.Lines,),
    "events": (s.Events,),
    "pause": (Status,),
    "resume": (Status,),
    "policy": (PolicyView,),
    "policy remove": (PolicyView,),
    "allow": (PolicyView,),
    "deny": (PolicyView,),
    "token new": (TokenGiven,),
    "token list": (s.Tokens,),
    "token revoke": (s.TokenRevoked,),
    "keys show": (k.KeysShown,),
    "keys backup": (s.Failed,),  # words are shown on a terminal only
    "keys restore": (k.KeyRestored,),
    "keys rotate": (k.KeyRotated,),
    "owner show": (k.OwnerShown,),
    "owner certify": (k.Certified,),
    "owner accept": (k.CertificateAccepted, k.RevocationsAccepted),
    "owner revoke": (k.CertificatesRevoked,),
    "config": (s.SettingsShown,),
    "config show": (s.SettingsShown,),
    "config set": (s.SettingChanged,),
    "config unset": (s.SettingChanged,),
    "peers": (MeshView,),
    "peers allow": (PeerRow,),
    "peers deny": (PeerRow,),
    "peers forget": (s.PeerForgotten,),
    "peers measure": (s.MeasuredRate,),
    "peers papers": (PapersView,),
    "peers probe": (Probed,),
    "invite": (InviteView,),
    "join": (Joined,),
    "asks": (AskList,),
    "ask set": (OwnAsk,),
    "ask show": (s.OwnAsks,),
    "ask withdraw": (OwnAsk,),
    "away": (AwayView,),
    "dev up": (s.DevUp,),
    "dev status": (s.DevStatus,),
    "dev down": (s.DevDown,),
    "world": (WORLD, s.WorldLists),
    "doctor": (s.Doctor,),
    "engines": (s.Engines,),
    "demo": (s.DemoMesh, s.Demo),
    "receipt check": (s.ReceiptChecked,),
    "completion": (s.Completion,),
    "version": (s.Version,),
}


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12): `$defs` holds a definition a command, under its name with `-` for the space."""
    types = list(
        dict.fromkeys([s.Failed, *(one for row in SHAPES.values() for one in row if not isinstance(one, str))])
    )
    found, components = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    refs = dict(zip(types, found, strict=True))
    commands = {
        name.replace(" ", "-"): _any([{"$ref": one} if isinstance(one, str) else refs[one] for one in row])
        for name, row in SHAPES.items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "cli.schema.json",
        "title": "qcommons --json",
        "description": "What each command prints with --json: #/$defs/COMMAND, as in #/$defs/peers-papers. A command "
        "that did not do what it was asked prints #/$defs/Failed.",
        "$defs": components | commands,
    }


def schema_text() -> str:
    """The schema as the file holds it."""
    return msgspec.json.format(msgspec.json.encode(schema(), order="deterministic"), indent=2).decode() + "\n"


def _any(shapes: list[dict[str, Any]]) -> dict[str, Any]:
    return shapes[0] if len(shapes) == 1 else {"anyOf": shapes}


if __name__ == "__main__":
    sys.stdout.write(schema_text())
