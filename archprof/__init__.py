"""What a neural-network architecture costs, layer by layer.

    import archprof
    profile = archprof.profile("vgg16")      # a name, a spec such as "file.py:factory", or an nn.Module
    print(profile.table())

Importing archprof imports neither torch nor anything else that is large: each function gets what it needs
when it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from archprof import files
from archprof.errors import ArchprofError, DoesNotFit, ProfileFileError, TraceError, UnknownName, UsageError
from archprof.facts.records import Profile
from archprof.version import __version__ as __version__

if TYPE_CHECKING:
    from archprof.analysis.compare.comparison import Comparison
    from archprof.analysis.table import Table
    from archprof.rewriting import Rewritten

__all__ = [
    "ArchprofError",
    "DoesNotFit",
    "Profile",
    "ProfileFileError",
    "TraceError",
    "UnknownName",
    "UsageError",
    "compare",
    "list_models",
    "load",
    "measure",
    "profile",
    "register_cost",
    "report",
    "verify",
    "whatif",
]


def profile(
    model: Any,
    inputs: Any = None,
    *,
    batch: int = 1,
    dtype: str | None = None,
    train: bool = False,
    causal: str = "full",
    set: Mapping[str, int] | None = None,
    phase: str | None = None,
    context: int | None = None,
) -> Profile:
    """Trace a model once, without running it, and return what it costs.

    Args:
        model: a name or spec as on the command line ("vgg16", "resnet50(num_classes=10)", "timm:…", "file.py:attr",
            a saved "x.json"), an `nn.Module`, or a class or factory of one. A module is only read: what is traced is
            a stand-in without values.
        inputs: tensors, exact shapes such as (1, 3, 224, 224), or strings in the grammar of `--input`; a tuple or
            list for positional arguments, a dict for keywords; `None`: the model's own default.
        batch: put in front of inputs written without their batch dimension ("3x224x224").
        dtype: "float32", "float16", "bfloat16" or "float64"; `None`: the model's own.
        train: forward and backward in training mode; otherwise the forward in evaluation mode.
        causal: "full" counts every score of causal attention, "half" only those that the mask leaves.
        set: lengths of the default input of a transformers model, such as {"seq": 4096}.
        phase: of a transformers decoder: "prefill" (the context at once) or "decode" (one token behind it).
        context: tokens of the phase; 2048 if not given.

    Raises:
        UsageError: the name, its arguments or the inputs do not fit.
        TraceError: the model's forward failed; the error's `profile` holds the rows up to there.
        ArchprofError: what was named exists, and cannot be imported, built or read.
    """
    options = {"batch": batch, "dtype": dtype, "train": train, "causal": causal}
    lengths = {"set": set or None, "phase": phase, "context": context}
    if files.is_profile_path(model):
        return _saved(model, inputs, options | lengths)
    from archprof.sources import resolve
    from archprof.tracing import decoding, trace

    counted = _causal(causal)
    target = resolve.resolve(model, inputs, batch=batch, dtype=dtype)
    if any(value is not None for value in lengths.values()):
        if inputs is not None:
            raise UsageError("Inputs were given, and lengths or a phase of the default ones, too.", "One or the other.")
        target = decoding.adjusted(target, set=set or None, phase=phase, context=context, batch=batch, dtype=dtype)
    return trace.trace(target, batch=batch, dtype=dtype, train=train, causal=counted)


def measure(
    model: Any,
    inputs: Any = None,
    *,
    device: str = "cpu",
    batch: int | str = 1,
    dtype: str | None = None,
    train: bool = False,
    causal: str = "full",
    channels_last: bool = False,
    compile: bool = False,
    rounds: int = 7,
    seconds: float = 20.0,
    progress: Callable[[float, float], None] | None = None,
) -> Profile:
    """Trace a model, then run it on random inputs, over and over: the profile also says how long each layer takes.

    What runs is a copy, so that the model and torch's settings are afterwards what they were. Ctrl-C ends it early,
    with what was measured so far.

    Args:
        model, inputs, dtype, causal: as for `profile`; a saved profile cannot be run.
        device: "cpu" or "cuda".
        batch: as for `profile`, or "auto" for the largest that fits.
        train: whole training steps (forward, backward, optimizer); otherwise the forward in evaluation mode.
        channels_last: images and the weights of convolutions have their channels last in memory.
        compile: run what `torch.compile` makes of the model; the whole is timed, its layers are attributed: see
            `Latency.attributed`.
        rounds: see `Timing.low`; 7 give an interval of 98.4 %.
        seconds: the rounds together should not take longer. Warm-up (5 s at most) and building come on top.
        progress: called now and then with the fraction done and the seconds that are left.

    Raises:
        DoesNotFit: the device has too little memory for this batch.
        Others: as for `profile`; `ArchprofError` also when the model does not run on the device.
    """
    if files.is_profile_path(model):
        raise UsageError(f"{model} is a saved profile: there is nothing to run.", hint="Name the model itself.")
    if batch != "auto" and not isinstance(batch, int):
        raise UsageError(f"A batch cannot be {batch!r}.", 'A whole number, or "auto".')
    from archprof.measuring import run
    from archprof.sources import resolve

    counted = _causal(causal)
    target = resolve.resolve(model, inputs, batch=batch if isinstance(batch, int) else 1, dtype=dtype)
    return run.measure_target(
        target, device=device, batch=batch if isinstance(batch, int) else "auto", dtype=dtype, train=train,
        causal=counted, channels_last=channels_last, compile=compile, rounds=rounds, seconds=seconds, progress=progress,
    )  # fmt: skip


def _causal(causal: str) -> Literal["full", "half"]:
    if causal not in ("full", "half"):
        raise UsageError(f"Causal attention cannot be counted as {causal!r}.", "Allowed: full, half.")
    return cast('Literal["full", "half"]', causal)


def _saved(path: str, inputs: Any, options: dict[str, Any]) -> Profile:
    """A saved profile; what was traced is traced, so nothing may be asked for that would change it."""
    defaults = {"batch": 1, "dtype": None, "train": False, "causal": "full"}
    changes = ["input"] * (inputs is not None)
    changes += [name for name, value in options.items() if value != defaults.get(name)]
    if changes:
        raise UsageError(
            f"{path} is a saved profile; {', '.join(changes)} cannot change it.",
            hint="Name the model itself to trace it again.",
        )
    return load(path)


def compare(
    *models: Any,
    inputs: Any = None,
    by: str = "auto",
    batch: int = 1,
    dtype: str | None = None,
    train: bool = False,
    causal: str = "full",
    set: Mapping[str, int] | None = None,
    phase: str | None = None,
    context: int | None = None,
) -> Comparison:
    """Architectures side by side: a summary with ratios to the first, what is worth saying, and aligned rows.

    Args:
        models: two or more: profiles, or what `profile` takes.
        inputs, batch, dtype, train, causal, set, phase, context: as for `profile`, for every model that is not a
            profile yet.
        by: "path" aligns layers by name, "stage" by spatial size, "auto" by name where the models share a family.

    Raises:
        UsageError: fewer than two models, or what `profile` raises.
    """
    from archprof.analysis.compare import comparison

    comparison.validate_comparison(len(models), by=by)
    options: dict[str, Any] = {"batch": batch, "dtype": dtype, "train": train, "causal": causal}
    options |= {"set": set, "phase": phase, "context": context}
    profiles = [model if isinstance(model, Profile) else _one_of(model, inputs, options) for model in models]
    compared: Comparison = comparison.compare(profiles, by=by)
    return compared


def _one_of(model: Any, inputs: Any, options: dict[str, Any]) -> Profile:
    """The profile of one model among several: the inputs of the others do not concern a saved one."""
    if files.is_profile_path(model):
        return load(model)
    return profile(model, inputs, **options)


def whatif(model: Any, inputs: Any = None, *, batch: int = 1, dtype: str | None = None, **rewrites: Any) -> Rewritten:
    """Rewrite a copy of a model and say what that costs: `before` and `after` are profiles; the model is only read.

    Args:
        model, inputs, batch, dtype: as for `profile`.
        rewrites: stack3x3, middle, add_bn, residual, separable, no_fc, width, num_classes: see
            `archprof.rewriting.whatif`, which applies them in this order.

    Raises:
        UsageError: the model, its inputs or the rewrites do not fit.
        ArchprofError: its forward cannot be made a graph.
    """
    from archprof import rewriting

    rewritten: Rewritten = rewriting.whatif(model, inputs, batch=batch, dtype=dtype, **rewrites)
    return rewritten


def verify(model: Any, inputs: Any = None, *, batch: int = 1, dtype: str | None = None) -> Table:
    """Count a model by other means too: torch's own counter, fvcore, and what torchvision published.

    Each difference stands with the ops that explain it; what they leave over is called unexplained.

    Args:
        model, inputs, batch, dtype: as for `profile`; a saved profile holds no model to count.

    Raises:
        UsageError, TraceError, ArchprofError: as `profile`.
    """
    from archprof.analysis.tables.verify import tabulate_verification
    from archprof.tracing.verify import count_by_sources

    return tabulate_verification(*count_by_sources(model, inputs, batch=batch, dtype=dtype))


def report(
    models: Any, path: str | Path, *, title: str | None = None, plotly: Literal["gzip", "inline", "none"] = "gzip"
) -> None:
    """Write one self-contained HTML page about one model, or several side by side.

    Args:
        models: one or a list of: profiles, or what `profile` takes.
        path: of the file, which is written whole or not at all.
        title: of the page; the names of the models if not given.
        plotly: how plotly is embedded: "gzip" (2 MB), "inline" (5 MB) or "none" (drawings only).
    """
    from archprof.analysis.report import page
    from archprof.render.page import html

    several = models if isinstance(models, list | tuple) else [models]
    profiles = [model if isinstance(model, Profile) else profile(model) for model in several]
    facts = page.build_report(profiles, title=title)
    files.write_whole(path, html.render_page(facts, plotly=plotly))


def load(path: str | Path) -> Profile:
    """Read a profile that `Profile.save` wrote; needs no torch.

    Raises:
        ProfileFileError: there is no such file, or it is not a profile this archprof can read.
    """
    from archprof.facts import store

    return store.load(path)


def list_models(pattern: str = "") -> Table:
    """The built-in models whose name contains `pattern` (or matches it, if it has a `*`), with what each costs."""
    from archprof.analysis.tables import model_list
    from archprof.models import registry

    entries = registry.match_builtins(pattern)
    listed: Table = model_list.tabulate_models([(entry, profile(entry.name)) for entry in entries])
    return listed


def register_cost(name: str) -> Any:
    """Decorate a function that says what your own op costs; see `archprof.tracing.ops.costs.registry.register_cost`."""
    from archprof.tracing.ops import costs

    return costs.register_cost(name)
