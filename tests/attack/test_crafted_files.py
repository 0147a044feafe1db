"""Files of every kind that is read: what never ends, is too large, is a pipe, a folder or a loop, or was damaged."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attack.test_words import assert_said, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pipes and files that never end")

READ_BY = {
    "profile": ["table", "x.json"], "compared": ["compare", "lenet5", "x.json"],
    "page": ["report", "x.json", "-o", "y.html"],
    "baseline": ["check", "lenet5", "--max-params", "1M", "--baseline", "x.json"],
    "calibration": ["predict", "lenet5", "--device", "x.json"],
    "swept device": ["sweep", "lenet5", "--device", "x.json"],
    "measured": ["predict", "lenet5", "--device", "h100", "--measured", "x.json"],
    "plan": ["shard", "lenet5", "--mesh", "tp=2", "--plan", "x.toml"],
    "plan in json": ["shard", "lenet5", "--mesh", "tp=2", "--plan", "x.json"],
    "settings": ["check", "lenet5", "--max-params", "1M"], "configuration": ["table", "hf:x.json"],
    "weights": ["probe", "lenet5", "--weights", "x.pt"], "tensors": ["probe", "lenet5", "--weights", "x.safetensors"],
    "saved tensors": ["table", "x.safetensors"], "pickle": ["table", "x.pt"], "program": ["table", "x.pt2"],
    "module": ["table", "x.py:Net"], "sweep": ["report", "x.csv", "-o", "y.html"],
    "swept": ["sweep", "lenet5", "-o", "x.csv"], "columns": ["report", "x.parquet", "-o", "y.html"],
    "run": ["report", "run", "-o", "y.html"], "array": ["table", "lenet5", "--input", "x.npy"],
    "images": ["probe", "lenet5", "--data", "folder:x.npy"],
}  # fmt: skip
"""A command by what it reads from the file."""

FILES = {"settings": "pyproject.toml", "run": "run/run.json"}


def make_endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 * 2**30)


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


KINDS: dict[str, Callable[[Path], None]] = {
    "endless": make_endless, "large": make_large, "a pipe": os.mkfifo, "a folder": Path.mkdir, "a loop": make_loop,
    "empty": Path.touch, "unreadable text": lambda path: path.write_bytes(b"\xff\xfe\x00[" * 100) and None,
    "nested": lambda path: path.write_text("[" * 200_000) and None,
}  # fmt: skip

TAKES_ITS_FILE = {("module", "large"), ("tensors", "large")}
"""A user's own code is read whole, and what safetensors maps into memory is refused by its head."""


class TooLong(BaseException):
    """None that a command puts in words."""


@contextlib.contextmanager
def at_most(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TooLong(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


PAIRS = [
    pytest.param(what, kind, marks=[pytest.mark.slow] * (kind in ("endless", "large") or bool((at + row) % 2)))
    for at, what in enumerate(READ_BY)
    for row, kind in enumerate(KINDS)
    if (what, kind) not in TAKES_ITS_FILE
]
"""The large ones, and every second of the others, are no part of the fast run."""

FAST = [pytest.param(what, "endless") for what in ("profile", "program", "pickle", "plan", "columns")]


@pytest.mark.parametrize(("what", "kind"), [*PAIRS, *FAST])
def test_what_is_no_such_file_is_said(what: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = READ_BY[what]
    name = FILES.get(what) or next(word for word in words if "x." in word).partition(":")[::2]
    path = Path(name if isinstance(name, str) else next(part for part in name if part.startswith("x.")))
    path.parent.mkdir(exist_ok=True)
    KINDS[kind](path)
    with at_most(20), warnings.catch_warnings(action="ignore"):
        result = run(*words)
    assert_said(result)
    if what not in ("settings", "swept"):
        assert result.exit_code, result.output
