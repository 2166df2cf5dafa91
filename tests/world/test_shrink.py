"""Shrinking keeps what breaks and leaves out what does not matter; the soak goes round all scenarios and goes on."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from qcommons.world import soak
from qcommons.world.play import moments_of, play
from qcommons.world.records import Case, Report, Violation
from qcommons.world.shrink import shrink


def judge(fails: object) -> object:
    """A player that plays nothing: a case breaks "rule" where `fails(case)` says so."""
    plain = msgspec.to_builtins(play(Case("join", 1, 2, 2)))

    def player(case: Case) -> Report:
        broken = (Violation("rule", 1.0, 0, "so"),) if fails(case) else ()  # type: ignore[operator]
        return msgspec.structs.replace(msgspec.convert(plain, Report), violations=broken)

    return player


def test_nodes_time_and_moments_that_do_not_matter_go() -> None:
    """It breaks with at least 4 nodes and 5 s, as long as there is a crash of node 1."""

    def fails(case: Case) -> bool:
        crashes = [m for m in moments_of(case) if m.fault == "crash" and m.nodes == (1,)]
        return case.nodes >= 4 and case.for_s >= 5 and bool(crashes)

    case = Case("churn", 4, 20, 30.0)
    assert fails(case)
    smaller, plays = shrink(case, player=judge(fails), plays_max=400)  # type: ignore[arg-type]
    left = moments_of(smaller)
    assert fails(smaller) and smaller.nodes < 20 and smaller.for_s < 30
    assert [(m.fault, m.nodes) for m in left] == [("crash", (1,))] and plays <= 400


def test_a_case_that_holds_is_left_alone_and_plays_are_bounded() -> None:
    case = Case("churn", 4, 20, 30.0)
    assert shrink(case, player=judge(lambda case: False)) == (case, 1)  # type: ignore[arg-type]
    _, plays = shrink(case, player=judge(lambda case: True), plays_max=7)  # type: ignore[arg-type]
    assert plays == 7


def test_the_soak_plays_all_scenarios_and_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {soak.case_of(seed).scenario for seed in range(len(soak.SMALL))} == set(soak.SMALL)
    assert len({soak.case_of(seed) for seed in range(200)}) == 200
    state = tmp_path / "state"
    assert soak.main(["--seeds", "2", "--state", str(state)]) == 0
    assert state.read_text() == "2\n"
    assert soak.main(["--seeds", "3", "--state", str(state)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 cases, 0 failed")


def test_a_failing_seed_is_told_with_its_replay_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(soak, "play", judge(lambda case: case.seed == 1))
    assert soak.main(["--seeds", "4", "--part", "1/2"]) == 5
    out = capsys.readouterr().out
    assert "qcommons world --scenario join-slowly --seed 1 --nodes 3 --for 6s  # rule: so" in out
    assert "2 cases, 1 failed" in out
