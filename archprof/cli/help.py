"""The help: commands by what they are for; the options of one in groups, each with an example in its title.

A flag has no type behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, NamedTuple

from typer.core import TyperCommand, TyperOption

from archprof.cli.boundary import CommandGroup

GROUPS = {
    "What goes in, as --input 3x224x224 --batch 8": ("input", "arg", "settings", "phase", "context", "batch", "dtype"),
    "How it runs, as --train --amp bfloat16": (
        "train", "amp", "causal", "optimizer", "accumulate", "set_to_none", "checkpoint",
    ),
    "How it is laid over devices, as --mesh fsdp=8,tp=4": (
        "mesh", "gpus", "zero", "units", "param_dtype", "plan", "sequence_parallel", "microbatches", "schedule",
        "balance", "node", "link", "network",
    ),
    "Measuring, as --measure cpu": ("measure", "cuda", "channels_last", "compile"),
    "What is shown, as --by stage --top 5": (
        "by", "depth", "columns", "sort", "top", "all", "layers", "convention", "title", "date", "device", "baseline",
        "plotly",
    ),
    "Where it goes, as -o table.md": ("format", "output", "debug"),
}  # fmt: skip
"""The options of several commands, by the title of their group; those of one command stand first, in its own."""

OWN_GROUP = "Options"


class Command(TyperCommand):
    """A command whose help is in groups."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        groups = {name: title for title, names in GROUPS.items() for name in names}
        for param in self.params:
            if isinstance(param, TyperOption):
                param.rich_help_panel = groups.get(param.name or "", OWN_GROUP)
        hide_types(self.params)

    def get_help_option(self, ctx: Any) -> Any:
        """Behind the others, without a type."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.rich_help_panel = [*GROUPS][-1]
            hide_types([option])
        return option


class Purpose(Enum):
    """What a command is for, in the order of the help."""

    LOOK = "Look at one model"
    CHANGE = "Compare and change"
    BACKWARDS = "Ask backwards"
    MEASURE = "Measure"
    LOOK_UP = "Look up"


class Question(NamedTuple):
    """A command: its function, which is called as the command is, what it is for, and the example of its help."""

    ask: Callable[..., None]
    purpose: Purpose
    example: str
    kind: type[Command] = Command


class GroupWithHelp(CommandGroup):
    """All commands, by what they are for."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        hide_types(self.params)
        super().format_help(ctx, formatter)

    def get_help_option(self, ctx: Any) -> Any:
        option = super().get_help_option(ctx)
        hide_types([option])
        return option


def hide_types(params: Iterable[Any]) -> None:
    """A flag takes no value, so none is shown behind it."""
    for param in params:
        if getattr(param, "is_flag", False):
            param.display_type_rich = lambda *args, **more: None
