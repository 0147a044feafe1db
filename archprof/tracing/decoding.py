"""The phases of a decoder: the prefill of a context, and the decoding of one token against the cache of one.

The cache is the library's own: a pass over the context on meta fills it, so grouped heads, sliding windows, latent
attention and the states of recurrent layers have the shapes that the model gives them. A sliding window of w keeps
w - 1 tokens here: the new one makes it whole.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from archprof.errors import ArchprofError, UsageError
from archprof.facts.records import CacheTensor, Decoding, TensorSpec
from archprof.facts.request import PassRequest
from archprof.sources.hf import caches, inputs, library
from archprof.sources.hf.makers import count_positions, count_vocabulary
from archprof.sources.input_spec import InputSpec
from archprof.sources.target import Target
from archprof.torchside.stand_in import make_stand_in
from archprof.tracing.ops.shapes.by_rule import ShapeRuleMode
from archprof.tracing.pass_setup import open_autocast

DEFAULT_CONTEXT = 2048
"""Tokens of the context where the user does not say."""


def change_default_inputs(target: Target, request: PassRequest) -> Target:
    """The target with the default inputs that were asked for: of another length, or of one phase of a decoder.

    Raises:
        UsageError: the model is not one of transformers, or has no such setting or phase.
    """
    if not library.is_transformers_model(target.model):
        raise UsageError(
            f"{target.name} has no settings and no phases: these are for models of transformers.",
            "The size of any other model's input is given by --input.",
        )
    if request.phase is not None:
        return _make_phase_target(target, request, request.phase)
    return replace(target, args=(), kwargs=inputs.default_inputs(target.model, request.batch, request.lengths))


def _make_phase_target(target: Target, request: PassRequest, phase: str) -> Target:
    """The target of one phase: its inputs, and what the decoder keeps.

    Args:
        request: of the pass. Each sequence of its batch has its own cache, which has the dtype of the pass.
        phase: "prefill" runs the context into an empty cache; "decode" runs one token against a cache of it.

    Raises:
        UsageError: the model is no decoder.
        ArchprofError: the pass that fills the cache needs values.
    """
    tokens, batch = request.context or DEFAULT_CONTEXT, request.batch
    name = _find_cache_name(target)
    model = _model_on_meta(target, request.dtype)
    cache = _fill_cache(target, request, model, _make_tokens(batch, tokens), name, None)
    facts = Decoding(phase, tokens, tuple(_list_cache_tensors(cache)), 0)
    grown = _fill_cache(target, request, model, _make_tokens(batch, 1), name, copy.deepcopy(cache), tokens)
    facts = facts._replace(growth=sum(tensor.spec.nbytes for tensor in _list_cache_tensors(grown)) - facts.nbytes)
    config: Any = model.config
    words = count_vocabulary(config.get_text_config())
    length = tokens if phase == "prefill" else 1
    kwargs: dict[str, Any] = {"input_ids": InputSpec((length,), "int64", words, batched=True)}
    if phase == "decode":
        kwargs |= {name: cache, **caches.make_position_arguments(model, cache, tokens)}
    notes = (*target.notes, *_make_length_notes(model, tokens))
    return replace(target, args=(), kwargs=kwargs, notes=notes, decoding=facts)


def _make_length_notes(model: nn.Module, tokens: int) -> tuple[str, ...]:
    """A note where a context is longer than any that the model was made for; on meta it runs all the same."""
    config: Any = model.config
    most = count_positions(config.get_text_config())
    return (f"This model is made for {most:,} positions.",) if most is not None and tokens > most else ()


def _find_cache_name(target: Target) -> str:
    """The argument that takes the cache of a decoder."""
    model: Any = target.model
    decodes = model.can_generate() and not model.config.is_encoder_decoder
    name = caches.find_cache_argument(model) if decodes else None
    if name is None or "input_ids" not in inspect.signature(model.forward).parameters:
        raise UsageError(
            f"{target.name}, a {type(target.model).__name__}, has no phases.",
            "Phases are for language models that read their own output through a cache, and encode nothing beside it.",
            "Left out, --phase gives the pass over the model's own default input.",
        )
    return name


def _model_on_meta(target: Target, dtype: str | None) -> nn.Module:
    """The model of the target without values, in evaluation, in the dtype of the pass."""
    wanted = getattr(torch, dtype) if dtype else None
    if not target.owned:
        return make_stand_in(target.model, dtype=wanted).eval()
    return (target.model.to(wanted) if wanted is not None else target.model).eval()


def _make_tokens(batch: int, count: int) -> torch.Tensor:
    return torch.empty((batch, count), dtype=torch.int64, device="meta")


def _fill_cache(
    target: Target, request: PassRequest, model: nn.Module, tokens: torch.Tensor, name: str, cache: Any, seen: int = 0
) -> Any:
    """The cache after a pass over these tokens, `seen` of which it holds already."""
    given = {} if cache is None else {name: cache, **caches.make_position_arguments(model, cache, seen)}
    autocast = open_autocast(request, "meta")
    try:
        with (
            torch.no_grad(), torch.device("meta"), ShapeRuleMode(), autocast.watch(), autocast.turn_on(request.amp)
        ):  # fmt: skip
            returned = model(input_ids=tokens, use_cache=True, **given)
    except Exception as error:  # whatever the model's own code raises
        raise ArchprofError(
            f"The cache of {target.name} cannot be filled on meta: {type(error).__name__}: {error}",
            "",
            "Without --phase the model is traced as it is.",
        ) from error
    filled = caches.find_returned_cache(returned, name)
    if filled is None:
        raise UsageError(f"{target.name} returned no cache.", "Phases are for decoders that keep one.")
    return filled


def _list_cache_tensors(cache: Any) -> Iterator[CacheTensor]:
    """What a cache keeps, as facts."""
    for layer, name, tensor in caches.list_cache_tensors(cache):
        dtype = str(tensor.dtype).removeprefix("torch.")
        yield CacheTensor(layer, name, TensorSpec(tuple(tensor.shape), dtype))
