"""Free memory: the least of what system and container say, as they say it now."""

from __future__ import annotations

from pathlib import Path

import pytest

from qcommons.node import memory

MIB = 1 << 20
STAT = f"anon 5\nfile 9\nactive_file {30 * MIB}\ninactive_file {10 * MIB}\nunevictable 0\n"
# version 1 adds the sums of the groups below, which must not be counted twice
STAT_1 = STAT + f"hierarchical_memory_limit 1\ntotal_active_file {77 * MIB}\ntotal_inactive_file {77 * MIB}\n"
FILES = {
    2: ("memory.max", "memory.current", "memory.stat", STAT),
    1: ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", STAT_1),
}


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system with 1,000 MiB available and no control group."""
    (tmp_path / "memory").mkdir()
    (tmp_path / "meminfo").write_text("MemTotal:        9999999 kB\nMemFree:  1 kB\nMemAvailable:    1024000 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    return tmp_path


def _group(system: Path, version: int, limit: str, used_mib: int) -> None:
    limit_name, used_name, stat_name, stat = FILES[version]
    (system / limit_name).write_text(f"{limit}\n")
    (system / used_name).write_text(f"{used_mib * MIB}\n")
    (system / stat_name).write_text(stat)


def test_without_a_container_the_system_says() -> None:
    assert 1 << 20 < memory.free_bytes() < 1 << 50


@pytest.mark.usefixtures("system")
def test_parallel_runs_share_four_fifths_of_it() -> None:
    assert memory.free_bytes() == 1000 * MIB
    assert memory.default_limit_bytes(4) == 200 * MIB


@pytest.mark.parametrize("version", [1, 2])
def test_a_containers_limit_counts_less_its_usage_and_file_cache_is_free(system: Path, version: int) -> None:
    _group(system, version, str(300 * MIB), 100)
    assert memory.free_bytes() == 240 * MIB  # 300 - 100 + 30 + 10
    _group(system, version, str(300 * MIB), 250)
    assert memory.free_bytes() == 90 * MIB  # asked again, read again
    _group(system, version, str(500 * MIB), 250)
    assert memory.free_bytes() == 290 * MIB  # a limit may be raised while it runs
    _group(system, version, str(5000 * MIB), 250)
    assert memory.free_bytes() == 1000 * MIB  # the system has no more


@pytest.mark.parametrize(("version", "limit"), [(2, "max"), (1, "9223372036854771712"), (2, "junk")])
def test_a_container_without_a_limit_does_not_count(system: Path, version: int, limit: str) -> None:
    _group(system, version, limit, 250)
    assert memory.free_bytes() == 1000 * MIB


def test_where_the_system_does_not_say_half_of_the_physical_memory_is_free(system: Path) -> None:
    (system / "meminfo").unlink()
    assert 1 << 26 < memory.free_bytes() < 1 << 50
