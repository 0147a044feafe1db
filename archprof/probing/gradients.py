"""What came back for each parameter, and what the first step of an optimizer makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from archprof.errors import UsageError
from archprof.facts.probed import Gradient
from archprof.facts.records import Profile
from archprof.sources.optimizer_grammar import OptimizerSpec
from archprof.units import keep_finite


def list_trainable(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """The parameters that a step changes, each once, by their first names."""
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def index_parameters(profile: Profile) -> Mapping[str, int]:
    """The index of each parameter by all of its names."""
    return {name: at for at, one in enumerate(profile.parameters) for name in (one.name, *one.aliases)}


def measure_gradients(
    trainable: Sequence[tuple[str, nn.Parameter]], profile: Profile, optimizer: OptimizerSpec | None
) -> tuple[Gradient, ...]:
    """The norms of gradients, weights and updates. The optimizer, if there is one, takes its step."""
    known = index_parameters(profile)
    with torch.no_grad():
        found = {name: _measure(known[name], parameter) for name, parameter in trainable if name in known}
        updates = _step(trainable, optimizer) if optimizer is not None else {}
    return tuple(sorted(one._replace(update_norm=updates.get(name)) for name, one in found.items()))


def _measure(index: int, parameter: nn.Parameter) -> Gradient:
    gradient = parameter.grad
    weight = measure_norm(parameter.detach())
    if gradient is None:
        return Gradient(index, None, weight)
    if gradient.is_sparse:
        gradient = gradient.to_dense()
    bad = gradient.numel() - int(gradient.isfinite().sum())
    return Gradient(index, measure_norm(gradient), weight, nonfinite=bad)


def measure_norm(tensor: torch.Tensor) -> float | None:
    """Euclidean, summed in float64; `None` where it is not finite."""
    return keep_finite(float(torch.linalg.vector_norm(tensor, dtype=torch.float64)))


def _step(trainable: Sequence[tuple[str, nn.Parameter]], optimizer: OptimizerSpec) -> dict[str, float | None]:
    """Take the first step; the norm of what it added to each parameter."""
    before = {name: parameter.detach().clone() for name, parameter in trainable}
    with torch.enable_grad():
        try:
            optimizer.kind([parameter for _, parameter in trainable], **optimizer.options).step()
        except (TypeError, ValueError, RuntimeError) as error:  # it asks for a closure, or for other parameters
            raise UsageError(
                f"{optimizer.kind.__name__} takes no step after one backward pass: {error}",
                "An optimizer whose step needs nothing but gradients: sgd, adamw, …",
            ) from error
    return {name: measure_norm(parameter.detach() - before.pop(name)) for name, parameter in trainable}
