"""`archprof check`: budgets for CI."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import archprof
from archprof.cli import options
from archprof.cli.boundary import write_message
from archprof.cli.help import Purpose, Question
from archprof.cli.options import CommandWithLimits
from archprof.cli.output import choose_format, error_boundary, render_table, write_text
from archprof.cli.progress import show_waiting

if TYPE_CHECKING:
    from archprof.budgets.verdicts import Verdict

EXIT_BUDGET_BROKEN = 3
"""The exit code when a budget is broken."""

VERDICT_FORMATS = ("text", "github", "junit", "md", "json")
VERDICT_SUFFIXES = {".xml": "junit", ".md": "md", ".json": "json", ".txt": "text"}


def check(
    models: options.ListedModels = None,
    max_params: options.Limit = None,
    max_macs: options.Limit = None,
    max_flops: options.Limit = None,
    max_activation: options.Limit = None,
    max_peak: options.Limit = None,
    max_memory: options.Limit = None,
    max_latency: options.Limit = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Its memory is a limit, and --max-latency is predicted on it: h100, 4090."),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="x.json", help="A saved profile that may not be exceeded.")
    ] = None,
    tolerance: Annotated[
        str | None, typer.Option(help="Share by which the baseline may be exceeded: 1% or 0.01.")
    ] = None,
    allow_incomplete: Annotated[
        bool, typer.Option("--allow-incomplete", help="Pass a value that is a lower bound under its limit.")
    ] = False,
    input: options.Input = None,
    batch: options.Batch = 1,
    dtype: options.Dtype = None,
    train: options.Train = False,
    amp: options.Amp = None,
    optimizer: options.Optimizer = None,
    accumulate: options.Accumulate = 1,
    set_to_none: options.SetToNone = True,
    checkpoint: options.Checkpoint = None,
    causal: options.Causal = "full",
    measure: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="Where to measure the latency that is limited: cpu or cuda.")
    ] = None,
    cuda: options.Cuda = False,
    format: Annotated[str | None, typer.Option("--format", help="text, github, junit, md or json.")] = None,
    output: options.Output = None,
    debug: options.Debug = False,
) -> None:
    """Hold models against budgets or a baseline; exit code 3 when one is broken."""
    with error_boundary(debug):
        form = choose_format(format, output, VERDICT_SUFFIXES, VERDICT_FORMATS)
        with show_waiting("Checking the budgets"):
            verdicts = archprof.check(
                models or (), inputs=input or None, batch=batch, dtype=dtype, train=train, causal=causal,
                amp=amp, baseline=baseline, tolerance=tolerance, allow_incomplete=allow_incomplete or None,
                measure=options.choose_device(measure, cuda), max_params=max_params, max_macs=max_macs,
                max_flops=max_flops, max_activation=max_activation, max_peak=max_peak, max_memory=max_memory,
                max_latency=max_latency, device=device, optimizer=optimizer, accumulate=accumulate,
                set_to_none=set_to_none, checkpoint=checkpoint or (),
            )  # fmt: skip
        write_text(render_verdicts(verdicts, form, output), output)
        if form == "github":
            append_step_summary(verdicts)
    if not all(verdict.ok for verdict in verdicts):
        raise typer.Exit(EXIT_BUDGET_BROKEN)


def render_verdicts(verdicts: tuple[Verdict, ...], form: str, output: Path | None) -> str:
    """All verdicts in one format; for a person or GitHub's log the tables come first."""
    from archprof.render import ci

    renderers = {
        "github": ci.render_annotations,
        "summary": ci.render_step_summary,
        "outcome": ci.summarise_outcome,
        "junit": ci.render_junit,
        "json": ci.render_verdicts_json,
    }
    if form not in ("text", "github"):
        renderer = {"md": "summary"}.get(form, form)
        return renderers[renderer](verdicts)
    tables = [render_table(verdict.table, "text", output) for verdict in verdicts]
    closing = "github" if form == "github" else "outcome"
    return "\n".join([*tables, renderers[closing](verdicts).strip()]).rstrip() + "\n"


def append_step_summary(verdicts: tuple[Verdict, ...]) -> None:
    """Append the step summary to the file that GitHub names for it."""
    from archprof.render import ci

    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(ci.render_step_summary(verdicts))
    except OSError as error:
        write_message(f"The step summary {path} cannot be written: {error.strerror}.\n")


QUESTIONS = (
    Question(check, Purpose.CHANGE, "archprof check net.py:Net --max-params 25M --max-macs 4.1G", CommandWithLimits),
)
