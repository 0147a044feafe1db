"""Names of the user's own that would steer a terminal, a log or a spreadsheet, through every format that shows them."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from attack.hostile_words import SIGNS
from attack.test_words import assert_visible, run, run_in
from torch import nn

import archprof
from archprof.wording import guard_formula, read_guarded

FORMULA = '=HYPERLINK("http://x","y")'
NAMES = [SIGNS, FORMULA, "@SUM(1)", "+1+1", "-2-2", "%0A::error::x", "</script><img src=x>", "a\rb", "\t=1", "$(x)`x`"]


def make_named(name: str) -> nn.Module:
    """A net whose class and modules are called so; a dot would part a path."""
    path = name.replace(".", "")
    kind = type(name.replace("\0", ""), (nn.Linear,), {})
    net = nn.Sequential()
    net.add_module(path, kind(4, 4))
    net.add_module(f"{path}2", nn.ReLU())
    return net


def list_formats(table: Any) -> list[str]:
    return [table.to_text(), table.to_csv(), table.to_markdown(), table.to_latex()]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_modules_and_classes_in_every_format(name: str, tmp_path: Path) -> None:
    profile = archprof.profile(make_named(name), (1, 4))
    for by in ("layer", "stage", "kind", "op"):
        for text in list_formats(profile.table(by=by)):
            assert_visible(text)
    assert_visible(archprof.compare(profile, archprof.profile(make_named("plain"), (1, 4))).to_text(100))
    archprof.report([profile], tmp_path / "x.html")
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert all(sign.isprintable() or sign in "\n\t\xa0" for sign in page)
    assert "<img src=x>" not in page


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_is_no_formula_and_one_line(name: str) -> None:
    """A number stays a number, and a text that a spreadsheet would compute stands behind an apostrophe."""
    profile = archprof.profile(make_named(name), (1, 4))
    text = profile.table().to_csv()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(text.splitlines()) == len(rows) + 1
    assert not any(re.match(r"[=+@\t\r-]", cell) for row in rows for cell in row.values())
    assert sum(int(row["macs"]) for row in rows) == 16


@pytest.mark.parametrize("text", ["=1", "'=1", "''=1", "'a", "-1", "@x", "plain", "", "'", "+"])
def test_what_was_kept_from_a_spreadsheet_is_read_as_it_was(text: str) -> None:
    assert read_guarded(guard_formula(text)) == text
    assert not re.match(r"[=+@-]", guard_formula(text))


NET = """
import warnings, torch
from torch import nn
NAME = {name!r}
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.add_module(NAME.replace(".", ""), type(NAME.replace("\\0", ""), (nn.Linear,), {{}})(4, 4))
    def forward(self, x):
        warnings.warn(NAME)
        return next(self.children())(x)
class Raises(Net):
    def forward(self, x):
        raise type(NAME.replace("\\0", ""), (ValueError,), {{}})(NAME)
class Fails(Net):
    def __init__(self):
        raise ValueError(NAME)
class Lacks(Net):
    def forward(self, x):
        return getattr(self, NAME)
"""

COMMANDS = [
    "table {}:Net --input 4", "table {}:Net --input 4 --format csv", "table {}:Net --input 4 --format json",
    "table {}:Net --input 4 --by kind --format md", "table {}:Net --input 4 --format latex",
    "table {}:Raises --input 4", "table {}:Raises --input 4 --format csv",
    "table {}:Fails --input 4", "table {}:Lacks --input 4", "compare {}:Net {}:Net --input 4", "graph {}:Net --input 4",
    "memory {}:Net --input 4 --train", "memory {}:Net --input 4 --format json", "verify {}:Net --input 4",
    "predict {}:Net --input 4 --device h100", "predict {}:Net --input 4 --device h100 --format json",
    "shard {}:Net --input 4 --mesh fsdp=2 --train --batch 2", "shard {}:Net --input 4 --mesh fsdp=2 --units nothing",
    "check {}:Net --input 4 --max-params 1", "check {}:Net --input 4 --max-params 1 --format github",
    "check {}:Net --input 4 --max-params 1 --format junit", "check {}:Net --input 4 --max-params 1 --format md",
    "fit {}:Net --input 4 --over batch --max-macs 1k", "probe {}:Net --input 4 --batch 2",
    "probe {}:Raises --input 4 --batch 2", "epoch {}:Net --input 4 --images 10", "whatif {}:Net --input 4 --width 2",
    "report {}:Net --input 4 -o {}.html", "sweep {}:Net {}:Raises --input 4", "sweep {}:Net --input 4 -o {}.csv",
    "train {}:Net --input 4 --data random --epochs 1 -o {}", "table {}.json", "table {}:Nothing --input 4",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "name", [SIGNS.replace("/", ""), *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES[1:])]
)
def test_a_users_own_names_by_command(command: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of files, modules, classes, exceptions and warnings, and their messages."""
    monkeypatch.chdir(tmp_path)
    file = f"{name.replace('/', '')}.py"
    Path(file).write_text(NET.format(name=name), encoding="utf-8")
    result = run(*(word.replace("{}:", f"{file}:").replace("{}", file[:-3]) for word in command.split()))
    own = "::error file=" if "github" in command else ""  # the one command that is meant
    assert_visible(result.stdout.replace(f"\n{own}", "\n") if own else result.stdout)
    assert_visible(result.stderr)
    assert "not foreseen" not in result.stderr
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)


def test_a_warning_or_a_traceback_of_a_process_is_visible_text(tmp_path: Path) -> None:
    """Python's own words for what a user's code does: the file is named in both."""
    name = SIGNS.replace("/", "")
    (tmp_path / f"{name}.py").write_text(NET.format(name=name), encoding="utf-8")
    warned = run_in(tmp_path, "table", f"{name}.py:Net", "--input", "4")
    assert "UserWarning" in warned.stderr
    failed = run_in(tmp_path, "table", f"{name}.py:Fails", "--input", "4", "--debug")
    assert "Traceback" in failed.stderr
    for done in (warned, failed):
        assert_visible(done.stderr)
        assert_visible(done.stdout)
