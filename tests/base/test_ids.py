"""Ids are functions of their material and of nothing else."""

from __future__ import annotations

import hashlib

import pytest

from qcommons.base.errors import UsageError
from qcommons.base.ids import hash_id, job_id, parse_job_id, parse_piece_id, piece_id


def test_hash_id_is_sha3_256_as_published() -> None:
    """FIPS 202 example values: the empty message and "abc"."""
    assert hash_id(b"") == "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a"
    assert hash_id(b"abc") == "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"


def test_a_job_id_repeats_with_its_entropy_and_differs_otherwise() -> None:
    ids = {job_id(bytes([i]) * 16) for i in range(256)}
    assert len(ids) == 256
    assert job_id(b"0" * 16) == job_id(b"0" * 16) != hashlib.sha3_256(b"0" * 16).hexdigest()
    assert all(parse_job_id(each) == each for each in ids)


def test_too_little_entropy_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 16 bytes"):
        job_id(b"0" * 15)


def test_a_piece_names_its_job() -> None:
    job = job_id(b"0" * 16)
    assert piece_id(job, 0) == f"{job}.0"
    assert parse_piece_id(piece_id(job, 999_999_999)).rpartition(".")[0] == job
    for number in (-1, 1_000_000_000):
        with pytest.raises(UsageError, match="no piece id"):
            piece_id(job, number)


@pytest.mark.parametrize(
    "text", ["", "job_", "job_ABCDEFGHIJKLMNOP", "job_aaaaaaaaaaaaaaaa\n", "../etc/passwd", "job_1" * 9]
)
def test_what_is_no_id_is_refused(text: str) -> None:
    """Ids become file names and URLs: nothing else may pass for one."""
    with pytest.raises(UsageError, match="no job id"):
        parse_job_id(text)
    with pytest.raises(UsageError, match="no piece id"):
        parse_piece_id(text + ".00")
