"""The front of the command line: help, dispatch, exit codes, errors as JSON."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from qcommons.base.errors import Corrupt, PeerError, Unavailable, UsageError
from qcommons.clients.cli import main as front
from qcommons.clients.cli import version
from qcommons.clients.cli.main import COMMANDS, exit_code, main

SCRIPT = Path(sys.executable).parent / "qcommons"


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    for row in COMMANDS:
        word, _, second = row.name.partition(" ")
        assert re.search(rf"^  {word} ", printed, re.MULTILINE)
        assert second or row.help in printed
        if second:
            assert main([word, "--help"]) == 0
            assert f"  {row.name} " in capsys.readouterr().out
    assert main([]) == 2


def test_help_fits_a_screen_and_begins_with_daily_work(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 50 and max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines if line.startswith("  ")][:4] == ["run", "quote", "jobs", "job"]


def test_a_word_that_needs_another_says_which(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token"]) == 2
    assert "token needs a word after it: new, list, revoke" in capsys.readouterr().err
    assert main(["token", "--help"]) == 0
    printed = capsys.readouterr().out
    assert "token new" in printed and "config" not in printed


def test_help_costs_less_than_150_ms_of_cpu() -> None:
    """The least of five runs: other work on the machine adds to each, never takes away."""
    costs = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([SCRIPT, "--help"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(costs) < 0.150


def test_help_imports_no_heavy_library() -> None:
    code = (
        "import sys; from qcommons.clients.cli.main import main; main(['--help']); "
        "print([m for m in ('numpy', 'rich', 'msgspec', 'argparse') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_help_of_no_command_imports_a_heavy_library() -> None:
    """numpy alone costs more than all the rest of a help page, which takes a tenth of a second of CPU."""
    code = (
        "import sys; from qcommons.clients.cli.main import COMMANDS, main; "
        "[main([*row.name.split(), '--help']) for row in COMMANDS]; "
        "print([m for m in ('numpy', 'rich', 'httpx', 'asyncio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_ranges_in_the_help_of_run_are_those_of_the_node() -> None:
    from qcommons.clients.cli import run
    from qcommons.node import edge, submission

    assert (run.SHOTS_MAX, run.SEED_MAX) == (edge.SHOTS_MAX, submission.SEED_MAX)


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.name)
def test_every_command_has_its_own_help_and_json(row: front.Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*row.name.split(), "--help"]) == 0
    printed = capsys.readouterr().out
    assert f"qcommons {row.name}" in printed and "--json" in printed


def test_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version as installed

    assert main(["--version"]) == 0
    assert installed("qcommons") in capsys.readouterr().out
    assert main(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["qcommons"] == installed("qcommons")


@pytest.mark.parametrize("words", [["fly"], ["version", "--wings"], ["token"], ["run"], ["run", "x", "--shots", "0"]])
def test_a_wrong_command_line_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("qcommons: command line: ")
    assert main([*words, "--json"]) == 2
    body = json.loads(capsys.readouterr().out)
    assert body["status"] == "failed" and body["error"]["who"] == "caller"
    assert set(body["error"]) == {"who", "what", "where", "limit", "tried"}


@pytest.mark.parametrize(
    ("option", "text", "says"),
    [("--shots", "0", "'0'; allowed are integers from 1 to 1000000000"),
     ("--shots", "many", "'many'; allowed are integers from 1 to 1000000000"),
     ("--seed", "-1", "'-1'; allowed are integers from 0 to 2^63-1"),
     ("--seed", str(1 << 63), "allowed are integers from 0 to 2^63-1"),
     ("--deadline", "0s", "allowed above 0 s"), ("--memory", "4", "'4' is 4 B; allowed from 1 MiB: write 4GiB"),
     ("--memory", "", "cannot read ''")],
)  # fmt: skip
def test_a_wrong_value_is_told_with_what_is_allowed(
    option: str, text: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "x.qasm", f"{option}={text}"]) == 2
    printed = capsys.readouterr().err
    assert option in printed and says in printed and "_int" not in printed


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [(UsageError("a"), 2, "failed"), (Unavailable("a", limit="12 GiB"), 3, "refused"), (Unavailable("a"), 4, "failed"),
     (PeerError("a"), 5, "failed"), (Corrupt("a"), 5, "failed"), (KeyboardInterrupt(), 6, "cancelled"),
     (ZeroDivisionError("a"), 5, "failed")],
)  # fmt: skip
def test_each_error_has_its_exit_code(
    error: BaseException, code: int, status: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_args: object) -> int:
        raise error

    monkeypatch.setattr(version, "command", fails)
    assert main(["version", "--json"]) == code
    assert json.loads(capsys.readouterr().out)["status"] == status


def test_an_outcome_may_set_its_own_exit_code() -> None:
    error = Unavailable("past the deadline", limit="60 s")
    error.exit_code = 5
    assert exit_code(error) == 5


def test_a_closed_pipe_is_no_error() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{SCRIPT} --help | true; echo ${{PIPESTATUS[0]}}"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "0\n" and done.stderr == ""


BELL = str(Path(__file__).parents[2] / "examples" / "bell.qasm")


@pytest.mark.parametrize("words", [("--json",), ()])
def test_an_answer_that_cannot_be_written_is_told_in_one_line(words: tuple[str, ...], tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [SCRIPT, "run", BELL, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            env={"QCOMMONS_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
    assert done.returncode == 4
    assert done.stderr == "qcommons: cannot write the answer: No space left on device\n"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("{script} run - <&-", "standard input: it is closed"),
        ("{script} run {bell} --observable=--", "a Pauli sum is needed"),
        ("QCOMMONS_HOME=~no-such-user {script} run {bell}", "no such home"),
        ("QCOMMONS_WORKERS=\u0663 {script} run {bell}", "write an integer from 1"),
        ("mkfifo config.toml; QCOMMONS_HOME=. timeout 20 {script} run {bell}", "no regular file"),
        ("echo 'a='$(printf '[%.0s' $(seq 20000)) > config.toml; QCOMMONS_HOME=. {script} run {bell}", "not TOML"),
        ('echo \'[{{"a":1}},{{"b":2}}]\' > s.json; {script} run {bell} --sweep s.json', "point 1 has ['b']"),
        ("mkfifo ff; timeout 20 {script} run ff --deadline 300ms", "ff: nobody wrote to it within 0.3 s"),
        ("sleep 5 | timeout 4 {script} run - --deadline 300ms", "standard input: nobody wrote to it within 0.3 s"),
        ("{script} run {bell} --observable Z$(printf '9%.0s' $(seq 5000))", "is on qubit 999"),
        ("printf 'a,a\\n1,2\\n' > s.csv; {script} run {bell} --sweep s.csv", "named twice"),
    ],
)
def test_odd_surroundings_end_with_2_and_a_cause(command: str, says: str, tmp_path: Path) -> None:
    line = command.format(script=SCRIPT, bell=BELL)
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "fault of qcommons" not in done.stderr


def test_a_refusal_says_what_is_needed_first_and_then_an_engine_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_args: object) -> int:
        raise Unavailable("needs 2 GiB", limit="1 GiB", tried=[("numpy", "dense", "a\x1b"), ("aer", "mps", "b")])

    monkeypatch.setattr(version, "command", fails)
    assert main(["version"]) == 3
    assert capsys.readouterr().err.splitlines() == ["qcommons: needs 2 GiB", "  numpy/dense: a\\x1b", "  aer/mps: b"]
    assert main(["version", "--json"]) == 3
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["what"] == "needs 2 GiB"
    assert error["tried"][1] == {"engine": "aer", "method": "mps", "why": "b"}


def test_config_alone_shows_the_settings_and_what_is_wrong_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QCOMMONS_HOME", str(tmp_path))
    assert main(["config"]) == 0
    well = capsys.readouterr()
    assert "limits.memory" in well.out and well.err == ""
    (tmp_path / "config.toml").write_text("[limits]\nworkers = 7\nmemry = 2\n")
    assert main(["config", "show"]) == 2
    wrong = capsys.readouterr()
    assert "limits.workers     = 7" in wrong.out
    assert wrong.err.startswith(f"qcommons: {tmp_path}/config.toml:3: unknown setting 'limits.memry'")
    assert main(["config", "--json"]) == 2
    body = json.loads(capsys.readouterr().out)
    assert body["settings"]["limits.workers"]["value"] == 7
    assert [error["where"] for error in body["errors"]] == [f"{tmp_path}/config.toml:3"]
