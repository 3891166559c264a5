from __future__ import annotations

import io
import os
from pathlib import Path

from orchestratex.local.output import LogFiles, PrefixedOutput, read_tail


def test_lines_stand_behind_their_aligned_names() -> None:
    stream = io.StringIO()
    output = PrefixedOutput(stream, width=7, is_coloured=False)

    for name, text in [("api", b"one\ntwo\n"), ("control", b"half a \xff line")]:
        fd = output.open(name)
        os.write(fd, text)
        os.close(fd)
        output.close()

    assert stream.getvalue() == "api     | one\napi     | two\ncontrol | half a � line\n"


def test_each_name_has_its_colour_and_keeps_it() -> None:
    stream = io.StringIO()
    output = PrefixedOutput(stream, width=3, is_coloured=True)

    for name in ("api", "ox", "api"):
        fd = output.open(name)
        os.write(fd, b"x\n")
        os.close(fd)
        output.close()

    assert stream.getvalue() == "\x1b[36mapi | \x1b[0mx\n\x1b[33mox  | \x1b[0mx\n\x1b[36mapi | \x1b[0mx\n"


def test_what_is_watched_is_kept_in_files_too(tmp_path: Path) -> None:
    stream = io.StringIO()
    output = PrefixedOutput(stream, width=3, is_coloured=True, files=LogFiles(tmp_path))

    for text in (b"first\n", b"\x1b[2Jsecond"):  # the second is a restart in the same run
        fd = output.open("api")
        os.write(fd, text)
        os.close(fd)
        output.close()

    assert (tmp_path / "api.log").read_text() == "first\n\\x1b[2Jsecond\n"
    assert "first" in stream.getvalue()


def test_closed_terminal_does_not_stop_the_reading() -> None:
    stream = io.StringIO()
    stream.close()
    output = PrefixedOutput(stream, width=3, is_coloured=False)

    fd = output.open("api")
    os.write(fd, b"x\n" * 30_000)  # the write returns only when somebody reads
    os.close(fd)
    output.close()


def test_log_of_the_last_run_is_kept(tmp_path: Path) -> None:
    for run in (b"first", b"second", b"third"):
        logs = LogFiles(tmp_path)
        for _ in range(2):  # the second time is a restart in the same run
            fd = logs.open("api")
            os.write(fd, run + b"\n")
            os.close(fd)

    assert logs.path("api").read_text() == "third\nthird\n"
    assert (tmp_path / "api.log.1").read_text() == "second\nsecond\n"


def test_tail_is_short(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("\n".join(f"{number} {'x' * 1000}" for number in range(100)))

    tail = read_tail(path, lines=2).splitlines()

    assert [line[:3] for line in tail] == ["98 ", "99 "]
    assert max(map(len, tail)) == 400
    assert read_tail(tmp_path / "none") == ""
