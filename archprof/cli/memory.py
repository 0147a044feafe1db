"""`archprof memory`: how much memory a model takes, and what fills it."""

from __future__ import annotations

from typing import Annotated

import typer

import archprof
from archprof.cli import options
from archprof.cli.output import PAGE_SUFFIXES, choose_format, error_boundary, write_answer, write_text
from archprof.cli.progress import show_waiting

PICTURES = ("svg", "html")
MEMORY_SUFFIXES = {**PAGE_SUFFIXES, ".svg": "svg"}


def memory(
    model: options.Model,
    input: options.Input = None,
    arg: options.Arg = None,
    settings: options.Lengths = None,
    phase: options.Phase = None,
    context: options.Context = None,
    batch: options.Batch = 1,
    dtype: options.Dtype = None,
    train: options.Train = False,
    amp: options.Amp = None,
    optimizer: options.Optimizer = None,
    accumulate: options.Accumulate = 1,
    set_to_none: options.SetToNone = True,
    checkpoint: options.Checkpoint = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whether it fits there: h100, 4090, a100-40; all: on every GPU.")
    ] = None,
    advise: Annotated[
        bool, typer.Option("--advise", help="What would lower it most, each change traced and predicted again.")
    ] = False,
    format: options.FormatName = None,
    output: options.Output = None,
    debug: options.Debug = False,
) -> None:
    """How much memory a pass or a training step takes on a GPU, without one, and what fills it; -o x.svg draws it."""
    with error_boundary(debug):
        form = choose_format(format, output, MEMORY_SUFFIXES)
        with show_waiting(f"Tracing {model}"):
            answer = archprof.predict_memory(
                model, options.add_arguments(input, arg) or None, batch=batch, dtype=dtype, train=train,
                set=options.parse_lengths(settings), phase=phase, context=context, optimizer=optimizer,
                accumulate=accumulate, set_to_none=set_to_none, device=device, amp=amp,
                checkpoint=checkpoint or (), advise=advise,
            )  # fmt: skip
        if form in PICTURES:
            write_text(answer.to_svg() if form == "svg" else answer.to_html(), output)
        else:
            write_answer(answer, form, output)
