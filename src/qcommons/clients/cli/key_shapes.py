"""What `keys` and `owner` print with `--json`: one type a body.

Flow: *these* -> rows of `schema` -> docs/schema/cli.schema.json, as `shapes`.
"""

from __future__ import annotations

from typing import Literal

from qcommons.clients.cli.shapes import Shape

__all__ = [
    "CertificateAccepted",
    "CertificateShown",
    "CertificatesRevoked",
    "Certified",
    "Followed",
    "KeyRestored",
    "KeyRotated",
    "KeyShown",
    "KeysShown",
    "OwnerShown",
    "RevocationsAccepted",
]


class KeyShown(Shape, frozen=True):
    """light: its passphrase is stretched less than is usual today."""

    id: str
    sealed_by: str
    light: bool
    file: str


class Followed(Shape, frozen=True):
    """A key that another one followed, and when."""

    of: Literal["node", "owner"]
    old: str
    new: str
    at_ns: int


class KeysShown(Shape, frozen=True):
    """`keys show`: None where there is no such key yet."""

    node: KeyShown | None
    owner: KeyShown | None
    successions: tuple[Followed, ...]


class KeyRestored(Shape, frozen=True):
    """kept_as: the file of the key that was there before. warning: what to do before it is used, "" for nothing."""

    id: str
    sealed_by: str | None
    was_there: bool
    kept_as: str | None
    warning: str


class KeyRotated(Shape, frozen=True):
    """`keys rotate`. record: the succession's file. kept_as: the old key's file."""

    old: str
    new: str
    record: str
    kept_as: str


class CertificateShown(Shape, frozen=True):
    """A certificate that this owner signed."""

    id: str
    owner: str
    node: str
    from_ns: int
    until_ns: int
    revoked: bool


class Certified(CertificateShown, frozen=True):
    """file: where it was written. accepted: it is of this home's node, which shows it from now on."""

    file: str | None
    accepted: bool


class OwnerShown(Shape, frozen=True):
    """`owner show`: the owner of this home, its node, and the owner that the node shows."""

    owner: str | None
    node: str | None
    node_owner: str | None
    certificates: tuple[CertificateShown, ...]


class CertificateAccepted(Shape, frozen=True):
    """`owner accept` of a certificate."""

    owner: str
    node: str
    until_ns: int


class RevocationsAccepted(Shape, frozen=True):
    """`owner accept` of a list of revocations."""

    owner: str
    seq: int
    revoked: tuple[str, ...]


class CertificatesRevoked(Shape, frozen=True):
    """`owner revoke`: ids of certificates, and the sequence of the list."""

    revoked: tuple[str, ...]
    seq: int
    file: str | None
