from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from orchestratex.errors import LocalStackError
from orchestratex.local import LocalStack, local_stack
from orchestratex.local.directory import make_private_directory, write_private
from orchestratex.local.state import home_directory
from orchestratex.settings import Settings

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
NOBODY = 65534


def mode_of(path: Path) -> int:
    return path.lstat().st_mode & 0o777


def test_new_directory_is_for_nobody_else(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        make_private_directory(tmp_path / "a/home")
    finally:
        os.umask(previous)

    assert mode_of(tmp_path / "a/home") == 0o700


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o777, 0o711, 0o1777])
def test_directory_that_others_could_enter_is_closed_to_them(tmp_path: Path, mode: int) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "kept").write_text("x")
    home.chmod(mode)

    make_private_directory(home)

    assert mode_of(home) & 0o077 == 0
    assert (home / "kept").read_text() == "x"


def test_link_is_refused_and_what_it_points_to_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o755)
    (tmp_path / "home").symlink_to(target)

    with pytest.raises(LocalStackError, match=r"home is a symbolic link: set ORCHESTRATEX_HOME"):
        make_private_directory(tmp_path / "home")
    with pytest.raises(LocalStackError, match="symbolic link"), open_stack(tmp_path / "home"):
        pass

    assert mode_of(target) == 0o755
    assert list(target.iterdir()) == []


def open_stack(home: Path) -> AbstractContextManager[LocalStack]:
    return local_stack(Settings(home=str(home)), processes=(), quiet=True, on_event=lambda _: None)


def test_link_above_the_home_is_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")

    assert home_directory(str(tmp_path / "link/home")) == tmp_path.resolve() / "disk/home"


def test_file_in_the_place_of_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")

    with pytest.raises(LocalStackError, match="ORCHESTRATEX_HOME"):
        make_private_directory(tmp_path / "home")


@needs_root
def test_another_users_directory_is_refused_whatever_its_rights(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o777)
    (home / "stack.json").write_text("{}")
    os.chown(home, NOBODY, NOBODY)

    with pytest.raises(LocalStackError, match=r"belongs to another user .*set ORCHESTRATEX_HOME"), open_stack(home):
        pass


@needs_root
def test_what_another_user_left_in_an_open_directory_is_not_taken_for_ours(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "mongodb").mkdir()
    os.chown(home / "mongodb", NOBODY, NOBODY)
    home.chmod(0o777)

    with pytest.raises(LocalStackError, match=r"mongodb in it belongs to another user"):
        make_private_directory(home)


def test_private_file_replaces_an_open_one_and_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "open").write_text("old")
    (tmp_path / "open").chmod(0o666)
    (tmp_path / "foreign").write_text("foreign")
    (tmp_path / "link").symlink_to(tmp_path / "foreign")
    (tmp_path / "open.new").symlink_to(tmp_path / "foreign")

    write_private(tmp_path / "open", "secret")
    write_private(tmp_path / "link", "secret")

    assert (tmp_path / "foreign").read_text() == "foreign"
    for name in ("open", "link"):
        assert (tmp_path / name).read_text() == "secret"
        assert mode_of(tmp_path / name) == 0o600
