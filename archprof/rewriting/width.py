"""`width`: all hidden channels times a factor (Howard et al., 2017, "MobileNets", section 3.3)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx, nn

from archprof.rewriting.draft import Draft, PlainInterpreter, function_name, shape_of_node
from archprof.rewriting.layers import BATCH_NORM_KINDS, CONVOLUTIONS, find_obstacle, is_convolution, remake_layer
from archprof.rewriting.no_fc import find_head

WIDTH = "width"
NO_WIDTH_TO_CHANGE = "no number of channels changes"


def scale_width(net: Draft, factor: float) -> None:
    """Multiply the outputs of every convolution and linear layer by `factor`, but those of the last.

    A number of channels becomes the nearest multiple of 8 if it was one, of the groups that divide it, and at least
    one such: it depends on nothing but the number, so that values which are added agree. The inputs of each layer
    follow from the shapes that reach it. The rewrite is done whole or not at all.
    """
    head = find_head(net)
    if head is None:
        net.note_refusal(WIDTH, "", "no single linear layer or convolution gives the output")
        return
    wider = WideningInterpreter(net, head, factor)
    try:
        with torch.no_grad():
            wider.run(*net.inputs)
    except UnscalableError as why:
        net.note_refusal(WIDTH, wider.current_path, str(why))
        return
    for path, new in wider.new_layers.items():
        before, after = _count_outputs(net.root.get_submodule(path)), _count_outputs(new)
        net.set_layer(path, new)
        if before != after:
            net.note_change(WIDTH, path, f"{before} outputs: now {after}")


class UnscalableError(Exception):
    """Why the channels of a model cannot be scaled."""


class WideningInterpreter(PlainInterpreter):
    """Runs the graph and makes every layer anew, as wide as it is to be, for what reaches it."""

    def __init__(self, net: Draft, head: fx.Node, factor: float) -> None:
        super().__init__(net.root, graph=net.graph)
        self.net, self.head, self.factor = net, head, factor
        self.new_layers: dict[str, nn.Module] = {}
        self.current_path = ""
        self.channel_steps = _find_channel_steps(net)

    def run_node(self, node: fx.Node) -> Any:
        self.current_path = str(node.target) if node.op == "call_module" else self.current_path
        try:
            result = super().run_node(node)
        except (RuntimeError, ValueError, IndexError) as error:
            where = f"{function_name(node)} after it" if function_name(node) else "it"
            reason = str(error).partition("\n")[0]
            raise UnscalableError(f"a size in {where} is fixed or does not agree: {reason}") from error
        source = shape_of_node(node)
        if node.op == "get_attr" and isinstance(result, nn.Parameter):
            raise UnscalableError(f"{node.target} is a parameter without a layer, whose shape does not follow")
        if node is self.head and source is not None and tuple(result.shape) != source:
            raise UnscalableError(
                f"the scores would be {tuple(result.shape)}, not {source}: a size is fixed in the forward"
            )
        return result

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        path = str(target)
        new = self._widen_layer(self.net.root.get_submodule(path), args[0], path == self.head.target)
        known = self.new_layers.setdefault(path, new)
        return known(*args, **kwargs)

    def _widen_layer(self, layer: nn.Module, value: torch.Tensor, last: bool) -> nn.Module:
        """The layer for an input `value`."""
        bare = next(layer.parameters(), None) is None
        why = "" if bare else find_obstacle(layer)
        if why:
            raise UnscalableError(why)
        if is_convolution(layer):
            return self._widen_convolution(layer, value.shape[1], last)
        if isinstance(layer, nn.Linear):
            out = layer.out_features if last else self.scale_channels(layer.out_features)
            return remake_layer(layer, in_features=value.shape[-1], out_features=out)  # type: ignore[no-any-return]
        if isinstance(layer, BATCH_NORM_KINDS):
            return remake_layer(layer, num_features=value.shape[1])  # type: ignore[no-any-return]
        if isinstance(layer, nn.LayerNorm) and len(layer.normalized_shape) == 1:
            return remake_layer(layer, normalized_shape=value.shape[-1])  # type: ignore[no-any-return]
        if not bare:
            raise UnscalableError(f"how wide a {type(layer).__name__} is to be is not known")
        return layer

    def _widen_convolution(self, layer: Any, inputs: int, last: bool) -> nn.Module:
        depthwise = 1 < layer.groups == layer.in_channels
        groups = inputs if depthwise else layer.groups
        out = inputs * layer.out_channels // layer.in_channels if depthwise else self.scale_channels(layer.out_channels)
        if inputs % groups:
            raise UnscalableError(f"{inputs} channels cannot be divided into its {groups} groups")
        out = layer.out_channels if last else out
        return remake_layer(layer, in_channels=inputs, out_channels=out, groups=groups)  # type: ignore[no-any-return]

    def scale_channels(self, channels: int) -> int:
        """So many channels times the factor."""
        step = self.channel_steps.get(channels, 1)
        step = math.lcm(step, 8) if channels % 8 == 0 else step
        return max(step, math.floor(channels * self.factor / step + 0.5) * step)


def _find_channel_steps(net: Draft) -> dict[int, int]:
    """By a number of channels: what it has to stay a multiple of, for the grouped convolutions that meet it."""
    steps: dict[int, int] = {}
    for _, _, layer in net.iterate_convolutions():
        if layer.groups < layer.in_channels:
            for channels in (layer.in_channels, layer.out_channels):
                steps[channels] = math.lcm(steps.get(channels, 1), layer.groups)
    return steps


def _count_outputs(layer: nn.Module) -> int | None:
    if isinstance(layer, CONVOLUTIONS):
        return int(layer.out_channels)
    return layer.out_features if isinstance(layer, nn.Linear) else None
