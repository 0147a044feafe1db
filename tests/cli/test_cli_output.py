"""What a command writes, and where: the answer on stdout or whole in a file, all else on stderr."""

from __future__ import annotations

import csv
import gc
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import archprof
from archprof.cli.output import TABLE_FORMATS
from archprof.render.formats import RENDERERS

VGG16 = {"params": 138_357_544, "macs": 15_470_264_320, "trainable_params": 138_357_544}
"""torchvision's `num_params` (weights metadata); its `_ops` is 15.47 G."""


def test_the_table_of_a_saved_profile_is_the_table(command: Callable, saved: Path) -> None:
    again, traced = command("table", str(saved)), command("table", "vgg16")
    assert again.stdout == traced.stdout
    assert "138.4" in again.stdout
    assert (again.exit_code, again.stderr, traced.stderr) == (0, "", "")


def test_text_that_is_no_terminal_is_plain_and_as_wide_as_it_is(command: Callable, saved: Path) -> None:
    printed = command("table", str(saved)).stdout
    assert printed == archprof.load(saved).table().to_text()
    assert "\x1b" not in printed
    assert "Too narrow" not in printed


def test_json_by_layer_is_the_whole_profile(command: Callable, saved: Path) -> None:
    result = command("table", "vgg16", "--format", "json")
    assert result.stderr == ""
    assert result.stdout == saved.read_text()
    totals = json.loads(result.stdout)["totals"]
    assert {key: totals[key] for key in VGG16} == VGG16


@pytest.mark.parametrize(
    ("words", "unused"),
    [
        (["--top", "3"], "--top"),
        (["--depth", "1", "--sort", "params"], "--depth, --sort"),
        (["--by", "layer", "--columns", "macs"], "--columns"),
    ],
)
def test_json_by_layer_says_what_it_does_not_use(words: list[str], unused: str, command: Callable, saved: Path) -> None:
    result = command("table", str(saved), "--format", "json", *words)
    assert result.stdout == saved.read_text()
    assert result.stderr == f"JSON by layer is the whole profile; not used: {unused}.\n"


@pytest.mark.parametrize("by", ["stage", "kind", "op"])
def test_json_of_another_grouping_is_the_table(by: str, command: Callable, saved: Path) -> None:
    result = command("table", str(saved), "--by", by, "--format", "json", "--columns", "macs", "--top", "2")
    document = json.loads(result.stdout)
    assert result.stderr == ""
    assert [column["key"] for column in document["columns"]] == [by, "macs"]
    assert len(document["rows"]) == 3
    assert sum(row["macs"] for row in document["rows"]) == document["total"]["macs"] == VGG16["macs"]


def test_csv_adds_up(command: Callable, saved: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(command("table", str(saved), "--format", "csv").stdout)))
    assert sum(int(row["params"]) for row in rows) == VGG16["params"]
    assert sum(int(row["macs"]) for row in rows) == VGG16["macs"]
    assert rows[0]["output"] == "1x64x224x224"


@pytest.mark.parametrize(
    ("suffix", "format", "start"),
    [
        (".csv", "csv", "layer,kind,"),
        (".md", "md", "**vgg16 by layer**"),
        (".tex", "latex", "% Needs"),
        (".txt", "text", "vgg16 by layer"),
        (".json", "json", '{\n"schema": 2'),
    ],
)
def test_the_suffix_picks_the_format(suffix: str, format: str, start: str, command: Callable, saved: Path) -> None:
    printed = command("table", str(saved), "--format", format).stdout
    result = command("table", str(saved), "-o", f"out{suffix}")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"Wrote out{suffix}\n")
    assert Path(f"out{suffix}").read_text(encoding="utf-8") == printed
    assert printed.startswith(start)


def test_words_go_before_the_suffix(command: Callable, saved: Path) -> None:
    assert command("table", str(saved), "--format", "csv", "--output", "notes").exit_code == 0
    assert Path("notes").read_text().startswith("layer,kind,")


def test_an_old_file_is_replaced_and_nothing_left_beside_it(command: Callable, saved: Path) -> None:
    Path("x.csv").write_text("old" * 10_000)
    command("table", str(saved), "-o", "x.csv", "--depth", "0")
    assert os.listdir() == ["x.csv"]
    assert len(Path("x.csv").read_text().splitlines()) == 2


def test_the_rows_up_to_a_failure_can_be_kept(command: Callable) -> None:
    result = command("table", "vgg16", "--input", "4x224x224", "-o", "x.json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Wrote x.json" in result.stderr
    kept = archprof.load("x.json")
    assert kept.failure is not None
    assert not kept.totals.complete


def test_views_of_the_library_are_those_of_the_command(command: Callable, saved: Path) -> None:
    words = ["--by", "kind", "--columns", "macs, params", "--sort", "params", "--top", "1"]
    options = {"by": "kind", "columns": ["macs", "params"], "sort": "params", "top": 1}
    printed = command("table", str(saved), *words).stdout
    assert printed == archprof.load(saved).table(**options).to_text()
    assert [line.split()[0] for line in printed.splitlines()[5:7]] == ["Linear", "(6"]


@pytest.mark.parametrize(("by", "there", "absent"), [("layer", "output", "calls"), ("op", "bytes_moved", "params")])
def test_columns_help_lists_them_with_their_meaning(by: str, there: str, absent: str, command: Callable) -> None:
    result = command("table", "no_such_model", "--columns", "help", "--by", by)
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert (result.exit_code, result.stderr) == (0, "")
    assert by in lines
    assert there in lines
    assert absent not in lines
    assert all(lines.values())


def test_models_lists_what_can_be_named(command: Callable) -> None:
    rows = list(csv.DictReader(io.StringIO(command("models", "--format", "csv").stdout)))
    assert len(rows) > 35
    listed = {row["model"]: row for row in rows}
    assert (int(listed["vgg16"]["params"]), int(listed["vgg16"]["macs"])) == (VGG16["params"], VGG16["macs"])
    assert (listed["vgg16"]["year"], listed["vgg16"]["depth"], listed["vgg16"]["input"]) == ("2014", "16", "3x224x224")


def test_models_by_pattern(command: Callable) -> None:
    part = command("models", "vgg16").stdout
    whole = command("models", "vgg?6*").stdout
    assert part == whole
    assert [line.split()[0] for line in part.splitlines()[5:7]] == ["vgg16", "vgg16_bn"]
    assert command("models", "resnet152", "-o", "r.md").stderr == "Wrote r.md\n"
    assert "| resnet152 |" in Path("r.md").read_text()


def test_list_models_can_be_asked_twice() -> None:
    """`archprof.models` is the package of definitions: a function of that name would be hidden by it."""
    assert archprof.list_models("vgg11").records() == archprof.list_models("vgg11").records()


def test_version(command: Callable) -> None:
    assert command("--version").stdout == f"archprof {archprof.__version__}\n"


def test_in_another_process_nothing_ends_and_the_collector_stays(
    command: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `__main__` does to its own process, an embedding must not see."""
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    thresholds = gc.get_threshold()
    assert command("table", "lenet5").exit_code == 0
    assert command("table", "lenet6").exit_code == 2
    assert (ended, gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()) == ([], True, thresholds, 0)


def test_formats_have_one_suffix_each() -> None:
    assert sorted(set(TABLE_FORMATS)) == sorted(TABLE_FORMATS) == sorted({*RENDERERS, "text"} - {"notebook"})
