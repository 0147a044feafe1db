"""The journal beside an output: what is torn is done again, what is not ours is left alone, one sweep at a time."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from archprof.errors import ArchprofError
from archprof.facts.swept import Cell, SweptRow, start_row
from archprof.facts.swept_files import read_swept, write_swept
from archprof.sweeping.journal import HEAD, Outlet


def row(key: str) -> SweptRow:
    return replace(start_row(Cell(key), key, {}), status="ok", macs=len(key), why='a "quoted",\nword')


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.csv"


def journal(path: Path) -> Path:
    return path.with_name("runs.csv.journal")


def left_behind(path: Path, *keys: str) -> bytes:
    """What a killed sweep leaves: the journal of these rows."""
    with Outlet(path) as outlet:
        for key in keys:
            outlet.add(row(key))
    return journal(path).read_bytes()


def test_rows_are_there_again(path: Path) -> None:
    left_behind(path, "a", "bb")
    left_behind(path, "ccc")
    with Outlet(path) as outlet:
        assert outlet.rows == {key: row(key) for key in ("a", "bb", "ccc")}
        assert outlet.damaged == 0
        outlet.finish(["ccc", "a"])
    assert [one.key for one in read_swept(path)] == ["bb", "ccc", "a"]
    assert not journal(path).exists()


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_end_is_no_row_and_is_written_over(path: Path, cut: int) -> None:
    whole = left_behind(path, "a", "bb")
    journal(path).write_bytes(whole[:-cut])
    left_behind(path, "ccc")
    with Outlet(path) as outlet:
        assert list(outlet.rows) == ["a", "ccc"]


@pytest.mark.parametrize("size", [0, 5, len(HEAD) - 1, len(HEAD)])
def test_a_journal_that_was_only_begun(path: Path, size: int) -> None:
    journal(path).write_bytes(HEAD[:size])
    left_behind(path, "a")
    with Outlet(path) as outlet:
        assert list(outlet.rows) == ["a"]


def test_damage_in_the_middle_costs_the_rows_it_is_in(path: Path) -> None:
    lines = left_behind(path, "a", "bb", "ccc", "dddd").split(b"\n")
    lines[2] = lines[2].replace(b'"macs": 2', b'"macs": 9')  # JSON still, and a wrong number
    lines[3] = lines[3][:20] + lines[4]  # two lines in one
    del lines[4]
    journal(path).write_bytes(b"\n".join(lines))
    with Outlet(path) as outlet:
        assert list(outlet.rows) == ["a"]
        assert outlet.damaged == 2


def test_a_line_is_a_checksum_and_json(path: Path) -> None:
    line = left_behind(path, "a").split(b"\n")[1]
    checksum, _, said = line.partition(b" ")
    assert int(checksum, 16) == zlib.crc32(said)
    assert json.loads(said)["model"] == "a"


def test_a_file_that_is_no_journal_is_left_alone(path: Path) -> None:
    journal(path).write_text("my notes\n")
    with pytest.raises(ArchprofError, match="is no journal of a sweep"):
        Outlet(path)
    assert journal(path).read_text() == "my notes\n"


def test_an_output_that_is_no_sweep_is_left_alone(path: Path) -> None:
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ArchprofError, match="holds no sweep"):
        Outlet(path)
    assert path.read_text() == "a,b\n1,2\n"


def test_the_second_sweep_is_refused_and_the_first_goes_on(path: Path) -> None:
    with Outlet(path) as first:
        first.add(row("a"))
        with pytest.raises(ArchprofError, match=r"Another sweep is writing .*runs\.csv"):
            Outlet(path)
        first.finish(["a"])
    with Outlet(path) as second:
        assert list(second.rows) == ["a"]


def test_the_file_stands_before_the_journal_and_the_journal_is_newer(path: Path) -> None:
    write_swept(path, [row("a"), row("bb")])
    with Outlet(path) as outlet:
        outlet.add(replace(row("bb"), macs=7))
    with Outlet(path) as outlet:
        assert [one.macs for one in outlet.rows.values()] == [1, 7]


def test_nothing_new_leaves_the_output_as_it_is(path: Path) -> None:
    with Outlet(path) as outlet:
        outlet.finish([])
    assert not path.exists()
    assert not journal(path).exists()


def test_a_full_disk_is_said(path: Path) -> None:
    with Outlet(path) as outlet:
        outlet._file.close()
        outlet._file = open("/dev/full", "ab", buffering=0)  # noqa: SIM115
        with pytest.raises(ArchprofError, match="cannot be written: No space left"):
            outlet.add(row("a"))


@pytest.mark.parametrize(
    "said", [b"[" * 100_000, b"[]", b"5", b"null", b'{"model": [1], "batch": []}', b'{"key": 9%s}' % (b"9" * 5000)]
)
def test_a_whole_line_that_holds_no_row_is_none(path: Path, said: bytes) -> None:
    whole = left_behind(path, "a")
    journal(path).write_bytes(whole + b"%08x %s\n" % (zlib.crc32(said), said))
    with Outlet(path) as outlet:
        assert (list(outlet.rows), outlet.damaged) == (["a"], 1)


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="a file that never ends")
@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/dev/zero"), os.mkfifo, lambda path: make_large(path)])
def test_what_never_ends_is_no_journal(path: Path, make: Callable[[Path], object]) -> None:
    make(journal(path))
    with pytest.raises(ArchprofError, match="is no journal of a sweep"):
        Outlet(path)
    assert os.path.lexists(journal(path))


def make_large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 * 2**30)


def test_a_journal_of_which_not_even_the_head_was_written_is_not_left(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_up(outlet: Outlet, data: bytes) -> None:
        outlet._file.write(data[:5])
        raise ArchprofError("there is no room")

    monkeypatch.setattr(Outlet, "_write", fill_up)
    with pytest.raises(ArchprofError, match="no room"):
        Outlet(path)
    assert not journal(path).exists()
