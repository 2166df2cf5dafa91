"""The description of an archive: ro-crate-metadata.json, which lists every file with its hash, size and meaning.

Flow: Contents, files -> *metadata* -> bytes, which the submitting node signs => anybody: *listed* -> hash by name.

RO-Crate 1.2 (https://w3id.org/ro/crate/1.2): flat JSON-LD; "./" is the archive, with name, description, datePublished
and license; files are `File` entities linked by `hasPart`; what was done is a `CreateAction` with agent, instruments
and results (section "Provenance of entities"). `sha256` is a term of its context.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from qcommons.base.errors import PeerError
from qcommons.base.typed import described
from qcommons.jobs.archive import Contents, Used, date_text
from qcommons.jobs.archive_citations import Citation, citations

__all__ = ["METADATA", "SIGNATURE", "Listed", "Made", "listed", "metadata", "uses_of"]

METADATA, SIGNATURE = "ro-crate-metadata.json", "signature.cbor"
SPEC = "https://w3id.org/ro/crate/1.2"
NO_LICENCE = "No licence was stated: ask the node that made it, or whoever gave it to you, before you use it."
ACTION = "#job"

Entity = dict[str, Any]


class Made(NamedTuple):
    """A file before it is packed. title: what it is, for people. media: its type."""

    name: str
    data: bytes
    title: str
    media: str


class Listed(NamedTuple):
    """A file as the metadata names it."""

    sha256: str
    size_bytes: int


def metadata(contents: Contents, files: Iterable[Made], licence: str) -> bytes:
    """licence: a URL, or words; "" for none stated."""
    head = contents.head
    files = tuple(files)
    cited = citations(uses_of(contents))
    engines = {(one.engine, one.version): one for one in contents.versions.used}
    ended, author = date_text(head.ended_ns), f"#{head.node_id}"
    names = [card.name or card.program_id[:12] for card in head.job.programs]
    runs, parts = len(head.job.points), [file.name for file in files]
    status = "Completed" if head.state == "done" else "Failed"
    root: Entity = {
        "@id": "./", "@type": "Dataset", "name": f"Quantum Commons job {head.job.id}",
        "description": f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}: {runs} run{'s' * (runs != 1)}, "
        f"{head.state}. Programs, plan, answers, receipts and verdicts; check it offline: qcommons verify FILE",
        "datePublished": ended, "license": {"@id": licence} if _is_url(licence) else licence or NO_LICENCE,
        "identifier": head.job.id, "author": {"@id": author}, "mentions": [{"@id": ACTION}],
        "citation": _refs(cite.url for cite in cited), "hasPart": _refs([*parts, SIGNATURE]),
    }  # fmt: skip
    graph: list[Entity] = [
        {"@id": METADATA, "@type": "CreativeWork", "conformsTo": {"@id": SPEC}, "about": {"@id": "./"}},
        root,
        _node(head.node_id, "The node that was asked, and that signed this archive."),
        {
            "@id": ACTION, "@type": "CreateAction", "name": f"Job {head.job.id}: {head.state}",
            "description": head.cause, "startTime": date_text(head.submitted_ns), "endTime": ended,
            "agent": {"@id": author}, "instrument": _refs(map(_engine_id, engines.values())),
            "object": _refs(name for name in parts if name.startswith("programs/") or name == "job.json"),
            "result": _refs(["result.json", "outcomes.jsonl"]),
            "actionStatus": {"@id": f"http://schema.org/{status}ActionStatus"},
        },
        *_leases(contents),
        *(_node(peer, "A peer that was hired.") for peer in sorted({one.node_id for one in contents.leases})),
        *map(_engine, engines.values()),
        *({"@id": one.url, "@type": "ScholarlyArticle", "name": one.text} for one in cited),
        *map(_file, files),
        {
            "@id": SIGNATURE, "@type": "File", "name": "Signature of the node under this list of files",
            "encodingFormat": "application/cbor",
        },
    ]  # fmt: skip
    if _is_url(licence):
        graph.append({"@id": licence, "@type": "CreativeWork", "name": licence, "description": "The licence stated."})
    crate = {"@context": f"{SPEC}/context", "@graph": graph}
    return msgspec.json.format(msgspec.json.encode(crate), indent=1) + b"\n"


def uses_of(contents: Contents) -> set[str]:
    """What was used, as `archive_citations` names it."""
    found = {"check signature", "check receipt"}
    for one in contents.versions.used:
        found |= {f"engine {name}" for name in one.engine.split("+")}
        found |= {f"method {name}" for name in one.method.split("+")}
    return found if contents.plan is None else found | {f"plan {contents.plan.row}"}


def listed(data: bytes) -> dict[str, Listed]:
    """Name -> hash and size of each file that the metadata names, but itself and the signature.

    Raises:
        PeerError: it is no metadata of an archive.
    """
    try:
        crate = msgspec.json.decode(data, type=described(_Crate))
        found: dict[str, Listed] = {}
        for entity in crate.graph:
            if entity.get("@type") != "File" or entity.get("@id") == SIGNATURE:
                continue
            row = msgspec.convert(entity, described(_FileRow))
            if row.id in found:
                raise PeerError(f"{row.id[:80]!r} is listed twice", where=METADATA)
            found[row.id] = Listed(row.sha256, row.contentSize)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise PeerError(f"it is no description of an archive: {error}", where=METADATA) from None
    return found


class _Crate(msgspec.Struct, frozen=True, rename={"graph": "@graph"}):
    graph: tuple[dict[str, Any], ...]


class _FileRow(msgspec.Struct, frozen=True, rename={"id": "@id"}):
    id: str
    sha256: str
    contentSize: int  # schema.org's word


# entities


def _file(made: Made) -> Entity:
    return {
        "@id": made.name, "@type": "File", "name": made.title, "encodingFormat": made.media,
        "contentSize": len(made.data), "sha256": hashlib.sha256(made.data).hexdigest(),
    }  # fmt: skip


def _node(node_id: str, description: str) -> Entity:
    return {"@id": f"#{node_id}", "@type": "Organization", "name": f"Q-node {node_id}", "identifier": node_id,
            "description": description}  # fmt: skip


def _leases(contents: Contents) -> Iterable[Entity]:
    """One action a lease whose answers were taken."""
    for one in contents.leases:
        if one.accepted:
            used = {_engine_id(row): None for row in contents.versions.used if row.node_id == one.node_id}
            yield {
                "@id": f"#lease-{one.lease}", "@type": "CreateAction",
                "name": f"{len(one.accepted)} of the runs, by a peer", "agent": {"@id": f"#{one.node_id}"},
                "object": [{"@id": f"leases/{one.lease}.json"}], "instrument": _refs(used),
                "result": _refs([f"receipts/{one.lease}.json", "outcomes.jsonl"]),
            }  # fmt: skip


def _engine_id(used: Used) -> str:
    return f"#engine-{used.engine}-{used.version or 'unknown'}"


def _engine(used: Used) -> Entity:
    cited: tuple[Citation, ...] = citations({f"engine {name}" for name in used.engine.split("+")})
    return {
        "@id": _engine_id(used), "@type": "SoftwareApplication", "name": f"engine {used.engine}",
        "version": used.version or "unknown", "citation": _refs(cite.url for cite in cited),
    }  # fmt: skip


def _refs(ids: Iterable[str] | Mapping[str, Any]) -> list[Entity]:
    return [{"@id": one} for one in dict.fromkeys(ids)]


def _is_url(text: str) -> bool:
    return text.startswith(("https://", "http://"))
