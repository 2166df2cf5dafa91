"""Addresses of this machine: which are listened on, which are told."""

from __future__ import annotations

import ipaddress

import pytest

from qcommons.node.mesh.interfaces import advertised, is_private, own_addresses, to_listen_on

OWN = ["192.168.1.20", "8.8.4.4", "fd12::5", "2001:4860::1", "172.17.0.1"]


def test_lan_means_private_addresses_alone() -> None:
    assert to_listen_on("lan", OWN) == ["192.168.1.20", "fd12::5", "172.17.0.1"]
    assert to_listen_on("loopback", OWN) == ["127.0.0.1"]
    assert to_listen_on("8.8.4.4", OWN) == ["8.8.4.4"]


def test_all_addresses_are_told_one_by_one() -> None:
    assert advertised(["0.0.0.0"], OWN) == ["192.168.1.20", "8.8.4.4", "172.17.0.1"]
    assert advertised(["::"], OWN) == ["fd12::5", "2001:4860::1"]
    assert advertised(["127.0.0.1"], OWN) == ["127.0.0.1"]
    assert len(advertised(["0.0.0.0"], [f"10.0.0.{n}" for n in range(1, 20)])) == 8, "no more than a record holds"


@pytest.mark.parametrize(
    ("text", "private"),
    [("10.1.2.3", True), ("172.16.0.1", True), ("100.64.0.9", True), ("fd00::1", True), ("127.0.0.1", False),
     ("1.1.1.1", False), ("2606:4700::1", False)],
)  # fmt: skip
def test_what_is_private(text: str, private: bool) -> None:
    """RFC 1918, RFC 4193, RFC 6598; loopback is no address for others."""
    assert is_private(text) == private


def test_own_addresses_can_be_told_to_others() -> None:
    for text in own_addresses():
        address = ipaddress.ip_address(text)
        assert not (address.is_loopback or address.is_link_local or address.is_unspecified)
