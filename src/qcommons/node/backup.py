"""The keys of a home as their owner handles them: restored from words, rotated, and who followed whom.

Flow: `qcommons keys` -> *restore*, *rotate* -> key files, succession records -> the node at its next start -> peers.

    keys/node.key, owner.key       the present keys (pqc/keyfile)
    keys/node.1.key, ...           those before, as they were
    keys/node.next.key             the coming one, while a rotation goes on
    keys/successions/node/HASH.cbor, .../owner/...   who follows the key of that hash (pqc/succession)

A rotation that a crash cuts short is finished by the next one: the coming key is on disk before any record names it,
and the record before it takes its place, so a key never names two successors.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

import msgspec

from qcommons.base.errors import Corrupt, PeerError, Unavailable, UsageError
from qcommons.node.home import LOCK_FILE, NETWORK
from qcommons.node.lock import HomeLock, read_lock
from qcommons.node.own_files import check_own_folder, claim
from qcommons.pqc.certificates import owner_id
from qcommons.pqc.identity import NodeKey, node_id_of_hash
from qcommons.pqc.keyfile import LIGHT, STRONG, Purpose, Scrypt, create, key_facts, key_file, load, load_or_create
from qcommons.pqc.secret_files import Entropy, place, read_private, replace
from qcommons.pqc.succession import RECORD_BYTES_MAX, Succession, Successions, check_succession, succeed

__all__ = ["Restored", "Rotated", "followers", "id_of", "key_folder", "restore", "rotate", "successions"]

SUCCESSIONS = "successions"


class Restored(msgspec.Struct, frozen=True):
    """id: of the key that is there now. was_there: nothing had to be done. aside: where the key before it is kept."""

    id: str
    was_there: bool
    aside: Path | None = None


class Rotated(msgspec.Struct, frozen=True):
    """old, new: ids. record: the file that says so. aside: where the old key is kept."""

    old: str
    new: str
    record: Path
    aside: Path | None


def key_folder(home: Path) -> Path:
    """Where a home keeps its keys."""
    return home / "keys"


def id_of(purpose: Purpose, digest: bytes) -> str:
    """The hash of a key as people see it."""
    return node_id_of_hash(digest) if purpose == "node" else owner_id(digest)


def restore(
    home: Path,
    purpose: Purpose,
    seed: bytes,
    passphrase: bytes | None,
    *,
    over: bool = False,
    entropy: Entropy = secrets.token_bytes,
    kdf: Scrypt = STRONG,
) -> Restored:
    """The key of `seed` becomes the present one, sealed by `passphrase` or the machine key.

    Args:
        over: also where another key is there, or a damaged one, or the same under another passphrase; it is kept.

    Raises:
        UsageError: there is one and `over` was not said.
        Unavailable: a node runs in this home, or the folder cannot be written.
    """
    folder, name = key_folder(home), key_file(purpose)
    wanted = NodeKey(seed)
    shown = id_of(purpose, wanted.hash)
    with _stopped(home, purpose):
        trouble = _trouble(folder, purpose, passphrase, wanted)
        if trouble == "":
            return Restored(shown, was_there=True)
        if trouble is not None and not over:
            what = f"{trouble}. To use {shown} in its place, say --replace; the file is kept under another name"
            raise UsageError(what, where=str(folder / name))
        coming = f"{purpose}.restored.key"
        try:
            (folder / coming).unlink(missing_ok=True)  # of a restore that a crash cut short
            create(folder, seed, passphrase, entropy, kdf=kdf, purpose=purpose, file=coming)
            return Restored(shown, was_there=False, aside=replace(folder, coming, name))
        except OSError as error:
            raise _unwritable(folder, error) from error


def rotate(
    home: Path,
    purpose: Purpose,
    passphrase: bytes | None,
    now_s: int,
    *,
    network: str = NETWORK,
    entropy: Entropy = secrets.token_bytes,
) -> Rotated:
    """A fresh key takes the place of the present one, which says so in a record that both sign.

    Raises:
        UsageError: there is no key, it does not open, or a key follows it already.
        Unavailable: a node runs in this home, or the folder cannot be written.
        Corrupt: a file is damaged.
    """
    folder, coming = key_folder(home), f"{purpose}.next.key"
    with _stopped(home, purpose):
        old, facts = load(folder, passphrase, purpose=purpose), key_facts(folder, purpose)
        if old is None or facts is None:
            raise UsageError("there is no key to rotate yet", where=str(folder / key_file(purpose)))
        known = _record(_folder(folder, purpose), old.hash, network)
        if known is not None and not (folder / coming).exists():
            what = (
                f"{id_of(purpose, known.new)} follows this key already; restore that one. A second successor would be "
                "a contradiction that anybody could prove"
            )
            raise UsageError(what, where=str(folder / key_file(purpose)))
        kdf = LIGHT if facts.light else STRONG
        new = load_or_create(folder, passphrase, entropy, kdf=kdf, purpose=purpose, file=coming)
        try:
            record = _write(_folder(folder, purpose), old, new, network, now_s, entropy)
            aside = replace(folder, coming, key_file(purpose))
        except OSError as error:
            raise _unwritable(folder, error) from error
    return Rotated(id_of(purpose, old.hash), id_of(purpose, new.hash), record, aside)


def followers(home: Path, purpose: Purpose = "node", network: str = NETWORK) -> list[Succession]:
    """All successions of that kind of key in this home, oldest first."""
    found = _records(_folder(key_folder(home), purpose), network)
    return sorted((content for content, _ in found), key=lambda one: (one.at_s, one.old))


def successions(home: Path, present: bytes, network: str = NETWORK) -> tuple[bytes, ...]:
    """The records that lead from older keys of this home's node to `present` (a hash): what it tells others.

    One whose rotation a crash cut short does not lead there, and is told only when that key is the present one.
    """
    found = _records(_folder(key_folder(home), "node"), network)
    chains = Successions()
    for _, raw in found:
        chains.add(raw, network)
    return tuple(raw for content, raw in found if chains.newest(content.old) == present)


@contextlib.contextmanager
def _stopped(home: Path, purpose: Purpose) -> Iterator[None]:
    """No node runs here, nor starts meanwhile: it holds its key in memory, and would go on under the old one. Of the
    owner's key it knows nothing, and may run; in both cases the home is this user's alone."""
    if purpose == "owner":
        claim(home)
        check_own_folder(_folder(key_folder(home), purpose))
        yield
        return
    path = home / LOCK_FILE
    holder = read_lock(path)
    if holder is not None:
        what = f"a node runs in this home (process {holder.pid}) and holds its key; stop it first: qcommons down"
        raise Unavailable(what, where=str(home))
    with HomeLock(path):
        check_own_folder(_folder(key_folder(home), purpose))
        yield


def _trouble(folder: Path, purpose: Purpose, passphrase: bytes | None, wanted: NodeKey) -> str | None:
    """Why the key that is there is not the wanted one, ready for use; "" if it is, None if there is none."""
    try:
        facts = key_facts(folder, purpose)
    except Corrupt as error:
        return error.what
    if facts is None:
        return None
    if facts.hash != wanted.hash:
        return f"the key of {id_of(purpose, facts.hash)} is here already"
    try:
        load(folder, passphrase, purpose=purpose)
    except (Corrupt, UsageError) as error:
        return f"the same key is here already, but does not open: {error.what}"
    return ""


def _folder(keys: Path, purpose: Purpose) -> Path:
    return keys / SUCCESSIONS / purpose


def _write(folder: Path, old: NodeKey, new: NodeKey, network: str, now_s: int, entropy: Entropy) -> Path:
    """The record on disk; one that is there stays, if it says the same."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"{old.hash.hex()}.cbor"
    place(folder, name, succeed(old, new, network, now_s), entropy)
    said = _record(folder, old.hash, network)
    if said is None or said.new != new.hash:
        raise Corrupt("this record names another key than the coming one", where=str(folder / name))
    return folder / name


def _record(folder: Path, old: bytes, network: str) -> Succession | None:
    """Who follows the key of that hash."""
    return next((content for content, _ in _records(folder, network) if content.old == old), None)


def _records(folder: Path, network: str) -> list[tuple[Succession, bytes]]:
    """Every record of the folder with its bytes, in the order of the names. Raises Corrupt for a damaged one."""
    found = []
    for path in sorted(folder.glob("*.cbor")):
        raw = read_private(path, RECORD_BYTES_MAX) or b""
        try:
            found.append((check_succession(raw, network), raw))
        except PeerError as error:  # our own file, so nobody's fault but ours
            raise Corrupt(f"the record is damaged ({error}); move it away", where=str(path)) from error
    return found


def _unwritable(folder: Path, error: OSError) -> Unavailable:
    return Unavailable(f"cannot write the keys: {error.strerror}; make the folder writable", where=str(folder))
