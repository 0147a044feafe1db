"""`archprof sweep`: models x settings x devices, on this machine or on a cluster that is there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from archprof.cli import options
from archprof.cli.boundary import write_message
from archprof.cli.completion import complete_model, complete_words
from archprof.cli.help import Purpose, Question
from archprof.cli.output import choose_format, error_boundary, write_table
from archprof.cli.progress import show_progress
from archprof.facts.swept_files import check_swept_path
from archprof.library.sweeps import answer_sweep

MOST_WORDS = 40
"""Letters of the models in the sign of life."""

Models = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL...",
        autocompletion=complete_model,
        help="MODELs, or patterns over a zoo: 'timm:convnext*', 'torchvision:*', 'resnet*' of the built-in ones.",
    ),
]
Batches = Annotated[str, typer.Option("--batch", metavar="N,…", help="Batch sizes, as 1,8,64.")]
Dtypes = Annotated[str | None, typer.Option(help="Dtypes, as float32,bfloat16; the model's own if not given.")]
Devices = Annotated[
    str | None, typer.Option(metavar="NAME,…", help="Predict times on these: t4,h100 (archprof devices), or all.")
]
Engine = Annotated[
    str,
    typer.Option(
        metavar="NAME|URL",
        autocompletion=complete_words("local", "dask://", "ray", "ray://", "slurm", "submitit"),
        help="What runs it: local, dask://HOST:PORT, ray, ray://HOST:PORT, slurm, slurm:KEY=VALUE,… or submitit.",
    ),
]
Jobs = Annotated[int | None, typer.Option(metavar="N", help="Cells at once; all that the engine has if not given.")]
Limit = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="Of each cell; one that takes longer is ended, and says so.")
]
Retry = Annotated[bool, typer.Option("--retry", help="Do again what failed in the output.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="x.parquet or x.csv, with every row; what is in it is not done again: a sweep that was stopped goes on.",
    ),
]


def sweep(
    models: Models,
    input: options.Input = None,
    arg: options.Arg = None,
    settings: options.Lengths = None,
    batch: Batches = "1",
    dtype: Dtypes = None,
    train: options.Train = False,
    amp: options.Amp = None,
    optimizer: options.Optimizer = None,
    measure: options.Measure = None,
    cuda: options.Cuda = False,
    channels_last: options.ChannelsLast = False,
    compile: options.Compile = False,
    device: Devices = None,
    engine: Engine = "local",
    jobs: Jobs = None,
    limit: Limit = None,
    retry: Retry = False,
    format: options.FormatName = None,
    output: Output = None,
    debug: options.Debug = False,
) -> None:
    """Many models at many settings: what each pass costs, takes and needs, a row each, also where one fails.

    archprof sweep 'timm:convnext*' --batch 1,64 --device t4,h100 -o runs.parquet
    """
    with error_boundary(debug):
        form = choose_format(format, None)
        if output is not None:
            check_swept_path(output)
        with show_progress(f"Sweeping {' '.join(models)[:MOST_WORDS]}") as tell:
            answer = answer_sweep(
                models, options.add_arguments(input, arg) or None, path=output, batch=batch, dtype=dtype, train=train,
                amp=amp, optimizer=optimizer, set=options.parse_lengths(settings), device=device,
                measure=options.choose_device(measure, cuda), channels_last=channels_last, compile=compile,
                engine=engine, jobs=jobs, limit=limit, retry=retry, progress=tell,
            )  # fmt: skip
        if output is None or format is not None:
            write_table(answer.table(), form, None)
        if output is not None:
            wrote = f"Wrote {output}\n" if output.exists() else ""  # not where the first cell was interrupted
            write_message(wrote + "".join(f"{note}\n" for note in answer.notes))
        if answer.interrupted:
            raise KeyboardInterrupt


QUESTIONS = (Question(sweep, Purpose.CHANGE, "archprof sweep 'resnet*' --batch 1,8 -o runs.csv"),)
