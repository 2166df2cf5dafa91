"""Ids: names for things, typed so that one kind is not passed for another.

Flow: bytes or entropy, given by the caller -> *id* -> records, logs, URLs, file names. Nothing here
reads a clock or a generator: equal material gives equal ids.

    program   64 lower-case hex digits: SHA3-256 of the canonical bytes (`circuits/wire.py`)
    job       "job_" + 16 characters of base32: 80 bits of SHA3-256 over the caller's entropy
    piece     the job's id, ".", the piece's number in the plan: "job_....3"

80 bits: among a million jobs of one node two share an id with probability 4e-13.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import NewType

from qcommons.base.errors import UsageError

__all__ = [
    "JobId", "PieceId", "ProgramId", "hash_id", "job_id", "parse_job_id", "parse_piece_id", "piece_id", "piece_number",
]  # fmt: skip

ProgramId = NewType("ProgramId", str)
JobId = NewType("JobId", str)
PieceId = NewType("PieceId", str)

ENTROPY_BYTES_MIN = 16
JOB = re.compile(r"job_[a-z2-7]{16}")
PIECE = re.compile(r"(job_[a-z2-7]{16})\.(0|[1-9][0-9]{0,8})")


def hash_id(canonical: bytes) -> ProgramId:
    """The id of canonical bytes: SHA3-256 (FIPS 202), 64 lower-case hex digits."""
    return ProgramId(hashlib.sha3_256(canonical).hexdigest())


def job_id(entropy: bytes) -> JobId:
    """A job's id from at least 16 bytes, fresh ones for every job (or a derived seed, to repeat one).

    Raises:
        UsageError: fewer than 16 bytes.
    """
    if len(entropy) < ENTROPY_BYTES_MIN:
        limit = f"{ENTROPY_BYTES_MIN} bytes"
        raise UsageError(f"a job id needs at least {limit} of entropy; got {len(entropy)}", where="job_id", limit=limit)
    digest = hashlib.sha3_256(b"qcommons job id" + entropy).digest()
    return JobId("job_" + base64.b32encode(digest[:10]).decode().lower())


def piece_id(job: JobId, number: int) -> PieceId:
    """number: place in the plan, 0 <= number < 1e9."""
    return parse_piece_id(f"{job}.{number}")


def parse_job_id(text: str) -> JobId:
    """Raises UsageError unless `text` is exactly a job id."""
    if not JOB.fullmatch(text):
        raise UsageError(f"{text[:80]!r} is no job id: job_ and 16 characters of a-z2-7 needed", where="job id")
    return JobId(text)


def parse_piece_id(text: str) -> PieceId:
    """Raises UsageError unless `text` is exactly a piece id."""
    if not PIECE.fullmatch(text):
        raise UsageError(f"{text[:80]!r} is no piece id: job id, dot, number below 1e9 needed", where="piece id")
    return PieceId(text)


def piece_number(piece: str) -> int:
    """The number in a piece's id. Raises UsageError."""
    return int(parse_piece_id(piece).rpartition(".")[2])
