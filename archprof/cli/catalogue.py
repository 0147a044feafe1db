"""`archprof models` and `archprof devices`: what can be named."""

from __future__ import annotations

from typing import Annotated

import typer

import archprof
from archprof.cli import options
from archprof.cli.help import Purpose, Question
from archprof.cli.output import choose_format, error_boundary, write_table
from archprof.cli.progress import show_waiting


def models(
    pattern: Annotated[str, typer.Argument(help="Part of a name, or a pattern such as 'resnet*'.")] = "",
    format: options.FormatName = None,
    output: options.Output = None,
    debug: options.Debug = False,
) -> None:
    """The built-in models: what each is and what it costs."""
    with error_boundary(debug):
        form = choose_format(format, output)
        with show_waiting("Tracing the built-in models"):
            listed = archprof.list_models(pattern)
        write_table(listed, form, output)


def devices(
    pattern: Annotated[str, typer.Argument(help="Part of a name, or a pattern such as '*a100*sxm*'.")] = "",
    format: options.FormatName = None,
    output: options.Output = None,
    debug: options.Debug = False,
) -> None:
    """The devices that can be named: memory, bandwidth, peak rates, how sure these are and where they were read.

    One alone is shown figure by figure: archprof devices 'h100 nvl'
    """
    with error_boundary(debug):
        write_table(archprof.list_devices(pattern), choose_format(format, output), output)


QUESTIONS = (
    Question(models, Purpose.LOOK_UP, "archprof models 'resnet*'"),
    Question(devices, Purpose.LOOK_UP, "archprof devices a100"),
)
