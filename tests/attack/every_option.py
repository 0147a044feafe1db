"""Every option and argument of every command that takes a value, and what nobody means by it."""

from __future__ import annotations

from collections.abc import Iterator

import typer
from attack.hostile_words import SIGNS, spell

from archprof.cli import app

BASES = {
    "table": ["lenet5"], "graph": ["lenet5"], "memory": ["lenet5", "--train"], "verify": ["lenet5"],
    "predict": ["lenet5", "--device", "h100"], "shard": ["lenet5", "--mesh", "dp=2", "--train", "--batch", "4"],
    "probe": ["lenet5", "--batch", "2"], "report": ["lenet5", "-o", "x.html"], "compare": ["lenet5", "lenet5"],
    "sweep": ["lenet5"], "whatif": ["lenet5", "--no-fc"], "check": ["lenet5", "--max-params", "1M"],
    "inputs": ["lenet5", "--where", "features.0=28x28"], "fit": ["lenet5", "--max-macs", "1M"],
    "epoch": ["lenet5", "--images", "100"], "train": ["lenet5", "--data", "digits", "--epochs", "1", "-o", "run"],
    "calibrate": ["--cpu", "-o", "missing/x.json"], "models": ["lenet"], "devices": ["h100"], "guide": ["ci"],
}  # fmt: skip
"""Words with which each command ends in little time."""

VALUES = (
    "BIG", "-1", "0", "1e30", "nan", "inf", "", "NUL", "LONG", SIGNS, "/dev/zero", ".", "é²", "9223372036854775808",
    "1099511627776", "((((((((", "=1+1", "missing.json", "a=b=c", ",", "*", "\ud800",
)  # fmt: skip

TAKES_LONG = {("train", "--epochs"), ("probe", "--batches"), ("sweep", "--jobs")}
"""Options whose number is how much work was asked for: a large one is meant."""


def list_options() -> Iterator[tuple[str, str]]:
    """Each command with each of its options that takes a value, or with "" for its first argument."""
    group = typer.main.get_command(app)
    context = typer.Context(group)
    for command in group.list_commands(context):  # type: ignore[attr-defined]
        for parameter in group.get_command(context, command).params:  # type: ignore[attr-defined]
            if parameter.param_type_name == "argument":
                yield command, ""
            elif not parameter.is_flag:
                yield command, parameter.opts[-1]


def make_words(command: str, option: str, value: str) -> list[str]:
    """The words of a command with this value: last, so that it is the one that counts."""
    base = BASES[command]
    if option:
        return [command, *base, option, spell(value)]
    return [command, spell(value), *base[1:]]


def list_attacks() -> list[tuple[str, str, str]]:
    """Every option with every value, but for work that was asked for."""
    return [
        (command, option, value)
        for command, option in list_options()
        for value in VALUES
        if (command, option) not in TAKES_LONG or not value[:1].isdigit()
    ]
