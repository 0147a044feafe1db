"""The function that builds each built-in definition; `registry` tells their names without importing torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from torch import nn

from archprof.models import alexnet, cifar, lenet, resnet, vgg, zfnet
from archprof.models.registry import BuiltinModel

FAMILIES = {"alexnet": alexnet, "cifar": cifar, "lenet": lenet, "resnet": resnet, "vgg": vgg, "zfnet": zfnet}


def find_builder(entry: BuiltinModel) -> Callable[..., nn.Module]:
    """The function that makes the model of an entry; every argument of it has a default."""
    family, _, function = entry.builder.partition(":")
    return cast("Callable[..., nn.Module]", getattr(FAMILIES[family], function))
