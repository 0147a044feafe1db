"""`archprof table`: what every layer of one model costs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import archprof
from archprof import late
from archprof.cli import options
from archprof.cli.output import PAGE_SUFFIXES, PAGES, form_of, told, write, write_table
from archprof.cli.report import page_of
from archprof.errors import TraceError
from archprof.progress import working

if TYPE_CHECKING:
    from archprof.records import Profile


def table(
    model: options.Model,
    input: options.Input = None,
    batch: options.Batch = 1,
    dtype: options.Dtype = None,
    train: options.Train = False,
    causal: options.Causal = "full",
    by: options.By = "layer",
    depth: options.Depth = None,
    columns: options.Columns = None,
    sort: options.Sort = None,
    top: options.Top = None,
    format: options.Form = None,
    output: options.Output = None,
    debug: options.Debug = False,
) -> None:
    """The per-layer table of one model."""
    with told(debug):
        if columns == "help":
            write(late.call("archprof.analysis.columns:legend", by), None)
            return
        keys = [key.strip() for key in columns.split(",")] if columns else None
        view = {"by": by, "depth": depth, "columns": keys, "sort": sort, "top": top}
        form = form_of(format, output, PAGES, PAGE_SUFFIXES)
        late.call("archprof.analysis.layers:check", **view)
        try:
            with working(f"{'Reading' if model.endswith('.json') else 'Tracing'} {model}"):
                profile = archprof.profile(model, input or None, batch=batch, dtype=dtype, train=train, causal=causal)
        except TraceError as error:
            if error.profile is not None and error.profile.layers:
                write_view(error.profile, view, form, output)
            raise
        write_view(profile, view, form, output)


def write_view(profile: Profile, view: dict[str, Any], form: str, output: Path | None) -> None:
    """Print or write the table of a profile. JSON by layer, to be read again, and HTML hold it whole."""
    if form != "html" and (form != "json" or view["by"] != "layer"):
        write_table(profile.table(**view), form, output)
        return
    write(page_of([profile]) if form == "html" else late.call("archprof.store:to_json", profile), output)
    unused = [f"--{name}" for name, value in view.items() if name != "by" and value is not None]
    if unused:
        sys.stderr.write(f"{form.upper()} by layer is the whole profile; not used: {', '.join(unused)}.\n")
