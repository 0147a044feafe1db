"""`archprof report`: one HTML file that a design review is held over."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archprof import files, late
from archprof.cli import measured, options
from archprof.cli.output import told, write
from archprof.errors import UsageError
from archprof.progress import working

if TYPE_CHECKING:
    from archprof.records import Profile

PLOTLY = ("gzip", "inline", "none")


def report(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="One or more MODELs; see `table --help`.")],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FILE.html", help="The page; it needs no other file and no network."),
    ],
    title: Annotated[str | None, typer.Option(help="Its title; the names of the models if not given.")] = None,
    plotly: Annotated[
        str, typer.Option(help="How plotly is embedded: gzip (2 MB), inline (5 MB), or none (drawings only).")
    ] = "gzip",
    input: options.Input = None,
    settings: options.Set = None,
    phase: options.Phase = None,
    context: options.Context = None,
    batch: options.Batch = 1,
    dtype: options.Dtype = None,
    train: options.Train = False,
    causal: options.Causal = "full",
    measure: options.Measure = None,
    cuda: options.Cuda = False,
    channels_last: options.ChannelsLast = False,
    compile: options.Compile = False,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|x.json", help="Draw the roof of this device: of the catalogue, or made by calibrate."
        ),
    ] = None,
    debug: options.Debug = False,
) -> None:
    """One self-contained HTML page about one model, or several side by side."""
    with told(debug):
        if plotly not in PLOTLY:
            raise UsageError(f"Plotly cannot be embedded as {plotly!r}.", f"Allowed: {', '.join(PLOTLY)}.")
        if output.suffix != ".html":
            raise UsageError(f"{output} is no page.", "A report is an HTML file: -o review.html")
        files.check_writable(output)
        if device is not None:
            late.call("archprof.analysis.devices:named", device)
        how = measured.how(measure, cuda, channels_last, compile)
        asked = options.of_sequences(settings, phase, context)
        answer = measured.profiles(models, input, how, batch=batch, dtype=dtype, train=train, causal=causal, **asked)
        with working("Drawing the page"):
            page = page_of(answer.profiles, title=title, plotly=plotly, device=device)
        write(page, output)
        answer.finish()


def page_of(
    shown: Sequence[Profile], *, title: str | None = None, plotly: str = "gzip", device: str | None = None
) -> str:
    """The page about these profiles, which names the command that made it."""
    command = shlex.join(["archprof", *sys.argv[1:]])
    facts = late.call("archprof.analysis.report:report", shown, command=command, title=title, device=device)
    return str(late.call("archprof.render.html:page", facts, plotly=plotly))
