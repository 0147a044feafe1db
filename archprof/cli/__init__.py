"""The commands: parse the words, call one library function, write what it returns."""

from __future__ import annotations

from typing import Annotated

import typer

import archprof
from archprof.cli import (
    calibrate,
    catalogue,
    check,
    compare,
    epoch,
    graph,
    guide,
    predictions,
    probing,
    report,
    searching,
    shard,
    sweep,
    table,
    verify,
    whatif,
)
from archprof.cli.help import GroupWithHelp, Purpose, Question
from archprof.cli.output import write_text

app = typer.Typer(
    cls=GroupWithHelp,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    help="What a neural-network architecture costs, layer by layer: shapes, parameters, MACs, FLOPs, memory.",
)
QUESTIONS: tuple[Question, ...] = (
    *table.QUESTIONS, *graph.QUESTIONS, *predictions.QUESTIONS, *shard.QUESTIONS, *searching.QUESTIONS,
    *epoch.QUESTIONS, *probing.QUESTIONS, *report.QUESTIONS, *verify.QUESTIONS, *compare.QUESTIONS, *sweep.QUESTIONS,
    *whatif.QUESTIONS, *check.QUESTIONS, *calibrate.QUESTIONS, *catalogue.QUESTIONS, *guide.QUESTIONS,
)  # fmt: skip
"""All commands; in the help those of one purpose stand in this order."""

for _asked in (each for purpose in Purpose for each in QUESTIONS if each.purpose is purpose):
    app.command(cls=_asked.kind, rich_help_panel=_asked.purpose.value, epilog=f"Example: {_asked.example}")(_asked.ask)


@app.callback(invoke_without_command=True)
def version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        write_text(f"archprof {archprof.__version__}\n", None)
        raise typer.Exit
