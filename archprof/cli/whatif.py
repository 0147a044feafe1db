"""`archprof whatif`: what if this part were built otherwise?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import archprof
from archprof import files
from archprof.cli import options
from archprof.cli.help import Purpose, Question
from archprof.cli.output import error_boundary, render_for_terminal, terminal_width, write_text
from archprof.cli.progress import show_waiting
from archprof.errors import UsageError

REWRITE_OPTIONS = "--stack3x3, --add-bn, --residual, --separable, --no-fc, --width X, --num-classes N"


def whatif(
    model: options.Model,
    stack3x3: Annotated[
        bool, typer.Option("--stack3x3", help="Stacks of 3x3 convolutions for 5x5, 7x7 and larger ones.")
    ] = False,
    middle: Annotated[int | None, typer.Option(help="Channels between the convolutions of a stack.")] = None,
    add_bn: Annotated[bool, typer.Option("--add-bn", help="Batch norm after convolutions that have none.")] = False,
    residual: Annotated[bool, typer.Option("--residual", help="Shortcuts around pairs of convolutions.")] = False,
    separable: Annotated[
        bool, typer.Option("--separable", help="Depthwise and pointwise convolutions for full ones.")
    ] = False,
    no_fc: Annotated[bool, typer.Option("--no-fc", help="A global average for the first linear layers.")] = False,
    wider: Annotated[float | None, typer.Option("--width", metavar="X", help="Hidden channels times X.")] = None,
    num_classes: Annotated[int | None, typer.Option(help="Outputs of the last layer.")] = None,
    input: options.Input = None,
    batch: options.Batch = 1,
    dtype: options.Dtype = None,
    amp: options.Amp = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.py", help="Write the rewritten model as a module.")
    ] = None,
    debug: options.Debug = False,
) -> None:
    """Rewrite a copy of a model and show what that changes; the rewrites combine."""
    from archprof.analysis.tables import rewrites

    with error_boundary(debug):
        if not any((stack3x3, add_bn, residual, separable, no_fc, wider is not None, num_classes is not None, middle)):
            raise UsageError(f"Nothing is to be rewritten in {model}.", f"Rewrites: {REWRITE_OPTIONS}.")
        if output is not None and output.suffix != ".py":
            raise UsageError(f"{output} is no Python file.", "The rewritten model is written as a module: -o net.py")
        if output is not None:
            files.check_writable(output)
        with show_waiting(f"Rewriting {model}"):
            rewritten = archprof.whatif(
                model, input or None, batch=batch, dtype=dtype, amp=amp, stack3x3=stack3x3, middle=middle,
                add_bn=add_bn, residual=residual, separable=separable, no_fc=no_fc, width=wider,
                num_classes=num_classes,
            )  # fmt: skip
            from archprof.rewriting import write_module

            source = write_module(rewritten) if output else None
            compared = archprof.compare(rewritten.before, rewritten.after)
        done = rewrites.tabulate_rewrites(model, rewritten.applied, rewritten.refused)
        parts = [render_for_terminal(done), render_for_terminal(compared.summary), compared.sentences(terminal_width())]
        changes = [render_for_terminal(compared.parts)] if compared.parts else []
        write_text("\n".join([*parts, *changes]), None)
        if source is not None:
            write_text(source, output)


QUESTIONS = (Question(whatif, Purpose.CHANGE, "archprof whatif vgg16 --separable -o smaller.py"),)
