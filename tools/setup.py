"""Set up `.venv` for `make`: the one step between a fresh clone and every other command.

Usage: `python3 tools/setup.py run` (what `make demo` needs), `dev` (what `make test` needs) or `bench`.
Runs under the system's Python with the standard library alone, and ends with a stamp file that
make compares with pyproject.toml and constraints.txt. `constraints.txt` pins every version, so two
clones of one commit get the same packages.
"""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON_MIN = (3, 11)
# stamp -> what pip installs; each holds everything that those before it need
KINDS = {"run": ".", "dev": ".[dev,fast,tn]", "bench": ".[dev,fast,tn,bench]"}


def fail(message):
    """Say what is missing and what to do, without a traceback."""
    sys.stderr.write("setup: " + message + "\n")
    sys.exit(1)


def check_python():
    """Refuse an old Python, or one without venv and pip, with the command that repairs it."""
    found = "{}.{}".format(*sys.version_info[:2])
    if sys.version_info[:2] < PYTHON_MIN:
        wanted = "{}.{}".format(*PYTHON_MIN)
        fail(
            f"Python {wanted} or newer is needed; {sys.executable} is {found}. "
            f"Name another one: make PYTHON=/path/to/python{wanted} demo"
        )
    try:
        import ensurepip
        import venv
    except ImportError as error:
        fail(
            f"this Python {found} cannot make environments ({error.name} is missing). "
            f"Debian and Ubuntu: sudo apt install python{found}-venv. Fedora: sudo dnf install python3-pip. "
            "Or name another Python: make PYTHON=/path/to/python3 demo"
        )
    assert ensurepip and venv


def run(*command):
    """Run one step quietly; on failure show what it said."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    check_end(command, done.returncode, done.stdout)


def install(*command):
    """Run pip, naming each package as it is fetched: it takes minutes, and silence looks like a hang."""
    said = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout:
            said.append(line)
            step = told(line)
            if step:
                print("setup: " + step, flush=True)
    check_end(command, process.returncode, "".join(said))


def told(line):
    """What a line of pip's is worth to whoever waits: the package being fetched or all being installed, else None."""
    words = line.split()
    if words[:1] == ["Collecting"]:
        return "fetching " + words[1].partition(";")[0]
    if words[:3] == ["Installing", "collected", "packages:"]:
        return f"installing {len(words) - 3} packages"
    if words[:2] == ["Building", "wheel"] or words[:2] == ["Building", "editable"]:
        return "building the package itself"
    return None


def check_end(command, code, said):
    """Where a step failed, show what it said and end."""
    if code:
        sys.stderr.write(said[-4000:])
        fail(f"`{' '.join(map(str, command))}` ended with {code}; see above, then run make again")


def main():
    """Make the environment if it is not there, install, leave the stamp."""
    kind = sys.argv[1] if len(sys.argv) == 2 else ""
    if kind not in KINDS:
        fail(f"say one of {', '.join(KINDS)}; got {sys.argv[1:]}")
    check_python()
    start_s = time.perf_counter()
    python = VENV / "bin" / "python"
    print(f"setup: installing into .venv what `{kind}` needs (some minutes the first time)", flush=True)
    if not (VENV / "bin" / "pip").exists():  # absent, or left half-made by an interrupted run
        print("setup: making the environment", flush=True)
        run(sys.executable, "-m", "venv", "--clear", VENV)
    install(python, "-m", "pip", "install", "-c", "constraints.txt", "-e", KINDS[kind])
    kinds = list(KINDS)
    for name in kinds[: kinds.index(kind) + 1]:
        (VENV / f".ready-{name}").write_text("installed\n", encoding="utf-8")
    print(f"setup: done in {time.perf_counter() - start_s:.0f} s")


if __name__ == "__main__":
    main()
