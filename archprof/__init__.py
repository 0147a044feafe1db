"""What a neural-network architecture costs, layer by layer.

    import archprof
    profile = archprof.profile("vgg16")      # a name, a spec such as "file.py:factory", or an nn.Module
    print(profile.table())

There is a function for each command, with its options as keywords; importing archprof imports nothing large."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from archprof import files
from archprof.catalogue import list_devices, list_models
from archprof.errors import ArchprofError, DoesNotFit, ProfileFileError, TraceError, UnknownName, UsageError
from archprof.facts.records import Profile
from archprof.facts.request import AUTO_BATCH, MeasureRequest, PassRequest, request_measurement
from archprof.version import __version__ as __version__

if TYPE_CHECKING:
    from archprof.analysis.compare.comparison import Comparison
    from archprof.analysis.memory import MemoryAnswer
    from archprof.analysis.network.strip import Network
    from archprof.analysis.table import Table
    from archprof.budgets.verdicts import Verdict
    from archprof.measuring.calibrate import Calibration
    from archprof.rewriting import Rewritten

__all__ = [
    "ArchprofError", "DoesNotFit", "Profile", "ProfileFileError", "TraceError", "UnknownName", "UsageError",
    "calibrate", "check", "compare", "epoch", "fit", "graph", "inputs", "list_devices", "list_models", "load",
    "measure", "predict_memory", "profile", "register_cost", "report", "table", "verify", "whatif",
]  # fmt: skip


def profile(
    model: Any, inputs: Any = None, *,
    batch: int = 1, dtype: str | None = None, train: bool = False, causal: str = "full", amp: str | None = None,
    set: Mapping[str, int] | None = None, phase: str | None = None, context: int | None = None,
    optimizer: str | None = None, accumulate: int = 1, set_to_none: bool = True,
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

    Raises:
        UsageError: the name, its arguments, the inputs or the options do not fit.
        TraceError: the model's forward failed; the error's `profile` holds the rows up to there.
        ArchprofError: what was named exists, and cannot be imported, built or read.
    """
    from archprof.tracing.profile import profile_model

    request = PassRequest(batch, dtype, train, causal, set, phase, context, optimizer, accumulate, set_to_none, amp)
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
    sort: str | None = None, top: int | None = None, all: bool = False,
) -> Table:  # fmt: skip
    """What every layer of one model costs.

    Args:
        model, inputs, batch, dtype, train, causal, amp, set, phase, context: as for `profile`.
        measure, channels_last, compile: where to run it too, "cpu" or "cuda", and how, as for `measure`.
        by, depth, columns, sort, top, all: see `archprof.analysis.tables.layers.tabulate_layers`.
    """
    from archprof.analysis.tables import layers
    from archprof.measuring.profiles import count_or_measure

    view: dict[str, Any] = {"by": by, "depth": depth, "columns": columns, "sort": sort, "top": top, "all": all}
    layers.validate_table_options(**view)
    how = request_measurement(measure, channels_last=channels_last, compiled=compile)
    request = PassRequest(batch, dtype, train, causal, set, phase, context, amp=amp)
    return layers.tabulate_layers(count_or_measure(model, inputs, request, how), **view)


def graph(
    model: Any, inputs: Any = None, *,
    batch: int = 1, dtype: str | None = None, train: bool = False, causal: str = "full", amp: str | None = None,
    set: Mapping[str, int] | None = None, phase: str | None = None, context: int | None = None,
    measure: str | None = None, channels_last: bool = False, compile: bool = False, depth: int | None = None,
) -> Network:  # fmt: skip
    """The network along its length, as deep as fits or is said; it draws itself. The keywords are as for `table`."""
    from archprof.analysis.network.network import build_network
    from archprof.measuring.profiles import count_or_measure

    how = request_measurement(measure, channels_last=channels_last, compiled=compile)
    request = PassRequest(batch, dtype, train, causal, set, phase, context, amp=amp)
    return build_network(count_or_measure(model, inputs, request, how), depth=depth)


def compare(
    *models: Any, inputs: Any = None, by: str = "auto",
    batch: int = 1, dtype: str | None = None, train: bool = False, causal: str = "full", amp: str | None = None,
    set: Mapping[str, int] | None = None, phase: str | None = None, context: int | None = None,
    measure: str | None = None, channels_last: bool = False, compile: bool = False,
) -> Comparison:  # fmt: skip
    """Architectures side by side: a summary with ratios to the first, what is worth saying, and aligned rows.

    Args:
        models: two or more: profiles, or what `profile` takes, with the other keywords as for `table`.
        by: "path" aligns layers by name, "stage" by spatial size, "auto" by name where the models share a family.
    """
    from archprof.analysis.compare import comparison
    from archprof.measuring.profiles import profile_several

    comparison.validate_comparison(len(models), by=by)
    how = request_measurement(measure, channels_last=channels_last, compiled=compile)
    request = PassRequest(batch, dtype, train, causal, set, phase, context, amp=amp)
    return comparison.compare(profile_several(models, inputs, request, how), by=by)


def report(
    models: Any, path: str | Path, *, inputs: Any = None,
    title: str | None = None, date: str | None = None, baseline: Any = None, device: str | None = None,
    plotly: bool | Literal["gzip", "inline", "none"] = False,
    batch: int = 1, dtype: str | None = None, train: bool = False, causal: str = "full", amp: str | None = None,
    set: Mapping[str, int] | None = None, phase: str | None = None, context: int | None = None,
    measure: str | None = None, channels_last: bool = False, compile: bool = False,
) -> None:  # fmt: skip
    """Write one self-contained HTML page about one model, or several side by side.

    Args:
        models: one or a list of: profiles, or what `profile` takes. The file is written whole or not at all.
        inputs, batch, dtype, train, …: as for `compare`.
        title, date: of the page; the names of the models, and the date of the commit of their files, if not given.
        baseline: what the one model was before, a profile or what `profile` takes: the page shows what changed.
        plotly: add plotly to the drawn pictures: `True` or "gzip" packed (2 MB), "inline" as it is (5 MB).
        device: what they need there, and its roof: of the catalogue, or a file that `archprof calibrate` wrote.
    """
    from archprof.analysis.report import page
    from archprof.measuring.profiles import profile_several
    from archprof.render.page import html
    from archprof.sources.provenance import trace_sources
    from archprof.sweeping.trials import try_rewrites

    how = request_measurement(measure, channels_last=channels_last, compiled=compile)
    several = _as_list(models) if baseline is None else [baseline, *_as_list(models)]
    date, sources = trace_sources(several, date)
    request = PassRequest(batch, dtype, train, causal, set, phase, context, amp=amp)
    profiles = profile_several(several, inputs, request, how)
    tried = try_rewrites(several, inputs, profiles, request)
    facts = page.build_report(profiles, title=title, device=device, tried=tried, date=date, sources=sources)
    files.write_whole(path, html.render_page(facts, plotly=plotly))


def check(
    models: Any = (), *, inputs: Any = None,
    batch: int = 1, dtype: str | None = None, train: bool = False, causal: str = "full", amp: str | None = None,
    baseline: str | None = None, tolerance: str | float | None = None, allow_incomplete: bool | None = None,
    measure: str | None = None, folder: str | Path = ".", **limits: str | int | None,
) -> tuple[Verdict, ...]:  # fmt: skip
    """Hold models against budgets or a baseline: one verdict per model, in order; more is what `check_models` says.

    Args:
        models: one or a list of what `profile` takes, with its keywords; none: those that pyproject.toml lists.
        measure: where to measure a model whose latency has a limit: "cpu" or "cuda".
        limits: max_params, max_macs, max_flops, max_activation, max_peak, max_latency, such as "25M" or "5ms".
    """
    from archprof.budgets.checks import check_models

    return check_models(
        _as_list(models), limits, inputs=inputs, request=PassRequest(batch, dtype, train, causal, amp=amp),
        how=request_measurement(measure), baseline=baseline, tolerance=tolerance, allow_incomplete=allow_incomplete,
        folder=folder,
    )  # fmt: skip


def whatif(
    model: Any, inputs: Any = None, *, batch: int = 1, dtype: str | None = None, amp: str | None = None,
    stack3x3: bool = False, middle: int | None = None, add_bn: bool = False, residual: bool = False,
    separable: bool = False, no_fc: bool = False, width: float | None = None, num_classes: int | None = None,
) -> Rewritten:  # fmt: skip
    """Rewrite a copy of a model and say what that costs: `before` and `after` are profiles; the model is only read.

    The rewrites, and what it raises, are those of `archprof.rewriting.whatif`, which applies them in this order.
    """
    from archprof import rewriting

    return rewriting.whatif(
        model, inputs, PassRequest(batch, dtype, amp=amp), stack3x3=stack3x3, middle=middle, add_bn=add_bn,
        residual=residual, separable=separable, no_fc=no_fc, width=width, num_classes=num_classes,
    )  # fmt: skip


def inputs(
    model: Any, where: str | Iterable[str], *,
    lo: int = 1, hi: int = 1024, square: bool | None = None, inputs: Any = None, dtype: str | None = None,
) -> Table:  # fmt: skip
    """The input sizes that give an output of that size at a layer: where="features.0=55x55".

    The other arguments, and what it raises, are those of `archprof.sweeping.solve_inputs.find_input_sizes`.
    """
    from archprof.analysis.tables.search import tabulate_inputs
    from archprof.sweeping.solve_inputs import find_input_sizes

    request = PassRequest(dtype=dtype)
    return tabulate_inputs(find_input_sizes(model, where, lo=lo, hi=hi, square=square, inputs=inputs, request=request))


def fit(
    model: Any, inputs: Any = None, *, over: str = "resolution", amp: str | None = None,
    max_params: int | str | None = None, max_macs: int | str | None = None, max_flops: int | str | None = None,
    max_activation: int | str | None = None, max_memory: int | str | None = None, device: str | None = None,
    batch: int = 1, dtype: str | None = None, train: bool = False, optimizer: str | None = None,
) -> Table:  # fmt: skip
    """The largest setting of a model that stays inside its budgets, beside its neighbours.

    The arguments, and what it raises, are those of `archprof.sweeping.fit.fit_to_budgets`.
    """
    from archprof.analysis.tables.search import tabulate_fit
    from archprof.sweeping.fit import fit_to_budgets

    found = fit_to_budgets(
        model, over=over, max_params=max_params, max_macs=max_macs, max_flops=max_flops, max_activation=max_activation,
        max_memory=max_memory, device=device, inputs=inputs,
        request=PassRequest(batch, dtype, train, optimizer=optimizer, amp=amp),
    )  # fmt: skip
    return tabulate_fit(found)


def predict_memory(
    model: Any, inputs: Any = None, *,
    batch: int = 1, dtype: str | None = None, train: bool = False, amp: str | None = None,
    set: Mapping[str, int] | None = None, phase: str | None = None, context: int | None = None,
    optimizer: str | None = None, accumulate: int = 1, set_to_none: bool = True, device: str | None = None,
) -> MemoryAnswer:  # fmt: skip
    """How much memory a pass or a training step takes on a GPU: live, allocated, reserved and device used.

    `device` is one of the catalogue, to say whether it fits, or "all"; the rest is as for `profile`.
    """
    from archprof.analysis import memory
    from archprof.predicting import devices, workspaces
    from archprof.predicting.memory import predict_memory as predict
    from archprof.tracing.profile import profile_model

    every = device == memory.ALL_DEVICES
    found = devices.resolve_device(device) if device and not every else None
    request = PassRequest(batch, dtype, train, "full", set, phase, context, optimizer, accumulate, set_to_none, amp)
    traced = profile_model(model, inputs, request)
    return memory.MemoryAnswer(
        traced, predict(traced, workspaces.choose_workspaces(found and found.name)), found, every
    )


def epoch(
    models: Any, images: int, *, batch: int = 64, inputs: Any = None, dtype: str | None = None,
    measure: str = "cpu", channels_last: bool = False, compile: bool = False, amp: str | None = None,
) -> Table:  # fmt: skip
    """How long an epoch of so many `images` takes, from a measured training step; a row for each model.

    `models` are profiles of measured training steps, or what `profile` takes; the rest is as for `table`. `UsageError`
    where there are no images, or a profile is of no measured training step.
    """
    from archprof.analysis.tables import epoch as epochs
    from archprof.measuring.profiles import profile_several

    epochs.count_steps(images, batch)
    how = MeasureRequest(measure, channels_last, compile)
    request = PassRequest(batch, dtype, train=True, amp=amp)
    return epochs.tabulate_epochs(profile_several(_as_list(models), inputs, request, how), images)


def verify(model: Any, inputs: Any = None, *, batch: int = 1, dtype: str | None = None) -> Table:
    """Count a model, as `profile` takes it, by other means too: torch's own counter, fvcore, and published figures.

    Each difference stands with the ops that explain it; what they leave over is called unexplained.
    """
    from archprof.analysis.tables.verify import tabulate_verification
    from archprof.tracing.verify import count_by_sources

    return tabulate_verification(*count_by_sources(model, inputs, PassRequest(batch, dtype)))


def calibrate(device: str = "cuda") -> Calibration:
    """Measure the roofs of this machine's device in under a minute: copies, products by dtype, launches, marks."""
    from archprof.measuring.calibrate import calibrate_device
    from archprof.measuring.run import DEVICE_CLASSES

    return calibrate_device(DEVICE_CLASSES[MeasureRequest(device).device]())


def load(path: str | Path) -> Profile:
    """Read a profile that `Profile.save` wrote, without torch; `ProfileFileError` where that cannot be."""
    from archprof.facts import store

    return store.load(path)


def register_cost(name: str) -> Any:
    """Decorate a function that says what your own op costs; see `archprof.tracing.ops.costs.registry.register_cost`."""
    from archprof.tracing.ops import costs

    return costs.register_cost(name)


def _as_list(models: Any) -> list[Any]:
    """One model or several, as several."""
    return [*models] if isinstance(models, list | tuple) else [models]
