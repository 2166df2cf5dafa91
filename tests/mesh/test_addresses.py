"""Addresses: one spelling each, a scope, and who may speak of which."""

from __future__ import annotations

import pytest

from qcommons.base.errors import PeerError, UsageError
from qcommons.mesh.addresses import Scope, check_record_addresses, may_tell, parse, relay_address, tcp_address
from qcommons.mesh.records import PeerId

NODE = PeerId(bytes(range(32)))


@pytest.mark.parametrize(
    ("text", "scope", "prefix"),
    [
        ("tcp/127.0.0.1:8741", Scope.LOOPBACK, "loopback"),
        ("tcp/127.9.0.1:1", Scope.LOOPBACK, "loopback"),
        ("tcp/[::1]:8741", Scope.LOOPBACK, "loopback"),
        ("tcp/192.168.1.20:8741", Scope.PRIVATE, "192.168.1.0/24"),  # RFC 1918
        ("tcp/10.1.2.3:8741", Scope.PRIVATE, "10.1.2.0/24"),
        ("tcp/172.31.0.9:8741", Scope.PRIVATE, "172.31.0.0/24"),
        ("tcp/100.64.0.1:8741", Scope.PRIVATE, "100.64.0.0/24"),  # RFC 6598
        ("tcp/169.254.3.4:8741", Scope.PRIVATE, "169.254.3.0/24"),  # RFC 3927
        ("tcp/[fd00::1]:8741", Scope.PRIVATE, "fd00::/48"),  # RFC 4193
        ("tcp/[fe80::1]:8741", Scope.PRIVATE, "fe80::/48"),  # RFC 4291
        ("tcp/172.32.0.9:8741", Scope.PUBLIC, "172.32.0.0/24"),
        ("tcp/93.184.216.34:443", Scope.PUBLIC, "93.184.216.0/24"),
        ("tcp/[2a01:4f8:1:2::3]:8741", Scope.PUBLIC, "2a01:4f8:1::/48"),
        ("tcp/node.example.org:8741", Scope.PUBLIC, "name node.example.org"),
    ],
)
def test_scope_and_prefix(text: str, scope: Scope, prefix: str) -> None:
    found = parse(text)
    assert (found.text, found.scope, found.prefix) == (text, scope, prefix)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tcp/",
        "udp/1.2.3.4:5",
        "tcp/1.2.3.4",
        "tcp/1.2.3.4:0",
        "tcp/1.2.3.4:65536",
        "tcp/1.2.3.4:08",
        "tcp/1.2.3.4:8741 ",
        "tcp/1.2.3:8741",
        "tcp/001.2.3.4:8741",
        "tcp/0.0.0.0:8741",
        "tcp/255.255.255.255:8741",
        "tcp/224.0.0.1:8741",
        "tcp/[ff02::1]:8741",
        "tcp/[::]:8741",
        "tcp/::1:8741",
        "tcp/[::ffff:127.0.0.1]:8741",
        "tcp/[fe80::1%eth0]:8741",
        "tcp/[2A01::1]:8741",
        "tcp/[2a01:0::1]:8741",
        "tcp/-a.example:8741",
        "tcp/a..example:8741",
        "tcp/A.example:8741",
        "relay/",
        "relay/qn1qqqq",
        "tcp/" + "a" * 120 + ":1",
    ],
)
def test_what_is_no_address_or_another_spelling_of_one_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)


def test_a_relay_address_names_the_relay() -> None:
    assert parse(relay_address(NODE)).via == NODE
    with pytest.raises(UsageError, match="another way"):
        parse("relay/" + relay_address(NODE).removeprefix("relay/").upper())


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("192.168.1.2", "tcp/192.168.1.2:5"),
        ("::ffff:192.168.1.2", "tcp/192.168.1.2:5"),  # an IPv6 socket that took an IPv4 connection
        ("fe80::1%eth0", "tcp/[fe80::1]:5"),
        ("2A01:4F8:0:0::1", "tcp/[2a01:4f8::1]:5"),
    ],
)
def test_the_address_of_a_socket_is_spelled_as_in_records(host: str, text: str) -> None:
    assert tcp_address(host, 5) == text
    assert parse(text).text == text


def test_a_liar_outside_cannot_make_this_node_dial_inside() -> None:
    inside, here = parse("tcp/192.168.1.1:80"), parse("tcp/127.0.0.1:631")
    assert not may_tell(Scope.PUBLIC, inside)
    assert not may_tell(Scope.PUBLIC, here)
    assert not may_tell(Scope.PRIVATE, here)
    assert may_tell(Scope.PRIVATE, inside)
    assert may_tell(Scope.LOOPBACK, here)
    assert may_tell(Scope.PUBLIC, parse("tcp/93.184.216.34:443"))


def test_records_hold_addresses_only_and_few() -> None:
    check_record_addresses(("tcp/1.2.3.4:5", relay_address(NODE)), 8)
    with pytest.raises(PeerError, match="a name"):
        check_record_addresses(("tcp/example.org:5",), 8)
    with pytest.raises(PeerError, match="allowed 8"):
        check_record_addresses(("tcp/1.2.3.4:5",) * 9, 8)
    with pytest.raises(PeerError, match="no address"):
        check_record_addresses(("http://x",), 8)
