"""The commands: parse the words, call one library function, write what it returns."""

from __future__ import annotations

from typing import Annotated

import typer

import archprof
from archprof.cli.boundary import CommandGroup
from archprof.cli.calibrate import calibrate
from archprof.cli.check import check
from archprof.cli.compare import compare
from archprof.cli.devices import devices
from archprof.cli.epoch import epoch
from archprof.cli.graph import graph
from archprof.cli.guide import guide
from archprof.cli.memory import memory
from archprof.cli.models import models
from archprof.cli.options import CommandWithLimits
from archprof.cli.output import write_text
from archprof.cli.predict import predict
from archprof.cli.probe import probe
from archprof.cli.report import report
from archprof.cli.search import fit, inputs
from archprof.cli.table import table
from archprof.cli.train import train
from archprof.cli.verify import verify
from archprof.cli.whatif import whatif

app = typer.Typer(
    cls=CommandGroup,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    help="What a neural-network architecture costs, layer by layer: shapes, parameters, MACs, FLOPs, memory.",
)
app.command()(table)
app.command()(graph)
app.command()(compare)
app.command()(whatif)
app.command()(inputs)
app.command(cls=CommandWithLimits)(fit)
app.command()(memory)
app.command()(predict)
app.command()(report)
app.command()(probe)
app.command()(train)
app.command()(epoch)
app.command()(calibrate)
app.command(cls=CommandWithLimits)(check)
app.command()(verify)
app.command()(models)
app.command()(devices)
app.command()(guide)


@app.callback(invoke_without_command=True)
def version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        write_text(f"archprof {archprof.__version__}\n", None)
        raise typer.Exit
