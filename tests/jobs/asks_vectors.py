"""How `tests/vectors/jobs/asks.json` was made: asks with their files, leases, and two asks that contradict each other.

    python -m tests.jobs.asks_vectors

Run it only with a new version of the format, and name that format. Signatures are hedged, so files differ each time.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from tests.pqc.regenerate import SEEDS, write

from qcommons.base.canonical import encode_record
from qcommons.jobs.asks import Ask, Lease, ask_hash, sign_ask
from qcommons.pqc.identity import NodeKey

FILE = Path(__file__).parents[1] / "vectors" / "jobs" / "asks.json"
NETWORK = "home"
NODE, HOLDER = NodeKey(SEEDS[1]), NodeKey(SEEDS[2])
NOW_S = 1_800_000_000

WORK = Ask(
    node=NODE.hash, resource="work", price_per_giga=250, capacity_per_s=2 * 10**8, places=2, not_before_s=NOW_S,
    until_s=NOW_S + 86_400, transferable=False, seq=NOW_S * 1000,
)  # fmt: skip
EBITS = msgspec.structs.replace(
    WORK, resource="ebits", price_per_giga=(1 << 63) - 1, capacity_per_s=40, places=1, fidelity_ppm=930_000,
    windows=((NOW_S + 600, NOW_S + 1_200), (NOW_S + 7_200, NOW_S + 7_800)), transferable=True,
)  # fmt: skip
NOTHING = msgspec.structs.replace(WORK, capacity_per_s=0, places=0, seq=WORK.seq + 1)
ASKS = {"work": WORK, "e-bits in contact windows": EBITS, "nothing any more": NOTHING}
OTHER = msgspec.structs.replace(WORK, price_per_giga=251)

SPAN = Lease(
    id=bytes(range(16)), node=NODE.hash, holder=HOLDER.hash, resource="work", units_max=4 * 10**9, price_per_giga=250,
    during="span", from_s=NOW_S + 5, until_s=NOW_S + 65, transferable=False, ask=ask_hash(WORK),
)  # fmt: skip
WINDOW = msgspec.structs.replace(
    SPAN, resource="ebits", units_max=1_000, price_per_giga=EBITS.price_per_giga, during="window",
    from_s=NOW_S + 600, until_s=NOW_S + 1_200, transferable=True, ask=ask_hash(EBITS),
)  # fmt: skip
FREE = msgspec.structs.replace(SPAN, price_per_giga=0, ask=None)
LEASES = {"a span": (SPAN, WORK), "a contact window": (WINDOW, EBITS), "without an ask": (FREE, None)}


def vectors() -> dict[str, object]:
    return {
        "network": NETWORK,
        "node": NODE.id,
        "asks": [
            {
                "name": name,
                "ask": encode_record(ask).hex(),
                "hash": ask_hash(ask).hex(),
                "file": sign_ask(NODE, NETWORK, ask).hex(),
            }
            for name, ask in ASKS.items()
        ],
        "contradicts the first": sign_ask(NODE, NETWORK, OTHER).hex(),
        "leases": [{"name": name, "lease": encode_record(lease).hex()} for name, (lease, _) in LEASES.items()],
    }


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    write(FILE, "Signed asks and the leases that cite them: docs/protocol/asks.md.", vectors())
