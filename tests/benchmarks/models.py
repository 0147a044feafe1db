"""The models that the benchmarks are about, on meta and real."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torchvision
from torch import nn

from archprof.sources.resolve import resolve


def stack(layers: int, width: int = 64) -> nn.Sequential:
    """`layers` pairs of Linear and ReLU."""
    pairs = [module for _ in range(layers) for module in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(*pairs)


def configured(name: str) -> Callable[[], nn.Module]:
    """A model of transformers; it is on meta whatever the device, since nobody has room for it."""
    return lambda: resolve(f"hf:{name}").model


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "vgg16": (torchvision.models.vgg16, (1, 3, 224, 224)),
    "resnet152": (torchvision.models.resnet152, (1, 3, 224, 224)),
    "densenet201": (torchvision.models.densenet201, (1, 3, 224, 224)),
    "vit_h_14": (torchvision.models.vit_h_14, (1, 3, 224, 224)),
    "swin_v2_b": (torchvision.models.swin_v2_b, (1, 3, 256, 256)),
    "stack of 1000": (lambda: stack(1000), (1, 64)),
}

GIANTS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    name: (configured(name), (1, 128)) for name in ("llama-2-70b", "llama-3.1-405b", "mixtral-8x7b")
}


def on(device: str, name: str) -> tuple[nn.Module, torch.Tensor]:
    """A model in evaluation mode and an input for it: an image or features, for a giant token ids on meta."""
    if name in GIANTS:
        factory, shape = GIANTS[name]
        return factory().eval(), torch.empty(shape, dtype=torch.int64, device="meta")
    factory, shape = MODELS[name]
    with torch.device(device):
        return factory().eval(), torch.empty(shape).normal_() if device == "cpu" else torch.empty(shape)
