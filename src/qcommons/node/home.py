"""The node's place on disk: where it is, and the measured cost constants it keeps there.

Flow: calibration (in a worker) -> *Home* -> cost constants of every later run. `QCOMMONS_HOME` says
where, else the user's data folder of the platform. Files are replaced whole, never edited.
"""

from __future__ import annotations

import os
import platform
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from qcommons.base.errors import UsageError
from qcommons.base.typed import described
from qcommons.node.own_files import open_own

if TYPE_CHECKING:
    from qcommons.node.frames import Calibration, Constants

__all__ = ["DRAIN_S", "LOCK_FILE", "NETWORK", "TOKEN_FILE", "Home", "home_path", "processor"]

CALIBRATION_BYTES_MAX = 1 << 20
DRAIN_S = 30.0  # for jobs that run when the node is told to stop
LOCK_FILE = "node.lock"  # who holds the home, and where it is reached (`lock`)
TOKEN_FILE = "token"  # the owner's (`tokens`)
NETWORK = "commons"  # in every signature of a node, so that it means nothing elsewhere


def home_path() -> Path:
    """`QCOMMONS_HOME`, else the platform's user data folder."""
    chosen = os.environ.get("QCOMMONS_HOME")
    if chosen:
        try:
            return Path(chosen).expanduser()
        except RuntimeError as error:  # ~nobody
            raise UsageError(f"no such home: {error}", where=f"QCOMMONS_HOME={chosen}") from error
    import platformdirs

    return Path(platformdirs.user_data_dir("qcommons"))


class Home:
    """Reads and writes the files of one home; makes the folder (0700) when it first writes."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path if path is not None else home_path()

    @property
    def calibration_path(self) -> Path:
        return self.path / "calibration.json"

    def calibration(self) -> Calibration | None:
        """What was measured, stale or not; None where nothing usable is stored."""
        from qcommons.node.frames import Calibration  # numpy comes with it, and every command wants to know its home

        try:
            with os.fdopen(open_own(self.calibration_path, os.O_RDONLY), "rb") as file:
                data = file.read(CALIBRATION_BYTES_MAX + 1)
            return None if len(data) > CALIBRATION_BYTES_MAX else msgspec.json.decode(data, type=described(Calibration))
        except (OSError, UsageError, msgspec.DecodeError):
            return None  # it is a cache: measured again

    def constants(self) -> Constants:
        """Stored constants, {} (the engines' defaults) where there are none."""
        known = self.calibration()
        return {} if known is None or known.machine != processor() else known.constants

    def keep(self, calibration: Calibration) -> None:
        """Store fresh constants. Raises OSError where the home cannot be written."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = msgspec.json.format(msgspec.json.encode(calibration))
        descriptor, name = tempfile.mkstemp(dir=self.path, prefix=".calibration")
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(self.calibration_path)


def processor() -> str:
    """Model of the processor, as the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else f"{platform.machine()} {platform.processor()}".strip()
