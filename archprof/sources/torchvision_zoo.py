"""torchvision's models: every name of `torchvision.models.list_models()`, never with weights."""

from __future__ import annotations

import inspect
from typing import Any

from archprof.errors import UnknownName, UsageError
from archprof.sources.input_spec import InputSpec
from archprof.sources.recipe import Recipe, UnavailableError

WEIGHT_ARGUMENTS = ("weights", "weights_backbone", "pretrained", "pretrained_backbone", "progress")
"""Arguments about trained weights. Costs do not depend on them, and nothing is ever downloaded."""

DETECTION_SIZES = {
    "ssd300_vgg16": 300,
    "ssdlite320_mobilenet_v3_large": 320,
    "fasterrcnn_mobilenet_v3_large_320_fpn": 320,
}
"""Height and width to which a detector resizes a square image, where that is not 800."""

CLIP_FRAMES = 16
"""Frames of a clip: torchvision's published costs of its video models are for 16."""

FLOW_FRAME_SIZE = 512
"""Height and width of a frame: torchvision's published costs of RAFT are for two frames of 512x512."""


def import_torchvision_models() -> Any:
    """`torchvision.models`; `UnavailableError` says why there is none."""
    try:
        import torchvision.models
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        raise UnavailableError(
            f"torchvision cannot be imported: {type(error).__name__}: {error}",
            "It must be the release made for the torch that is installed; the built-in models work without it.",
            "Try: pip install --upgrade torch torchvision",
        ) from error
    return torchvision.models


def list_torchvision_names() -> list[str]:
    """Every name that can be built."""
    return list(import_torchvision_models().list_models())


def make_torchvision_recipe(name: str, kwargs: dict[str, Any]) -> Recipe:
    """How to build a torchvision model; `UnknownName` if there is none of that name."""
    if name not in list_torchvision_names():
        raise UnknownName("torchvision model", name, list_torchvision_names())
    refused = [keyword for keyword in WEIGHT_ARGUMENTS if keyword in kwargs]
    if refused:
        raise UsageError(
            f"{refused[0]}= cannot be given to {name}.",
            "Models are built without trained weights: costs do not depend on them, and nothing is downloaded.",
        )
    builder = import_torchvision_models().get_model_builder(name)
    added: dict[str, Any] = {"weights": None}
    if "weights_backbone" in inspect.signature(builder).parameters:
        added["weights_backbone"] = None
    if "googlenet" in name or "inception" in name:
        added["init_weights"] = False  # left out, it is taken as True with a warning
    return Recipe(builder, {**added, **kwargs}, lambda _, batch: default_inputs(name, kwargs, batch), WEIGHT_ARGUMENTS)


def default_inputs(name: str, kwargs: dict[str, Any], batch: int) -> Any:
    """What the published costs are for: an image or clip as the default weights' transforms leave it, or two frames.

    A detector takes a list of images, one each of the batch, of the size to which it would resize them.
    """
    module = import_torchvision_models().get_model_builder(name).__module__
    if ".detection." in module:
        size = DETECTION_SIZES.get(name, 800)
        return ([InputSpec((3, size, size))] * batch,)
    if ".optical_flow." in module:
        return (InputSpec((3, FLOW_FRAME_SIZE, FLOW_FRAME_SIZE), batched=True),) * 2
    transforms = import_torchvision_models().get_model_weights(name).DEFAULT.transforms.keywords
    size = kwargs.get("image_size") or transforms.get("crop_size") or transforms["resize_size"]
    if ".vision_transformer" in module:  # built for one size, whatever its weights were tuned at
        size = kwargs.get("image_size", 224)
    height, width = (size, size) if isinstance(size, int) else size
    frames = (CLIP_FRAMES,) if ".video." in module else ()
    return InputSpec((3, *frames, height, width), batched=True)
