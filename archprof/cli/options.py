"""The options that several commands have: one wording each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A built-in name (see `archprof models`), name(arg=value), torchvision:NAME, timm:NAME, file.py:ATTR, "
        "pkg.mod:ATTR, blocks such as 'conv3-64 relu pool2', or a saved .json profile. "
        "Naming a file or module runs its code.",
    ),
]
Input = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="SPEC",
        help="3x224x224 (batch in front), [2,128] (exact), int64[1,128]<30522, mask=bool[1,128]. Repeatable.",
    ),
]
Batch = Annotated[int, typer.Option(help="Batch size, put in front of inputs written without one.")]
Dtype = Annotated[str | None, typer.Option(help="float32, float16, bfloat16 or float64; the model's own if not given.")]
Train = Annotated[bool, typer.Option("--train", help="Forward and backward, in training mode.")]
Causal = Annotated[str, typer.Option(help="Causal attention: count all scores (full) or only the unmasked (half).")]
By = Annotated[str, typer.Option(help="Rows: layer, stage, kind or op.")]
Depth = Annotated[int | None, typer.Option(help="Fold layers deeper than this.")]
Columns = Annotated[str | None, typer.Option(metavar="KEY,KEY", help="Columns to show; `help` lists them all.")]
Sort = Annotated[str | None, typer.Option(metavar="KEY", help="Sort by a column, largest first.")]
Top = Annotated[int | None, typer.Option(help="Only the largest rows (by MACs, or by --sort).")]
Form = Annotated[
    str | None, typer.Option("--format", help="text, csv, md, json or latex; json by layer is the whole profile.")
]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to a file; its suffix picks the format.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
