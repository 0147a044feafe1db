"""What every room needs is written in one file: who needs it elsewhere calls it there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import archprof

PACKAGE = Path(archprof.__file__).parent

ONE_PLACE = {
    "a shape in a sentence": (r"\"x\"\.join\(map\(str", "wording.py"),
    "a new file in the place of another": (r"os\.replace\(", "files.py"),
    "a table of archprof/data": (r"csv\.DictReader\(lines\)", "files.py"),
    "what a page embeds": (r"files\(\"archprof\.render\.page\"\)", "render/page/assets.py"),
    "what a page may run": (r"'sha256-", "render/page/assets.py"),
    "processors that may be used": (r"sched_getaffinity\(", "measuring/host_state.py"),
    "a frame of pandas": (r"pandas\.DataFrame\(", "analysis/frame.py"),
    "the loss that a model returns": (r"getattr\(\w+, \"loss\"", "torchside/tensors.py"),
    "the number of a later call": (r"\.call \+ 1\}", "facts/modules.py"),
}
"""How the code of each looks, and where it stands."""


@pytest.mark.parametrize(("code", "file"), ONE_PLACE.values(), ids=ONE_PLACE)
def test_it_stands_in_one_file(code: str, file: str) -> None:
    found = {
        str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if re.search(code, path.read_text("utf-8"))
    }
    assert found == {file}
