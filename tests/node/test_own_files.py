"""The home is its owner's alone: what others could have written is never used, what they could read is closed."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from qcommons.base.errors import Unavailable, UsageError
from qcommons.node import config
from qcommons.node.logbook import Logbook, newest
from qcommons.node.own_files import check_own, claim, open_own
from qcommons.node.tokens import owner_token

STRANGER = 12_345

MakeForeign = Callable[[Path], None]


@pytest.fixture
def make_foreign(monkeypatch: pytest.MonkeyPatch) -> MakeForeign:
    """Another user's from now on. Only root can give files away; anybody else becomes another one."""

    def make(path: Path) -> None:
        if os.geteuid() == 0:
            os.lchown(path, STRANGER, -1)
        else:
            mine = os.getuid()
            monkeypatch.setattr(os, "geteuid", lambda: mine + 1)

    return make


def test_a_new_home_is_private_and_an_own_one_stays_as_it_is(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"
    assert claim(home) is None and claim(home) is None
    assert home.stat().st_mode & 0o7777 == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o722, 0o1777, 0o702])
def test_a_home_that_others_can_write_is_refused_with_the_command_that_helps(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(UsageError, match=rf"others can write .*mode {mode:04o}.*chmod 700 {tmp_path}") as refused:
        claim(tmp_path)
    assert refused.value.where == str(tmp_path)
    assert tmp_path.stat().st_mode & 0o7777 == mode  # the owner looks first
    tmp_path.chmod(0o700)
    assert claim(tmp_path) is None


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o711, 0o704])
def test_a_home_that_others_can_only_read_is_closed(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    assert claim(tmp_path) == mode
    assert tmp_path.stat().st_mode & 0o7777 == 0o700


def test_a_home_of_somebody_else_is_refused(tmp_path: Path, make_foreign: MakeForeign) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    make_foreign(home)
    with pytest.raises(UsageError, match=r"belongs to user .* chown -R"):
        claim(home)


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_somebody_else_left_in_the_home_is_named(tmp_path: Path, kind: str, make_foreign: MakeForeign) -> None:
    """It was writable for all for a while: a key or settings may be planted."""
    home, planted = tmp_path / "home", tmp_path / "home" / "keys"
    home.mkdir(mode=0o700)
    {"file": planted.touch, "folder": planted.mkdir, "link": lambda: planted.symlink_to("/etc")}[kind]()
    if os.geteuid():
        pytest.skip("only root can give a file away")
    make_foreign(planted)
    with pytest.raises(UsageError, match=f"'keys' belongs to user {STRANGER}"):
        claim(home)


@pytest.mark.parametrize("name", ["keys", "blobs", "config.toml", "calibration.json", "node.db", "token"])
def test_a_link_in_the_place_of_what_the_home_holds_is_refused(tmp_path: Path, name: str) -> None:
    """Its keys would be written where it leads, whoever put it there."""
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir(mode=0o700)
    elsewhere.mkdir()
    (home / name).symlink_to(elsewhere)
    with pytest.raises(UsageError, match="links are not followed") as refused:
        claim(home)
    assert refused.value.where == str(home / name)
    (home / name).rename(home / "mine")  # another name is nobody's business
    assert claim(home) is None


def test_settings_are_not_read_nor_written_through_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QCOMMONS_HOME", str(tmp_path))
    planted = tmp_path / "planted.toml"
    planted.write_text("[share]\nenabled = true\n")
    (tmp_path / "config.toml").symlink_to(planted)
    for use in (config.load, lambda: config.set_value("limits.workers", "3"), lambda: config.unset("share.enabled")):
        with pytest.raises(UsageError, match="links are not followed"):
            use()
    values, troubles = config.survey({})
    assert values["share.enabled"].value == 0 and "links are not followed" in str(troubles[0])
    assert planted.read_text() == "[share]\nenabled = true\n"


def test_a_home_that_others_can_replace_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    tmp_path.chmod(0o777)
    with pytest.raises(UsageError, match=f"chmod o-w {tmp_path}"):
        claim(home)
    tmp_path.chmod(0o1777)  # as /tmp: what is mine stays mine
    assert claim(home) is None


def test_a_home_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="QCOMMONS_HOME"):
        claim(tmp_path / "file" / "home")


def test_a_link_is_not_followed_and_a_pipe_not_waited_for(tmp_path: Path) -> None:
    thesis = tmp_path / "thesis.tex"
    thesis.write_text("years of work")
    thesis.chmod(0o644)
    kinds: dict[str, Callable[[Path], object]] = {
        "link": lambda path: path.symlink_to(thesis),
        "loose": lambda path: path.symlink_to(tmp_path / "nothing"),
        "pipe": os.mkfifo,
        "folder": Path.mkdir,
    }
    for name, make in kinds.items():
        path = tmp_path / name
        make(path)
        for flags in (os.O_RDONLY, os.O_WRONLY | os.O_CREAT | os.O_APPEND, os.O_RDWR | os.O_CREAT):
            with pytest.raises(UsageError, match=r"remove it|move it away"):
                os.close(open_own(path, flags))
        with pytest.raises(UsageError):
            check_own(path)
        with pytest.raises(UsageError):
            owner_token(path)
        with pytest.raises(UsageError):
            Logbook(path).open()
        with pytest.raises(UsageError):
            newest(path, 5)
        book = Logbook(path)
        book.write(1, "x", {})  # a link that came later
        assert book.lost == 1
    assert (thesis.read_text(), thesis.stat().st_mode & 0o777) == ("years of work", 0o644)
    assert not (tmp_path / "nothing").exists()
    check_own(tmp_path / "nothing")


def test_a_socket_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as here:
        here.bind(str(tmp_path / "s"))
        with pytest.raises(UsageError, match="no regular file"):
            open_own(tmp_path / "s", os.O_RDONLY)


def test_a_file_of_somebody_else_is_refused(tmp_path: Path, make_foreign: MakeForeign) -> None:
    path = tmp_path / "node.lock"
    path.touch()
    if os.geteuid():
        pytest.skip("only root can give a file away")
    make_foreign(path)
    with pytest.raises(UsageError, match=f"belongs to user {STRANGER}"):
        open_own(path, os.O_RDONLY)


def test_what_is_made_is_private_and_what_is_not_there_is_said(tmp_path: Path) -> None:
    os.close(open_own(tmp_path / "new", os.O_WRONLY | os.O_CREAT))
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileNotFoundError):
        open_own(tmp_path / "old", os.O_RDONLY)
