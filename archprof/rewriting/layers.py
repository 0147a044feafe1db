"""Layers of torch.nn as constructor calls: which class, which arguments, and the same again with others."""

from __future__ import annotations

import inspect
from typing import Any, TypeGuard

import torch
from torch import nn

from archprof.errors import ArchprofError

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
BATCH_NORM_KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
NORMS = (
    *BATCH_NORM_KINDS,
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    nn.GroupNorm,
    nn.LayerNorm,
)  # local response normalisation is none of these: it has no parameters and does not replace batch norm
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED_CONVOLUTIONS = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
BATCH_NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
GLOBAL_POOLS = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU, "relu6": nn.ReLU6, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "selu": nn.SELU, "celu": nn.CELU,
    "gelu": nn.GELU, "silu": nn.SiLU, "mish": nn.Mish, "hardswish": nn.Hardswish, "hardtanh": nn.Hardtanh,
    "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "softplus": nn.Softplus,
}  # fmt: skip
"""The activations that are known, by the name of their function."""


def is_convolution(module: nn.Module | None) -> TypeGuard[nn.Conv1d | nn.Conv2d | nn.Conv3d]:
    return isinstance(module, CONVOLUTIONS)


def layer_class(module: nn.Module) -> type[nn.Module] | None:
    """The class of torch.nn (or torchvision.ops) whose forward this module runs; `None` if it has its own."""
    for base in type(module).__mro__:
        if base.__module__.startswith("torch.nn.modules.") or base.__module__ == "torchvision.ops.stochastic_depth":
            own = all(_shares_method(type(module), base, name) for name in ("forward", "_conv_forward"))
            return base if own and base is not nn.Module and base not in CONTAINERS else None
    return None


def _shares_method(kind: type, base: type, name: str) -> bool:
    return getattr(kind, name, None) is getattr(base, name, None)


def read_arguments(module: nn.Module) -> dict[str, Any]:
    """What its class is called with to make the same layer, without those that have their default.

    Raises:
        ArchprofError: the layer does not keep what it was made with.
    """
    kind = layer_class(module)
    assert kind is not None
    found = {}
    for name, parameter in _list_parameters(kind).items():
        value = _read_argument(module, name)
        value = _shorten_tuple(value) if isinstance(module, CONVOLUTIONS + TRANSPOSED_CONVOLUTIONS) else value
        if value is not _MISSING and not _is_default(value, parameter.default):
            found[name] = value
    try:
        same = _describe_layer(_make_layer(kind, found, module)) == _describe_layer(module)
    except (TypeError, ValueError):
        same = False
    if not same:
        raise ArchprofError(f"A {type(module).__name__} does not keep what it was made with.")
    return found


def find_obstacle(module: nn.Module) -> str:
    """Why a layer cannot be made again with other arguments, or ""."""
    try:
        read_arguments(module)
    except ArchprofError:
        return f"a {type(module).__name__} does not keep what it was made with"
    return ""


def remake_layer(module: nn.Module, **changes: Any) -> Any:
    """The same layer with other arguments, without values; its dtype and mode stay, and what is frozen."""
    kind = layer_class(module)
    assert kind is not None
    return _make_layer(kind, {**read_arguments(module), **changes}, module)


def _make_layer(kind: type[nn.Module], values: dict[str, Any], like: nn.Module) -> nn.Module:
    with torch.device("meta"):
        new = kind(**values)
    floating = next((tensor.dtype for tensor in like.parameters() if tensor.is_floating_point()), None)
    known = dict(like.named_parameters())
    for name, parameter in new.named_parameters():
        parameter.requires_grad_(known[name].requires_grad if name in known else _is_trainable(like))
    return new.to(floating).train(like.training)


def _is_trainable(module: nn.Module) -> bool:
    """Whether not all parameters are frozen."""
    parameters = list(module.parameters())
    return not parameters or any(parameter.requires_grad for parameter in parameters)


_MISSING = object()


def _list_parameters(kind: type[nn.Module]) -> dict[str, inspect.Parameter]:
    recurrent = issubclass(kind, nn.RNNBase)
    signature = inspect.signature(nn.RNNBase.__init__ if recurrent else kind.__init__)
    skipped = {"self", "device", "dtype", *(["mode"] if recurrent else [])}
    return {name: parameter for name, parameter in signature.parameters.items() if name not in skipped}


def _read_argument(module: nn.Module, name: str) -> Any:
    """The argument `name`, read from the attribute that keeps it."""
    if isinstance(module, nn.MultiheadAttention) and name in ("bias", "add_bias_kv"):
        return (module.in_proj_bias if name == "bias" else module.bias_k) is not None
    value = getattr(module, name, _MISSING)
    if name == "bias" and not isinstance(value, bool):
        return value is not None
    return value


def _is_default(value: Any, default: Any) -> bool:
    return type(value) is type(default) and bool(value == default)


def _shorten_tuple(value: Any) -> Any:
    """(3, 3) as 3."""
    return value[0] if isinstance(value, tuple) and value and len(set(value)) == 1 else value


def _describe_layer(module: nn.Module) -> tuple[str, dict[str, torch.Size]]:
    return module.extra_repr(), {name: tensor.shape for name, tensor in module.state_dict().items()}
