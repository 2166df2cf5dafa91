"""Certificates: owners and their nodes, delegations to agents, and how both are taken back."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cbor2
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcommons.base.canonical import encode, encode_record
from qcommons.base.errors import PeerError, UsageError
from qcommons.pqc.certificates import (
    CERTIFICATE_TYPE,
    CHAIN_LINKS_MAX,
    DELEGATION_TYPE,
    REVOCATIONS_TYPE,
    REVOKED_MAX,
    Delegation,
    Link,
    Revocations,
    certificate_id,
    certify,
    check_certificate,
    check_chain,
    check_revocations,
    decode_link,
    delegate,
    encode_link,
    newer,
    owner_id,
    parse_owner_id,
    revoke,
)
from qcommons.pqc.identity import NodeKey, node_id_of_hash
from qcommons.pqc.signing import sign

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "pqc" / "certificates.json").read_text())["vectors"]
OWNER, NODE, AGENT, HELPER, STRANGER = (NodeKey(bytes([n]) * 32) for n in range(1, 6))
NOW_S = 1_800_000_000
END_S = NOW_S + 86_400
SCOPE = ("jobs.submit", "ledger.pay")


def where(caught: pytest.ExceptionInfo[PeerError]) -> str | None:
    return caught.value.where


def links() -> list[Link]:
    """Owner -> node -> agent -> helper, each with less."""
    made: list[Link] = []
    parent: Delegation | None = None
    people = (OWNER, NODE, AGENT, HELPER)
    for place, (issuer, agent, cap) in enumerate(zip(people, people[1:], (100, 50, 50), strict=False)):
        scope = SCOPE if place < 2 else SCOPE[:1]
        made.append(delegate(issuer, "home", agent.hash, scope, cap, NOW_S, END_S, onward=2 - place, parent=parent))
        parent = check_chain(made, "home", OWNER.hash, agent.hash, NOW_S, {})
    return made


CHAIN = links()


# owners and nodes


def test_published_certificates_stand() -> None:
    owner, service, agent = (NodeKey(bytes.fromhex(seed)) for seed in VECTOR["seeds"])
    now_s, network = VECTOR["now_s"], VECTOR["network"]
    certificate = decode_link(bytes.fromhex(VECTOR["certificate"]))
    assert check_certificate(certificate, network, service.hash, now_s).owner == owner.hash
    assert owner_id(owner.hash) == VECTOR["owner_id"]
    chain = [decode_link(bytes.fromhex(link)) for link in VECTOR["chain"]]
    last = check_chain(chain, network, owner.hash, agent.hash, now_s, {})
    assert (last.scope, last.cap_units) == (("jobs.submit",), 10)
    assert certificate_id(last).hex() == VECTOR["chain_ids"][1]
    revocations = check_revocations(decode_link(bytes.fromhex(VECTOR["revocations"])), network)
    with pytest.raises(PeerError) as caught:
        check_chain(chain, network, owner.hash, agent.hash, now_s, {service.hash: revocations})
    assert where(caught) == "link 2, revoked"


def test_an_id_is_the_hash_of_type_and_content() -> None:
    """By hand, with another encoder."""
    record = check_certificate(certify(OWNER, "home", NODE.hash, NOW_S, END_S), "home", NODE.hash, NOW_S)
    content = cbor2.dumps([OWNER.hash, NODE.hash, NOW_S, END_S])
    assert encode_record(record) == content
    assert certificate_id(record) == hashlib.sha3_256(cbor2.dumps(["qcommons/owner.1", content])).digest()


def test_owner_ids_are_no_node_ids() -> None:
    text = owner_id(OWNER.hash)
    assert text.startswith("qo1") and parse_owner_id(f" {text.upper()}\n") == OWNER.hash
    for wrong in (node_id_of_hash(OWNER.hash), text[:-1] + "q", "", "qo1qqqqqqqqqqqqq"):
        with pytest.raises(UsageError):
            parse_owner_id(wrong)


@pytest.mark.parametrize(
    ("node", "now_s", "network", "says"),
    [(STRANGER.hash, NOW_S, "home", "node"), (NODE.hash, END_S, "home", "until"),
     (NODE.hash, NOW_S - 301, "home", "from"), (NODE.hash, NOW_S, "lab", "network")],
)  # fmt: skip
def test_a_certificate_counts_for_its_node_time_and_network(node: bytes, now_s: int, network: str, says: str) -> None:
    link = certify(OWNER, "home", NODE.hash, NOW_S, END_S)
    assert check_certificate(link, "home", NODE.hash, END_S - 1).node == NODE.hash
    with pytest.raises(PeerError) as caught:
        check_certificate(link, network, node, now_s)
    assert where(caught) == says


def test_nobody_certifies_in_the_name_of_another_owner() -> None:
    claim = encode([OWNER.hash, NODE.hash, NOW_S, END_S])
    link = Link(STRANGER.public_key, sign(STRANGER, CERTIFICATE_TYPE, "home", claim))
    with pytest.raises(PeerError) as caught:
        check_certificate(link, "home", NODE.hash, NOW_S)
    assert where(caught) == "owner"
    swapped = Link(OWNER.public_key, link.signed)
    with pytest.raises(PeerError):
        check_certificate(swapped, "home", NODE.hash, NOW_S)


def test_a_delegation_is_no_certificate() -> None:
    with pytest.raises(PeerError) as caught:
        check_certificate(CHAIN[0], "home", NODE.hash, NOW_S)
    assert where(caught) == "object type"


@pytest.mark.parametrize("life_s", [0, -5, 11 * 366 * 86_400])
def test_a_life_is_a_second_to_ten_years(life_s: int) -> None:
    with pytest.raises(UsageError):
        certify(OWNER, "home", NODE.hash, NOW_S, NOW_S + life_s)
    claim = encode([OWNER.hash, NODE.hash, NOW_S, max(0, NOW_S + life_s)])
    with pytest.raises(PeerError):
        check_certificate(
            Link(OWNER.public_key, sign(OWNER, CERTIFICATE_TYPE, "home", claim)), "home", NODE.hash, NOW_S
        )


# delegations


def test_a_chain_gives_its_last_agent_what_the_last_link_says() -> None:
    last = check_chain(CHAIN, "home", OWNER.hash, HELPER.hash, NOW_S, {})
    assert (last.issuer, last.agent, last.scope, last.cap_units) == (AGENT.hash, HELPER.hash, SCOPE[:1], 50)
    for count, agent in ((1, NODE), (2, AGENT)):  # every beginning of a chain is one
        assert check_chain(CHAIN[:count], "home", OWNER.hash, agent.hash, NOW_S, {}).agent == agent.hash


def test_a_chain_says_at_which_link_it_breaks() -> None:
    changed = Link(NODE.public_key, CHAIN[1].signed[:-1] + bytes([CHAIN[1].signed[-1] ^ 1]))
    cases = [
        (CHAIN, STRANGER.hash, HELPER.hash, NOW_S, "link 1, issuer"),
        (CHAIN[1:], OWNER.hash, HELPER.hash, NOW_S, "link 1, issuer"),
        ([CHAIN[0], CHAIN[2]], OWNER.hash, HELPER.hash, NOW_S, "link 2, issuer"),
        (CHAIN, OWNER.hash, STRANGER.hash, NOW_S, "link 3, agent"),
        (CHAIN, OWNER.hash, HELPER.hash, END_S, "link 1, until"),
        ([], OWNER.hash, HELPER.hash, NOW_S, "chain"),
        (CHAIN * 2, OWNER.hash, HELPER.hash, NOW_S, "chain"),
        ([CHAIN[0], changed], OWNER.hash, AGENT.hash, NOW_S, "link 2, signature"),
    ]  # fmt: skip
    for chain, principal, agent, now_s, says in cases:
        with pytest.raises(PeerError) as caught:
            check_chain(chain, "home", principal, agent, now_s, {})
        assert where(caught) == says


def second(**changed: object) -> Link:
    """A second link that its issuer signed, whatever it says."""
    parent = check_chain(CHAIN[:1], "home", OWNER.hash, NODE.hash, NOW_S, {})
    record = Delegation(NODE.hash, AGENT.hash, SCOPE, 50, 1, NOW_S, END_S, certificate_id(parent))
    fields = [changed.get(name, getattr(record, name)) for name in Delegation.__struct_fields__]
    return Link(NODE.public_key, sign(NODE, DELEGATION_TYPE, "home", encode(fields)))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"cap_units": 101}, "link 2, cap"),
        ({"scope": ("jobs.submit", "vote")}, "link 2, scope"),
        ({"scope": ()}, "link 2, scope"),
        ({"scope": ("ledger.pay", "jobs.submit")}, "link 2, scope"),
        ({"scope": ("jobs.submit", "jobs.submit")}, "link 2, scope"),
        ({"scope": ("Jobs",)}, "link 2, scope"),
        ({"onward": 2}, "link 2, onward"),
        ({"until_s": END_S + 1}, "link 2, until"),
        ({"from_s": END_S}, "link 2, until"),
        ({"from_s": NOW_S + 1000}, "link 2, from"),
        ({"parent": b""}, "link 2, parent"),
        ({"parent": bytes(32)}, "link 2, parent"),
        ({"cap_units": 1 << 63}, "link 2, $[3]"),
        ({"cap_units": -1}, "link 2, $[3]"),
        ({"cap_units": 1.5}, "link 2, $[3]"),
        ({"scope": tuple(f"w{n:02}" for n in range(17))}, "link 2, $[2]"),
        ({"onward": CHAIN_LINKS_MAX}, "link 2, $[4]"),
    ],
)
def test_an_agent_cannot_give_more_than_it_has(changed: dict[str, object], says: str) -> None:
    assert check_chain([CHAIN[0], second()], "home", OWNER.hash, AGENT.hash, NOW_S, {}).agent == AGENT.hash
    with pytest.raises(PeerError) as caught:
        check_chain([CHAIN[0], second(**changed)], "home", OWNER.hash, AGENT.hash, NOW_S, {})
    assert where(caught) == says


def test_an_agent_that_may_not_pass_on_cannot() -> None:
    first = delegate(OWNER, "home", NODE.hash, SCOPE, 100, NOW_S, END_S)
    parent = check_chain([first], "home", OWNER.hash, NODE.hash, NOW_S, {})
    with pytest.raises(UsageError) as caught:
        delegate(NODE, "home", AGENT.hash, SCOPE, 1, NOW_S, END_S, parent=parent)
    assert caught.value.where == "onward"


@pytest.mark.parametrize(
    ("given", "says"),
    [({"scope": ()}, "scope"), ({"scope": ("A",)}, "scope"), ({"cap_units": -1}, "cap"),
     ({"cap_units": 1 << 63}, "cap"), ({"onward": 4}, "onward"), ({"until_s": NOW_S}, "until")],
)  # fmt: skip
def test_nobody_signs_what_no_reader_accepts(given: dict[str, object], says: str) -> None:
    wanted = {"scope": SCOPE, "cap_units": 1, "from_s": NOW_S, "until_s": END_S} | given
    with pytest.raises(UsageError) as caught:
        delegate(OWNER, "home", NODE.hash, **wanted)  # type: ignore[arg-type]
    assert caught.value.where == says


# revocations


def test_a_revoked_link_breaks_every_chain_through_it() -> None:
    second_id = certificate_id(check_chain(CHAIN[:2], "home", OWNER.hash, AGENT.hash, NOW_S, {}))
    taken = check_revocations(revoke(NODE, "home", [second_id], NOW_S), "home")
    assert check_chain(CHAIN[:1], "home", OWNER.hash, NODE.hash, NOW_S, {NODE.hash: taken})
    for count, agent in ((2, AGENT), (3, HELPER)):
        with pytest.raises(PeerError) as caught:
            check_chain(CHAIN[:count], "home", OWNER.hash, agent.hash, NOW_S, {NODE.hash: taken})
        assert where(caught) == "link 2, revoked"


def test_signing_again_does_not_undo_a_revocation() -> None:
    """Signatures are hedged: the same content has other bytes, and the same id."""
    first, again = (certify(OWNER, "home", NODE.hash, NOW_S, END_S) for _ in range(2))
    assert first.signed != again.signed
    record = check_certificate(first, "home", NODE.hash, NOW_S)
    taken = check_revocations(revoke(OWNER, "home", [certificate_id(record)], NOW_S), "home")
    for link in (first, again):
        with pytest.raises(PeerError) as caught:
            check_certificate(link, "home", NODE.hash, NOW_S, taken)
        assert where(caught) == "revoked"


def test_only_the_issuers_own_list_counts() -> None:
    record = check_certificate(certify(OWNER, "home", NODE.hash, NOW_S, END_S), "home", NODE.hash, NOW_S)
    strangers = check_revocations(revoke(STRANGER, "home", [certificate_id(record)], NOW_S), "home")
    link = certify(OWNER, "home", NODE.hash, NOW_S, END_S)
    assert check_certificate(link, "home", NODE.hash, NOW_S, strangers)
    claim = encode_record(msgspec.structs.replace(strangers, issuer=OWNER.hash))
    with pytest.raises(PeerError) as caught:
        check_revocations(Link(STRANGER.public_key, sign(STRANGER, REVOCATIONS_TYPE, "home", claim)), "home")
    assert where(caught) == "issuer"


def test_a_list_grows_and_the_newest_one_counts() -> None:
    first = check_revocations(revoke(OWNER, "home", [b"a" * 32], NOW_S), "home")
    then = check_revocations(revoke(OWNER, "home", [b"b" * 32], NOW_S + 1, first), "home")
    assert (first.seq, then.seq, then.revoked) == (1, 2, (b"a" * 32, b"b" * 32))
    assert newer(None, first) and newer(first, then) and not newer(then, first) and not newer(first, first)
    with pytest.raises(PeerError) as caught:
        newer(first, msgspec.structs.replace(first, revoked=()))
    assert where(caught) == "equivocation"
    with pytest.raises(UsageError):
        revoke(STRANGER, "home", [], NOW_S, first)


def test_a_full_list_travels_and_one_more_is_refused() -> None:
    ids = [n.to_bytes(32, "big") for n in range(REVOKED_MAX + 1)]
    link = revoke(OWNER, "home", ids[1:], NOW_S)
    assert len(check_revocations(decode_link(encode_link(link)), "home").revoked) == REVOKED_MAX
    with pytest.raises(UsageError):
        revoke(OWNER, "home", ids, NOW_S)
    for revoked in ((ids[2], ids[1]), (ids[1], ids[1])):
        claim = encode_record(Revocations(OWNER.hash, 1, NOW_S, revoked))
        with pytest.raises(PeerError):
            check_revocations(Link(OWNER.public_key, sign(OWNER, REVOCATIONS_TYPE, "home", claim)), "home")


@given(st.binary(max_size=400))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(PeerError):
        check_certificate(decode_link(data), "home", NODE.hash, NOW_S)
    link = Link(OWNER.public_key, data)
    with pytest.raises(PeerError):
        check_certificate(link, "home", NODE.hash, NOW_S)
    with pytest.raises(PeerError):
        check_revocations(Link(data, CHAIN[0].signed), "home")
