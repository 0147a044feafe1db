"""`archprof epoch`: how long all images take."""

from __future__ import annotations

from typing import Annotated

import typer

from archprof.cli import options, profiles
from archprof.cli.completion import complete_model
from archprof.cli.help import Purpose, Question
from archprof.cli.output import choose_format, error_boundary, write_table
from archprof.errors import ArchprofError, UsageError
from archprof.facts.request import MeasureRequest, PassRequest


def epoch(
    models: Annotated[
        list[str],
        typer.Argument(
            autocompletion=complete_model,
            metavar="MODEL...",
            help="MODELs to measure, or .json profiles of measured training steps.",
        ),
    ],
    images: Annotated[int, typer.Option(help="Images in an epoch.")],
    batch: Annotated[int, typer.Option(help="Images in a step.")] = 64,
    input: options.Input = None,
    dtype: options.Dtype = None,
    measure: Annotated[str, typer.Option(metavar="DEVICE", help="Where to measure the step: cpu or cuda.")] = "cpu",
    amp: options.Amp = None,
    cuda: options.Cuda = False,
    channels_last: options.ChannelsLast = False,
    compile: options.Compile = False,
    format: options.FormatName = None,
    output: options.Output = None,
    debug: options.Debug = False,
) -> None:
    """How long an epoch takes, from a measured training step, with its interval; a row for each model and device."""
    from archprof.library.epoch import count_steps, tabulate_epochs

    with error_boundary(debug):
        form = choose_format(format, output)
        how = MeasureRequest("cuda" if cuda else measure, channels_last, compile)
        count_steps(images, batch)
        shown, ended = profiles.profile_each(models, input, PassRequest(batch, dtype, train=True, amp=amp), how)
        if isinstance(ended, ArchprofError):
            raise ended
        try:
            table = tabulate_epochs(shown, images)
        except UsageError:
            profiles.end_with(ended)  # before there was a step to tell of
            raise
        write_table(table, form, output)
        profiles.end_with(ended)


QUESTIONS = (Question(epoch, Purpose.MEASURE, "archprof epoch resnet18 --images 1281167 --batch 64 --measure cpu"),)
