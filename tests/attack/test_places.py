"""Places where nothing can be written, or not all of it: a sentence, an exit code, and what was there is there."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attack.test_words import assert_said, run, run_in

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of sizes, and /proc")

WRITERS = {
    "table": "table lenet5 -o {}.csv", "profile": "table lenet5 -o {}.json", "memory": "memory lenet5 -o {}.svg",
    "memory page": "memory lenet5 -o {}.html", "graph": "graph lenet5 -o {}.svg",
    "compare": "compare lenet5 lenet5 -o {}.md",
    "report": "report lenet5 -o {}.html", "check": "check lenet5 --max-params 1M --format junit -o {}.xml",
    "rewritten": "whatif lenet5 --width 2 -o {}.py", "inputs": "inputs lenet5 --where features.0=28x28 -o {}.csv",
    "fit": "fit lenet5 --max-macs 1M -o {}.csv", "mesh": "fit lenet5 --over mesh --gpus 2 --device h100 -o {}.csv",
    "epoch": "epoch lenet5 --images 10 -o {}.csv",
    "models": "models lenet -o {}.csv",
    "devices": "devices h100 -o {}.csv", "predict": "predict lenet5 --device t4 -o {}.md",
    "shard": "shard lenet5 --mesh dp=2 -o {}.json", "probe": "probe lenet5 --batch 2 -o {}.html",
    "calibrate": "calibrate --cpu -o {}.json", "sweep": "sweep lenet5 -o {}.csv",
    "columns": "sweep lenet5 -o {}.parquet",
    "train": "train lenet5 --data digits --epochs 1 -o {}",
}  # fmt: skip
LONG = ("calibrate", "sweep", "columns", "train")
"""What takes some seconds before it writes."""

BEFORE = b"what was there before\n"

EARLIER = {"sweep", "columns"}
"""What is written to goes on there, and is read before: what is no sweep is refused."""


def each_writer(*fast: str) -> list[object]:
    """Every writer; those that are not named are no part of the fast run."""
    return [pytest.param(name, marks=[pytest.mark.slow] * (name not in fast)) for name in WRITERS]


def name_output(name: str, stem: str = "out") -> tuple[list[str], Path]:
    words = WRITERS[name].replace("{}", stem).split()
    return words, Path(words[-1])


def list_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def a_full_disk(room: int) -> Iterator[None]:
    """No file of this process grows beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [0, 20])
@pytest.mark.parametrize("name", each_writer("table", "memory", "report", "rewritten"))
def test_a_disk_that_fills_up(name: str, room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words, path = name_output(name)
    if name not in (*EARLIER, "train"):
        path.write_bytes(BEFORE)
    before = list_files(tmp_path)
    with a_full_disk(room):
        result = run(*words)
    assert_said(result)
    assert result.exit_code == 1, result.stderr
    assert "File too large" in result.stderr or "no room" in result.stderr
    assert list_files(tmp_path) == before


def make_folder(path: Path) -> Path:
    path.mkdir()
    return path


def make_below_a_file(path: Path) -> Path:
    path.write_bytes(BEFORE)
    return path / path.name


def make_below_nothing(path: Path) -> Path:
    return path.with_name("nothing") / path.name


PLACES: dict[str, Callable[[Path], Path]] = {
    "a folder": make_folder, "below a file": make_below_a_file,
    "below nothing": make_below_nothing, "read-only": lambda path: Path("/proc") / path.name,
    "of the kernel": lambda path: Path("/proc/version"),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", each_writer(*WRITERS))
def test_a_place_where_no_file_can_be(name: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found before the work: no command takes long."""
    monkeypatch.chdir(tmp_path)
    words, path = name_output(name)
    if name == "train" and place in ("a folder", "below nothing"):
        return  # a run is kept in a folder, which is made
    words[-1] = str(PLACES[place](path))
    before = list_files(tmp_path)
    result = run(*words)
    assert_said(result)
    assert result.exit_code in (1, 2), result.stderr
    assert list_files(tmp_path) == before


@pytest.mark.parametrize("name", each_writer("table", "report"))
def test_a_working_folder_that_is_gone(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    done = run_in(folder, *name_output(name)[0], gone=True)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("archprof: The working folder does not exist any more.")


@pytest.mark.parametrize("name", each_writer("table", "graph"))
def test_a_file_from_before_is_there_until_the_new_one_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new file keeps the permissions of the old one, and a link what it points to."""
    monkeypatch.chdir(tmp_path)
    words, path = name_output(name)
    if name == "train":
        return
    if name not in EARLIER:
        (tmp_path / "real").write_bytes(BEFORE)
        (tmp_path / "real").chmod(0o640)
        path.symlink_to("real")
    assert run(*words).exit_code == 0
    assert path.read_bytes() != BEFORE
    if name not in EARLIER:
        assert path.is_symlink()
        assert path.stat().st_mode & 0o777 == 0o640
    assert not list(tmp_path.glob(".archprof-*"))
