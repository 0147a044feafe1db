"""`archprof memory` and `archprof predict`: what a model takes on devices that nobody has here."""

from __future__ import annotations

from typing import Annotated

import typer

import archprof
from archprof.cli import options
from archprof.cli.help import Purpose, Question
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


def predict(
    model: options.Model,
    device: Annotated[
        str,
        typer.Option(metavar="NAME,…", help="Devices: t4,4090,a100-40 (archprof devices), files of calibrate, or all."),
    ],
    input: options.Input = None,
    arg: options.Arg = None,
    settings: options.Lengths = None,
    phase: options.Phase = None,
    context: Annotated[
        int | None, typer.Option(metavar="N", help="Tokens of an hf: decoder; without --phase both are predicted.")
    ] = None,
    batch: Annotated[str, typer.Option("--batch", metavar="N,…", help="Batch sizes, as 1,32.")] = "1",
    dtype: Annotated[str | None, typer.Option(help="Dtypes, as float32,float16; the model's own if not given.")] = None,
    amp: options.Amp = None,
    train: options.Train = False,
    optimizer: options.Optimizer = None,
    captured: Annotated[
        bool, typer.Option("--captured", help="Replayed as a CUDA graph: no launch waits for the host.")
    ] = False,
    compile: Annotated[bool, typer.Option("--compile", help="What torch.compile makes of it.")] = False,
    channels_last: Annotated[bool, typer.Option("--channels-last", help="Images have their channels last.")] = False,
    tf32: Annotated[
        bool | None,
        typer.Option("--tf32/--no-tf32", help="float32 products in TF32; by itself as torch: convolutions alone."),
    ] = None,
    measured: Annotated[
        list[str] | None,
        typer.Option(metavar="x.json", help="A saved measurement, which corrects its device. Repeatable."),
    ] = None,
    by: Annotated[str | None, typer.Option(help="The rows of each pass, too: layer, stage or kind.")] = None,
    price: Annotated[
        str | None, typer.Option(metavar="P", help="Of an hour, for what a million samples cost: 1.2, or one a device.")
    ] = None,
    format: options.FormatName = None,
    output: options.Output = None,
    debug: options.Debug = False,
) -> None:
    """How long a pass or a training step takes on devices that nobody has here, and what limits each layer.

    archprof predict resnet50 --device t4,l4,4090,h100 --batch 1,32 --amp float16
    """
    with error_boundary(debug):
        form = choose_format(format, output)
        with show_waiting(f"Predicting {model}"):
            answer = archprof.predict(
                model, options.add_arguments(input, arg) or None, device=device, batch=batch, dtype=dtype, train=train,
                amp=amp, set=options.parse_lengths(settings), phase=phase, context=context, optimizer=optimizer,
                captured=captured, compile=compile, channels_last=channels_last, tf32=tf32, measured=measured, by=by,
                price=price,
            )  # fmt: skip
        write_answer(answer, form, output)


QUESTIONS = (
    Question(memory, Purpose.LOOK, "archprof memory resnet50 --train --optimizer adamw"),
    Question(predict, Purpose.LOOK, "archprof predict resnet50 --device h100"),
)
