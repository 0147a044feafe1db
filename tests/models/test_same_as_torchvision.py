"""The nets that torchvision has too, against torchvision."""

from __future__ import annotations

import pytest
import torch
from plain_torch import build, image, macs, params
from torch import nn
from torchvision import models

from archprof.models import registry
from archprof.models.definitions import find_builder

NAMES = [entry.name for entry in registry.BUILTIN_MODELS.values() if entry.torchvision]


def theirs(name: str) -> nn.Module:
    with torch.device("meta"):
        return models.get_model(registry.BUILTIN_MODELS[name].torchvision).eval()


def leaves(net: nn.Module) -> dict[str, str]:
    """Path -> everything torch prints of a module: widths, kernel, stride, padding, eps, in place."""
    return {
        path: repr(module)
        for path, module in net.named_modules()
        if not list(module.children()) and not isinstance(module, nn.Flatten)
    }


@pytest.mark.parametrize("name", NAMES)
def test_state_has_the_same_names_order_and_shapes(name: str) -> None:
    ours, other = build(name).state_dict(), theirs(name).state_dict()
    assert [(key, value.shape, value.dtype) for key, value in ours.items()] == [
        (key, value.shape, value.dtype) for key, value in other.items()
    ]


@pytest.mark.parametrize("name", NAMES)
def test_every_module_has_the_same_settings(name: str) -> None:
    assert leaves(build(name)) == leaves(theirs(name))


@pytest.mark.parametrize("name", NAMES)
def test_params_and_macs_are_those_of_the_published_weights(name: str) -> None:
    published = models.get_model_weights(registry.BUILTIN_MODELS[name].torchvision).IMAGENET1K_V1.meta
    net = build(name)
    assert params(net) == published["num_params"]
    assert round(macs(net, image(name)) / 1e9, 3) == published["_ops"]


@pytest.mark.parametrize(("name", "size"), [("alexnet", 96), ("resnet18", 64), ("resnet50", 64)])
def test_with_torchvisions_weights_the_scores_are_the_same(name: str, size: int) -> None:
    torch.manual_seed(0)
    other = models.get_model(name).eval()
    with torch.device("meta"):
        ours = find_builder(registry.BUILTIN_MODELS[name])().eval()
    ours.load_state_dict(other.state_dict(), assign=True)
    x = torch.randn(1, 3, size, size)
    with torch.no_grad():
        assert torch.equal(ours(x), other(x))


def test_weights_start_as_wide_as_torchvisions() -> None:
    torch.manual_seed(0)
    ours, other = find_builder(registry.BUILTIN_MODELS["resnet18"])(), models.resnet18()
    for (name, mine), their in zip(ours.named_parameters(), other.parameters(), strict=True):
        assert mine.std(correction=0).item() == pytest.approx(their.std(correction=0).item(), rel=0.06), name
