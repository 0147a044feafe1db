"""The tensors that an object of any class holds: a distribution, a state, a closure."""

from __future__ import annotations

import gc
import types
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

MAX_OBJECTS = 20_000
"""Objects that are looked at: an output that holds more is none that a model makes in one pass."""

NEVER_ENTERED = (
    type, types.ModuleType, types.FrameType, types.CodeType, nn.Module, str, bytes, int, float, torch.dtype,
)  # fmt: skip
"""What leads to the model itself, or to all of Python."""

LAZY_ITERATORS = (types.GeneratorType, map, zip, filter)
"""What runs code of the model's only as it is asked for the next item."""


def find_held_tensors(root: Any) -> list[torch.Tensor]:
    """Every tensor that can be reached from an object, each once, in the order in which they are met.

    It is asked of the garbage collector what an object refers to, whatever its class keeps it in.
    """
    found, seen, waiting = [], {id(root)}, [root]
    while waiting and len(seen) < MAX_OBJECTS:
        value = waiting.pop(0)
        if isinstance(value, torch.Tensor):
            found.append(value)
            continue
        for part in _list_parts(value):
            if id(part) not in seen and not isinstance(part, NEVER_ENTERED):
                seen.add(id(part))
                waiting.append(part)
    return found


def _list_parts(value: Any) -> Iterator[Any]:
    """What an object refers to; of a function, what it was made with, and not its module."""
    if isinstance(value, types.FunctionType):
        yield from (*(value.__closure__ or ()), *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values())
    else:
        yield from gc.get_referents(value)


def drain_generators(output: Any) -> Any:
    """What a forward gives, with a generator in it run to its end: its work is the forward's."""
    if isinstance(output, LAZY_ITERATORS):
        return [drain_generators(item) for item in output]
    if type(output) in (list, tuple):
        return type(output)([drain_generators(item) for item in output])
    if type(output) is dict:
        return {key: drain_generators(item) for key, item in output.items()}
    return output
