"""Every block of the README does what it says: commands and Python print exactly what stands there."""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import archprof
from archprof.analysis.tables.columns import COLUMN_BY_KEY
from archprof.cli import app

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [match[2] for match in BLOCK.finditer(README.read_text(encoding="utf-8")) if match[1] == language]


def printed(command: str) -> str:
    """What a command prints in a pipe."""
    program, *words = shlex.split(command)
    assert program == "archprof"
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return "".join(line.rstrip() + "\n" for line in result.stdout.splitlines())


def console(block: str) -> str:
    """The commands of a block, each with what it prints."""
    commands = [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]
    return "\n".join(f"$ {command}\n{printed(command)}" for command in commands)


def session(name: str, block: str) -> str:
    """A Python session with what it prints, one example after another, in the names that earlier blocks left."""
    lines: list[str] = []
    for example in doctest.DocTestParser().get_examples(block):
        source = example.source.rstrip("\n").splitlines()
        lines += [f"{'...' if i else '>>>'} {line}" for i, line in enumerate(source)]
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(example.source, name, "single"), NAMES)
        lines += [line.rstrip() for line in out.getvalue().splitlines()]
    return "\n".join(lines) + "\n"


NAMES: dict[str, object] = {}


def regenerated() -> Iterator[tuple[str, str]]:
    """Each block that prints something, as it stands and as it should."""
    for block in blocks("console"):
        yield block, console(block)
    for i, block in enumerate(blocks("python")):
        yield block, session(f"README python block {i}", block)


def test_blocks_print_what_they_say(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "104")  # what a reader sees without scrolling
    pairs = list(regenerated())
    assert len(pairs) >= 8
    if request.config.getoption("--regenerate"):
        text = README.read_text(encoding="utf-8")
        for old, new in pairs:
            text = text.replace(f"\n{old}```", f"\n{new}```")
        README.write_text(text, encoding="utf-8")
        return
    for old, new in pairs:
        assert old == new


def test_shell_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands without their output: each ends well, or with the exit code of a broken budget."""
    monkeypatch.chdir(tmp_path)
    for name in ("my_model.py", "net.py"):
        Path(name).write_text(NET, encoding="utf-8")
    Path("reports").mkdir()
    archprof.profile("net.py:Net", "3x224x224").save("reports/net.json")
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("archprof ")]
    assert lines
    for line in lines:
        _, command, *words = shlex.split(line, comments=True)
        result = CliRunner().invoke(app, [command, *words])
        assert result.exit_code in ({0, 3} if command == "check" else {0}), f"{line}\n{result.output}"


NET = """
from torch import nn


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
"""


def test_every_command_is_in_the_readme() -> None:
    text = README.read_text(encoding="utf-8")
    for command in app.registered_commands:
        assert command.callback is not None
        assert f"archprof {command.callback.__name__}" in text


def test_set_up_is_what_ci_runs() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    install, tests = next(block for block in blocks("sh") if "venv" in block).splitlines()
    assert "archprof table vgg16 --input 3x224x224" in install
    assert "archprof table vgg16 --input 3x224x224" in script
    assert ".[test]" in tests
    assert ".[test]" in script
    assert "pytest" in tests.split("&&")[1]


def test_columns_named_in_the_readme_exist() -> None:
    for block in [*blocks("console"), *blocks("sh")]:
        for keys in re.findall(r"--columns (\S+)", block):
            assert keys == "help" or set(keys.split(",")) <= set(COLUMN_BY_KEY)
