"""One model counted by others: what each of them says of its parameters and MACs, or why it says nothing."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import nn

from archprof import files, units
from archprof.errors import UsageError
from archprof.facts.records import Profile
from archprof.facts.request import PLAIN_PASS, PassRequest
from archprof.models import registry
from archprof.sources import torchvision_zoo
from archprof.sources.inputs import make_input_tensors
from archprof.sources.model_grammar import parse_model
from archprof.sources.recipe import UnavailableError
from archprof.sources.resolve import resolve
from archprof.sources.target import Target
from archprof.torchside.guard import run_untouched
from archprof.torchside.held_weights import fill_lazy_weights
from archprof.torchside.stand_in import make_stand_in
from archprof.tracing.oracles import fvcore_counts, torch_counts
from archprof.tracing.trace import trace

MAX_FVCORE_BYTES = 4 * 2**30
"""Parameters and activations of a model that is run with real values for fvcore."""

PUBLISHED_ROUNDING = 500_000
"""torchvision publishes MACs in units of 10^9 to three decimals."""


class SourceCount(NamedTuple):
    """What one source says.

    Attributes:
        source: its name, with the version.
        params, macs: its numbers; `None` where it has none.
        rounding: its MACs are rounded by at most so many.
        convention: whose convention its number follows: a key of `archprof.analysis.other_tools.CONVENTIONS`, or "".
        unseen: paths of modules whose convolution it is known to leave out.
        why: why it has no numbers, or not all.
    """

    source: str
    params: int | None = None
    macs: int | None = None
    rounding: int = 0
    convention: str = ""
    unseen: tuple[str, ...] = ()
    why: str = ""


def count_by_sources(
    model: Any, inputs: Any = None, request: PassRequest = PLAIN_PASS
) -> tuple[Profile, list[SourceCount]]:
    """Trace a model and have it counted by torch, by fvcore and by what torchvision published.

    Args:
        model, inputs: as for `archprof.profile`, but for a saved profile, which holds no model.

    Raises:
        UsageError: the name, its arguments or the inputs do not fit.
        TraceError: the model's forward failed.
    """
    if files.is_profile_path(model):
        raise UsageError(f"{model} is a saved profile, which holds no model to count.", hint="Name the model itself.")
    target = resolve(model, inputs, request)
    profile = trace(target, request)
    found = run_untouched(lambda: [_count_by_torch(target, profile), _count_by_fvcore(target, profile)])
    return profile, [*found, *_find_published(target.name, profile, as_published=inputs is None and request.batch == 1)]


def _make_inputs(target: Target, profile: Profile, device: Any) -> tuple[Any, Any]:
    args, kwargs = (
        make_input_tensors(tree, device=device, batch=profile.batch, dtype=profile.dtype)
        for tree in (target.args, target.kwargs)
    )
    return args, kwargs


def _count_by_torch(target: Target, profile: Profile) -> SourceCount:
    source = f"torch {torch.__version__.partition('+')[0]} FlopCounterMode on meta"
    args, kwargs = _make_inputs(target, profile, "meta")
    try:
        model = target.model.eval() if target.owned else make_stand_in(target.model).eval()
        with torch.device("meta"):
            fill_lazy_weights(model, args, kwargs)
        by_op = torch_counts(model, args, kwargs, gradients=profile.ran.gradients == "on")
    except Exception as error:  # the model's own, or what torch says of an op without values
        return SourceCount(source, why=f"it cannot run on meta: {_shorten_error(error)}")
    return SourceCount(source, _count_params(model), sum(by_op.values()), convention="torch")


def _count_by_fvcore(target: Target, profile: Profile) -> SourceCount:
    try:
        from fvcore import __version__
    except ImportError:
        return SourceCount("fvcore", why="it is not installed (pip install fvcore)")
    source = f"fvcore {__version__}"
    needed = profile.totals.param_bytes + profile.totals.activation_bytes[profile.dtype]
    if needed > MAX_FVCORE_BYTES:
        return SourceCount(
            source, why=f"it runs the model with real values: {units.show_quantity(needed, 'bytes')} is too much"
        )
    if target.kwargs:
        return SourceCount(source, why="it takes positional inputs only")
    real = target.rebuild() if target.rebuild else make_stand_in(target.model, device="cpu")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            counted = fvcore_counts(real.eval(), _make_inputs(target, profile, "cpu")[0])
    except Exception as error:  # whatever torch.jit's tracer raises for a model it cannot follow
        return SourceCount(source, why=f"its tracer cannot follow the model: {_shorten_error(error)}")
    return SourceCount(
        source, _count_params(real), sum(counted.by_op.values()), convention="fvcore", unseen=counted.unseen
    )


def _count_params(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _shorten_error(error: Exception) -> str:
    """What torch says, without the advice that follows it."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line.split(". ")[0].split(", as ")[0].rstrip(".")


def _find_published(name: str, profile: Profile, *, as_published: bool) -> Iterator[SourceCount]:
    """The metadata of the weights that torchvision publishes for this model, at the size of this input."""
    known = _find_torchvision_name(name)
    if known is None:
        return
    for entry in torchvision_zoo.import_torchvision_models().get_model_weights(known):
        if _published_height(entry) == _traced_height(profile):
            ops = entry.meta.get("_ops") if as_published else None
            macs = None if ops is None else round(ops * 1e9)
            why = "" if macs is not None else "its MACs are published for another input"
            yield SourceCount(f"torchvision {entry.name}", entry.meta["num_params"], macs, PUBLISHED_ROUNDING, why=why)
            return


def _find_torchvision_name(name: str) -> str | None:
    """What torchvision calls a model that was asked for by name and without arguments."""
    try:
        spec = parse_model(name)
        if spec.kwargs or spec.where not in ("", "torchvision"):
            return None
        entry = registry.BUILTIN_MODELS.get(spec.name) if not spec.where else None
        known = entry.torchvision if entry else spec.name
        return known if known in torchvision_zoo.list_torchvision_names() else None
    except (UsageError, UnavailableError):
        return None


def _published_height(entry: Any) -> int | None:
    """Height of the image that an entry's own transforms make."""
    keywords = getattr(entry.transforms, "keywords", {})
    size = keywords.get("crop_size") or keywords.get("resize_size")
    return size[0] if isinstance(size, list | tuple) else size


def _traced_height(profile: Profile) -> int | None:
    """Height of the first input."""
    first = next((layer.inputs for layer in profile.layers if layer.inputs), ())
    return first[0].shape[-2] if first and len(first[0].shape) > 2 else None
