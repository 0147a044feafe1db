"""Weights that are no `nn.Parameter`, and what a weight really takes.

Packed weights of quantised layers lie in objects of C++, those of frozen TorchScript in its graph, and a tensor of a
wrapper class holds others: the values in few bits, and their scales.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Literal

import torch
from torch import nn

from archprof.torchside.tensors import LAZY_KINDS, PLAIN_TENSOR_KINDS

OwnedRole = Literal["parameter", "buffer"]


PACKED_KINDS = frozenset((torch.ScriptObject,))


def list_tensors(module: nn.Module, *, hidden: bool = True) -> list[tuple[str, torch.Tensor, OwnedRole]]:
    """A module's own tensors, each with its name and role; without those of its submodules.

    Args:
        hidden: look for those that stand in no table of the module, too.
    """
    found: list[tuple[str, torch.Tensor, OwnedRole]] = []
    for name, parameter in module._parameters.items():
        if parameter is not None:
            found.append((name, parameter, "parameter"))
    for name, buffer in module._buffers.items():
        if buffer is not None:
            found.append((name, buffer, "buffer"))
    for place, tensor in enumerate(find_hidden_weights(module) if hidden and _may_hide_weights(module) else ()):
        found.append((f"(packed {place})", tensor, "parameter"))
    return found


def find_hidden_weights(module: nn.Module) -> Collection[torch.Tensor]:
    """The weights of a module that are in no table of it, each once; its submodules have their own."""
    held = _find_frozen_constants(module) if isinstance(module, torch.jit.ScriptModule) else _find_packed(module)
    return {tensor.data_ptr() or id(tensor): tensor for tensor in held}.values()


def _may_hide_weights(module: nn.Module) -> bool:
    return isinstance(module, torch.jit.ScriptModule) or not PACKED_KINDS.isdisjoint(map(type, vars(module).values()))


def has_scales(tensor: torch.Tensor) -> bool:
    """Whether a tensor may hold more than its elements: it is quantised, or of a wrapper class."""
    return type(tensor) not in PLAIN_TENSOR_KINDS or tensor.is_quantized


def count_tensor_bytes(tensor: torch.Tensor) -> int:
    """The bytes of a tensor's data: of what a wrapper holds, and with the scales of a quantised one."""
    flatten: Any = getattr(tensor, "__tensor_flatten__", None)
    if flatten is not None:
        names, _ = flatten()
        return sum(count_tensor_bytes(getattr(tensor, name)) for name in names)
    nbytes = tensor.numel() * tensor.element_size()
    if tensor.is_quantized and tensor.qscheme() in (torch.per_channel_affine, torch.per_channel_affine_float_qparams):
        scales, zeros = tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()
        nbytes += count_tensor_bytes(scales) + count_tensor_bytes(zeros)
    return nbytes


def _find_packed(module: nn.Module) -> Iterator[torch.Tensor]:
    for value in vars(module).values():
        if isinstance(value, torch.ScriptObject):
            yield from _unpack(value)


def _unpack(packed: Any) -> Iterator[torch.Tensor]:
    """What an object of C++ says that it holds; integers among it are sizes."""
    try:
        state = packed.__getstate__()
    except RuntimeError:  # a class that cannot be saved
        return
    for value in _list_leaves(state):
        if isinstance(value, torch.ScriptObject):
            yield from _unpack(value)
        elif isinstance(value, torch.Tensor) and (value.is_quantized or value.is_floating_point()):
            yield value.detach()


def _list_leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, tuple | list):
        for item in tree:
            yield from _list_leaves(item)
    elif isinstance(tree, dict):
        yield from _list_leaves(list(tree.values()))
    else:
        yield tree


def _find_frozen_constants(module: torch.jit.ScriptModule) -> Iterator[torch.Tensor]:
    """The weights that freezing wrote into the graph; a module that was not frozen has its own as attributes."""
    graph: Any = module.graph if next(module.parameters(), None) is None else None
    for node in graph.findAllNodes("prim::Constant") if graph is not None else ():
        if node.hasAttribute("value") and node.kindOf("value") == "t":
            tensor = node.t("value")
            if tensor.dim() > 0 and (tensor.is_quantized or tensor.is_floating_point()):
                yield tensor


def fill_lazy_weights(model: nn.Module, args: Any, kwargs: Any) -> None:
    """One forward of a model in which a layer waits for it to know the shapes of its weights."""
    if any(isinstance(one, LAZY_KINDS) for one in (*model.parameters(), *model.buffers())):
        with torch.no_grad():
            model(*args, **kwargs)
