"""The options that several commands have: one wording each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from archprof.cli.completion import complete_device, complete_model, complete_words
from archprof.cli.help import Command
from archprof.cli.output import TABLE_FORMATS
from archprof.errors import UsageError
from archprof.facts.request import MeasureRequest, request_measurement
from archprof.units import parse_whole
from archprof.wording import split_words

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        autocompletion=complete_model,
        help="A built-in name (see `archprof models`), name(arg=value), torchvision:NAME, timm:NAME, file.py:ATTR, "
        "pkg.mod:ATTR, program.pt2, weights.safetensors, blocks such as 'conv3-64 relu pool2', "
        "or a saved .json profile. "
        "Naming a file or module runs its code.",
    ),
]
Input = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="SPEC",
        help="3x224x224 (batch in front), [2,128] (exact), int64[1,128]<30522, mask=bool[1,128], "
        "batch={image: 3x224x224, ids: int64[1,8]}, 3x224x224>=0<1, photo.npy. Repeatable.",
    ),
]
Arg = Annotated[
    list[str] | None,
    typer.Option(
        "--arg",
        metavar="NAME=LITERAL",
        help="An argument of the forward that is no tensor: use_cache=False, scale=0.5. Repeatable.",
    ),
]
Lengths = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=N",
        help="A length of the default input of an hf: model: seq=4096; also decoder_seq, samples, frames. Repeatable.",
    ),
]
Phase = Annotated[
    str | None,
    typer.Option(
        metavar="PHASE",
        help="Of an hf: decoder: prefill (the context at once) or decode (one token behind it); shows its cache.",
    ),
]
Context = Annotated[int | None, typer.Option(metavar="N", help="Tokens of the phase; 2048 if not given.")]
Batch = Annotated[int, typer.Option(help="Batch size, put in front of inputs written without one.")]
complete_dtype = complete_words("float32", "float16", "bfloat16", "float64")
Dtype = Annotated[
    str | None,
    typer.Option(
        autocompletion=complete_dtype, help="float32, float16, bfloat16 or float64; the model's own if not given."
    ),
]
Amp = Annotated[
    str | None,
    typer.Option(metavar="DTYPE", help="Run the forward under autocast to bfloat16 or float16, by CUDA's rules."),
]
Train = Annotated[bool, typer.Option("--train", help="Forward and backward, in training mode.")]
Optimizer = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="With --train: a class of torch.optim, as adamw or sgd(momentum=0.9)."),
]
Accumulate = Annotated[int, typer.Option(metavar="N", help="Passes whose gradients are added up before a step.")]
SetToNone = Annotated[
    bool, typer.Option("--set-to-none/--keep-grads", help="Gradients are dropped after a step, or zeroed and kept.")
]
Checkpoint = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        help="With --train: paths of blocks that run under torch.utils.checkpoint, as 'layer?.*'. Repeatable.",
    ),
]
MeshDevice = Annotated[
    str | None,
    typer.Option(
        "--device", metavar="NAME", autocompletion=complete_device, help="Its memory and speed, and its links: h100."
    ),
]
Zero = Annotated[int, typer.Option(metavar="N", help="Along fsdp: 3 fully_shard, 2 whole for the step, 1 state, 0.")]
Units = Annotated[
    list[str] | None, typer.Option(metavar="PATTERN", help="Modules gathered together: 'model.layers.*'. Repeatable.")
]
ParamDtype = Annotated[
    str | None, typer.Option("--param-dtype", metavar="DTYPE", help="fully_shard computes in it, and keeps float32.")
]
Plan = Annotated[
    str | None, typer.Option(metavar="FILE", help="TOML or JSON of what tp cuts; the model's own if not given.")
]
SequenceParallel = Annotated[
    bool, typer.Option("--sequence-parallel", help="Along tp, the sequence is cut between the layers that are.")
]
Microbatches = Annotated[int | None, typer.Option(metavar="N", help="Of a pipeline; as many as stages if not given.")]
Schedule = Annotated[
    str,
    typer.Option(
        metavar="NAME", autocompletion=complete_words("1f1b", "gpipe", "interleaved"), help="1f1b, gpipe, interleaved."
    ),
]
Node = Annotated[int, typer.Option(metavar="N", help="GPUs of a node, joined by its own link.")]
Causal = Annotated[str, typer.Option(help="Causal attention: count all scores (full) or only the unmasked (half).")]
Convention = Annotated[
    str,
    typer.Option(
        help="Add what another tool would print for this model, by its own rule: torch, fvcore, ptflops, thop, "
        "torchinfo or deepspeed. Text shows it behind the rest; csv, md, json and latex hold it alone.",
    ),
]
By = Annotated[
    str,
    typer.Option(autocompletion=complete_words("layer", "stage", "kind", "op"), help="Rows: layer, stage, kind or op."),
]
Depth = Annotated[int | None, typer.Option(help="Fold layers deeper than this.")]
Columns = Annotated[str | None, typer.Option(metavar="KEY,KEY", help="Columns to show; `help` lists them all.")]
Sort = Annotated[str | None, typer.Option(metavar="KEY", help="Sort by a column, largest first.")]
Top = Annotated[
    int | None, typer.Option(help="Only the largest rows: by --sort, the first number of --columns, or MACs.")
]
All = Annotated[bool, typer.Option("--all", help="Every row: nothing folded, where there are more than 25.")]
Batches = Annotated[
    str,
    typer.Option(
        "--batch",
        metavar="N",
        help="Batch size, put in front of inputs written without one. Measuring: several, as 1,8,64, or auto, the "
        "largest that fits.",
    ),
]
Dtypes = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        help="float32, float16, bfloat16 or float64; the model's own if not given. Measuring: several, as "
        "float32,bfloat16.",
    ),
]
Measure = Annotated[
    str | None, typer.Option(metavar="DEVICE", help="Run it too, and measure latency and memory: cpu or cuda.")
]
Cuda = Annotated[bool, typer.Option("--cuda", help="The same as --measure cuda.")]
ChannelsLast = Annotated[bool, typer.Option("--channels-last", help="Measure with channels-last tensors.")]
Compile = Annotated[bool, typer.Option("--compile", help="Measure what torch.compile makes; layers are attributed.")]
ListedModels = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MODEL]...", autocompletion=complete_model, help="Left out: those that pyproject.toml lists."
    ),
]
PageModels = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL...",
        autocompletion=complete_model,
        help="One or more MODELs; see `table --help`. Or the folder of a run of archprof train, or a "
        "file of archprof sweep.",
    ),
]
Date = Annotated[
    str | None, typer.Option(metavar="2026-01-31", help="Its date; that of the model's commit if not given.")
]
Before = Annotated[
    str | None,
    typer.Option(
        "--baseline", metavar="x.json", help="A saved profile of the one MODEL before: the page shows what changed."
    ),
]
Title = Annotated[str | None, typer.Option(help="The title of the page; the names of the models if not given.")]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME|x.json",
        autocompletion=complete_device,
        help="Predict its time on this one, too: t4, 4090, h100 (archprof devices).",
    ),
]
FormatName = Annotated[
    str | None,
    typer.Option(
        "--format",
        autocompletion=complete_words(*TABLE_FORMATS),
        help=f"One of {', '.join(TABLE_FORMATS)}; json by layer is the whole profile.",
    ),
]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to a file; its suffix picks the format.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Limit = Annotated[str | None, typer.Option(metavar="MOST")]
"""`--max-NAME`, of a command that is a `CommandWithLimits`: the metrics say what it means."""


class CommandWithLimits(Command):
    """Reads the metrics when its help is shown, so that no other help waits for them."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self.describe_limits()
        super().format_help(ctx, formatter)

    def describe_limits(self) -> None:
        from archprof.budgets.limits import LIMITABLE_METRICS, describe_limit

        for param in self.params:
            name = (param.name or "").removeprefix("max_")
            if name in LIMITABLE_METRICS:
                param.help = describe_limit(LIMITABLE_METRICS[name])  # type: ignore[attr-defined]


def parse_lengths(settings: list[str] | None) -> dict[str, int] | None:
    """What `--set` says, as `{"seq": 4096}`."""
    return dict(map(_parse_length, settings)) if settings else None


def _parse_length(text: str) -> tuple[str, int]:
    key, equals, value = text.partition("=")
    try:
        length = parse_whole(value)
    except UsageError:
        length = 0
    if not equals or length < 1:
        raise UsageError(f"--set {text} cannot be read.", "KEY=N, where N is a whole number of 1 or more.", "seq=4096")
    return key.strip(), length


def choose_device(measure: str | None, cuda: bool) -> str | None:
    """Where to measure by `--measure` and `--cuda`, which must not contradict each other."""
    if cuda and measure == "cpu":
        raise UsageError("--cuda and --measure cpu contradict each other.", "One device at a time.")
    return "cuda" if cuda and measure is None else measure


def choose_measurement(measure: str | None, cuda: bool, channels_last: bool, compiled: bool) -> MeasureRequest | None:
    """Where and how to measure by the options; `None`: the pass is counted alone."""
    return request_measurement(choose_device(measure, cuda), channels_last=channels_last, compiled=compiled)


def add_arguments(inputs: list[str] | None, args: list[str] | None) -> list[str] | None:
    """What `--input` and `--arg` give together, in the grammar of `--input`."""
    if not args:
        return inputs
    from archprof.sources import input_grammar

    return [*(inputs or ()), *(input_grammar.parse_argument(text) for text in args)]


def parse_batches(text: str) -> list[int | str]:
    """The batch sizes in words such as "8", "1,8,64" or "auto".

    Raises:
        UsageError: one of them is no whole number, and not "auto".
    """
    words = split_words(text)
    try:
        return [word if word == "auto" else parse_whole(word) for word in words]
    except UsageError as error:
        allowed = "A number such as 8, several such as 1,8,64, or auto."
        raise UsageError(f"{text!r} is no batch size.", allowed) from error


def parse_dtypes(text: str | None) -> list[str | None]:
    """The dtypes in words such as "float32,bfloat16"; the model's own for `None`."""
    return [None] if text is None else [*split_words(text)]
