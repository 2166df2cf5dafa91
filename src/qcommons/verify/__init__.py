"""Verify: trust no peer. What a node claims to have run, in a form that anyone can check alone.

Flow: engines -> Answer -> *receipt* (hash, Merkle tree, one signature) -> file -> *check* -> jobs, people.
Takes plain values: it knows answers of engines, no jobs. Import the module that defines a thing:

    from qcommons.verify.receipt import check, encode, sign_batch
    signed = sign_batch(key, "home", [receipt], signed_at_ns)
    receipt = check(encode(signed[0]), key.id, "home")
"""

__all__ = ["merkle", "receipt", "records"]
