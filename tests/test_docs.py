"""Every block of the README and of the guide does what it says: commands and Python print exactly what stands there."""

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
from archprof.measuring import run
from archprof.measuring.schedule import SamplingPlan
from archprof.tracing.ops.costs import registry

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
GUIDE = sorted((ROOT / "archprof" / "guide").glob("*.md"))
CONTRIBUTING = ROOT / ".github" / "CONTRIBUTING.md"
PAGES = [README, *GUIDE]

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTED = ("console", "python")
RUN = ("sh", "text", "toml", "yaml", "py")
"""The languages of blocks whose output is compared, and of those that a test below runs."""

SET_UP = (
    "python3 -m venv .venv && . .venv/bin/activate && pip install . && archprof table vgg16 --input 3x224x224",
    "pip install -e '.[test]' && pytest -n 2 --dist loadfile",
)
"""What .ci/run does on a machine without archprof; see `test_set_up_is_what_ci_runs`."""

COLUMNS_OF_README, COLUMNS_OF_GUIDE = 104, 80
"""What a reader sees without scrolling on a page, and in a terminal."""


def columns(page: Path) -> int:
    return COLUMNS_OF_README if page == README else COLUMNS_OF_GUIDE


def blocks(page: Path, *languages: str) -> list[str]:
    return [match[2] for match in BLOCK.finditer(page.read_text(encoding="utf-8")) if match[1] in languages]


def of_all_pages(language: str) -> list[str]:
    return [block for page in PAGES for block in blocks(page, language)]


def commands(block: str) -> list[str]:
    """The commands after the prompts of a block; a backslash carries one on to the next line."""
    return re.findall(r"^\$ ((?:.*\\\n)*.*)$", block, re.MULTILINE)


def printed(command: str) -> str:
    """What a command prints in a pipe."""
    program, *words = shlex.split(command.replace("\\\n", " "))
    assert program == "archprof"
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return "".join(line.rstrip() + "\n" for line in result.stdout.splitlines())


def console(block: str) -> str:
    """The commands of a block, each with what it prints."""
    return "\n".join(f"$ {command}\n{printed(command)}" for command in commands(block))


def session(name: str, block: str, names: dict[str, object]) -> str:
    """A Python session with what it prints, one example after another, in the names that earlier blocks left."""
    lines: list[str] = []
    for example in doctest.DocTestParser().get_examples(block):
        source = example.source.rstrip("\n").splitlines()
        lines += [f"{'...' if i else '>>>'} {line}" for i, line in enumerate(source)]
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(example.source, name, "single"), names)
        lines += [line.rstrip() for line in out.getvalue().splitlines()]
    return "\n".join(lines) + "\n"


def regenerated(page: Path) -> Iterator[tuple[str, str]]:
    """Each block that prints something, as it stands and as it should."""
    names: dict[str, object] = {}
    for block in blocks(page, "console"):
        yield block, console(block)
    for i, block in enumerate(blocks(page, "python")):
        yield block, session(f"{page.stem} python block {i}", block, names)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, *PRINTED)], ids=lambda page: page.stem)
def test_blocks_print_what_they_say(
    page: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns(page)))
    monkeypatch.setattr(registry, "_rules", dict(registry._rules))  # what a page registers goes with it
    pairs = list(regenerated(page))
    if request.config.getoption("--regenerate"):
        text = page.read_text(encoding="utf-8")
        for old, new in pairs:
            text = text.replace(f"\n{old}```", f"\n{new}```")
        page.write_text(text, encoding="utf-8")
        return
    for old, new in pairs:
        assert old == new


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_is_run_by_a_test(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert {match[1] for match in BLOCK.finditer(text)} <= {*PRINTED, *RUN}
    assert len(re.findall("^```", text, re.MULTILINE)) == 2 * len(BLOCK.findall(text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_fit_their_reader(page: Path) -> None:
    for block in blocks(page, *PRINTED, *RUN):
        if block.startswith(SET_UP):
            continue
        assert max(map(len, block.splitlines())) <= columns(page)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the commands without output run in: the models that they name, and a baseline."""
    monkeypatch.chdir(tmp_path)
    for name in ("my_model.py", "net.py"):
        Path(name).write_text(NET, encoding="utf-8")
    archprof.profile("net.py:Net", "3x224x224").save("net.json")
    return tmp_path


NET = """
from torch import nn


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
"""


def test_shell_blocks_run(here: Path) -> None:
    """Commands without their output: each ends well, or with the exit code of a broken budget."""
    lines = [line for block in of_all_pages("sh") for line in block.splitlines() if line not in SET_UP]
    assert lines
    for line in lines:
        program, command, *words = shlex.split(line, comments=True)
        assert program == "archprof"
        result = CliRunner().invoke(app, [command, *words])
        assert result.exit_code in ({0, 3} if command == "check" else {0}), f"{line}\n{result.output}"


def test_measured_blocks_have_the_rows_and_columns_that_they_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times differ from run to run; names, counts and columns do not."""
    monkeypatch.setenv("COLUMNS", str(COLUMNS_OF_GUIDE))
    short = SamplingPlan(rounds=1, seconds=0.1, min_samples=1, max_samples=1, warmup_seconds=0.1, warmup_cap=0.1)
    monkeypatch.setattr(run, "SamplingPlan", lambda **_: short)
    measured = of_all_pages("text")
    assert measured
    for block in measured:
        assert outline(block) == outline(console(block))


def outline(block: str) -> list[str]:
    """Title, headers and the names of the rows, up to the notes; units follow the numbers and are left out."""
    title, table = block.split("\n\n")[:2]
    head, *rows = [line for line in table.splitlines() if "[" not in line and "─" not in line]
    return [title, *head.split(), *(re.split("  +", row)[0] for row in rows)]


def test_settings_are_what_check_reads(here: Path) -> None:
    for block in of_all_pages("toml"):
        Path("pyproject.toml").write_text(block, encoding="utf-8")
        result = CliRunner().invoke(app, ["check"])
        assert result.exit_code == 0, result.output
        assert all(model in result.output for model in re.findall(r'^model = "(.+)"$', block, re.MULTILINE))


def test_steps_give_the_action_options_that_it_has(here: Path) -> None:
    """Each step that uses the action of this repository, as the words it would call `archprof check` with."""
    steps = re.findall(r"uses: \./(\S+)\n  with:\n((?:    .+\n)+)", "".join(of_all_pages("yaml")))
    assert steps
    for folder, given in steps:
        action = (ROOT / folder / "action.yml").read_text(encoding="utf-8")
        options = dict(line.strip().split(": ") for line in given.splitlines())
        assert all(f"\n  {name}:\n" in action for name in options)
        model = options.pop("models")
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        assert CliRunner().invoke(app, ["check", "--format", "github", *words, "--", model]).exit_code == 0


def test_the_fixture_is_used_as_shown(pytester: pytest.Pytester) -> None:
    pytester.path.joinpath("net.py").write_text(NET, encoding="utf-8")
    shown = of_all_pages("py")
    pytester.makepyfile(**{f"test_{i}": block for i, block in enumerate(shown)})
    result = pytester.runpytest_inprocess("-p", "no:archprof", "-p", "archprof.pytest_plugin")
    result.assert_outcomes(passed=len(shown))
    assert shown


def test_every_command_is_in_the_readme_or_the_guide() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for command in app.registered_commands:
        assert command.callback is not None
        assert f"archprof {command.callback.__name__}" in text


def test_set_up_is_what_ci_runs() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    install, tests = next(block for block in blocks(README, "sh") if "venv" in block).splitlines()
    assert (install, tests) == SET_UP
    assert "archprof table vgg16 --input 3x224x224" in script
    assert ".[test]" in script
    assert "pytest -n 2 --dist loadfile" in script
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert "run: .ci/run\n" in workflow


def test_columns_named_exist() -> None:
    for block in [*of_all_pages("console"), *of_all_pages("sh"), *of_all_pages("text")]:
        for keys in re.findall(r"--columns (\S+)", block):
            assert keys == "help" or set(keys.split(",")) <= set(COLUMN_BY_KEY)


def test_the_readme_is_a_page() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


def test_every_topic_is_linked_from_the_readme() -> None:
    text = README.read_text(encoding="utf-8")
    linked = re.findall(r"\]\(archprof/guide/(.+?)\.md\)", text)
    assert sorted(linked) == [page.stem for page in GUIDE]


@pytest.mark.parametrize("page", [*PAGES, CONTRIBUTING], ids=lambda page: page.stem)
def test_links_and_named_files_exist(page: Path) -> None:
    """What a page links to, and every path of this repository that it names in code."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []
    named = re.findall(r"`((?:archprof|tests|examples|reports|\.github|\.ci)/[\w./-]*)`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_contributing_names_what_is_there() -> None:
    """Every function, class and constant that the walks name is a word of the package or its tests."""
    source = "".join(
        path.read_text(encoding="utf-8") for folder in ("archprof", "tests") for path in (ROOT / folder).rglob("*.py")
    )
    named = set(re.findall(r"`@?([A-Za-z_]{4,})[`(]", BLOCK.sub("", CONTRIBUTING.read_text(encoding="utf-8"))))
    assert {"cost_rule", "RENDERERS"} <= named
    assert {name for name in named if not re.search(rf"\b{name}\b", source)} == set()
