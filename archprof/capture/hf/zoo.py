"""`hf:NAME`: an architecture of transformers, built from a configuration without weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn

from archprof.capture.hf import configs, decoding, inputs, library
from archprof.capture.offer import Offer
from archprof.capture.target import Target
from archprof.errors import UsageError


def offer(name: str, kwargs: dict[str, Any]) -> Offer:
    """How to build the model of a configuration; see `configs.choose` for names and errors."""
    choice = configs.choose(name, kwargs)
    return Offer(partial(_model, choice.architecture, choice.config), inputs=inputs.default_inputs)


def _model(architecture: Any, config: Any) -> nn.Module:
    with library.alone():
        model: nn.Module = architecture(config)
    dtype = getattr(config, "dtype", None)
    return model if dtype is None else model.to(dtype)


def inputs_of(model: nn.Module, batch: int) -> dict[str, Any] | None:
    """The default inputs of a module of the user's, where it is one of transformers."""
    return inputs.default_inputs(model, batch) if library.made(model) else None


def adjusted(
    target: Target,
    *,
    set: Mapping[str, int] | None,
    phase: str | None,
    context: int | None,
    batch: int,
    dtype: str | None,
) -> Target:
    """The target with other default inputs: of another length, or of one phase of a decoder.

    Raises:
        UsageError: the model is not one of transformers, or has no such setting or phase.
    """
    if not library.made(target.model):
        raise UsageError(
            f"{target.name} has no settings and no phases: these are for models of transformers.",
            "The size of any other model's input is given by --input.",
        )
    if context is not None and phase is None:
        raise UsageError("A context is that of a phase.", "Phases: prefill, decode.", "Try: --phase decode")
    if set and phase:
        raise UsageError("The phases of a decoder have one setting, their context.", "", "Try: --context 4096")
    if phase is not None:
        return decoding.phased(target, phase, context, batch=batch, dtype=dtype)
    return replace(target, args=(), kwargs=inputs.default_inputs(target.model, batch, set))
