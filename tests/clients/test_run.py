"""`qcommons run` from end to end: arguments in, answer, JSON object or exit code out."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from qcommons.base.errors import UsageError
from qcommons.clients.cli.main import main
from qcommons.node import default
from qcommons.node.config import load

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SCRIPT = Path(sys.executable).parent / "qcommons"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QCOMMONS_HOME", str(tmp_path))


def _json(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    assert main(["run", *words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_counts_come_with_their_story(capsys: pytest.CaptureFixture[str]) -> None:
    body = _json(capsys, str(EXAMPLES / "bell.qasm"), "--shots", "1000", "--seed", "1")
    assert body["status"] == "done" and body["physics"] == "emulated"
    assert set(body["counts"]) == {"00", "11"} and sum(body["counts"].values()) == 1000
    for field in ("job", "engine", "method", "reason", "predicted_cost", "seconds"):
        assert body[field], field
    assert _json(capsys, str(EXAMPLES / "bell.qasm"), "--shots", "1000", "--seed", "1")["counts"] == body["counts"]


def test_people_get_a_histogram_engine_reason_and_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(EXAMPLES / "bell.qasm"), "--seed", "1"]) == 0
    printed = capsys.readouterr().out
    for word in ("00  ", "11  ", "engine ", "reason ", "predicted ", "actual ", "physics    emulated"):
        assert word in printed
    assert "planning and loading the engine included" in printed


def test_standard_input_is_a_circuit_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Pipe:
        buffer = io.BytesIO(b"OPENQASM 2.0; qreg q[2]; creg c[2]; U(pi,0,pi) q[1]; measure q -> c;")

    monkeypatch.setattr(sys, "stdin", Pipe)
    assert _json(capsys, "-", "--shots", "10")["counts"] == {"10": 10}


def test_expectations_are_exact_without_shots_and_sampled_with(capsys: pytest.CaptureFixture[str]) -> None:
    words = (str(EXAMPLES / "ghz5.qasm"), "--observable", "XXXXX", "--observable", "0.5 Z4 Z3 + 0.25 Z0")
    exact = _json(capsys, *words)["expectations"]
    assert [row["value"] for row in exact] == pytest.approx([1.0, 0.5], abs=1e-12)
    assert all(row["stderr"] == 0 for row in exact)
    sampled = _json(capsys, *words, "--shots", "400", "--seed", "3")["expectations"]
    # <Z0> = 0 has variance 1: the sum's standard error is about 0.25 / sqrt(400)
    assert sampled[1]["stderr"] == pytest.approx(0.0125, rel=0.1)
    assert abs(sampled[1]["value"] - 0.5) < 5 * sampled[1]["stderr"]  # 5 sigma: 1 in 1.7 million


def test_inputs_are_bound_and_swept(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    import math

    circuit = tmp_path / "turn.qasm"
    circuit.write_text("OPENQASM 3.0; input float a; input float b; qubit q; U(a + b, 0, 0) q;")
    one = _json(capsys, str(circuit), "--bind", "a=pi/3", "--bind", "b=0", "--observable", "Z")
    assert one["expectations"][0]["value"] == pytest.approx(0.5, abs=1e-12)
    sweep = tmp_path / "sweep.csv"
    sweep.write_text("a\n0\n0.5\n1\n")
    body = _json(capsys, str(circuit), "--sweep", str(sweep), "--bind", "b=0.25", "--observable", "Z")
    values = [result["expectations"][0]["value"] for result in body["results"]]
    assert values == pytest.approx([math.cos(a + 0.25) for a in (0, 0.5, 1)], abs=1e-12)


def test_a_sweep_without_its_input_names_the_file_and_the_column(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sweep = tmp_path / "sweep.csv"
    sweep.write_text("thta\n0\n1\n")
    body = _json(capsys, str(EXAMPLES / "hydrogen.qasm"), "--sweep", str(sweep), "--observable", "ZZ", code=2)
    assert body["error"]["where"] == str(sweep)
    assert "no value for theta" in body["error"]["what"] and "no input thta" in body["error"]["what"]


def test_amplitudes_are_named_by_their_bits(capsys: pytest.CaptureFixture[str]) -> None:
    body = _json(capsys, str(EXAMPLES / "ghz5.qasm"), "--amplitudes", "00000,11111,00001")
    assert body["amplitudes"] == {
        "00000": pytest.approx([0.5**0.5, 0]), "11111": pytest.approx([0.5**0.5, 0]), "00001": pytest.approx([0, 0]),
    }  # fmt: skip


def test_noise_lowers_coherence_as_the_channels_say(capsys: pytest.CaptureFixture[str]) -> None:
    body = _json(capsys, str(EXAMPLES / "ghz5.qasm"), "--noise", "depolarizing:0.02", "--observable", "XXXXX")
    assert body["expectations"][0]["value"] == pytest.approx(0.98**5, abs=1e-9)


def test_the_engine_may_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert _json(capsys, str(EXAMPLES / "bell.qasm"), "--engine", "numpy")["engine"] == "numpy"
    body = _json(capsys, str(EXAMPLES / "bell.qasm"), "--engine", "abacus", code=2)
    assert "abacus" in body["error"]["what"]


def test_the_answer_is_also_written_to_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "answer.json"
    body = _json(capsys, str(EXAMPLES / "bell.qasm"), "--out", str(path))
    assert json.loads(path.read_text()) == body
    assert main(["run", str(EXAMPLES / "bell.qasm"), "--out", str(tmp_path / "no" / "x")]) == 2


@pytest.mark.parametrize(
    ("source", "words"),
    [("OPENQASM 3.0; qubit q; hh q;", ()), ("OPENQASM 3.0; qubit[5000000] q;", ()), ("((((", ()),
     ("OPENQASM 3.0; input float a; qubit q; U(a,0,0) q;", ()),
     ("OPENQASM 3.0; qubit q;", ("--bind", "a=1")), ("OPENQASM 3.0; qubit q;", ("--observable", "ZZ")),
     ("OPENQASM 3.0; qubit q;", ("--amplitudes", "00")), ("OPENQASM 3.0; qubit q;", ("--noise", "gloom:0.1")),
     ("OPENQASM 3.0; qubit q;", ("--statevector", "--shots", "5"))],
)  # fmt: skip
def test_bad_input_ends_with_2_and_names_the_caller(
    source: str, words: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "bad.qasm"
    path.write_text(source)
    body = _json(capsys, str(path), *words, code=2)
    assert body["status"] == "failed" and body["error"]["who"] == "caller" and body["error"]["what"]


def test_what_does_not_fit_is_refused_with_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    body = _json(capsys, str(EXAMPLES / "random200.qasm"), "--deadline", "30s", code=3)
    assert body["status"] == "refused" and any(char.isdigit() for char in body["error"]["what"])
    assert body["error"]["limit"]


def test_a_broken_config_file_is_told_alike_here_and_in_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.toml").write_text('[limits]\nmemry = "2GiB"\n')
    monkeypatch.setattr(default, "_NODES", {})
    with pytest.raises(UsageError) as caught:
        default.run(EXAMPLES / "bell.qasm")
    assert main(["run", str(EXAMPLES / "bell.qasm")]) == caught.value.exit_code == 2
    assert capsys.readouterr().err == f"qcommons: {caught.value}\n"


def test_print_in_python_and_the_command_show_the_same_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """But for what each run measures anew."""
    words = (str(EXAMPLES / "bell.qasm"), "--seed", "3", "--shots", "500")
    assert main(["run", *words]) == 0
    printed = capsys.readouterr().out
    with default.open_node(load()) as node:
        print(node.run(EXAMPLES / "bell.qasm", seed=3, shots=500))
    again = capsys.readouterr().out
    told = [[line for line in text.splitlines() if not line.startswith("actual")] for text in (printed, again)]
    assert told[0] == told[1]
    assert len(told[0]) > 5


def test_every_answer_fits_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    from jsonschema import Draft202012Validator

    schema = Draft202012Validator(json.loads((ROOT / "docs/schema/run.schema.json").read_text()))
    bell, ghz = str(EXAMPLES / "bell.qasm"), str(EXAMPLES / "ghz5.qasm")
    hydrogen, points = str(EXAMPLES / "hydrogen.qasm"), str(EXAMPLES / "hydrogen.csv")
    cases = (
        ((bell,), 0),
        ((ghz, "--observable", "XXXXX"), 0),
        ((ghz, "--statevector"), 0),
        ((hydrogen, "--sweep", points), 0),
        ((bell, "--engine", "abacus"), 2),
        (("absent.qasm",), 2),
    )
    for words, code in cases:
        schema.validate(_json(capsys, *words, code=code))


def test_interrupt_cancels_with_6(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a long run: exit 6 within seconds, no process left behind."""
    path = tmp_path / "long.qasm"
    layers = (
        "for int l in [0:100] { for int i in [0:23] { ry(0.1*l+i) q[i]; } for int i in [0:22] { cx q[i], q[i+1]; } }"
    )
    path.write_text(f'OPENQASM 3.0; include "stdgates.inc"; qubit[24] q; {layers}')
    process = subprocess.Popen(
        [SCRIPT, "run", str(path), "--engine", "numpy", "--method", "dense", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=os.environ,
    )  # fmt: skip
    time.sleep(2.0)
    assert process.poll() is None, process.communicate()
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 6
    assert json.loads(out)["status"] == "cancelled"
    time.sleep(0.5)
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
