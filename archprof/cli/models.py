"""`archprof models`: the built-in models."""

from __future__ import annotations

from typing import Annotated

import typer

import archprof
from archprof.cli import options
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
