"""Directories and files that are this user's alone."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from orchestratex.errors import LocalStackError

OTHERS = 0o077
OTHERS_WRITE = 0o022
REMEDY = "set ORCHESTRATEX_HOME to a directory of your own"


def make_private_directory(path: Path) -> None:
    """Make a directory that nobody else can enter; from one of ours the rights of others are taken away.

    Raises LocalStackError, saying what to do, for a link, for another user's directory, and where others could write
    and have left something of theirs.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as exc:
        raise LocalStackError(_explain(path, exc)) from exc
    try:
        _take_rights_away(path, directory_fd)
    finally:
        os.close(directory_fd)


def write_private(path: Path, text: str) -> None:
    """Replace a file in one move by one that only we can read, whatever rights the old one had."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as out:
        out.write(text)
    draft.replace(path)


def _take_rights_away(path: Path, directory_fd: int) -> None:
    """Judge and change what was opened, not what stands at the path by now."""
    found = os.fstat(directory_fd)
    if found.st_uid != os.geteuid():
        raise LocalStackError(f"{path} belongs to {_name_user(found.st_uid)}: {REMEDY}.")
    if found.st_mode & OTHERS_WRITE:
        _refuse_foreign_entries(path, directory_fd)
    if found.st_mode & OTHERS:
        os.fchmod(directory_fd, stat.S_IMODE(found.st_mode) & ~OTHERS)


def _refuse_foreign_entries(path: Path, directory_fd: int) -> None:
    with os.scandir(directory_fd) as entries:
        owners = {entry.name: entry.stat(follow_symlinks=False).st_uid for entry in entries}
    for name, owner in owners.items():
        if owner != os.geteuid():
            raise LocalStackError(
                f"{path} was open to other users, and {name} in it belongs to {_name_user(owner)}: look at it and "
                f"remove it, or {REMEDY}."
            )


def _explain(path: Path, problem: OSError) -> str:
    if path.is_symlink():
        return f"{path} is a symbolic link: set ORCHESTRATEX_HOME to the directory itself, not to a link."
    return f"{path} cannot be used as a directory of ours ({problem.strerror}): {REMEDY}."


def _name_user(uid: int) -> str:
    try:
        return f"another user ({pwd.getpwuid(uid).pw_name})"
    except KeyError:
        return f"another user (uid {uid})"
