"""Words that nobody means: every command says so in a sentence, with its exit code, in visible text."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from attack.hostile_words import CASES, SIGNS, spell
from typer.testing import CliRunner, Result

from archprof.analysis.compare.findings import Finding, list_sentences
from archprof.analysis.table import Table
from archprof.cli import app
from archprof.cli.boundary import describe_fault
from archprof.errors import UsageError
from archprof.render.text import render_text
from archprof.sources.input_grammar import parse_argument, parse_input
from archprof.sources.model_grammar import parse_model
from archprof.sources.optimizer_grammar import parse_optimizer
from archprof.wording import make_lines_visible, make_visible


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), prog_name="archprof")


def assert_said(result: Result) -> None:
    """A sentence and an exit code, and nothing that a terminal or a CI would obey."""
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code in (0, 1, 2, 3)
    assert "not foreseen" not in result.stderr
    assert "Traceback" not in result.stderr
    assert bool(result.stderr) >= bool(result.exit_code)
    assert_visible(result.stderr)


def assert_visible(text: str) -> None:
    for line in text.split("\n"):
        assert line.isprintable(), line
        assert not line.lstrip().startswith("::"), line
        assert "##[" not in line


@pytest.mark.parametrize("words", CASES)
def test_words_out_of_range_end_in_a_sentence(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert_said(run(*map(spell, shlex.split(words))))


PLACES = [
    ["table", "{}"], ["table", "{}.json"], ["table", "{}.py:Net"], ["table", "net.py:{}"], ["table", "timm:{}"],
    ["table", "torchvision:{}"], ["table", "hf:{}"], ["table", "hf:{}.json"], ["table", "{}.pt2"],
    ["table", "{}.safetensors"], ["table", "lenet5({}=1)"], ["table", "lenet5@{}"], ["table", "lenet5", "--{}"],
    ["table", "lenet5", "--batch", "{}"], ["table", "lenet5", "--depth", "{}"], ["table", "lenet5", "--input", "{}"],
    ["table", "lenet5", "--input", "{}.npy"], ["table", "lenet5", "--arg", "{}=1"], ["table", "lenet5", "--by", "{}"],
    ["table", "lenet5", "--columns", "{}"], ["table", "lenet5", "--dtype", "{}"], ["table", "lenet5", "-o", "{}"],
    ["table", "lenet5", "-o", "{}/x.csv"], ["table", "lenet5", "--format", "{}"], ["table", "hf:llama", "--set", "{}"],
    ["table", "lenet5", "--train", "--optimizer", "{}"], ["table", "lenet5", "--convention", "{}"], ["{}"],
    ["compare", "lenet5", "{}.json"], ["inputs", "lenet5", "--where", "{}"], ["fit", "lenet5", "--max-macs", "{}"],
    ["memory", "lenet5", "--device", "{}"], ["devices", "{}"], ["models", "{}"], ["guide", "{}"],
    ["check", "lenet5", "--max-params", "{}"], ["check", "lenet5", "--baseline", "{}"],
    ["check", "lenet5", "--baseline", "{}.json"], ["check", "lenet5", "--tolerance", "{}"], ["report", "{}.json"],
    ["whatif", "lenet5", "--width", "{}"], ["whatif", "lenet5", "--no-fc", "-o", "{}"], ["verify", "{}"],
    ["epoch", "lenet5", "--images", "{}"], ["graph", "{}"], ["graph", "lenet5", "-o", "{}.svg"], ["probe", "{}"],
    ["probe", "lenet5", "--data", "{}"], ["probe", "lenet5", "--data", "folder:{}"],
    ["probe", "lenet5", "--weights", "{}"], ["probe", "lenet5", "--optimizer", "{}"],
    ["train", "{}", "--data", "digits", "-o", "run"],
    ["train", "lenet5", "--data", "digits", "-o", "run", "--recipe", "{}"],
    ["predict", "lenet5", "--device", "{}"], ["predict", "lenet5", "--device", "h100", "--measured", "{}"],
    ["memory", "lenet5", "--train", "--checkpoint", "{}"], ["check", "lenet5", "--max-memory", "{}"],
    ["calibrate", "-o", "{}/x/y.json"],
]  # fmt: skip


@pytest.mark.parametrize("words", PLACES, ids=" ".join)
def test_a_name_in_a_message_steers_neither_a_terminal_nor_a_log(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_said(run(*(word.replace("{}", SIGNS) for word in words)))


FULL = [
    ["probe", "lenet5", "--batch", "2", "--format", "csv"],
    ["predict", "lenet5", "--device", "h100", "--format", "csv"],
    ["graph", "lenet5", "--format", "csv"], ["memory", "lenet5", "--format", "csv"],
]  # fmt: skip


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a disk that is always full")
@pytest.mark.parametrize("words", FULL, ids=" ".join)
def test_a_full_disk_is_said(words: list[str]) -> None:
    result = run(*words, "-o", "/dev/full")
    assert_said(result)
    assert (result.exit_code, "No space left" in result.stderr) == (1, True)


@pytest.mark.parametrize("words", ["--batch 1000000000", "--optimizer lbfgs", "--seed BIG", "--optimizer nothing"])
def test_a_training_that_does_not_begin_leaves_no_folder(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("train", "lenet5", "--data", "digits", "--epochs", "1", *map(spell, words.split()), "-o", "run")
    assert result.exit_code in (1, 2)
    assert not list(tmp_path.iterdir())


def test_what_was_written_is_named_in_visible_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = SIGNS.replace("\0", "").replace("/", "")
    result = run("table", "lenet5", "-o", f"{name}.csv")
    assert (result.exit_code, result.stdout) == (0, "")
    assert Path(f"{name}.csv").is_file()
    assert_visible(result.stderr)


@pytest.mark.parametrize(
    "name", ["a\nb", "\x1b]0;x\x07", "\u202e", "\ud800", "\x85", "::error::x", "  ::x", "##[group]"]
)
def test_a_name_in_a_table_is_visible_text(name: str) -> None:
    import builders

    layers = (builders.LAYERS[0], *(layer._replace(path=name + layer.path) for layer in builders.LAYERS[1:]))
    text = builders.make_profile(name, (name,), 1, "forward", "float32", layers, (), (), (), notes=(name,)).table()
    assert_visible(text.to_text())


@pytest.mark.parametrize("width", range(20, 60))
def test_a_name_that_begins_a_line_is_no_command(width: int) -> None:
    """Where a note is wrapped, and where a word is longer than the page."""
    import builders

    notes = ("it is made of ::error::x and of ::warning::y, and of nothing else", f"{'a' * 50}::error::z")
    text = render_text(Table(notes[0], builders.profile().table().columns, (), notes=notes), width=width, color=False)
    assert_visible(text)
    assert_visible(list_sentences([Finding(note, ()) for note in notes], width))


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("::error::x", "\\x3a:error::x"),
        (" ::warning", " \\x3a:warning"),
        ("at::native::x", "at::native::x"),
        ("##[error]x", "#\\x23[error]x"),
        ("a ##vso[task]", "a #\\x23vso[task]"),
        ("## a heading", "## a heading"),
        ("\x1b[1m", "\\x1b[1m"),
        ("größe × 2", "größe × 2"),
    ],
)
def test_what_becomes_of_signs(text: str, seen: str) -> None:
    assert make_visible(text) == seen
    assert make_lines_visible(f"{text}\n{text}") == f"{seen}\n{seen}"


def run_in(folder: Path, *words: str, gone: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder, which is there no more when it starts if it is `gone`."""
    start = [sys.executable, "-m", "archprof", *words]
    leave = f"os.rmdir({str(folder)!r})" if gone else "pass"
    code = f"import os; os.chdir({str(folder)!r}); {leave}; os.execv({start[0]!r}, {start!r})"
    place = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    env = os.environ | {"PYTHONPATH": place}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=120)


@pytest.mark.skipif(sys.platform != "linux", reason="a working folder can be removed")
@pytest.mark.parametrize(
    "words", [["check", "lenet5", "--max-params", "1M"], ["check"], ["table", "net.py:Net"], ["table", "lenet5"]]
)
def test_a_folder_that_is_gone(words: list[str], tmp_path: Path) -> None:
    """torch itself cannot be imported there: MKL would end the process."""
    folder = tmp_path / "gone"
    folder.mkdir()
    done = run_in(folder, *words, gone=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "archprof: The working folder does not exist any more.\nChange to one that does.\n"


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="a folder in which nobody can write")
@pytest.mark.parametrize("words", [["calibrate", "--cpu"], ["table", "lenet5", "-o", "x.csv"]], ids=" ".join)
def test_a_folder_in_which_nobody_can_write(words: list[str]) -> None:
    done = run_in(Path("/proc"), *words)
    assert done.returncode == 1
    assert done.stderr.startswith("archprof: ")
    assert "Traceback" not in done.stderr
    assert "not foreseen" not in done.stderr


@pytest.mark.parametrize(
    "read",
    [
        lambda: parse_argument("x=1or 2"),
        lambda: parse_argument(r"x='C:\data'"),
        lambda: parse_input(r"x={'C:\data': 3}"),
        lambda: parse_model(r"net.py:Net(path='C:\data')"),
        lambda: parse_model("net(width=0x1for x)"),
        lambda: parse_optimizer("sgd(lr=1if 1else 2)"),
    ],
)
def test_python_says_nothing_of_how_words_are_spelled(read: Callable[[], object]) -> None:
    """It warns on stderr of "1or" and of "\\d" as it reads them."""
    with warnings.catch_warnings(record=True) as heard, suppress(UsageError):
        warnings.simplefilter("always")
        read()
    assert not heard


def test_what_nobody_foresaw_is_one_sentence_and_where_to_look() -> None:
    words = describe_fault(RuntimeError("first line\nframe #1: in C++"))
    assert words.startswith("RuntimeError: first line\n")
    assert "--debug" in words
    assert "frame" not in words
    assert "memory" in describe_fault(MemoryError())


def test_an_allocator_that_has_no_more_says_so() -> None:
    with pytest.raises(RuntimeError) as full:
        torch.empty(2**60, dtype=torch.uint8)
    assert describe_fault(full.value).startswith("The memory of this machine is not enough.")
