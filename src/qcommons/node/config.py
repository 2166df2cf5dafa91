"""Settings: what a person may set, where each value came from.

Flow: flag or argument > environment > config file > default -> *settings* -> `default.open_node`.
The file is TOML, `config.toml` in the node's home; an unknown key in it is an error, so that a
typing mistake never passes silently. One row of `SETTINGS` is one setting. `set_value` and `unset`
change the file in place: comments stay, and a file that would not load is never written.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from qcommons.base.clock import seconds_text
from qcommons.base.errors import Unavailable, UsageError
from qcommons.base.quantities import memory_bytes, seconds
from qcommons.base.text import shown
from qcommons.base.toml import line_of, read_toml
from qcommons.base.units import bytes_text
from qcommons.circuits.program import DEFAULT_CAPS
from qcommons.node.home import home_path
from qcommons.node.hours import read_hours
from qcommons.node.memory import default_limit_bytes
from qcommons.node.mesh import settings as mesh
from qcommons.node.own_files import check_own
from qcommons.node.owner import OwnerLimits
from qcommons.node.workers import default_size

__all__ = [
    "DEADLINE_S", "SETTINGS", "Setting", "Settings", "Value", "config_path", "load", "network", "owner_limits",
    "set_value", "settings_help", "survey", "unknown", "unset",
]  # fmt: skip

API_PORT = 8740
DEADLINE_S = 3600.0  # everything ends; a longer job says so
COUNT_MAX = 10**9
CONFIG_BYTES_MAX = 1 << 20  # a settings file is a page, not a database
IDLE_MAX_MIN = 7 * 24 * 60
LOAD_MAX = 100.0  # nobody's machine has a hundred others waiting for each core
WHOLE = re.compile(r"0|[1-9][0-9]{0,17}")  # what stands in the file as a number, not as a text
DECIMAL = re.compile(r"(?:0|[1-9][0-9]{0,8})\.[0-9]{1,9}")


class Setting(NamedTuple):
    """One row.

    key: "section.name" in the file. env: environment variable. unit: of the stored value.
    default: gives the value where nobody sets it. read: (text, where) -> value, raising UsageError.
    show: value -> text for people. also: a second key under which the file may have it.
    """

    key: str
    env: str
    unit: str
    default: Callable[[], float | str]
    read: Callable[[str, str], float | str]
    show: Callable[[Any], str]
    help: str
    also: str = ""


class Value(NamedTuple):
    """A setting's value and where it came from: "flag --x", "environment X", "file PATH", "default"."""

    value: float | str
    origin: str


Settings = Mapping[str, Value]  # key of a row -> its value


def _memory_default_bytes() -> int:
    return default_limit_bytes(1)


def _whole(low: int, high: int, **words: int) -> Callable[[str, str], int]:
    """A reader of integers from `low` to `high`, or of a word that stands for one."""

    def read(text: str, where: str) -> int:
        value = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(high)) else -1
        value = words.get(text.lower(), value)
        if not low <= value <= high:
            form = " or ".join([f"an integer from {low} to {high}", *words])
            raise UsageError(f"cannot read {text[:40]!r}; write {form}", where=where, limit=f"{low} to {high}")
        return value

    return read


def _minutes(text: str, where: str) -> int:
    """Whole minutes of "15", "15min", "1h"; a bare number counts minutes."""
    if text.lower() == "off":
        return 0
    minutes = float(text) if WHOLE.fullmatch(text) else seconds(text, where) / 60
    if not minutes.is_integer() or minutes > IDLE_MAX_MIN:
        what = f"{text[:40]!r} is no number of minutes from 0 to {IDLE_MAX_MIN}; write 15min, 1h or off"
        raise UsageError(what, where=where, limit=f"{IDLE_MAX_MIN} min")
    return int(minutes)


def _share(text: str, where: str) -> float:
    """A load a core: "0.5" or "50%", to a thousandth; 0 and "off" are no limit."""
    number = {"off": "0"}.get(text.lower(), text)
    percent = number.endswith("%")
    number = number.removesuffix("%").strip()
    if not (WHOLE.fullmatch(number) or DECIMAL.fullmatch(number)):
        raise UsageError(f"cannot read {text[:40]!r}; write a load a core, as in 0.5, 50% or off", where=where)
    value = round(float(number) / (100 if percent else 1), 3)
    if value > LOAD_MAX or (value == 0 and float(number) > 0):
        limit = f"0.001 to {LOAD_MAX:g}, or 0 for no limit"
        raise UsageError(f"a load of {text[:40]!r} a core; allowed {limit}", where=where, limit=limit)
    return value


def _percent(text: str, where: str) -> int:
    return _whole(0, 100, never=100)(text.removesuffix("%").strip(), where)


def _or_off(show: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: show(value) if value else "off"


SETTINGS: tuple[Setting, ...] = (
    Setting("limits.memory", "QCOMMONS_MEMORY", "bytes", _memory_default_bytes, memory_bytes, bytes_text,
            "memory one run may use; default 80 % of what is free, divided where several run at once"),
    Setting("limits.seconds", "QCOMMONS_SECONDS", "s", lambda: DEADLINE_S, seconds, seconds_text,
            "deadline of a job from its submission"),
    Setting("limits.operations", "QCOMMONS_OPERATIONS", "operations", lambda: DEFAULT_CAPS.operations_max,
            _whole(1, COUNT_MAX), str,
            "most operations a program may have once loops and gate definitions are expanded"),
    Setting("limits.workers", "QCOMMONS_WORKERS", "processes", default_size, _whole(1, COUNT_MAX), str,
            "worker processes, one thread each: the cores in use; `limits.cores` in the file means the same",
            "limits.cores"),
    Setting("limits.qubits", "QCOMMONS_QUBITS_MAX", "qubits", lambda: 0, _whole(0, COUNT_MAX, off=0), _or_off(str),
            "most qubits of a program; 0 or off: as many as memory allows"),
    Setting("limits.shots", "QCOMMONS_SHOTS_MAX", "shots", lambda: 0, _whole(0, 10**15, off=0), _or_off(str),
            "most shots of a job, all its runs together; 0 or off: no limit"),
    Setting("limits.hours", "QCOMMONS_HOURS", "local time", lambda: "", read_hours, lambda text: text or "always",
            "when work runs, as in `Mon-Fri 18:00-08:00, Sat-Sun`; outside them it is suspended; empty: always"),
    Setting("limits.idle", "QCOMMONS_IDLE", "min", lambda: 0, _minutes, _or_off(lambda value: f"{value} min"),
            "work only after so long without input by a person, and until the next; 0 or off: always"),
    Setting("limits.load", "QCOMMONS_LOAD", "load a core", lambda: 0.0, _share,
            _or_off(lambda value: f"{100 * value:g} %"),
            "start no work while others use more of each core, as in 50% or 0.5; 0 or off: always"),
    Setting("limits.battery", "QCOMMONS_BATTERY", "%", lambda: 0, _percent, lambda value: f"{value} %",
            "on battery work only above this charge; 0: as on mains; 100 or never: not on battery"),
    Setting("api.port", "QCOMMONS_PORT", "port", lambda: API_PORT, _whole(0, 65_535), str,
            "where the node listens on 127.0.0.1; 0: any free port"),
    Setting("mesh.enabled", "QCOMMONS_MESH", "", lambda: 1, mesh.yes_no, mesh.yes_no_text,
            "whether the node joins the mesh of other nodes"),
    Setting("mesh.network", "QCOMMONS_MESH_NETWORK", "", lambda: "commons", mesh.network, str,
            "id of the network; nodes of another one are refused"),
    Setting("mesh.port", "QCOMMONS_MESH_PORT", "port", lambda: mesh.MESH_PORT, _whole(0, 65_535), str,
            "where other nodes reach this one; 0: any free port; a free one too where it is taken"),
    Setting("mesh.listen", "QCOMMONS_MESH_LISTEN", "", lambda: "lan", mesh.listen, str,
            "lan: the private addresses of this machine; loopback: this machine alone; or one address of it"),
    Setting("mesh.mdns", "QCOMMONS_MESH_MDNS", "", lambda: 1, mesh.yes_no, mesh.yes_no_text,
            "find nodes of the same network on the LAN by mDNS, and be found; never on loopback"),
    Setting("mesh.bootstrap", "QCOMMONS_MESH_BOOTSTRAP", "", lambda: "", mesh.addresses, lambda text: text or "none",
            "addresses HOST:PORT to join by, apart by commas; they need not stay up"),
    Setting("mesh.relay", "QCOMMONS_MESH_RELAY", "", lambda: 1, mesh.yes_no, mesh.yes_no_text,
            "pass on, within caps, encrypted bytes of nodes that cannot be reached directly"),
    Setting("share.enabled", "QCOMMONS_SHARE", "", lambda: 0, mesh.yes_no, mesh.yes_no_text,
            "take work of strangers"),
)  # fmt: skip


def config_path() -> Path:
    """The config file of this user; it need not exist."""
    return home_path() / "config.toml"


def load(
    flags: Mapping[str, float | str | None] | None = None,
    environ: Mapping[str, str] | None = None,
    path: Path | None = None,
) -> dict[str, Value]:
    """Every setting with its origin.

    Args:
        flags: key -> value already read from the command line; None where the flag was not given.
        environ: the environment; the process's own where None.
        path: the config file; the user's own where None.

    Raises:
        UsageError: an unreadable file, an unknown key, a value out of range; `where` names it.
    """
    values, troubles = _collect(flags or {}, os.environ if environ is None else environ, path)
    if troubles:
        raise troubles[0]
    return values


def survey(environ: Mapping[str, str] | None = None, path: Path | None = None) -> tuple[Settings, list[UsageError]]:
    """As `load`, but with every trouble in a list; a setting that cannot be read has its default."""
    return _collect({}, os.environ if environ is None else environ, path)


def _collect(
    flags: Mapping[str, float | str | None], environ: Mapping[str, str], given: Path | None
) -> tuple[dict[str, Value], list[UsageError]]:
    values: dict[str, Value] = {}
    path = config_path() if given is None else given
    try:
        if given is None:
            _own_path()
        filed, troubles = _entries(_read_bytes(path), path)
    except UsageError as error:
        filed, troubles = {}, [error]
    for row in SETTINGS:
        try:
            values[row.key] = _choose(row, flags, environ, filed, path)
        except UsageError as error:
            troubles.append(error)
            values[row.key] = Value(row.default(), "default")
    return values, troubles


class _Entry(NamedTuple):
    """What the file says of one key: the value as text, and its place for messages."""

    text: str
    where: str


def _choose(
    row: Setting,
    flags: Mapping[str, float | str | None],
    environ: Mapping[str, str],
    filed: Mapping[str, _Entry],
    path: Path,
) -> Value:
    flag = flags.get(row.key)
    if flag is not None:
        return Value(flag, f"flag --{row.key.rpartition('.')[2]}")
    if row.env in environ:
        return Value(row.read(environ[row.env], row.env), f"environment {row.env}")
    for key in (row.key, row.also):
        if key in filed:
            return Value(row.read(*filed[key]), f"file {path}")
    return Value(row.default(), "default")


def _read_bytes(path: Path) -> bytes:
    """What the file says; nothing where there is none."""
    try:
        if path.exists() and not path.is_file():  # a FIFO would never answer
            raise UsageError("the config file is no regular file", where=str(path))
        with path.open("rb") as file:
            raw = file.read(CONFIG_BYTES_MAX + 1)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise UsageError(f"cannot read the config file: {error.strerror}", where=str(path)) from None
    if len(raw) > CONFIG_BYTES_MAX:
        raise UsageError("the config file is too long", where=str(path), limit=f"{CONFIG_BYTES_MAX} bytes")
    return raw


def _entries(raw: bytes, path: Path) -> tuple[dict[str, _Entry], list[UsageError]]:
    """Flat key -> what the file says, and what is wrong with it: unknown keys, a setting given twice.

    Raises:
        UsageError: nothing of it can be read.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"the config file is not UTF-8 at byte {error.start}", where=str(path)) from None
    flat: dict[str, _Entry] = {}
    troubles: list[UsageError] = []
    for section, entries in read_toml(text, str(path)).items():
        for name, value in (entries if isinstance(entries, dict) else {"": entries}).items():
            key = f"{section}.{name}" if name else section
            where = _place(path, text, key)
            if _row(key) is None or isinstance(value, (dict, list)):
                troubles.append(UsageError(unknown(key), where=where))
                continue
            try:
                flat[key] = _Entry(str(value), f"{where}: {key}")
            except ValueError:  # a hexadecimal integer of thousands of digits
                troubles.append(UsageError(f"{shown(value)} is out of every range", where=f"{where}: {key}"))
    for row in SETTINGS:
        if row.also and {row.key, row.also} <= flat.keys():
            what = f"{row.also} is another name of {row.key}; keep one of them"
            troubles.append(UsageError(what, where=_place(path, text, row.also)))
    return flat, troubles


def _flatten(raw: bytes, path: Path) -> dict[str, str]:
    """Flat key -> text of the value, every key known and no setting given twice. Raises UsageError."""
    entries, troubles = _entries(raw, path)
    if troubles:
        raise troubles[0]
    return {key: entry.text for key, entry in entries.items()}


def _place(path: Path, text: str, key: str) -> str:
    line = line_of(text, key)
    return f"{path}:{line}" if line else str(path)


def _row(key: str) -> Setting | None:
    return next((row for row in SETTINGS if key and key in (row.key, row.also)), None)


def unknown(key: str) -> str:
    """What to say of a key that no setting has: the nearest ones, and all."""
    names = sorted(name for row in SETTINGS for name in (row.key, row.also) if name)
    near = difflib.get_close_matches(key, names, n=3, cutoff=0.6)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    return f"unknown setting {key[:80]!r}; {meant}there are: {', '.join(names)}"


def network() -> str:
    """The network that this home's signatures count on, as the settings say now. Raises as `load`."""
    return str(load()["mesh.network"].value)


def owner_limits(settings: Settings) -> OwnerLimits:
    """What the owner set, as the verdicts take it; memory that nobody set is no limit of the owner."""
    memory = settings["limits.memory"]
    return OwnerLimits(
        hours=str(settings["limits.hours"].value),
        idle_min=int(settings["limits.idle"].value),
        load_max_milli=round(1000 * float(settings["limits.load"].value)),
        battery_min_percent=int(settings["limits.battery"].value),
        cores=int(settings["limits.workers"].value),
        memory_bytes=0 if memory.origin == "default" else int(memory.value),
        qubits_max=int(settings["limits.qubits"].value),
        shots_max=int(settings["limits.shots"].value),
    )


def set_value(key: str, text: str, path: Path | None = None) -> Value:
    """Write one setting into the config file; comments and the other lines stay as they are.

    Args:
        key: of a row of `SETTINGS`. text: as in the environment variable. path: the user's own file where None.

    Returns:
        What the file says now; a flag or the environment may still win over it.

    Raises:
        UsageError: an unknown key, a value out of range, a file that would not load afterwards: nothing is written.
        Unavailable: the file cannot be written.
    """
    row = _known(key)
    value = row.read(text, row.key)
    path = _own_path() if path is None else path
    _edit(path, row, text)
    return Value(value, f"file {path}")


def unset(key: str, path: Path | None = None) -> bool:
    """Take one setting out of the config file, so that its default holds; False where it was not there.

    Raises:
        UsageError: an unknown key, a file that would not load afterwards: nothing is written.
        Unavailable: the file cannot be written.
    """
    return _edit(_own_path() if path is None else path, _known(key), None)


def _own_path() -> Path:
    """The user's own file, which no link leads away from. Raises UsageError."""
    path = config_path()
    with contextlib.suppress(OSError):  # reading it says what that is
        check_own(path)
    return path


def _known(key: str) -> Setting:
    row = _row(key)
    if row is None:
        raise UsageError(unknown(key), where="config")
    return row


def _edit(path: Path, row: Setting, text: str | None) -> bool:
    """Set the row to `text` (None: take it out), check all of what comes out, replace the file; False: no change."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    path = path.resolve()  # a link into a folder of settings stays a link
    raw = _read_bytes(path)
    wanted = _flatten(raw, path)
    key = row.also if row.also in wanted else row.key
    section, _, name = key.partition(".")
    try:
        document: Any = tomlkit.parse(raw)
        if text is not None:
            if section not in document:
                document[section] = tomlkit.table()
            document[section][name] = _as_toml(text)
            wanted[key] = text
        elif wanted.pop(key, None) is not None:
            del document[section][name]
        edited = tomlkit.dumps(document).encode()
    except TOMLKitError as error:  # it reads less of TOML than tomllib does
        raise UsageError(f"cannot change the file ({error}); edit it by hand", where=str(path)) from None
    if _flatten(edited, path) != wanted:
        raise UsageError(f"cannot change {key} in this file without harm; edit it by hand", where=str(path))
    for other, said in wanted.items():
        _known(other).read(said, f"{path}: {other}")
    if edited != raw:
        _replace(path, edited)
    return edited != raw


def _as_toml(text: str) -> int | float | str:
    """A number where the text reads the same as one."""
    if WHOLE.fullmatch(text):
        return int(text)
    return float(text) if DECIMAL.fullmatch(text) and str(float(text)) == text else text


def _replace(path: Path, raw: bytes) -> None:
    """The whole file or the one before, whatever happens; its permissions stay, a new one is the user's alone."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".config")
        try:
            with os.fdopen(descriptor, "wb") as file:
                if path.exists():
                    os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Unavailable(f"cannot write the config file: {error.strerror}", where=str(path)) from None


def settings_help() -> str:
    """A Markdown table of the settings, for the documentation."""
    lines = ["| key | environment | unit | meaning |", "|---|---|---|---|"]
    lines += [f"| `{row.key}` | `{row.env}` | {row.unit} | {row.help} |" for row in SETTINGS]
    return "\n".join(lines)
