"""`archprof devices`: the catalogue."""

from __future__ import annotations

from typing import Annotated

import typer

import archprof
from archprof.cli import options
from archprof.cli.output import choose_format, error_boundary, write_table


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
