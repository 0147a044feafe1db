"""The cache of a decoder of transformers: the argument that takes it, where it comes back, and what it holds.

It is found by its class, since what it is called differs from model to model and from release to release: an argument
that takes a `Cache`, or else one that the forward gives back under the same name (a recurrent model's own class).
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from archprof.sources.hf.library import import_transformers


class HeldTensor(typing.NamedTuple):
    """One tensor of a cache: the layer it belongs to, its name there, and itself."""

    layer: int
    name: str
    value: torch.Tensor


def find_cache_argument(model: nn.Module) -> str | None:
    """The argument of `forward` that takes the cache; `None`: the model keeps none between its calls."""
    signature = _read_signature(model)
    annotations = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    by_class = (name for name, annotation in annotations.items() if _takes_cache(annotation))
    given_back = (
        name
        for name, annotation in annotations.items()
        if name in _list_returned_fields(signature) and not _is_one_tensor(annotation)
    )
    return next(by_class, None) or next(given_back, None)


def find_returned_cache(returned: Any, name: str) -> Any:
    """The cache among what a forward returned: by its class, or by the name of the argument; `None`: there is none."""
    values = returned.values() if isinstance(returned, Mapping) else ()
    by_class = next((value for value in values if isinstance(value, _cache_class())), None)
    found = by_class if by_class is not None else getattr(returned, name, None)
    return None if isinstance(found, list | tuple) else found  # bare states, of which none says what layer it is of


def make_position_arguments(model: nn.Module, cache: Any, seen: int) -> dict[str, torch.Tensor]:
    """Where the next token stands, for a cache that does not count its tokens: older recurrent models must be told."""
    counts = cache is None or hasattr(cache, "get_seq_length")
    if counts or "cache_position" not in _read_signature(model).parameters:
        return {}
    return {"cache_position": torch.tensor([seen], device="cpu")}


def list_cache_tensors(cache: Any) -> Iterator[HeldTensor]:
    """What a cache keeps, layer by layer; counters of tokens and places that hold nothing are not it."""
    held = _list_by_layer(cache.layers) if hasattr(cache, "layers") else _list_by_name(cache)
    return (each for each in held if each.value.dim() > 0 and each.value.numel() and each.value.is_floating_point())


def _list_by_layer(layers: Any) -> Iterator[HeldTensor]:
    """Of a cache that is a list of layers, each with its tensors, single or numbered."""
    for index, layer in enumerate(layers):
        for name, value in vars(layer).items():
            for tensor in _list_tensors(value):
                yield HeldTensor(index, name, tensor)


def _list_by_name(cache: Any) -> Iterator[HeldTensor]:
    """Of a cache that has a list or a dict for each kind of state, and in it the tensors of each layer."""
    held = []
    for name, states in vars(cache).items():
        numbered = states.items() if isinstance(states, dict) else enumerate(_as_list(states))
        for index, value in numbered:
            held += [HeldTensor(int(index), name, tensor) for tensor in _list_tensors(value)]
    return iter(sorted(held, key=lambda each: each.layer))


def _as_list(value: Any) -> Any:
    """A list or tuple; one tensor for all layers is cut into them."""
    if isinstance(value, torch.Tensor) and value.dim() > 0:
        return value.unbind(0)
    return value if isinstance(value, list | tuple) else ()


def _list_tensors(value: Any) -> list[torch.Tensor]:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else (value,)
    return [child for child in children if isinstance(child, torch.Tensor)]


def _read_signature(model: nn.Module) -> inspect.Signature:
    """The signature of the forward; annotations that are text are read where their names are known."""
    try:
        return inspect.signature(model.forward, eval_str=True)
    except Exception:  # an annotation may name what was imported for type checkers alone
        return inspect.signature(model.forward)


def _takes_cache(annotation: Any) -> bool:
    return any(isinstance(part, type) and issubclass(part, _cache_class()) for part in _list_parts(annotation))


def _is_one_tensor(annotation: Any) -> bool:
    """Whether an annotation allows tensors, plain values and nothing else: such an argument is no cache."""
    args = typing.get_args(annotation)
    kinds = [part for part in args or (annotation,) if part is not type(None)]
    return all(isinstance(kind, type) and issubclass(kind, torch.Tensor | int | float | str) for kind in kinds)


def _list_parts(annotation: Any) -> Iterator[Any]:
    """The classes of an annotation, through unions and containers."""
    args = typing.get_args(annotation)
    if not args:
        yield annotation
    for part in args:
        yield from _list_parts(part)


def _list_returned_fields(signature: inspect.Signature) -> set[str]:
    """The names of what a forward says that it returns."""
    kinds = [part for part in _list_parts(signature.return_annotation) if dataclasses.is_dataclass(part)]
    return {field.name for kind in kinds for field in dataclasses.fields(kind)}


def _cache_class() -> Any:
    import_transformers()
    from transformers.cache_utils import Cache

    return Cache
