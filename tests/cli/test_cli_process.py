"""What only a process of its own can show: what it imports, how it ends, pipes that close early."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import ARCHPROF, environment


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["table", "--help"],
        ["--version"],
        ["table", "--columns", "help", "vgg16"],
        ["guide"],
        ["guide", "ci"],
    ],
)
def test_help_imports_no_torch(words: list[str], process: Callable, without_torch: dict[str, str]) -> None:
    result = process(*words, env=without_torch)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout


def test_the_trap_for_torch_works(process: Callable, without_torch: dict[str, str]) -> None:
    assert "torch was imported" in process("table", "vgg16", env=without_torch).stderr


@pytest.mark.parametrize("words", [[], ["--by", "stage", "--format", "md"], ["--format", "csv"], ["--format", "json"]])
def test_a_saved_profile_needs_no_torch(
    words: list[str], process: Callable, without_torch: dict[str, str], saved: Path, command: Callable
) -> None:
    result = process("table", str(saved), *words, env=without_torch)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == command("table", str(saved), *words).stdout


def test_bad_words_need_no_torch(process: Callable, without_torch: dict[str, str]) -> None:
    assert process("table", "vgg16", "--by", "stages", env=without_torch).returncode == 2
    assert process("table", "vgg16", "--bye", env=without_torch).returncode == 2
    assert process("table", "gone.json", env=without_torch).returncode == 1


def test_the_installed_command_is_the_module(process: Callable, saved: Path) -> None:
    script = Path(sys.executable).with_name("archprof")
    if not script.exists():
        pytest.skip("archprof is not installed beside this Python")
    installed = subprocess.run(
        [script, "table", saved], capture_output=True, text=True, encoding="utf-8", env=environment(), timeout=60
    )
    assert installed.stdout == process("table", str(saved)).stdout


def test_a_trace_ends_at_once_and_whole(process: Callable) -> None:
    """The process leaves by `os._exit`, which flushes nothing: table, message and exit code must all be out."""
    result = process("table", "alexnet", "--input", "4x224x224")
    assert result.returncode == 1
    assert "work and activations are lower bounds" in " ".join(result.stdout.split())
    assert result.stderr.endswith("It takes 3 channels, and got 4 in 1x4x224x224.\n")


def test_a_reader_that_has_seen_enough() -> None:
    """As `| head -1` does, on an output larger than the 64 KiB that a pipe holds."""
    words = [*ARCHPROF, "table", "resnet152", "--format", "json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as running:
        assert running.stdout.readline() == b"{\n"
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_an_output_that_takes_nothing(saved: Path) -> None:
    with Path("/dev/full").open("w") as full:
        words = [*ARCHPROF, "table", saved]
        result = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, env=environment(), timeout=60)
    assert result.returncode == 1
    assert result.stderr == b"archprof: The output cannot be written: No space left on device.\n"


@pytest.mark.parametrize("words", [[], ["--format", "md"], ["--format", "latex"], ["--by", "kind"]])
def test_an_output_of_few_signs(words: list[str], saved: Path) -> None:
    """A sign that the encoding lacks is spelled out; the text tables have signs of their own for it."""
    env = environment(PYTHONIOENCODING="ascii")
    result = subprocess.run([*ARCHPROF, "table", saved, *words], capture_output=True, env=env, timeout=60)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.isascii()
    spelled = re.search(rb"\\u[0-9a-f]{4}|\\x[0-9a-f]{2}", result.stdout)
    assert bool(spelled) == (words == ["--format", "md"])


def test_the_plainest_locale(saved: Path) -> None:
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    result = subprocess.run([*ARCHPROF, "table", saved], capture_output=True, env=env, timeout=60)
    assert (result.returncode, result.stderr) == (0, b"")
    assert b" 138.4 " in result.stdout
