"""`archprof verify`: the same model counted by others."""

from __future__ import annotations

import typer

import archprof
from archprof.cli import options
from archprof.cli.help import Purpose, Question
from archprof.cli.output import choose_format, error_boundary, write_table
from archprof.cli.progress import show_waiting


def verify(
    model: options.Model,
    input: options.Input = None,
    arg: options.Arg = None,
    batch: options.Batch = 1,
    dtype: options.Dtype = None,
    format: options.FormatName = None,
    output: options.Output = None,
    debug: options.Debug = False,
) -> None:
    """Count a model by torch, fvcore and published figures too, and explain what differs; exit code 1 if it cannot."""
    from archprof.analysis.tables import verify

    with error_boundary(debug):
        form = choose_format(format, output)
        with show_waiting(f"Counting {model}"):
            compared = archprof.verify(model, options.add_arguments(input, arg) or None, batch=batch, dtype=dtype)
        write_table(compared, form, output)
    if not verify.all_agree(compared):
        raise typer.Exit(1)


QUESTIONS = (Question(verify, Purpose.LOOK, "archprof verify resnet50"),)
