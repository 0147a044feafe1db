"""`archprof report`: one HTML file that a design review is held over."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from archprof import files
from archprof.cli import options, profiles
from archprof.cli.help import Purpose, Question
from archprof.cli.output import error_boundary, write_text
from archprof.cli.progress import show_waiting
from archprof.errors import UsageError
from archprof.facts.request import MeasureRequest, PassRequest
from archprof.facts.swept_files import is_swept_path

if TYPE_CHECKING:
    from archprof.facts.records import Profile
    from archprof.sources.provenance import Provenance
    from archprof.sweeping.trials import Trial

Plotly = Literal["gzip", "inline", "none"]


def report(
    models: options.PageModels,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FILE.html", help="The page; it needs no other file and no network."),
    ],
    title: options.Title = None,
    plotly: Annotated[
        bool, typer.Option("--plotly", help="Add plotly (2 MB), which zooms; the drawn pictures need none.")
    ] = False,
    input: options.Input = None,
    settings: options.Lengths = None,
    phase: options.Phase = None,
    context: options.Context = None,
    batch: options.Batch = 1,
    dtype: options.Dtype = None,
    train: options.Train = False,
    amp: options.Amp = None,
    causal: options.Causal = "full",
    measure: options.Measure = None,
    cuda: options.Cuda = False,
    channels_last: options.ChannelsLast = False,
    compile: options.Compile = False,
    device: options.Device = None,
    date: options.Date = None,
    baseline: options.Before = None,
    debug: options.Debug = False,
) -> None:
    """One self-contained HTML page about one model, or several side by side."""
    from archprof.sources import provenance
    from archprof.sweeping import trials

    with error_boundary(debug):
        if output.suffix != ".html":
            raise UsageError(f"{output} is no page.", "A report is an HTML file: -o review.html")
        files.check_writable(output)
        if any(map(is_swept_path, models)):
            write_text(render_swept_alone(models, title), output)
            return
        if any(map(files.is_run_path, models)):
            write_text(render_run_alone(models, title), output)
            return
        how = options.choose_measurement(measure, cuda, channels_last, compile)
        validate_roof(device, how)
        provenance.check_date(date)
        request = PassRequest(batch, dtype, train, causal, options.parse_lengths(settings), phase, context, amp=amp)
        named = put_behind(baseline, models)
        shown, ended = profiles.profile_each(named, input, request, how)
        source = provenance.trace_sources([*models, baseline], date)
        with show_waiting("Trying out rewrites"):
            tried = trials.try_rewrites(named, input, shown, request)
        with show_waiting("Drawing the page"):
            embedding: Plotly = "gzip" if plotly else "none"
            page = render_report_page(shown, title=title, plotly=embedding, device=device, tried=tried, source=source)
        write_text(page, output)
        profiles.end_with(ended)


def put_behind(baseline: str | None, models: list[str]) -> list[str]:
    """The one model behind what it was before."""
    if baseline is not None and len(models) > 1:
        raise UsageError(f"A baseline was given for {len(models)} models.", "A baseline is of one model.")
    return models if baseline is None else [baseline, *models]


def validate_roof(device: str | None, how: MeasureRequest | None) -> None:
    """Raise what the page would raise for this device, before minutes of measuring."""
    if device is not None:
        from archprof.facts.ran import Ran
        from archprof.predicting import roofline
        from archprof.predicting.runs import choose_one_device

        known = choose_one_device(device).device
        if known is not None and how is not None:
            roofline.validate_roof(known, Ran(how.device))


def render_run_alone(models: Sequence[str], title: str | None) -> str:
    """The page about the run of training in a folder."""
    from archprof.render.page.run_page import render_run

    if len(models) > 1:
        raise UsageError(f"{len(models)} things were named, and a run has a page of its own.", "One folder of a run.")
    return render_run(models[0], title)


def render_swept_alone(models: Sequence[str], title: str | None) -> str:
    """The page about the sweep in a file."""
    from archprof.render.page.swept_page import render_swept

    if len(models) > 1:
        raise UsageError(f"{len(models)} things were named, and a sweep has a page of its own.", "One file of a sweep.")
    return render_swept(models[0], title, shlex.join(["archprof", *sys.argv[1:]]))


def render_report_page(
    shown: Sequence[Profile],
    *,
    title: str | None = None,
    plotly: Plotly = "none",
    device: str | None = None,
    tried: Sequence[Trial] = (),
    source: Provenance | None = None,
) -> str:
    """The page about these profiles, which names the command that made it."""
    from archprof.analysis.report import page
    from archprof.budgets.checks import hold_by_settings
    from archprof.render.page import html

    command = shlex.join(["archprof", *sys.argv[1:]])
    date, lines = source or ("", ())
    facts = page.build_report(shown, command=command, title=title, device=device, tried=tried, date=date, sources=lines)
    changed = facts.comparison is not None and facts.comparison.changes is not None
    return str(html.render_page(facts, plotly=plotly, budgets=hold_by_settings(shown[-1]) if changed else ()))


QUESTIONS = (Question(report, Purpose.LOOK, "archprof report resnet50 -o review.html"),)
