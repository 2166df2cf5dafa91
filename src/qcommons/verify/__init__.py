"""Verify: trust no peer. What a node claims to have run, so that anyone can check it alone, and whether it is right.

Flow: engines -> Answer -> *receipt* (hash, Merkle tree, one signature) -> file -> *check* -> jobs, people.
Answer of a peer -> *compare* (audit, replicate, traps) -> *verdict*, signed; *soundness* says what passes unseen.
Takes plain values: it knows answers of engines, no jobs. Import the module that defines a thing:

    from qcommons.verify.receipt import check, encode, sign_batch
    signed = sign_batch(key, "home", [receipt], signed_at_ns)
    receipt = check(encode(signed[0]), key.id, "home")
"""

__all__ = [
    "answers", "audit", "compare", "merkle", "receipt", "records", "replicate", "soundness", "stabiliser", "statistics",
    "traps", "verdict",
]  # fmt: skip
