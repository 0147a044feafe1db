"""The help: every command and option has its words, and they fit a terminal of 80 columns."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

import pytest
import typer

import archprof
from archprof import cli
from archprof.analysis.tables import layers

COMMANDS = typer.main.get_command(cli.app).commands
NOT_OF_THE_LIBRARY = {"format", "output", "debug", "convention"}
OTHER_NAMES = {
    "model": "model",
    "input": "inputs",
    "arg": "inputs",
    "settings": "set",
    "measure": "device",
    "cuda": "device",
}
"""What an option is called in the library, where that differs; its default differs then too."""

OF_THE_LIBRARY_ONLY = {"rounds", "seconds", "progress"}
"""How long to measure: a command takes the usual time, and shows a bar."""


def test_the_commands() -> None:
    assert set(COMMANDS) == {
        "table", "compare", "whatif", "inputs", "fit", "report", "epoch", "calibrate", "check", "verify", "models",
        "guide",
    }  # fmt: skip


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
    library = dict[str, inspect.Parameter]()
    for function in (archprof.measure, archprof.profile, layers.tabulate_layers):
        library |= inspect.signature(function).parameters
    for name in said.keys() - NOT_OF_THE_LIBRARY - OTHER_NAMES.keys():
        assert str(said[name].default) == str(library[name].default), name
    known = (said.keys() - NOT_OF_THE_LIBRARY - OTHER_NAMES.keys()) | set(OTHER_NAMES.values())
    assert known == library.keys() - OF_THE_LIBRARY_ONLY - {"profile"}


def test_check_asks_for_what_the_table_takes() -> None:
    table = dict(inspect.signature(layers.tabulate_layers).parameters)
    assert list(inspect.signature(layers.validate_table_options).parameters) == [
        name for name in table if name != "profile"
    ]
