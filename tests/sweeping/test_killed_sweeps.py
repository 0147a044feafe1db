"""A sweep that is killed with kill -9 loses nothing, does nothing twice, and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from archprof.facts.swept import SweptRow
from archprof.facts.swept_files import read_swept

SETTINGS = ("--batch", "1,8,16,32", "--dtype", "float32,bfloat16")


def journal_of(path: Path) -> list[dict[str, object]]:
    """The rows in the journal, read without our own reader."""
    journal = path.with_name(f"{path.name}.journal")
    lines = journal.read_bytes().split(b"\n")[1:-1] if journal.exists() else []
    return [json.loads(line.partition(b" ")[2]) for line in lines]


def start(words: Sequence[str], path: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "archprof", "sweep", *words, "-o", str(path)]
    with path.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=path.parent)


def wait_for_rows(count: int, process: subprocess.Popen[bytes], path: Path, patience: float) -> None:
    end = time.monotonic() + patience
    while len(journal_of(path)) < count:
        assert process.poll() is None, path.with_suffix(".log").read_text()
        assert time.monotonic() < end
        time.sleep(0.02)


def kill_at(count: int, words: Sequence[str], path: Path, patience: float) -> Iterator[dict[str, object]]:
    """Run until there are so many rows, and kill what runs them; the rows that were there then."""
    process = start(words, path)
    wait_for_rows(count, process, path, patience)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    yield from journal_of(path)


def check_killed_sweep(words: Sequence[str], path: Path, kills: Sequence[int], cells: int, patience: float) -> None:
    kept: dict[object, dict[str, object]] = {}
    for count in kills:
        for row in kill_at(count, words, path, patience):
            assert kept.setdefault(row["key"], row) == row  # nothing was done twice
    assert len(kept) >= kills[-1]
    assert start(words, path).wait(patience) == 0
    rows = {row.key: row.to_record() for row in read_swept(path)}
    assert len(rows) == cells
    assert {key: rows[key] for key in kept} == kept  # nothing was lost
    assert not path.with_name(f"{path.name}.journal").exists()


def test_a_small_sweep_killed_and_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    words = ("lenet5", "alexnet", "resnet152", *SETTINGS, "--jobs", "1")
    kept = {row["key"]: row for row in kill_at(2, words, path, 120)}
    kept |= {row.key: row.to_record() for row in interrupt_at(3, words, path, 120)}
    assert 5 <= len(kept) < 24
    assert start(words, path).wait(120) == 0
    rows = read_swept(path)
    assert {row.key: row.to_record() for row in rows if row.key in kept} == kept
    assert [(row.model, row.dtype, row.batch) for row in rows] == [
        (model, dtype, batch)
        for model in ("lenet5", "alexnet", "resnet152")
        for dtype in ("float32", "bfloat16")
        for batch in (1, 8, 16, 32)
    ]
    assert {row.status for row in rows} == {"ok"}
    assert [row.macs for row in rows[8:10]] == [714188480, 8 * 714188480]  # as torchvision publishes


def interrupt_at(more: int, words: Sequence[str], path: Path, patience: float) -> list[SweptRow]:
    """Ctrl-C after so many rows of its own, for before them Python itself may not have begun; those in the output."""
    count = len(journal_of(path)) + more
    process = start(words, path)
    wait_for_rows(count, process, path, patience)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    said = path.with_suffix(".log").read_text().splitlines()
    assert said[-2].endswith("left. The same command goes on.")
    assert said[-1] == "archprof: interrupted."
    assert not path.with_name(f"{path.name}.journal").exists()
    return read_swept(path)


@pytest.mark.slow
def test_every_architecture_of_timm_at_three_settings_killed_twice(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    import timm

    path = tmp_path / "timm.parquet"
    names, start_time = timm.list_models(), time.monotonic()
    words = ("timm:*", "--batch", "1,8,64", "--limit", "600")
    check_killed_sweep(words, path, (1000, 3000), 3 * len(names), 7200)
    rows = read_swept(path)
    record_property("seconds", time.monotonic() - start_time)
    assert {row.status for row in rows} == {"ok"}
    assert [(row.model, row.batch) for row in rows] == [
        (f"timm:{name}", batch) for name in names for batch in (1, 8, 64)
    ]
