"""Blocks of a model that keep nothing for the backward pass and run again there, as under torch's checkpoint."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from types import MethodType, SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from archprof.errors import UnknownName, UsageError
from archprof.torchside.private import COMPILER_ENTRY
from archprof.tracing.calls import Calls
from archprof.wording import name_few

run_checkpointed = inspect.unwrap(checkpoint)
"""Without the mark for torch's compiler, at whose sight it would be imported."""

REPEAT_FUNCTION = "_run_fn_with_dynamo_disabled"
"""Which of torch.utils.checkpoint runs a block again; in a torch that has no such function, none needs the compiler."""

MARK = "_archprof_checkpointed"
NAMED_BLOCKS = 4


def checkpoint_blocks(model: nn.Module, patterns: Iterable[str], name: str) -> None:
    """Change the model so that calls of the blocks are checkpointed.

    Args:
        model: traced and thrown away; a second time changes nothing.
        patterns: paths of modules, such as "layer1.0" or "layer?.*", where * stands for any text. Inside a block that
            matches, none is checkpointed once more.
        name: of the model, in an error.

    Raises:
        UsageError: there is no block, or a pattern matches nothing that is called.
    """
    blocks = dict(_list_blocks(model))
    if not blocks:
        raise UsageError(f"{name} has no block to checkpoint.", "It is one layer itself.")
    found: dict[str, nn.Module] = {}
    for pattern in patterns:
        matching = [path for path in blocks if fnmatchcase(path, pattern)]
        if not matching:
            raise UnknownName(f"block of {name} to checkpoint", pattern, blocks)
        found |= {path: blocks[path] for path in matching}
    for path, block in found.items():
        if not any(path.startswith(f"{outer}.") for outer in found):
            _change_class(block)


def is_checkpointed(module: nn.Module) -> bool:
    return MARK in vars(type(module))


def _list_blocks(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """What can be called: lists of modules cannot, and TorchScript is compiled."""
    uncalled = nn.Module.forward
    for path, module in model.named_modules():
        if path and type(module).forward is not uncalled and not isinstance(module, torch.jit.ScriptModule):
            yield path, module


def _change_class(module: nn.Module) -> None:
    """A class of its own, whose call is checkpointed: hooks, paths and attributes stay what they are."""
    kind = type(module)
    if is_checkpointed(module):
        return

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return run_checkpointed(MethodType(kind.__call__, self), *args, use_reentrant=False, **kwargs)

    names = {"__call__": call, MARK: True, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    make_class: Any = type(kind)
    module.__class__ = make_class(kind.__name__, (kind,), {**names, "__slots__": ()})


class _SleepingCompiler:
    """Tells torch's checkpoint what it asks torch's compiler, whose import takes seconds; anything else wakes it."""

    config = SimpleNamespace(error_on_nested_fx_trace=True)
    disable = staticmethod(lambda function: function)

    def __getattr__(self, name: str) -> Any:
        # The compiler's own files, too, look themselves up as an attribute of torch: it must not be this object.
        vars(torch).pop("_dynamo", None)
        import torch._dynamo as compiler

        return getattr(compiler, name)


@contextmanager
def compiler_asleep() -> Iterator[None]:
    """Inside, a checkpoint does not import the compiler."""
    if "torch._dynamo" in sys.modules:
        yield
        return
    place, stands_in = vars(torch), _SleepingCompiler()
    repeat = inspect.unwrap(vars(sys.modules[checkpoint.__module__]).get(REPEAT_FUNCTION, checkpoint))
    place["_dynamo"] = stands_in
    vars(repeat)[COMPILER_ENTRY] = repeat
    try:
        yield
    finally:
        if place.get("_dynamo") is stands_in:
            del place["_dynamo"]
        del vars(repeat)[COMPILER_ENTRY]


def list_checkpoint_notes(calls: Calls) -> Iterator[str]:
    """Which blocks run again in the backward, and of which that is asked in vain."""
    blocks = [node for node in calls.nodes.values() if is_checkpointed(node.module)]
    for words, nodes in (
        ("Checkpointed, so that they run again in the backward", [node for node in blocks if node.call_rows]),
        ("Never called, so that there is nothing to checkpoint", [node for node in blocks if not node.call_rows]),
    ):
        if nodes:
            yield f"{words}: {name_few([node.path for node in nodes], NAMED_BLOCKS)}."
