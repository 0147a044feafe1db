"""`archprof epoch`: how long a pass over all training images takes."""

from __future__ import annotations

from typing import Annotated

import typer

from archprof.cli import options, pass_options
from archprof.cli.output import choose_format, error_boundary, write_table


def epoch(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="MODELs to measure, or .json profiles of measured training steps."),
    ],
    images: Annotated[int, typer.Option(help="Images in an epoch.")],
    batch: Annotated[int, typer.Option(help="Images in a step.")] = 64,
    input: options.Input = None,
    dtype: options.Dtype = None,
    measure: Annotated[str, typer.Option(metavar="DEVICE", help="Where to measure the step: cpu or cuda.")] = "cpu",
    cuda: options.Cuda = False,
    channels_last: options.ChannelsLast = False,
    compile: options.Compile = False,
    format: options.FormatName = None,
    output: options.Output = None,
    debug: options.Debug = False,
) -> None:
    """How long an epoch takes, from a measured training step, with its interval; a row for each model and device."""
    from archprof.analysis.tables import epoch

    with error_boundary(debug):
        form = choose_format(format, output)
        how = pass_options.read_device_options("cuda" if cuda else measure, cuda, channels_last, compile)
        epoch.count_steps(images, batch)
        answer = pass_options.profile_each(models, input, how, batch=batch, dtype=dtype, train=True)
        if answer.problem is not None:
            raise answer.problem
        write_table(epoch.tabulate_epochs(answer.profiles, images), form, output)
        answer.raise_problem()
