"""A file is whole or not there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from archprof import files
from archprof.errors import ArchprofError
from archprof.files import check_writable, write_whole


def test_a_new_file_holds_the_text_in_utf8_with_plain_newlines(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.txt", "größer\nals ×\n")
    assert (tmp_path / "a.txt").read_bytes() == "größer\nals ×\n".encode()
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_new_file_has_the_rights_of_any_new_file_and_an_old_one_keeps_its_own(tmp_path: Path) -> None:
    plain, new = tmp_path / "plain", tmp_path / "new"
    plain.write_text("")
    write_whole(new, "x")
    assert stat.S_IMODE(new.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    new.chmod(0o640)
    write_whole(new, "y")
    assert stat.S_IMODE(new.stat().st_mode) == 0o640
    assert new.read_text() == "y"


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["fdopen", "chmod", "replace"])
def test_a_failed_write_leaves_the_old_file_and_no_other(
    step: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(files.os, step, fail)
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else ArchprofError):
        write_whole(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_half_a_character_is_written_as_visible_text(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_whole(path, "x\ud800")
    assert path.read_text() == "x\\ud800"


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(ArchprofError, match="No space left on device"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    link.symlink_to(real)
    write_whole(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_what_is_no_plain_file_is_written_into(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(pipe, "text")
    assert os.read(reader, 10) == b"text"
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    os.close(reader)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_is_told_in_words() -> None:
    with pytest.raises(ArchprofError, match="cannot be written"):
        write_whole("/dev/full", "x")


def test_the_longest_name_that_the_system_takes(tmp_path: Path) -> None:
    write_whole(tmp_path / ("x" * 255), "text")
    assert (tmp_path / ("x" * 255)).read_text() == "text"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (".", "is a folder"),
        ("missing/a.json", "no folder"),
        ("file/a.json", "no folder"),
        ("x" * 300, "cannot be written"),
        ("a\0b", "cannot be written"),
    ],
)
def test_a_path_that_cannot_be_written_is_found_before_the_work(path: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchprofError, match=words):
        check_writable(tmp_path / path)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ArchprofError, match="no permission"):
        check_writable(tmp_path / "a.json")


def test_no_permission_as_the_system_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.os, "access", lambda *_: False)
    with pytest.raises(ArchprofError, match="no permission"):
        check_writable(tmp_path / "a.json")


def test_a_good_path_is_not_made(tmp_path: Path) -> None:
    assert check_writable(str(tmp_path / "a.json")) == tmp_path / "a.json"
    assert os.listdir(tmp_path) == []
