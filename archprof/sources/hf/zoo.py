"""`hf:NAME`: an architecture of transformers, built from a configuration without weights."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from archprof.sources.hf import configs, inputs, library
from archprof.sources.recipe import Recipe


def make_hf_recipe(name: str, kwargs: dict[str, Any]) -> Recipe:
    """How to build the model of a configuration; see `configs.choose_config` for names and errors."""
    choice = configs.choose_config(name, kwargs)
    return Recipe(partial(_build_model, choice.architecture, choice.config), inputs=inputs.default_inputs)


def _build_model(architecture: Any, config: Any) -> nn.Module:
    with library.quiet_and_offline():
        model: nn.Module = architecture(config)
    dtype = getattr(config, "dtype", None)
    return model if dtype is None else model.to(dtype)


def make_inputs_if_hf(model: nn.Module, batch: int) -> dict[str, Any] | None:
    """The default inputs of a module of the user's, where it is one of transformers."""
    return inputs.default_inputs(model, batch) if library.is_transformers_model(model) else None
