"""`archprof compare`: architectures side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import archprof
from archprof.cli import options, other_tools, pass_options
from archprof.cli.output import FORMATS, PAGE_SUFFIXES, PAGES, for_terminal, form_of, told, width, write
from archprof.cli.progress import working
from archprof.cli.report import page_of

if TYPE_CHECKING:
    from archprof.analysis.compare.comparison import Comparison


def compare(
    models: Annotated[list[str], typer.Argument(metavar="A B [C]...", help="Two or more MODELs; see `table --help`.")],
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
    by: Annotated[str, typer.Option(help="Align rows by path, by stage, or by what fits (auto).")] = "auto",
    layers: Annotated[bool, typer.Option("--layers", help="Print the aligned layers too.")] = False,
    convention: options.Convention = other_tools.OWN,
    format: options.Form = None,
    output: options.Output = None,
    debug: options.Debug = False,
) -> None:
    """Architectures side by side: a summary with ratios to the first, findings, and aligned rows."""
    from archprof.analysis.compare import comparison

    with told(debug):
        form = form_of(format, output, PAGES, PAGE_SUFFIXES)
        comparison.check(len(models), by=by)
        other_tools.check(convention, form, train=train)
        how = pass_options.how(measure, cuda, channels_last, compile)
        asked = options.of_sequences(settings, phase, context)
        answer = pass_options.profiles(
            models, input, how, batch=batch, dtype=dtype, train=train, causal=causal, **asked
        )
        if form == "html":
            write(page_of(answer.profiles), output)
        else:
            with working("Comparing"):
                compared = archprof.compare(*answer.profiles, by=by)
            text = text_of(compared, form, layers, output)
            if convention == other_tools.OWN:
                write(text, output)
            else:
                other_tools.write_by_rule(answer.profiles, convention, form, output, text)
        answer.finish()


def text_of(compared: Comparison, form: str, layers: bool, output: Path | None) -> str:
    """The whole comparison in one format; csv and latex hold the aligned layers."""
    if form == "md":
        return compared.to_markdown()
    if form == "json":
        return compared.to_json()
    if form != "text":
        return FORMATS[form].text(compared.layers)
    shown = for_terminal if output is None else FORMATS["text"].text
    tables = [compared.summary, compared.stages, *([compared.layers] if layers else [])]
    summary, *rest = (shown(table) for table in tables)
    return "\n".join([summary, compared.sentences(width() if output is None else None), *rest])
