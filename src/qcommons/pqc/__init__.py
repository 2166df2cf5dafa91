"""Pqc: who somebody is and what they signed, safe from quantum computers too.

Flow: seed -> identity (ML-DSA-65 key, node id) -> keyfile (at rest), words (on paper) -> signing (COSE_Sign1) ->
receipts, records, votes; prekeys -> sealed (boxes); certificates (owners, agents), succession (rotated keys), commit.
Stands beside `circuits` and imports `base` alone; `cryptography` is loaded when a key is first used. Import the module
that defines a thing:

    from qcommons.pqc.identity import NodeKey
    from qcommons.pqc.signing import sign, verify
    key = NodeKey(secrets.token_bytes(32))
    signed = sign(key, "qcommons/note.1", "home", b"hello")
    assert verify(key.public_key, "qcommons/note.1", "home", signed) == b"hello"
"""

__all__ = [
    "bech32m", "certificates", "commit", "identity", "keyfile", "prekey_ring", "prekeys", "sealed", "secret_files",
    "signing", "succession", "words",
]  # fmt: skip
