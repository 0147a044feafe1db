"""`hf:NAME`: an architecture of transformers, built from a configuration without weights."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from archprof.sources.hf import configs, inputs, library
from archprof.sources.recipe import Offer


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
