"""mDNS: only claims of our own network, by another node, with addresses that can be dialled, are followed."""

from __future__ import annotations

import asyncio

import pytest

from qcommons.node.mesh.lan import SERVICE, Lan, claims_of
from qcommons.pqc.identity import node_id_of_hash

PEER = bytes(range(32))
ID = node_id_of_hash(PEER)
OWN = node_id_of_hash(bytes(32))


def said(network: str = "commons", node: str = ID) -> dict[bytes, bytes]:
    return {b"n": network.encode(), b"id": node.encode()}


def test_a_claim_names_each_address() -> None:
    found = claims_of(said(), ["192.168.1.7", "fd00::7"], 8741, "commons", OWN)
    assert found == [("tcp/192.168.1.7:8741", PEER), ("tcp/[fd00::7]:8741", PEER)]


@pytest.mark.parametrize(
    "facts",
    [said("other"), said(node=OWN), said(node="qn1nonsense"), {b"id": ID.encode()}, {b"n": b"commons"}, {},
     {b"n": b"commons", b"id": b"\xff\xfe"}],
)  # fmt: skip
def test_what_is_not_of_ours_is_not_followed(facts: dict[bytes, bytes]) -> None:
    assert claims_of(facts, ["192.168.1.7"], 8741, "commons", OWN) == []


def test_addresses_that_make_no_sense_are_left_out() -> None:
    hosts = ["224.0.0.1", "0.0.0.0", "not an address", "192.168.1.7"]
    assert claims_of(said(), hosts, 8741, "commons", OWN) == [("tcp/192.168.1.7:8741", PEER)]
    assert claims_of(said(), ["192.168.1.7"], 0, "commons", OWN) == []


def test_two_nodes_of_one_machine_find_each_other() -> None:
    """Real multicast on loopback; where the machine has none, that is said in the log and nothing breaks."""
    notes: list[str] = []

    async def scene() -> list[tuple[str, bytes]]:
        found: list[tuple[str, bytes]] = []
        one = Lan("net-a", OWN, lambda *claim: found.append(claim), lambda name, **_: notes.append(name))
        two = Lan("net-a", ID, lambda *_: None, lambda name, **_: notes.append(name))
        try:
            await one.announce(["127.0.0.1"], 9001)
            await two.announce(["127.0.0.1"], 9002)
            for _ in range(60):
                if found or notes:
                    break
                await asyncio.sleep(0.1)
        finally:
            await asyncio.gather(one.close(), two.close())
        assert not one.running and not two.running
        return found

    found = asyncio.run(scene())
    if notes:
        pytest.skip(f"no multicast here: {notes}")
    assert found and found[0] == ("tcp/127.0.0.1:9002", PEER)


def test_the_service_type_is_a_registrable_name() -> None:
    """RFC 6763, section 7: at most 15 characters of letters, digits and hyphens after the underscore."""
    name = SERVICE.split(".")[0].removeprefix("_")
    assert len(name) <= 15 and name.isalnum()
