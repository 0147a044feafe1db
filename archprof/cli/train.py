"""`archprof train`: several nets side by side by one recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import archprof
from archprof.cli import options
from archprof.cli.output import TABLE_SUFFIXES, choose_format, error_boundary, render_table, write_text
from archprof.cli.probe import Data, Seed
from archprof.cli.progress import show_progress


def train(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="One or more MODELs; see `table --help`.")],
    data: Data,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", help="The run: run.json, and the weights of each model.")
    ],
    input: options.Input = None,
    epochs: Annotated[int, typer.Option(metavar="N", help="Passes over the data.")] = 10,
    recipe: Annotated[str, typer.Option(metavar="NAME", help="lecture: Adam at 0.001 in batches of 128.")] = "lecture",
    optimizer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Another than the recipe's: sgd(lr=0.1, momentum=0.9).")
    ] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Another than the recipe's.")] = None,
    seed: Seed = 0,
    cuda: Annotated[bool, typer.Option("--cuda", help="On the GPU.")] = False,
    amp: Annotated[bool, typer.Option("--amp/--no-amp", help="On the GPU: mixed precision, in bfloat16.")] = True,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder, after a kill.")] = False,
    format: options.FormatName = None,
    debug: options.Debug = False,
) -> None:
    """Train nets side by side by the same recipe: losses, accuracies, gradients and filters, in a folder to go on from.

    Ctrl-C keeps what was learned so far. `archprof report FOLDER -o x.html` draws it.
    """
    from archprof.analysis.tables.run import tabulate_run

    with error_boundary(debug):
        form = choose_format(format, None, TABLE_SUFFIXES)
        with show_progress(f"Training {', '.join(models)}") as tell:
            run = archprof.train(
                models, output, inputs=input or None, data=data, epochs=epochs, recipe=recipe, optimizer=optimizer,
                batch=batch, seed=seed, device="cuda" if cuda else "cpu", amp=amp, resume=resume, progress=tell,
            )  # fmt: skip
        write_text(render_table(tabulate_run(run), form, None), None)
        if run.stopped is not None:
            raise KeyboardInterrupt
