"""The help: every command and option has its words, and they fit a terminal of 80 columns."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

import pytest
import typer

import archprof
from archprof import cli
from archprof.analysis import layers

COMMANDS = typer.main.get_command(cli.app).commands
NOT_OF_THE_LIBRARY = {"format", "output", "debug"}


def test_the_commands() -> None:
    assert set(COMMANDS) == {"table", "compare", "whatif", "inputs", "fit", "report", "check", "models"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help(name: str) -> None:
    assert COMMANDS[name].help
    for parameter in COMMANDS[name].params:
        assert re.fullmatch(r"[A-Z0-9a-z].*\.", parameter.help, re.DOTALL), parameter.name


@pytest.mark.parametrize("words", [[], ["table"], ["models"]])
def test_help_at_80_columns(words: list[str], command: Callable) -> None:
    shown = command(*words, "--help", env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"}).stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    for option in (option for name in words for parameter in COMMANDS[name].params for option in parameter.opts):
        assert option.lower() in shown.lower()


def test_no_words_show_the_help(command: Callable) -> None:
    assert "table" in command().output


def test_every_option_is_a_keyword_of_the_library() -> None:
    """With the same default, so that a command and the call it stands for do the same."""
    said = inspect.signature(cli.table).parameters
    profile, table = inspect.signature(archprof.profile).parameters, inspect.signature(layers.table).parameters
    for name, parameter in said.items():
        if name not in NOT_OF_THE_LIBRARY | {"model", "input"}:
            assert parameter.default == (profile | table)[name].default, name
    kept = {"model", "inputs", "profile"}
    assert (set(profile) | set(table)) - kept == set(said) - NOT_OF_THE_LIBRARY - {"model", "input"}


def test_check_asks_for_what_the_table_takes() -> None:
    table = dict(inspect.signature(layers.table).parameters)
    assert list(inspect.signature(layers.check).parameters) == [name for name in table if name != "profile"]
