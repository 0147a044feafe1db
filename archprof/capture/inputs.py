"""What goes into a model: from what a user gives to the tensors of a pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch

from archprof.capture.input_spec import InputSpec, is_floating, parse_input
from archprof.errors import UsageError

SMALL = 2**20
"""Elements up to which integer and bool tensors stay real on a meta pass: code may read masks and token ids."""


class Inputs(NamedTuple):
    """The arguments of one forward: trees of `InputSpec`, plain values, and small integer and bool tensors."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def normalise(inputs: Any) -> Inputs:
    """Bring what a user gives as inputs into `(args, kwargs)`.

    Args:
        inputs: one input, a tuple or list of them (positional; a spec with a name goes to the keywords),
            or a dict of them (keywords). An input is a tensor, a tuple of ints (an exact shape), a string in
            the grammar of `--input`, an `InputSpec`, a plain Python value, or a list, tuple or dict of inputs.

    Returns:
        The arguments, in which a small integer or bool tensor keeps its values.
    """
    if isinstance(inputs, Mapping):
        return Inputs((), {str(name): _named(str(name), _leaf(value)) for name, value in inputs.items()})
    if isinstance(inputs, list) and _is_shape(tuple(inputs)):
        inputs = tuple(inputs)
    several = isinstance(inputs, (tuple, list)) and not _is_shape(inputs)
    values = [_leaf(value) for value in (inputs if several else [inputs])]
    args = tuple(value for value in values if not (isinstance(value, InputSpec) and value.name))
    named = [value for value in values if isinstance(value, InputSpec) and value.name]
    kwargs = {str(value.name): value for value in named}
    if len(kwargs) < len(named):
        raise UsageError(f"An input name is given twice: {', '.join(map(str, named))}.", "Each name once.")
    return Inputs(args, kwargs)


def _named(name: str, value: Any) -> Any:
    return replace(value, name=name) if isinstance(value, InputSpec) else value


def floats_follow(tree: Any) -> Any:
    """The same inputs, with shapes in the place of floating tensors: these take the dtype of the pass."""
    if isinstance(tree, torch.Tensor):
        return InputSpec(tuple(tree.shape)) if tree.is_floating_point() else tree
    return _descend(tree, floats_follow)


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(type(size) is int for size in value)


def _leaf(value: Any) -> Any:
    """One input with its strings, shapes and tensors read; containers keep their form."""
    if isinstance(value, str):
        return parse_input(value)
    if isinstance(value, torch.Tensor):
        return value if _keeps_values(value) else spec_of(value)
    if _is_shape(value):
        return InputSpec(tuple(value))
    return _descend(value, _leaf)


def _descend(value: Any, function: Callable[[Any], Any]) -> Any:
    """`function` of each child of a container; anything else comes back as it is."""
    if isinstance(value, Mapping):
        return {key: function(item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(function, value))
    if isinstance(value, (tuple, list)):
        return type(value)(map(function, value))
    return value


def _keeps_values(tensor: torch.Tensor) -> bool:
    counts = not tensor.is_floating_point() and not tensor.is_complex()
    return counts and not tensor.is_meta and tensor.numel() <= SMALL


def spec_of(tensor: torch.Tensor) -> InputSpec:
    """The exact shape and dtype of a tensor."""
    return InputSpec(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))


def specs(tree: Any) -> Iterator[InputSpec]:
    """The leaves of a tree of inputs that stand for tensors."""
    if isinstance(tree, InputSpec):
        yield tree
    elif isinstance(tree, Mapping):
        for value in tree.values():
            yield from specs(value)
    elif isinstance(tree, (tuple, list)):
        for value in tree:
            yield from specs(value)


def describe(tree: Any) -> str:
    """One argument in the grammar of `--input`: "3x224x224", "[[3,800,800]]", "{mask: bool[1,8]}", "None"."""
    if isinstance(tree, torch.Tensor):
        tree = spec_of(tree)
    if isinstance(tree, InputSpec):
        return str(replace(tree, name=None))
    if isinstance(tree, Mapping):
        return f"{{{', '.join(f'{key}: {describe(value)}' for key, value in tree.items())}}}"
    if isinstance(tree, (tuple, list)):
        return f"[{', '.join(map(describe, tree))}]"
    return repr(tree)


def materialise(tree: Any, *, device: Literal["meta", "cpu"], batch: int, dtype: str) -> Any:
    """The same tree with a tensor for every leaf that stands for one; the global generator is not touched.

    Args:
        device: "meta" gives tensors without data, but integers and bools up to `SMALL` elements stay real, so that
            code may branch on them; "cpu" gives normal floats, and integers in their range (zeros without one).
        batch: the size put in front of batched inputs.
        dtype: torch's name of the dtype of inputs that have none of their own.
    """
    generator = torch.Generator("cpu").manual_seed(0)

    def make(leaf: Any) -> Any:
        if isinstance(leaf, InputSpec):
            return _tensor(leaf, device, batch, dtype, generator)
        if isinstance(leaf, torch.Tensor):
            return leaf.detach().to("cpu", copy=True)
        return _descend(leaf, make)

    return make(tree)


def _tensor(spec: InputSpec, device: str, batch: int, dtype: str, generator: torch.Generator) -> torch.Tensor:
    shape, name = spec.full_shape(batch), spec.dtype or dtype
    kind: torch.dtype = getattr(torch, name)
    if device == "meta" and (is_floating(name) or math.prod(shape) > SMALL):
        return torch.empty(shape, dtype=kind, device="meta")
    if is_floating(name):
        wide = torch.complex64 if name.startswith("complex") else torch.float32
        return torch.randn(shape, generator=generator, dtype=wide, device="cpu").to(kind)
    if spec.high is None:
        return torch.zeros(shape, dtype=kind, device="cpu")
    return torch.randint(spec.high, shape, generator=generator, device="cpu").to(kind)
