"""Bad input: what was given, what is allowed, what to try; exit code 1 or 2; never a traceback."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from processes import environment
from torch import nn

import archprof
from archprof.errors import ArchprofError

NEVER = ["table", "net.py:Net", "--input", "4"]
"""A command that would run the user's code."""

FORMATS = "Formats: text, csv, md, json, latex, html. Suffixes: .txt, .csv, .md, .json, .tex, .html."

BEFORE: dict[str, tuple[list[str], int, list[str]]] = {
    "column": (["--columns", "params,mac"], 2, ["no column", "'mac'", "Near it: macs.", "flops             float"]),
    "sort": (["--sort", "flop"], 2, ["no column", "'flop'", "Near it: flops", "share_macs        share of"]),
    "column of another grouping": (["--by", "op", "--columns", "params"], 2, ["table by op", "'params'", "aten op"]),
    "no column": (["--columns", "params,"], 2, ["no column", "''"]),
    "grouping": (["--by", "stages"], 2, ["no grouping", "'stages'", "Near it: stage."]),
    "depth of a grouping": (["--by", "kind", "--depth", "1"], 2, ["depth (1)", "by kind", "by layer"]),
    "depth": (["--depth", "-1"], 2, ["The depth is -1.", "0 (the model in one row) or more"]),
    "top": (["--top", "0"], 2, ["top 0 rows", "1 or more"]),
    "format": (["--format", "yaml"], 2, ["no format 'yaml'", FORMATS]),
    "suffix": (["-o", "x.yaml"], 2, ["x.yaml names no format", FORMATS, "--format"]),
    "no suffix": (["-o", "x"], 2, ["suffix of x", FORMATS]),
    "folder": (["-o", "gone/x.csv"], 1, ["gone/x.csv cannot be written", "no folder gone", "mkdir -p gone"]),
    "a folder": (["-o", "."], 1, [". is a folder", "An output is a file."]),
    "dtype": (["--dtype", "float23"], 2, ["'float23'", "Dtypes: float32, float16, bfloat16, float64."]),
    "amp": (["--amp", "int8"], 2, ["'int8'", "Allowed: bfloat16, float16."]),
    "batch": (["--batch", "0"], 2, ["A batch of 0", "1 or more"]),
    "causal": (["--causal", "some"], 2, ["'some'", "Allowed: full, half."]),
}  # fmt: skip
"""Words after MODEL, the exit code, and what the message says."""


def assert_clear(result: object, code: int, said: list[str]) -> None:
    """A message on stderr and nothing else: no table, no traceback."""
    assert result.stdout == ""
    assert_message(result, code, said)


def assert_message(result: object, code: int, said: list[str]) -> None:
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == code
    assert result.stderr.startswith("archprof: ")
    assert "Traceback" not in result.stderr
    for words in said:
        assert words in result.stderr


@pytest.mark.parametrize("case", BEFORE)
def test_found_before_the_work_starts(case: str, command: Callable, tattler: Path) -> None:
    words, code, said = BEFORE[case]
    assert_clear(command(*NEVER, *words), code, said)
    assert not tattler.exists()


def test_without_a_mistake_the_work_starts(command: Callable, tattler: Path) -> None:
    assert command(*NEVER).exit_code == 0
    assert tattler.exists()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(command: Callable, tattler: Path, here: Path) -> None:
    (here / "locked").mkdir(mode=0o500)
    assert_clear(command(*NEVER, "-o", "locked/x.csv"), 1, ["locked/x.csv cannot be written", "permission"])
    assert not tattler.exists()


def test_a_disk_that_fills_up_leaves_the_old_file(
    command: Callable, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (here / "x.csv").write_text("old")
    monkeypatch.setattr("archprof.files.os.replace", full)
    assert_clear(command("table", "lenet5", "-o", "x.csv"), 1, ["x.csv cannot be written: No space left on device."])
    assert {path.name: path.read_text() for path in here.iterdir()} == {"x.csv": "old"}


@pytest.mark.parametrize("model", ["vgg61", "vgg16n", "vg16"])
def test_unknown_name_with_near_misses(model: str, command: Callable) -> None:
    assert_clear(command("table", model), 2, [f"no model called {model!r}", "Near it: ", "vgg16"])


@pytest.mark.parametrize(
    ("model", "near"),
    [("gpt2", "gpt2"), ("GPT2", "gpt2"), ("llama-3.1-8b", "llama-3.1-8b"), ("bert_base", "bert-base")],
)
def test_a_name_of_transformers_without_its_zoo(model: str, near: str, command: Callable) -> None:
    assert_clear(command("table", model), 2, [f"no model called {model!r}", "Near it: ", f"hf:{near}"])


def test_unknown_pattern_of_models(command: Callable) -> None:
    assert_clear(
        command("models", "rensnet18"), 2, ["'rensnet18'", "Near it: resnet18", "`archprof models` lists them"]
    )


def test_a_pattern_that_a_zoo_knows(command: Callable) -> None:
    said = ["no built-in model called 'convnext'", "torchvision has convnext_base", "torchvision:convnext_base"]
    assert_clear(command("models", "convnext"), 2, said)
    pytest.importorskip("timm")
    assert "timm has convnext" in command("models", "convnext*").stderr


@pytest.mark.parametrize(
    ("text", "column", "what"),
    [
        ("3x224xx224", 6, "a whole number of 1 or more was expected here"),
        ("3x0x224", 2, "a whole number of 1 or more was expected here"),
        ("", 0, "a whole number of 1 or more was expected here"),
        ("[1,3", 4, "',' or ']' was expected here"),
        ("float33[1,3]", 0, "a size or a dtype was expected here"),
        ("complex64:3x224x224<9", 20, "complex numbers have no range"),
        ("3,224,224", 1, "the input should end here"),
    ],
)  # fmt: skip
def test_malformed_input_points_at_the_place(text: str, column: int, what: str, command: Callable) -> None:
    result = command("table", "vgg16", "--input", text)
    assert_clear(result, 2, [f"  {text}\n  {' ' * column}^ {what}\n", "Examples: 3x224x224 (the batch goes in front)"])


def test_wrong_number_of_channels_shows_the_table_up_to_there(command: Callable) -> None:
    result = command("table", "alexnet", "--input", "64x56x56", "--columns", "output,params")
    assert_message(
        result,
        1,
        [
            "The forward of alexnet failed in features.0, a Conv2d(3, 64, kernel_size=(11, 11)",
            "given 1x64x56x56",
            "It takes 3 channels, and got 64 in 1x64x56x56.",
        ],
    )
    assert "├─ 0" in result.stdout
    assert "\nTotal                  61.10\n" in result.stdout  # parameters are all there, and so without a mark
    assert "lower bound" in result.stdout


def test_a_failure_in_the_middle(command: Callable, here: Path) -> None:
    """The second linear layer does not fit; torch's own words are those of a plain call on meta tensors."""
    (here / "net.py").write_text("import torch.nn as nn\nnet = nn.Sequential(nn.Linear(8, 4), nn.Linear(5, 2))\n")
    result = command("table", "net.py:net", "--input", "8", "--columns", "output,macs")
    with pytest.raises(RuntimeError) as torch_says:
        nn.Linear(5, 2, device="meta")(torch.empty(1, 4, device="meta"))
    assert_message(
        result,
        1,
        [
            "net.py:net failed in 1, a Linear(in_features=5, out_features=2, bias=True), given 1x4.",
            f"RuntimeError: {torch_says.value}",
        ],
    )
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["0", "1×4", "32"] in rows
    assert ["1", "–", "≥", "0"] in rows
    assert ["Total", "≥", "32"] in rows


def test_too_many_inputs(command: Callable) -> None:
    result = command("table", "lenet5", "--input", "1x32x32", "--input", "1x32x32")
    assert_message(result, 1, ["lenet5", "TypeError", "3 were given", "takes (input)", "One --input for each."])


FILES = {
    "broken.py": "import not_there_at_all\n",
    "wrong.py": "def f(:\n",
    "raising.py": "class Net:\n    pass\nraise RuntimeError('no device')\n",
    "odd.py": "number = 3\ndef make(): return 4\ndef needs(width): return None\n",
    "newer.json": '{"schema": 3, "layers": []}',
    "list.json": "[1, 2]",
    "other.json": '{"name": "x"}',
    "half.json": '{"schema": 1, "model": "vgg',
    "empty.json": '{"schema": 1}',
}

CODE: dict[str, tuple[int, list[str]]] = {
    "nett.py:Net": (2, ["no file nett.py", "broken.py"]),
    "gone/net.py:Net": (2, ["no file gone/net.py", "the folder", "does not exist"]),
    "broken.py": (2, ["'broken.py' is a file, not a model", "Try: broken.py:Model"]),
    "broken.py:Net": (1, ["broken.py cannot be imported", "No module named 'not_there_at_all'", "line 1 of"]),
    "broken:Net": (1, ["broken cannot be imported", "No module named 'not_there_at_all'", "Its own import failed"]),
    "wrong.py:f": (1, ["wrong.py cannot be imported", "SyntaxError", "line 1"]),
    "raising.py:Net": (1, ["raising.py cannot be imported", "RuntimeError: no device (line 3 of"]),
    "odd.py:number": (2, ["odd.py:number is of type int", "An nn.Module, a class of one, or a factory"]),
    "odd.py:make": (2, ["odd.py:make returned int, not a model"]),
    "odd.py:mak": (2, ["no model in odd.py called 'mak'", "Near it: make"]),
    "odd.py:needs": (2, ["cannot be built without: width", "Try: odd.py:needs(width=…)"]),
    "no.such.package:Net": (2, ["no module called 'no.such.package'", "'no' was not found"]),
    "vgg16(classes=10)": (2, ["takes no argument 'classes'", "num_classes"]),
    "vgg16(10)": (2, ["argument without a name", "vgg16(num_classes=10)"]),
    "vgg16(num_classes=open('x'))": (2, ["is not a literal", "nothing is evaluated"]),
    "gone.json": (1, ["gone.json cannot be read", "No such file"]),
    "newer.json": (1, ["newer.json: This profile has schema 3", "reads up to 2", "Update archprof"]),
    "list.json": (1, ["list.json: This JSON is not a profile"]),
    "other.json": (1, ["other.json: This JSON is not a profile: it has no schema number"]),
    "half.json": (1, ["half.json: This is not JSON", "Make the profile again"]),
    "empty.json": (1, ["empty.json: This profile is corrupt"]),
}
"""A MODEL, the exit code, and what the message says."""


@pytest.mark.parametrize("model", CODE)
def test_what_cannot_be_named(model: str, command: Callable, here: Path) -> None:
    for name, text in FILES.items():
        (here / name).write_text(text)
    assert_clear(command("table", model), *CODE[model])


def test_a_profile_with_a_changed_number_is_refused(command: Callable, saved: Path) -> None:
    data = json.loads(saved.read_text())
    data["totals"]["macs"] += 1
    Path("edited.json").write_text(json.dumps(data))
    assert_clear(command("table", "edited.json"), 1, ["edited.json", "totals or layers do not follow from its facts"])


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--input", "3x32x32"], "input"),
        (["--batch", "2"], "batch"),
        (["--batch", "0"], "batch"),
        (["--dtype", "float16"], "dtype"),
        (["--train"], "train"),
        (["--causal", "half"], "causal"),
        (["--train", "--batch", "2", "--input", "3x32x32"], "input, batch, train"),
    ],
)  # fmt: skip
def test_a_saved_profile_cannot_be_asked_otherwise(
    words: list[str], names: str, command: Callable, saved: Path
) -> None:
    said = [f"{saved} is a saved profile; {names} cannot change it.", "Name the model itself"]
    assert_clear(command("table", str(saved), *words), 2, said)


def test_nor_in_python(saved: Path) -> None:
    with pytest.raises(archprof.UsageError, match="dtype cannot change it"):
        archprof.profile(str(saved), dtype="float16")


def test_timm_is_missing(command: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    assert_clear(command("table", "timm:resnet18"), 1, ["timm is not installed.", "Try: pip install timm"])
    assert_clear(command("table", "vgg61"), 2, ["no model called 'vgg61'", "timm is not installed."])


def test_torchvision_does_not_match_torch(process: Callable, here: Path) -> None:
    """As an import of it ends when its compiled part was made for another torch; one process for each question."""
    (here / "torchvision").mkdir()
    (here / "torchvision" / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    env = environment(here)
    asked = process("table", "torchvision:resnet18", env=env)
    assert (asked.returncode, asked.stdout) == (1, "")
    assert "RuntimeError: operator torchvision::nms does not exist" in asked.stderr
    assert "pip install --upgrade torch torchvision" in asked.stderr
    assert "Traceback" not in asked.stderr
    built_in = process("table", "resnet18", env=env)
    assert (built_in.returncode, built_in.stderr) == (0, "")
    assert "11.69" in built_in.stdout


@pytest.mark.parametrize(
    "words", [["table"], ["table", "vgg16", "--depth", "two"], ["table", "vgg16", "--tain"], ["tabel"]]
)
def test_wrong_words(words: list[str], command: Callable) -> None:
    result = command(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage: archprof" in result.stderr
    assert "--help" in result.stderr


def test_debug_shows_where_it_was_raised(command: Callable, process: Callable) -> None:
    assert isinstance(command("table", "vgg16", "--top", "0", "--debug").exception, ArchprofError)
    shown = process("table", "vgg16", "--top", "0", "--debug")
    assert "Traceback (most recent call last)" in shown.stderr
    assert "top 0 rows" in shown.stderr
    assert shown.returncode != 0
