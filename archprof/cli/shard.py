"""`archprof shard`: a model over many devices."""

from __future__ import annotations

from typing import Annotated

import typer

import archprof
from archprof.cli import options
from archprof.cli.completion import complete_link, complete_words
from archprof.cli.help import Purpose, Question
from archprof.cli.output import choose_format, error_boundary, write_answer
from archprof.cli.progress import show_waiting


def shard(
    model: options.Model,
    mesh: Annotated[
        str, typer.Option(metavar="AXIS=N,…", help="Ranks along each axis: dp=8,fsdp=8,tp=4,pp=2; ep is part of dp.")
    ],
    device: options.MeshDevice = None,
    zero: options.Zero = 3,
    units: options.Units = None,
    param_dtype: options.ParamDtype = None,
    plan: options.Plan = None,
    sequence_parallel: options.SequenceParallel = False,
    microbatches: options.Microbatches = None,
    schedule: options.Schedule = "1f1b",
    balance: Annotated[
        str,
        typer.Option(
            autocompletion=complete_words("cost", "count"), help="Stages of like cost, or of a like count of blocks."
        ),
    ] = "cost",
    node: options.Node = 8,
    link: Annotated[
        str | None, typer.Option(metavar="NAME", autocompletion=complete_link, help="Inside a node: nvlink4, pcie5.")
    ] = None,
    network: Annotated[
        str | None, typer.Option(metavar="NAME", autocompletion=complete_link, help="Between nodes: ndr, hdr, 100gbe.")
    ] = None,
    input: options.Input = None,
    arg: options.Arg = None,
    settings: options.Lengths = None,
    phase: options.Phase = None,
    context: options.Context = None,
    batch: Annotated[int, typer.Option(help="Batch of each data-parallel rank; a pipeline cuts it up.")] = 1,
    dtype: options.Dtype = None,
    train: options.Train = False,
    amp: options.Amp = None,
    optimizer: options.Optimizer = None,
    checkpoint: options.Checkpoint = None,
    format: options.FormatName = None,
    output: options.Output = None,
    debug: options.Debug = False,
) -> None:
    """What each rank of a cluster holds and sends, and how long a step takes at least, without the cluster.

    archprof shard hf:llama-3.1-8b --mesh fsdp=8 --device h100 --train --optimizer adamw
    """
    with error_boundary(debug):
        form = choose_format(format, output)
        with show_waiting(f"Tracing {model}"):
            answer = archprof.shard(
                model, options.add_arguments(input, arg) or None, mesh=mesh, device=device, batch=batch, dtype=dtype,
                train=train, amp=amp, set=options.parse_lengths(settings), phase=phase, context=context,
                optimizer=optimizer, checkpoint=checkpoint or (), zero=zero, units=units or (),
                param_dtype=param_dtype, plan=plan, sequence_parallel=sequence_parallel, microbatches=microbatches,
                schedule=schedule, balance=balance, node=node, link=link, network=network,
            )  # fmt: skip
        write_answer(answer, form, output)


QUESTIONS = (Question(shard, Purpose.LOOK, "archprof shard hf:llama-3.1-8b --mesh fsdp=8 --device h100"),)
