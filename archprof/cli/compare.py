"""`archprof compare`: architectures side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import archprof
from archprof.cli import options, other_tools, profiles
from archprof.cli.completion import complete_model
from archprof.cli.help import Purpose, Question
from archprof.cli.output import (
    PAGE_SUFFIXES,
    choose_format,
    error_boundary,
    render_table,
    terminal_width,
    write_text,
)
from archprof.cli.progress import show_waiting
from archprof.cli.report import render_report_page
from archprof.facts.request import PassRequest
from archprof.measuring.profiles import validate_device

if TYPE_CHECKING:
    from archprof.analysis.compare.comparison import Comparison
    from archprof.facts.records import Profile


def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            autocompletion=complete_model, metavar="A B [C]...", help="Two or more MODELs; see `table --help`."
        ),
    ],
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
    by: Annotated[str, typer.Option(help="Align rows by path, by stage, or by what fits (auto).")] = "auto",
    layers: Annotated[bool, typer.Option("--layers", help="Print the aligned layers too.")] = False,
    title: options.Title = None,
    convention: options.Convention = other_tools.OWN_CONVENTION,
    format: options.FormatName = None,
    output: options.Output = None,
    debug: options.Debug = False,
) -> None:
    """Architectures side by side, or what changed from one version to the next."""
    from archprof.analysis.compare import comparison

    with error_boundary(debug):
        form = choose_format(format, output, PAGE_SUFFIXES)
        comparison.validate_comparison(len(models), by=by)
        other_tools.validate_convention(convention, form, train=train)
        validate_device(device)
        how = options.choose_measurement(measure, cuda, channels_last, compile)
        lengths = options.parse_lengths(settings)
        request = PassRequest(batch, dtype, train, causal, lengths, phase, context, amp=amp)
        shown, ended = profiles.profile_each(models, input, request, how, device)
        if form == "html":
            write_text(render_report_page(shown, title=title, device=device), output)
        else:
            with show_waiting("Comparing"):
                compared = archprof.compare(*shown, by=by)
            text = render_comparison(compared, form, layers, output) + render_budgets(compared, shown[-1], form, output)
            if convention == other_tools.OWN_CONVENTION:
                write_text(text, output)
            else:
                other_tools.write_by_rule(shown, convention, form, output, text)
        profiles.end_with(ended)


def render_budgets(compared: Comparison, after: Profile, form: str, output: Path | None) -> str:
    """How a changed model stands against the limits of pyproject.toml; nothing of different nets, or without limits."""
    if compared.changes is None or form not in ("text", "md"):
        return ""
    from archprof.budgets.checks import hold_by_settings

    tables = (render_table(verdict.table, form, output) for verdict in hold_by_settings(after))
    return "".join(f"\n{table}" for table in tables)


def render_comparison(compared: Comparison, form: str, layers: bool, output: Path | None) -> str:
    """The whole comparison in one format; csv holds the aligned layers."""
    whole = {"md": compared.to_markdown, "json": compared.to_json, "latex": compared.to_latex}
    if form in whole:
        return whole[form]()
    if form != "text":
        return render_table(compared.layers, form, output)
    parts = [compared.parts] if compared.parts else []
    tables = [compared.summary, *parts, *([compared.layers] if layers else [])]
    summary, *rest = (render_table(table, "text", output) for table in tables)
    return "\n".join([summary, compared.sentences(terminal_width() if output is None else None), *rest])


QUESTIONS = (Question(compare, Purpose.CHANGE, "archprof compare net.py:Net@HEAD~1 net.py:Net --format md"),)
