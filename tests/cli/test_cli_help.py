"""The help: every command and option has its words, and they fit a terminal of 80 columns."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable

import pytest
import typer

from archprof import cli
from archprof.analysis.tables import layers
from archprof.cli.help import GROUPS, Purpose
from archprof.cli.options import CommandWithLimits

COMMANDS = typer.main.get_command(cli.app).commands


def test_the_commands() -> None:
    assert set(COMMANDS) == {
        "table", "compare", "sweep", "whatif", "inputs", "fit", "memory", "predict", "report", "probe", "train",
        "epoch", "calibrate", "check", "verify", "graph", "models", "devices", "guide", "shard",
    }  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help(name: str) -> None:
    assert COMMANDS[name].help
    if isinstance(COMMANDS[name], CommandWithLimits):
        COMMANDS[name].describe_limits()
    for parameter in COMMANDS[name].params:
        assert re.fullmatch(r"[A-Z0-9a-z].*\.", parameter.help, re.DOTALL), parameter.name


@pytest.mark.parametrize("name", ["fit", "check"])
def test_limits_say_what_the_metric_is(name: str, command: Callable) -> None:
    lines = command(name, "--help", env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"}).stdout
    shown = " ".join(lines.replace("│", " ").split())
    assert "Most parameters, such as 25M." in shown
    assert "Most MACs (multiply-accumulates of one forward), such as 25M." in shown
    assert "Most activation memory in the dtype of the pass, such as 60MiB." in shown


@pytest.mark.parametrize("words", [[], ["table"], ["models"]])
def test_help_at_80_columns(words: list[str], command: Callable) -> None:
    shown = command(*words, "--help", env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"}).stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    for option in (option for name in words for parameter in COMMANDS[name].params for option in parameter.opts):
        assert option.lower() in shown.lower()


@pytest.mark.parametrize("words", [[], ["table"], ["calibrate"]])
def test_the_short_word_for_help(words: list[str], command: Callable) -> None:
    assert command(*words, "-h").stdout == command(*words, "--help").stdout


def test_no_words_show_the_help(command: Callable) -> None:
    assert "table" in command().output


def test_check_asks_for_what_the_table_takes() -> None:
    table = dict(inspect.signature(layers.tabulate_layers).parameters)
    assert list(inspect.signature(layers.validate_table_options).parameters) == [
        name for name in table if name != "profile"
    ]


@pytest.mark.parametrize("words", [[], *[[name] for name in COMMANDS]])
def test_no_flag_asks_for_a_value(words: list[str], command: Callable) -> None:
    assert "<bool>" not in command(*words, "--help").stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_in_groups_and_ends_in_an_example_of_its_command(name: str, command: Callable) -> None:
    shown = command(name, "--help").stdout
    example = re.search(r"Example: archprof (.+)", shown)
    assert example
    words = shlex.split(example[1])
    assert words[0] == name
    known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known
    if name not in ("calibrate", "models", "devices", "guide"):
        assert shown.count("╭─") >= 3


def test_every_option_is_in_a_group_that_exists() -> None:
    named = {one for names in GROUPS.values() for one in names}
    asked = {parameter.name for one in COMMANDS.values() for parameter in one.params}
    assert named <= asked | {"checkpoint"}


def test_the_commands_are_sorted_by_what_they_are_for(command: Callable) -> None:
    assert sorted(one.ask.__name__ for one in cli.QUESTIONS) == sorted(COMMANDS)
    assert all(purpose.value in command("--help").stdout for purpose in Purpose)
