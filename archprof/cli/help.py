"""The help of a command: its options in groups, each with an example in its title, and no type behind a flag."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

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

EXAMPLES = {
    "table": "archprof table resnet50 --by stage",
    "graph": "archprof graph resnet50 -o resnet50.svg",
    "compare": "archprof compare net.py:Net@HEAD~1 net.py:Net --format md",
    "sweep": "archprof sweep 'resnet*' --batch 1,8 -o runs.csv",
    "whatif": "archprof whatif vgg16 --separable -o smaller.py",
    "inputs": "archprof inputs alexnet_2012 --where features.0=55x55",
    "fit": "archprof fit resnet50 --over batch --device 'NVIDIA L4'",
    "memory": "archprof memory resnet50 --train --optimizer adamw",
    "report": "archprof report resnet50 -o review.html",
    "epoch": "archprof epoch resnet18 --images 1281167 --batch 64 --measure cpu",
    "calibrate": "archprof calibrate -o here.json",
    "check": "archprof check net.py:Net --max-params 25M --max-macs 4.1G",
    "verify": "archprof verify resnet50",
    "predict": "archprof predict resnet50 --device h100",
    "shard": "archprof shard hf:llama-3.1-8b --mesh fsdp=8 --device h100",
    "probe": "archprof probe resnet18 --batch 8",
    "train": "archprof train cifar_resnet",
    "models": "archprof models 'resnet*'",
    "devices": "archprof devices a100",
    "guide": "archprof guide tables",
}


class Command(TyperCommand):
    """A command whose help is in groups and ends in an example."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        groups = {name: title for title, names in GROUPS.items() for name in names}
        for param in self.params:
            if isinstance(param, TyperOption):
                param.rich_help_panel = groups.get(param.name or "", OWN_GROUP)
        hide_types(self.params)
        if self.name in EXAMPLES:
            self.epilog = f"Example: {EXAMPLES[self.name]}"

    def get_help_option(self, ctx: Any) -> Any:
        """Behind the others, without a type."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.rich_help_panel = [*GROUPS][-1]
            hide_types([option])
        return option


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
