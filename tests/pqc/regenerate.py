"""How the vectors of this room that are ours were made: `identity.json`, `signing.json`, `keyfile.json`.

    python -m tests.pqc.regenerate

Run it only with a new version of a format. Signatures are hedged, so signed bytes differ each time. `bech32m.json` is
kept by hand: its vectors are those of BIP-350.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from qcommons.pqc.identity import NodeKey
from qcommons.pqc.keyfile import KEY_FILE, LIGHT, MACHINE_KEY_FILE, load_or_create
from qcommons.pqc.signing import sign

FOLDER = Path(__file__).parents[1] / "vectors" / "pqc"
SEEDS = (bytes(32), bytes(range(32)), b"\xff" * 32)
PASSPHRASE = b"correct horse battery staple"


def counted() -> Callable[[int], bytes]:
    """Entropy that anyone can repeat: SHAKE256 of a counter. Never for a real key."""
    calls = 0

    def entropy(count: int) -> bytes:
        nonlocal calls
        calls += 1
        return hashlib.shake_256(f"qcommons vector {calls}".encode()).digest(count)

    return entropy


def identities() -> list[dict[str, str]]:
    keys = [(seed, NodeKey(seed)) for seed in SEEDS]
    return [
        {
            "seed": seed.hex(),
            "public_key_begins": key.public_key[:16].hex(),
            "node_hash": key.hash.hex(),
            "node_id": key.id,
        }
        for seed, key in keys
    ]


def signed() -> list[dict[str, str]]:
    cases = (("qcommons/note.1", "home", b"hello"), ("qcommons/note.12", "lab-7.example", b""))
    return [
        {
            "seed": SEEDS[1].hex(),
            "object_type": object_type,
            "network": network,
            "payload": payload.hex(),
            "signed": sign(NodeKey(SEEDS[1]), object_type, network, payload).hex(),
        }
        for object_type, network, payload in cases
    ]


def key_files() -> list[dict[str, str | None]]:
    made: list[dict[str, str | None]] = []
    for passphrase in (None, PASSPHRASE):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            key = load_or_create(folder, passphrase, counted(), kdf=LIGHT)
            machine = folder / MACHINE_KEY_FILE
            made.append(
                {
                    "passphrase": passphrase.decode() if passphrase else None,
                    "machine_key": machine.read_bytes().hex() if machine.exists() else None,
                    "file": (folder / KEY_FILE).read_bytes().hex(),
                    "seed": key.secret_seed().hex(),
                    "node_id": key.id,
                }
            )
    return made


def write(path: Path, about: str, vectors: object) -> None:
    path.write_text(json.dumps({"about": about, "vectors": vectors}, indent=1) + "\n")


if __name__ == "__main__":
    write(FOLDER / "identity.json", "Seed to node id: docs/protocol/identity.md.", identities())
    write(FOLDER / "signing.json", "Signed objects: docs/protocol/identity.md.", signed())
    write(FOLDER / "keyfile.json", "Key files (scrypt with N = 2^12): docs/protocol/identity.md.", key_files())
