"""`archprof table`: what every layer of one model costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from archprof.cli import options, other_tools, profiles
from archprof.cli.boundary import write_message
from archprof.cli.help import Purpose, Question
from archprof.cli.output import (
    PAGE_SUFFIXES,
    TABLE_FORMATS,
    choose_format,
    error_boundary,
    render_table,
    write_table,
    write_text,
)
from archprof.cli.report import render_report_page
from archprof.errors import TraceError, UsageError
from archprof.facts.request import AUTO_BATCH, MeasureRequest, PassRequest
from archprof.measuring.profiles import validate_device
from archprof.wording import split_words

if TYPE_CHECKING:
    from archprof.facts.records import Profile


def table(
    model: options.Model,
    input: options.Input = None,
    arg: options.Arg = None,
    settings: options.Lengths = None,
    phase: options.Phase = None,
    context: options.Context = None,
    batch: options.Batches = "1",
    dtype: options.Dtypes = None,
    train: options.Train = False,
    amp: options.Amp = None,
    causal: options.Causal = "full",
    measure: options.Measure = None,
    cuda: options.Cuda = False,
    channels_last: options.ChannelsLast = False,
    compile: options.Compile = False,
    device: options.Device = None,
    by: options.By = "layer",
    depth: options.Depth = None,
    columns: options.Columns = None,
    sort: options.Sort = None,
    top: options.Top = None,
    all: options.All = False,
    convention: options.Convention = other_tools.OWN_CONVENTION,
    format: options.FormatName = None,
    output: options.Output = None,
    debug: options.Debug = False,
) -> None:
    """The per-layer table of one model, or how long it takes at several batch sizes."""
    from archprof.analysis.tables import layers
    from archprof.analysis.tables.columns import describe_columns

    with error_boundary(debug):
        if columns == "help":
            write_text(describe_columns(by), None)
            return
        keys = split_words(columns) if columns else None
        view: dict[str, Any] = {"by": by, "depth": depth, "columns": keys, "sort": sort, "top": top, "all": all}
        form = choose_format(format, output, PAGE_SUFFIXES)
        layers.validate_table_options(**view)
        other_tools.validate_convention(convention, form, train=train)
        validate_device(device)
        inputs = options.add_arguments(input, arg)
        lengths = options.parse_lengths(settings)
        how = options.choose_measurement(measure, cuda, channels_last, compile)
        sizes, dtypes = options.parse_batches(batch), options.parse_dtypes(dtype)
        if how is None and (sizes[1:] or dtypes[1:] or AUTO_BATCH in sizes):
            raise UsageError(
                f"Batch {batch}{f' in {dtype}' if dtype else ''} was asked for, and nothing to measure.",
                "A table counts one batch size in one dtype.",
                "Add --measure cpu or --cuda; or predict them: archprof predict.",
            )
        asked = PassRequest(train=train, causal=causal, lengths=lengths, phase=phase, context=context, amp=amp)
        grid = [profiles.vary(asked, how, size, kind) for kind in dtypes for size in sizes]
        if grid[1:]:
            write_sweep(model, inputs, grid, device, form, output)
        else:
            write_model(model, inputs, *grid[0], device, view, form, output, convention)


def write_model(
    model: str,
    inputs: list[str] | None,
    request: PassRequest,
    how: MeasureRequest | None,
    device: str | None,
    view: dict[str, Any],
    form: str,
    output: Path | None,
    convention: str,
) -> None:
    """Trace, measure if so asked, and print; also what there is when the forward fails or nothing can be measured."""
    try:
        profile, ended = profiles.profile_one(model, inputs, request, how, device)
    except TraceError as error:
        if error.profile is not None and error.profile.layers:
            write_view(error.profile, view, form, output)
        raise
    if convention == other_tools.OWN_CONVENTION:
        write_view(profile, view, form, output)
    else:
        before = render_table(profile.table(**view), "text", output)
        other_tools.write_by_rule([profile], convention, form, output, before)
    profiles.end_with(ended)


def write_sweep(
    model: str,
    inputs: list[str] | None,
    grid: list[tuple[PassRequest, MeasureRequest | None]],
    device: str | None,
    form: str,
    output: Path | None,
) -> None:
    """Measure each batch size in each dtype, and print a row for each."""
    from archprof.analysis.tables import sweep

    if form not in TABLE_FORMATS:
        raise UsageError(f"A sweep is not written as {form}.", f"Formats: {', '.join(TABLE_FORMATS)}.")
    if device is not None:
        raise UsageError("A sweep is measured.", "", "Several batches and dtypes are predicted by: archprof predict.")
    cells = list(profiles.measure_sweep(model, inputs, grid))
    write_table(sweep.tabulate_sweep(model, cells), form, output)
    profiles.end_with(profiles.find_interruption(cells[-1].profile))


def write_view(profile: Profile, view: dict[str, Any], form: str, output: Path | None) -> None:
    """Print or write the table of a profile. JSON by layer, to be read again, and HTML hold it whole."""
    from archprof.analysis.tables import decoding

    if form == "text" and profile.decoding is not None:
        tables = (profile.table(**view), decoding.tabulate_cache(profile))
        write_text("\n".join(render_table(table, "text", output) for table in tables), output)
        return
    if form != "html" and (form != "json" or view["by"] != "layer"):
        write_table(profile.table(**view), form, output)
        return
    write_text(render_report_page([profile]) if form == "html" else profile.to_json(), output)
    unused = [f"--{name}" for name, value in view.items() if name not in ("by", "all") and value is not None]
    if unused:
        write_message(f"{form.upper()} by layer is the whole profile; not used: {', '.join(unused)}.\n")


QUESTIONS = (Question(table, Purpose.LOOK, "archprof table resnet50 --by stage"),)
