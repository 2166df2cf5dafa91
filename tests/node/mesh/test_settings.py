"""Settings of the mesh: what each reads, what it refuses, and how it writes addresses."""

from __future__ import annotations

from pathlib import Path

import pytest

from qcommons.base.errors import UsageError
from qcommons.mesh.addresses import parse
from qcommons.node import config
from qcommons.node.mesh.settings import addresses, listen, mesh_settings, network, yes_no


@pytest.mark.parametrize(("text", "value"), [("true", 1), ("Yes", 1), ("on", 1), ("False", 0), ("0", 0), ("off", 0)])
def test_words_for_yes_and_no(text: str, value: int) -> None:
    assert yes_no(text, "x") == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("192.168.1.20:8741", "tcp/192.168.1.20:8741"),
        ("tcp/10.0.0.1:1, example.org:8741", "tcp/10.0.0.1:1 tcp/example.org:8741"),
        ("[FD00:0:0:0::1]:8741", "tcp/[fd00::1]:8741"),
        ("a:1 a:1", "tcp/a:1"),
        ("", ""),
    ],
)
def test_addresses_are_written_in_the_one_form_that_the_mesh_reads(text: str, value: str) -> None:
    written = addresses(text, "x")
    assert written == value
    for one in written.split():
        assert parse(one).text == one


@pytest.mark.parametrize("text", ["host", "host:0", "host:70000", "http://a:1", "[::zz]:1", "1.2.3:4", "a:1 " * 40])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        addresses(" ".join(f"{word}" if text.count(" ") < 3 else f"h{i}:1" for i, word in enumerate(text.split())), "x")
    assert caught.value.where == "x"


@pytest.mark.parametrize("text", ["lan", "loopback", "192.168.1.5", "fd00::1", "0.0.0.0"])
def test_where_to_listen(text: str) -> None:
    assert listen(text.upper() if text.isalpha() else text, "x") == text


@pytest.mark.parametrize("text", ["wan", "", "192.168.1", "eth0"])
def test_no_other_place_to_listen(text: str) -> None:
    with pytest.raises(UsageError):
        listen(text, "x")


@pytest.mark.parametrize("text", ["", "Commons", "-a", "a" * 65, "a b"])
def test_network_ids_are_those_of_signatures(text: str) -> None:
    with pytest.raises(UsageError):
        network(text, "x")


def test_a_file_and_the_environment_make_one_record(tmp_path: Path) -> None:
    """TOML's own booleans and numbers read as their words do."""
    file = tmp_path / "config.toml"
    file.write_text('[mesh]\nenabled = true\nmdns = false\nport = 9000\nbootstrap = "a.example:1, b.example:2"\n'
                    "[share]\nenabled = true\n")  # fmt: skip
    environ = {"QCOMMONS_MESH_NETWORK": "lab", "QCOMMONS_MESH_LISTEN": "loopback"}
    found = mesh_settings(config.load(environ=environ, path=file))
    assert found == (True, "lab", 9000, "loopback", False, ("tcp/a.example:1", "tcp/b.example:2"), True, True)


def test_by_default_the_lan_is_listened_to_and_strangers_get_no_work(tmp_path: Path) -> None:
    values = config.load(environ={}, path=tmp_path / "absent")
    found = mesh_settings(values)
    assert (found.enabled, found.listen, found.port, found.mdns, found.relay) == (True, "lan", 8741, True, True)
    assert values["share.enabled"].value == 0 and not found.sharing
