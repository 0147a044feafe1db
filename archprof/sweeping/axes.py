"""What of a model can be made larger step by step: the size of its image, its batch, its width, its depth."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import nn

from archprof.errors import ArchprofError, UsageError
from archprof.facts.request import PassRequest
from archprof.models.block_grammar import (
    BlockItem,
    BlockSpec,
    LayerSpec,
    RepeatSpec,
    parse_blocks,
)
from archprof.sources.model_grammar import parse_model
from archprof.sources.resolve import check_traceable, resolve
from archprof.sources.source_identity import WEIGHT_SUFFIXES
from archprof.sweeping.resizable_model import AbsentError, Attempt, ResizableModel, is_block_spec, try_trace

WIDTH_KEYWORDS = ("width_mult", "width_multiplier", "width", "base_width", "width_per_group")
"""Keywords that set how wide a model is; a multiplier is searched in hundredths, the others in whole numbers."""

DEPTH_KEYWORDS = ("depth", "num_layers", "repeats")
"""Keywords that set how deep a model is."""


@dataclass(frozen=True, slots=True)
class SweepAxis:
    """Something of a model that can be made larger step by step.

    Attributes:
        label_step: how a step is written: 224 -> "224x224".
        trace_at: the model traced at a step.
        last_step: the last step that is tried.
        surely_fails: a quick way to know that a step does not run.
    """

    label_step: Callable[[int], str]
    trace_at: Callable[[int], Attempt]
    last_step: int
    surely_fails: Callable[[int], bool] = lambda n: False


def find_axis(over: str, model: Any, inputs: Any, request: PassRequest) -> SweepAxis:
    """The setting called `over`; `UsageError` where the model has it not, naming those that it has."""
    check_traceable(model)
    request.check()
    try:
        return SWEEP_AXES[over](model, inputs, request)
    except AbsentError as error:
        others = ", ".join(_list_present(model, inputs, request, but=over))
        hint = f"This model can be searched over: {others}." if others else ""
        raise UsageError(error.given, error.allowed, hint) from None


def _list_present(model: Any, inputs: Any, request: PassRequest, but: str) -> Iterator[str]:
    for name, make in SWEEP_AXES.items():
        if name != but:
            try:
                make(model, inputs, request)
            except UsageError:
                continue
            yield name


def _make_resolution_axis(model: Any, inputs: Any, request: PassRequest) -> SweepAxis:
    sizes = ResizableModel(model, inputs, request)
    return SweepAxis(lambda n: f"{n}x{n}", lambda n: sizes.trace_at(n, n), 4096, lambda n: sizes.surely_fails(n, n))


def _make_batch_axis(model: Any, inputs: Any, request: PassRequest) -> SweepAxis:
    def at(n: int) -> Attempt:
        sized = replace(request, batch=n)
        return try_trace(lambda: resolve(model, inputs, sized), sized)

    resolve(model, inputs, replace(request, batch=1))
    try:
        resolve(model, inputs, replace(request, batch=2))
    except UsageError as error:
        raise AbsentError(error.given, error.allowed) from None
    one, two = at(1).profile, at(2).profile
    if one and two and one.totals == two.totals:
        raise AbsentError(f"The input of {one.model} is exact, so that a batch changes nothing.", "Try 3x224x224.")
    return SweepAxis(lambda n: f"batch {n}", at, 2**16)


def _make_length_axis(model: Any, inputs: Any, request: PassRequest) -> SweepAxis:
    """The length of the default input of a transformers model."""
    from archprof.tracing.profile import open_target

    def at(n: int) -> Attempt:
        sized = replace(request, lengths={**(request.lengths or {}), "seq": n})
        return try_trace(lambda: open_target(model, inputs, sized), sized)

    if inputs is not None or at(8).profile is None:
        raise AbsentError("No length of its input can be set.", "Those of hf: models can.")
    return SweepAxis(lambda n: f"seq {n}", at, 2**20)


def _make_width_axis(model: Any, inputs: Any, request: PassRequest) -> SweepAxis:
    return _make_keyword_axis("width", WIDTH_KEYWORDS, model, inputs, request)


def _make_depth_axis(model: Any, inputs: Any, request: PassRequest) -> SweepAxis:
    if is_block_spec(model):
        return _make_repetition_axis(model, inputs, request)
    return _make_keyword_axis("depth", DEPTH_KEYWORDS, model, inputs, request)


def _make_keyword_axis(over: str, names: tuple[str, ...], model: Any, inputs: Any, request: PassRequest) -> SweepAxis:
    """The first of `names` that the factory of `model` takes and that changes what the model costs."""
    made = isinstance(model, nn.Module) or str(model).lower().endswith(WEIGHT_SUFFIXES)  # and no factory makes it
    factory = not made and not is_block_spec(model)
    taken = [name for name in names if factory and _takes_keyword(model, name, inputs)]
    for name in taken:
        at = partial(_trace_with_keyword, model, name, inputs, request)
        found = SweepAxis(partial(_label_keyword, name), at, 1024)
        few, many = (found.trace_at(n) for n in ((2, 8) if names is DEPTH_KEYWORDS else (64, 192)))
        if few.problem or many.problem or few.profile.totals != many.profile.totals:  # type: ignore[union-attr]
            return found
    what = f"{model if isinstance(model, str) else 'This model'} has no setting for its {over}"
    ignored = f"It takes {' and '.join(taken)}, which changes nothing. " if taken else ""
    raise AbsentError(f"{what}.", f"{ignored}It needs a factory that takes one of: {', '.join(names)}.")


def _label_keyword(name: str, n: int) -> str:
    return f"{name}={_keyword_value(name, n):g}"


def _trace_with_keyword(model: Any, name: str, inputs: Any, request: PassRequest, n: int) -> Attempt:
    """The model traced with the keyword `name` at step n."""
    called = _add_keyword(model, name, _keyword_value(name, n))
    return try_trace(lambda: resolve(called, inputs, request), request)


def _keyword_value(name: str, n: int) -> float:
    return n / 100 if _is_multiplier(name) else n


def _is_multiplier(name: str) -> bool:
    return "mult" in name


def _takes_keyword(model: Any, name: str, inputs: Any) -> bool:
    """Whether the factory of `model` knows a keyword; its value may still be refused."""
    try:
        resolve(_add_keyword(model, name, 1.0 if _is_multiplier(name) else 1), inputs)
    except ArchprofError as error:
        return not re.search(rf"(no|keyword) argument '{name}'", error.given)
    return True


def _add_keyword(model: Any, name: str, value: float) -> Any:
    """MODEL, or a factory, with one more keyword argument."""
    if not isinstance(model, str):
        factory = partial(model, **{name: value})
        factory.__name__ = getattr(model, "__name__", type(model).__name__)  # type: ignore[attr-defined]
        return factory
    spec = parse_model(model)
    kwargs = ", ".join(f"{key}={given!r}" for key, given in {**(spec.kwargs or {}), name: value}.items())
    place, revision = f"{spec.where}:" if spec.where else "", f"@{spec.revision}" if spec.revision else ""
    return f"{place}{spec.name}({kwargs}){revision}"


def _make_repetition_axis(model: str, inputs: Any, request: PassRequest) -> SweepAxis:
    """The number behind the only repetition of a block spec."""
    net = parse_blocks(model)
    found = _count_repeats(net.items)
    if found != 1:
        raise AbsentError(
            f"{model} has {found or 'no'} repetition{'s' if found > 1 else ''}.",
            "The depth of a block spec is the number behind its only repetition, such as (conv3-64 relu)x2.",
        )

    def at(n: int) -> Attempt:
        text = str(BlockSpec(_set_repeats(net.items, n)))
        return try_trace(lambda: resolve(text, inputs, request), request)

    resolve(model, inputs, request)  # says now what is wrong at any depth
    return SweepAxis(lambda n: f"x{n}", at, 1024)


def _count_repeats(items: tuple[BlockItem, ...]) -> int:
    """Repetitions as they are written, nested ones too."""
    return sum(
        isinstance(item, RepeatSpec) + _count_repeats(item.items) for item in items if not isinstance(item, LayerSpec)
    )


def _set_repeats(items: tuple[BlockItem, ...], times: int) -> tuple[BlockItem, ...]:
    """The same items with every repetition `times` times."""
    changed: list[BlockItem] = []
    for item in items:
        if not isinstance(item, LayerSpec):
            item = replace(item, items=_set_repeats(item.items, times))
        changed.append(replace(item, times=times) if isinstance(item, RepeatSpec) else item)
    return tuple(changed)


SWEEP_AXES: dict[str, Callable[[Any, Any, PassRequest], SweepAxis]] = {
    "resolution": _make_resolution_axis,
    "width": _make_width_axis,
    "depth": _make_depth_axis,
    "batch": _make_batch_axis,
    "seq": _make_length_axis,
}
"""What a model can be searched over."""
