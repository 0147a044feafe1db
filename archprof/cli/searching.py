"""`archprof inputs` and `archprof fit`: the questions asked backwards."""

from __future__ import annotations

from typing import Annotated

import typer

import archprof
from archprof.cli import options
from archprof.cli.help import Purpose, Question
from archprof.cli.options import CommandWithLimits
from archprof.cli.output import choose_format, error_boundary, write_table
from archprof.cli.progress import show_waiting


def inputs(
    model: options.Model,
    where: Annotated[
        list[str], typer.Option(metavar="PATH=HxW", help="An output size at a layer, as features.0=55x55. Repeatable.")
    ],
    low: Annotated[int, typer.Option("--lo", help="Smallest size to consider.")] = 1,
    high: Annotated[int, typer.Option("--hi", help="Largest size to consider.")] = 1024,
    square: Annotated[
        bool | None, typer.Option("--square/--no-square", help="Height and width equal; by itself if the sizes are.")
    ] = None,
    input: options.Input = None,
    dtype: options.Dtype = None,
    format: options.FormatName = None,
    output: options.Output = None,
    debug: options.Debug = False,
) -> None:
    """The input sizes that give an output of that size at a layer."""
    with error_boundary(debug):
        form = choose_format(format, output)
        with show_waiting(f"Solving {model}"):
            answer = archprof.inputs(model, where, lo=low, hi=high, square=square, inputs=input or None, dtype=dtype)
        write_table(answer, form, output)


def fit(
    model: options.Model,
    over: Annotated[
        str, typer.Option(help="What may grow: resolution, batch, seq, width or depth; or mesh.")
    ] = "resolution",
    max_params: options.Limit = None,
    max_macs: options.Limit = None,
    max_flops: options.Limit = None,
    max_activation: options.Limit = None,
    max_memory: Annotated[
        str | None, typer.Option(metavar="MOST", help="Most memory of a GPU, as predicted, such as 24GiB.")
    ] = None,
    max_latency: Annotated[
        str | None, typer.Option(metavar="MOST", help="Most time on the device, as predicted, such as 5ms.")
    ] = None,
    device: Annotated[str | None, typer.Option(metavar="NAME", help="The memory of this device: h100, 4090.")] = None,
    gpus: Annotated[int | None, typer.Option(metavar="N", help="With --over mesh: every mesh of so many.")] = None,
    least: Annotated[str, typer.Option(metavar="COST", help="Which mesh is best: of least time, or memory.")] = "time",
    zero: options.Zero = 3,
    units: options.Units = None,
    param_dtype: options.ParamDtype = None,
    plan: options.Plan = None,
    sequence_parallel: options.SequenceParallel = False,
    microbatches: options.Microbatches = None,
    schedule: options.Schedule = "1f1b",
    node: options.Node = 8,
    input: options.Input = None,
    settings: options.Lengths = None,
    batch: options.Batch = 1,
    dtype: options.Dtype = None,
    amp: options.Amp = None,
    train: options.Train = False,
    optimizer: options.Optimizer = None,
    accumulate: options.Accumulate = 1,
    set_to_none: options.SetToNone = True,
    checkpoint: options.Checkpoint = None,
    format: options.FormatName = None,
    output: options.Output = None,
    debug: options.Debug = False,
) -> None:
    """The largest setting of a model that stays inside a budget, or in the memory of a device; or the best mesh."""
    with error_boundary(debug):
        form = choose_format(format, output)
        with show_waiting(f"Fitting {model}"):
            found = archprof.fit(
                model, input or None, over=over, max_params=max_params, max_macs=max_macs, max_flops=max_flops,
                max_activation=max_activation, max_memory=max_memory, max_latency=max_latency, device=device,
                batch=batch, dtype=dtype, amp=amp, train=train, optimizer=optimizer, accumulate=accumulate,
                set_to_none=set_to_none, checkpoint=checkpoint or (), set=options.parse_lengths(settings), gpus=gpus,
                least=least, zero=zero, units=units or (), param_dtype=param_dtype, plan=plan,
                sequence_parallel=sequence_parallel, microbatches=microbatches, schedule=schedule, node=node,
            )  # fmt: skip
        write_table(found, form, output)


QUESTIONS = (
    Question(inputs, Purpose.BACKWARDS, "archprof inputs alexnet_2012 --where features.0=55x55"),
    Question(fit, Purpose.BACKWARDS, "archprof fit resnet50 --over batch --device 'NVIDIA L4'", CommandWithLimits),
)
