"""`archprof probe` and `archprof train`: what real batches do, and what is learned of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import archprof
from archprof.cli import options
from archprof.cli.help import Purpose, Question
from archprof.cli.output import (
    PAGE_SUFFIXES,
    TABLE_SUFFIXES,
    choose_format,
    error_boundary,
    render_table,
    terminal_width,
    write_text,
)
from archprof.cli.progress import show_progress, show_waiting
from archprof.cli.report import render_report_page
from archprof.wording import split_words

if TYPE_CHECKING:
    from archprof.facts.records import Profile

Data = Annotated[
    str,
    typer.Option(
        metavar="DATA",
        help="digits (scikit-learn's 1,797, scaled to the model), cifar10:PATH, folder:PATH (a folder of images for "
        "each class), or random. Nothing is downloaded.",
    ),
]
Seed = Annotated[int, typer.Option(help="Of weights that are built here, of samples, and of all that is random.")]


def probe(
    model: Annotated[list[str], typer.Argument(metavar="MODEL...", help="One or more MODELs; see `table --help`.")],
    data: Data = "random",
    input: options.Input = None,
    batch: Annotated[int, typer.Option(help="Samples of a batch.")] = 128,
    batches: Annotated[int, typer.Option(metavar="N", help="Batches, whose mean loss is differentiated.")] = 1,
    weights: Annotated[
        str | None, typer.Option(metavar="FILE", help="Start from a .safetensors or .pt file, and not from the seed.")
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose first step is taken: sgd, adam(lr=0.001).")
    ] = "sgd",
    seed: Seed = 0,
    dtype: options.Dtype = None,
    cuda: Annotated[bool, typer.Option("--cuda", help="On the GPU.")] = False,
    columns: options.Columns = None,
    format: options.FormatName = None,
    output: options.Output = None,
    debug: options.Debug = False,
) -> None:
    """How large activations and gradients are when real batches go through: vanishing, dead, saturated, collapsed."""
    from archprof.analysis.tables import layers, probe

    with error_boundary(debug):
        form = choose_format(format, output, PAGE_SUFFIXES)
        keys = split_words(columns) if columns else None
        layers.validate_table_options(columns=keys)
        shown = []
        for each in model:
            with show_waiting(f"Probing {each}"):
                shown.append(archprof.probe(
                    each, input or None, data=data, batch=batch, batches=batches, weights=weights,
                    optimizer=optimizer, seed=seed, dtype=dtype, device="cuda" if cuda else "cpu",
                ))  # fmt: skip
        write_probe(shown, keys or list(probe.LAYER_KEYS), form, output)


def write_probe(shown: list[Profile], keys: list[str], form: str, output: Path | None) -> None:
    """The layers of one model, or a row for each of several; the findings behind both where people read."""
    from archprof.analysis.compare.findings import list_sentences
    from archprof.analysis.tables import probe

    if form == "html":
        write_text(render_report_page(shown), output)
    elif form == "json" and len(shown) == 1:
        write_text(shown[0].to_json(), output)
    else:
        table = shown[0].table(columns=keys) if len(shown) == 1 else probe.tabulate_probes(shown)
        text = render_table(table, form, output)
        if form == "text":
            width = terminal_width() if output is None else None
            text += f"\n{list_sentences(probe.list_probe_findings(shown), width)}"
        write_text(text, output)


def train(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="One or more MODELs; see `table --help`.")],
    data: Data,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", help="The run: run.json, and the weights of each model.")
    ],
    input: options.Input = None,
    epochs: Annotated[int, typer.Option(metavar="N", help="Passes over the data.")] = 10,
    recipe: Annotated[str, typer.Option(metavar="NAME", help="lecture: Adam at 0.001 in batches of 128.")] = "lecture",
    optimizer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Another than the recipe's: sgd(lr=0.1, momentum=0.9).")
    ] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Another than the recipe's.")] = None,
    seed: Seed = 0,
    cuda: Annotated[bool, typer.Option("--cuda", help="On the GPU.")] = False,
    amp: Annotated[bool, typer.Option("--amp/--no-amp", help="On the GPU: mixed precision, in bfloat16.")] = True,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder, after a kill.")] = False,
    format: options.FormatName = None,
    debug: options.Debug = False,
) -> None:
    """Train nets side by side by the same recipe: losses, accuracies, gradients and filters, in a folder to go on from.

    Ctrl-C keeps what was learned so far. `archprof report FOLDER -o x.html` draws it.
    """
    from archprof.analysis.tables.run import tabulate_run

    with error_boundary(debug):
        form = choose_format(format, None, TABLE_SUFFIXES)
        with show_progress(f"Training {', '.join(models)}") as tell:
            run = archprof.train(
                models, output, inputs=input or None, data=data, epochs=epochs, recipe=recipe, optimizer=optimizer,
                batch=batch, seed=seed, device="cuda" if cuda else "cpu", amp=amp, resume=resume, progress=tell,
            )  # fmt: skip
        write_text(render_table(tabulate_run(run), form, None), None)
        if run.stopped is not None:
            raise KeyboardInterrupt


QUESTIONS = (
    Question(probe, Purpose.LOOK, "archprof probe resnet18 --batch 8"),
    Question(train, Purpose.MEASURE, "archprof train cifar_resnet"),
)
