"""timm's models, where timm is installed; never with weights."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from archprof.errors import UnknownName, UsageError
from archprof.sources.input_spec import InputSpec
from archprof.sources.recipe import Recipe, explain_import_error


def import_timm() -> Any:
    """The package; `UnavailableError` says why there is none."""
    try:
        import timm
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        raise explain_import_error("timm", error) from error
    return timm


def list_timm_names() -> list[str]:
    """Every name that can be built, without the tags of trained weights."""
    return list(import_timm().list_models())


def make_timm_recipe(name: str, kwargs: dict[str, Any]) -> Recipe:
    """How to build a timm model; `UnknownName` if there is none of that name."""
    if not import_timm().is_model(name):
        raise UnknownName("timm model", name, list_timm_names())
    if "pretrained" in kwargs:
        raise UsageError(f"pretrained= cannot be given to {name}.", "Models are built without trained weights.")
    factory = partial(import_timm().create_model, name, pretrained=False)
    return Recipe(factory, kwargs, lambda model, _: default_inputs(model, kwargs))


def default_inputs(model: nn.Module, kwargs: dict[str, Any]) -> InputSpec:
    """One image of the size the model was made for."""
    config: Any = model.default_cfg
    channels, height, width = config["input_size"]
    size = kwargs.get("img_size", (height, width))
    height, width = (size, size) if isinstance(size, int) else size
    return InputSpec((kwargs.get("in_chans", channels), height, width), batched=True)
