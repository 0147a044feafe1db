"""The commands: parse the words, call one library function, write what it returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

import archprof
from archprof.cli.calibrate import calibrate
from archprof.cli.check import check
from archprof.cli.compare import compare
from archprof.cli.devices import devices
from archprof.cli.epoch import epoch
from archprof.cli.graph import graph
from archprof.cli.guide import guide
from archprof.cli.help import Command, GroupWithHelp
from archprof.cli.memory import memory
from archprof.cli.models import models
from archprof.cli.options import CommandWithLimits
from archprof.cli.output import write_text
from archprof.cli.predict import predict
from archprof.cli.probe import probe
from archprof.cli.report import report
from archprof.cli.search import fit, inputs
from archprof.cli.shard import shard
from archprof.cli.sweep import sweep
from archprof.cli.table import table
from archprof.cli.train import train
from archprof.cli.verify import verify
from archprof.cli.whatif import whatif

app = typer.Typer(
    cls=GroupWithHelp,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    help="What a neural-network architecture costs, layer by layer: shapes, parameters, MACs, FLOPs, memory.",
)
COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Look at one model": (table, graph, memory, predict, shard, probe, report, verify),
    "Compare and change": (compare, sweep, whatif, check),
    "Ask backwards": (inputs, fit),
    "Measure": (epoch, train, calibrate),
    "Look up": (models, devices, guide),
}
"""The commands by what they are for, in the order of the help."""

WITH_LIMITS = (fit, check)

for _purpose, _commands in COMMANDS.items():
    for _command in _commands:
        app.command(cls=CommandWithLimits if _command in WITH_LIMITS else Command, rich_help_panel=_purpose)(_command)


@app.callback(invoke_without_command=True)
def version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        write_text(f"archprof {archprof.__version__}\n", None)
        raise typer.Exit
