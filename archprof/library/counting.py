"""What one model costs: traced, measured, shown as a table or a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from archprof.facts.records import Profile
from archprof.facts.request import AUTO_BATCH, MeasureRequest, PassRequest, request_measurement

if TYPE_CHECKING:
    from archprof.analysis.network.strip import Network
    from archprof.analysis.table import Table


def profile(
    model: Any, inputs: Any = None, *,
    batch: int = 1, dtype: str | None = None, train: bool = False, causal: str = "full", amp: str | None = None,
    set: Mapping[str, int] | None = None, phase: str | None = None, context: int | None = None,
    optimizer: str | None = None, accumulate: int = 1, set_to_none: bool = True, checkpoint: Sequence[str] = (),
) -> Profile:  # fmt: skip
    """Trace a model once, without running it, and return what it costs.

    Args:
        model: a name or spec as on the command line ("vgg16", "resnet50(num_classes=10)", "timm:…", "file.py:attr",
            a saved "x.json"), an `nn.Module`, or a class or factory of one. A module is only read.
        inputs: tensors, exact shapes such as (1, 3, 224, 224), or strings in the grammar of `--input`; a tuple or
            list for positional arguments, a dict for keywords; `None`: the model's own default.
        batch: put in front of inputs written without their batch dimension ("3x224x224").
        dtype: "float32", "float16", "bfloat16" or "float64"; `None`: the model's own.
        train: forward and backward in training mode; otherwise the forward in evaluation mode.
        causal: "full" counts every score of causal attention, "half" only those that the mask leaves.
        set: lengths of the default input of a transformers model, such as {"seq": 4096}.
        phase, context: of a transformers decoder: "prefill" (2048 tokens, or the context) or "decode" (one behind it).
        amp: the forward runs under autocast to "bfloat16" or "float16", by CUDA's rules.
        optimizer: a class of torch.optim whose step follows the backward pass: "adamw", "sgd(momentum=0.9)".
        accumulate: passes whose gradients are added up before a step; the last of them is traced.
        set_to_none: gradients are dropped after a step, and not set to zero and kept.
        checkpoint: paths of blocks that run under `torch.utils.checkpoint`, or patterns of them: "layer?.*".

    Raises:
        UsageError: the name, its arguments, the inputs or the options do not fit.
        TraceError: the model's forward failed; the error's `profile` holds the rows up to there.
        ArchprofError: what was named exists, and cannot be imported, built or read.
    """
    from archprof.tracing.profile import profile_model

    request = PassRequest(
        batch, dtype, train, causal, set, phase, context, optimizer, accumulate, set_to_none, amp, checkpoint=checkpoint
    )
    return profile_model(model, inputs, request)


def measure(
    model: Any, inputs: Any = None, *, device: str = "cpu",
    batch: int | Literal["auto"] = 1, dtype: str | None = None, train: bool = False, causal: str = "full",
    channels_last: bool = False, compile: bool = False, rounds: int = 7, seconds: float = 20.0,
    amp: str | None = None, progress: Callable[[float, float], None] | None = None,
) -> Profile:  # fmt: skip
    """Trace a model, then run a copy of it: the profile also says how long each layer takes. Ctrl-C ends it early.

    Args:
        model, inputs, dtype, causal, amp: as for `profile`; a saved profile cannot be run.
        device: "cpu" or "cuda".
        batch: as for `profile`, or "auto" for the largest that fits.
        train: whole training steps (forward, backward, optimizer); otherwise the forward in evaluation mode.
        channels_last: images and the weights of convolutions have their channels last in memory.
        compile: run what `torch.compile` makes of it; layers are attributed: see `Latency.attributed`.
        rounds: see `Timing.low`; 7 give an interval of 98.4 %.
        seconds: for all rounds; warm-up (5 s at most) and building come on top. Ctrl-C ends it early, with what it has.
        progress: called with the fraction done and the seconds that are left.

    Raises:
        DoesNotFit: the device has too little memory for this batch.
        Others: as for `profile`; `ArchprofError` also when it does not run there.
    """
    from archprof.measuring.run import measure_model

    how = MeasureRequest(device, channels_last, compile, rounds, seconds, largest_batch=batch == AUTO_BATCH)
    request = PassRequest(1 if how.largest_batch else cast(int, batch), dtype, train, causal, amp=amp)
    return measure_model(model, inputs, request, how, progress)


def table(
    model: Any, inputs: Any = None, *,
    batch: int = 1, dtype: str | None = None, train: bool = False, causal: str = "full", amp: str | None = None,
    set: Mapping[str, int] | None = None, phase: str | None = None, context: int | None = None,
    measure: str | None = None, channels_last: bool = False, compile: bool = False,
    by: str = "layer", depth: int | None = None, columns: Sequence[str] | None = None,
    sort: str | None = None, top: int | None = None, all: bool = False, device: str | None = None,
) -> Table:  # fmt: skip
    """What every layer of one model costs.

    Args:
        model, inputs, batch, dtype, train, causal, amp, set, phase, context: as for `profile`.
        measure, channels_last, compile: where to run it too, "cpu" or "cuda", and how, as for `measure`.
        device: on which to predict its time, too: a name of the catalogue, or a file of `archprof calibrate`.
        by, depth, columns, sort, top, all: see `archprof.analysis.tables.layers.tabulate_layers`.
    """
    from archprof.analysis.tables import layers
    from archprof.measuring.profiles import count_or_measure

    view: dict[str, Any] = {"by": by, "depth": depth, "columns": columns, "sort": sort, "top": top, "all": all}
    layers.validate_table_options(**view)
    how = request_measurement(measure, channels_last=channels_last, compiled=compile)
    request = PassRequest(batch, dtype, train, causal, set, phase, context, amp=amp)
    return layers.tabulate_layers(count_or_measure(model, inputs, request, how, device), **view)


def graph(
    model: Any, inputs: Any = None, *, depth: int | None = None,
    batch: int = 1, dtype: str | None = None, train: bool = False, causal: str = "full", amp: str | None = None,
    set: Mapping[str, int] | None = None, phase: str | None = None, context: int | None = None,
    measure: str | None = None, channels_last: bool = False, compile: bool = False, device: str | None = None,
) -> Network:  # fmt: skip
    """The network along its length, as deep as fits or is said; it draws itself. The keywords are as for `table`."""
    from archprof.analysis.network.network import build_network
    from archprof.measuring.profiles import count_or_measure

    how = request_measurement(measure, channels_last=channels_last, compiled=compile)
    request = PassRequest(batch, dtype, train, causal, set, phase, context, amp=amp)
    return build_network(count_or_measure(model, inputs, request, how, device), depth=depth)


def load(path: str | Path) -> Profile:
    """Read a profile that `Profile.save` wrote, without torch; `ProfileFileError` where that cannot be."""
    from archprof.facts import store

    return store.load(path)


def verify(model: Any, inputs: Any = None, *, batch: int = 1, dtype: str | None = None) -> Table:
    """Count a model by other means too (torch's counter, fvcore, published figures), each difference with its ops."""
    from archprof.analysis.tables.verify import tabulate_verification
    from archprof.tracing.verify import count_by_sources

    return tabulate_verification(*count_by_sources(model, inputs, PassRequest(batch, dtype)))


def register_cost(name: str) -> Any:
    """Decorate a function that says what your own op costs; see `archprof.tracing.ops.costs.registry.register_cost`."""
    from archprof.tracing.ops import costs

    return costs.register_cost(name)
