"""How the vectors of this room that are ours were made.

    python -m tests.pqc.regenerate sealed certificates

Run it only for a new version of a format, and name that format. Signatures are hedged and HPKE draws randomness of its
own, so bytes differ each time. `bech32m.json`, `words.json` and `published.json` are kept by hand: they are others'.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from qcommons.pqc import certificates, commit, sealed, succession
from qcommons.pqc.identity import NodeKey
from qcommons.pqc.keyfile import KEY_FILE, LIGHT, MACHINE_KEY_FILE, load_or_create
from qcommons.pqc.prekeys import PrekeyPair, check_prekey, publish
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


NETWORK = "home"
NOW_S = 1_800_000_000
PREKEY_SEED = bytes(range(96))


def boxes() -> list[dict[str, str | int]]:
    sender, recipient = NodeKey(SEEDS[1]), NodeKey(SEEDS[2])
    pair = PrekeyPair(PREKEY_SEED)
    signed = publish(recipient, NETWORK, pair, NOW_S, NOW_S + 86_400)
    prekey = check_prekey(recipient.public_key, NETWORK, signed, NOW_S)
    return [
        {
            "network": NETWORK,
            "sender_seed": SEEDS[1].hex(),
            "recipient_seed": SEEDS[2].hex(),
            "prekey_seed": PREKEY_SEED.hex(),
            "prekey_id": pair.id.hex(),
            "prekey_signed": signed.hex(),
            "purpose": purpose,
            "at_s": NOW_S,
            "body": body.hex(),
            "box": sealed.seal(sender, prekey, purpose, NETWORK, body, NOW_S).hex(),
        }
        for purpose, body in (("job-input", b"attack at dawn"), ("ballot.1", b""))
    ]


def commitments() -> list[dict[str, str]]:
    node = NodeKey(SEEDS[1]).hash
    cases = (("replica-result", bytes(32), b"\x00\x01"), ("bid", bytes(range(32)), b""))
    return [
        {
            "purpose": purpose,
            "node": node.hex(),
            "salt": salt.hex(),
            "value": value.hex(),
            "commitment": commit.commitment(commit.Opening(purpose, node, salt, value)).hex(),
        }
        for purpose, salt, value in cases
    ]


def chain() -> dict[str, object]:
    """An owner's certificate for a node, a chain of two delegations, and the list that revokes the second."""
    owner, service, agent = (NodeKey(seed) for seed in SEEDS)
    until_s = NOW_S + 86_400
    certificate = certificates.certify(owner, NETWORK, service.hash, NOW_S, until_s)
    scope = ("jobs.submit", "ledger.pay")
    first = certificates.delegate(owner, NETWORK, service.hash, scope, 1000, NOW_S, until_s, onward=1)
    parent = certificates.check_chain([first], NETWORK, owner.hash, service.hash, NOW_S, {})
    second = certificates.delegate(service, NETWORK, agent.hash, scope[:1], 10, NOW_S, until_s, parent=parent)
    last = certificates.check_chain([first, second], NETWORK, owner.hash, agent.hash, NOW_S, {})
    ids = [certificates.certificate_id(one) for one in (parent, last)]
    revocations = certificates.revoke(service, NETWORK, ids[1:], NOW_S)
    return {
        "network": NETWORK,
        "now_s": NOW_S,
        "seeds": [seed.hex() for seed in SEEDS],
        "owner_id": certificates.owner_id(owner.hash),
        "certificate": certificates.encode_link(certificate).hex(),
        "chain": [certificates.encode_link(link).hex() for link in (first, second)],
        "chain_ids": [one.hex() for one in ids],
        "revocations": certificates.encode_link(revocations).hex(),
    }


def followed() -> list[dict[str, str | int]]:
    keys = [NodeKey(seed) for seed in SEEDS]
    return [
        {
            "network": NETWORK,
            "old_seed": old.secret_seed().hex(),
            "new_seed": new.secret_seed().hex(),
            "at_s": NOW_S,
            "record": succession.succeed(old, new, NETWORK, NOW_S).hex(),
        }
        for old, new in pairwise(keys)
    ]


FORMATS: dict[str, tuple[str, Callable[[], object]]] = {
    "identity": ("Seed to node id: docs/protocol/identity.md.", identities),
    "signing": ("Signed objects: docs/protocol/identity.md.", signed),
    "keyfile": ("Key files (scrypt with N = 2^12): docs/protocol/identity.md.", key_files),
    "sealed": ("Prekeys and sealed boxes: docs/protocol/sealed.md.", boxes),
    "commit": ("Commitments: docs/protocol/sealed.md.", commitments),
    "certificates": ("Certificates, delegations, revocations: docs/protocol/certificates.md.", chain),
    "succession": ("Successions: docs/protocol/succession.md.", followed),
}


def write(path: Path, about: str, vectors: object) -> None:
    path.write_text(json.dumps({"about": about, "vectors": vectors}, indent=1) + "\n")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        about, make = FORMATS[name]
        write(FOLDER / f"{name}.json", about, make())
