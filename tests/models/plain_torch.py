"""How these tests look at a net: plain torch on meta tensors, nothing of the trace."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from archprof.models import registry
from archprof.models.definitions import find_builder

Shape = tuple[int, ...]


@cache
def build(name: str, **arguments: object) -> nn.Module:
    """The built-in net of that name on the meta device, in eval mode."""
    with torch.device("meta"):
        return find_builder(registry.BUILTIN_MODELS[name])(**arguments).eval()


def image(name: str) -> torch.Tensor:
    """The default input of a built-in net, with a batch of one."""
    return torch.empty(1, *map(int, registry.BUILTIN_MODELS[name].input.split("x")), device="meta")


def output_shapes(net: nn.Module, x: torch.Tensor) -> dict[str, Shape]:
    """Path of a module -> shape of what its last call returned, without the batch dimension."""
    shapes: dict[str, Shape] = {}

    def note(path: str) -> Callable[[nn.Module, object, torch.Tensor], None]:
        return lambda _module, _inputs, output: shapes.update({path: tuple(output.shape[1:])})

    handles = [module.register_forward_hook(note(path)) for path, module in net.named_modules()]
    with torch.no_grad():
        net(x)
    for handle in handles:
        handle.remove()
    return shapes


def params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def macs(module: nn.Module, x: torch.Tensor) -> int:
    """Multiply-accumulates by torch's counter, which counts two for each."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(x)
    return counter.get_total_flops() // 2


def weight_layers(net: nn.Module) -> list[str]:
    """Paths of the convolutions and linear layers on the way from input to output."""
    return [
        path
        for path, module in net.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and "downsample" not in path
    ]
