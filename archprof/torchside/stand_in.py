"""A stand-in for a user's module: same structure and code, other tensors.

Tracing the twin instead of the model is what makes archprof harmless: hooks, train flags, batch
norm statistics and caches all change on an object that is thrown away, so there is nothing to
restore when forward raises or the user presses Ctrl-C.
"""

from __future__ import annotations

import copy
import queue
import threading
import types
from collections import ChainMap, OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import torch
from torch import nn

from archprof.torchside.copiers import COPIER_BY_KIND
from archprof.torchside.module_walk import walk_modules
from archprof.torchside.objects import copy_shallow, find_slots, is_only_attributes
from archprof.torchside.private import CALL_ENTRY, MODULE_TABLES, unwrap_compiled
from archprof.torchside.sharding import (
    SHARDED_NOTE,
    drop_distributed,
    find_plain_class,
    is_sharded,
    make_whole,
    refuse_flat_parameters,
)
from archprof.torchside.tensors import LAZY_KINDS, META_DEVICE, PLAIN_TENSOR_KINDS, has_values

MAX_KEPT_ELEMENTS = 64 * 1024
"""Integer and boolean tensors up to this many elements keep their values on meta: code may branch on them."""

ATOMIC_KINDS = {
    type(None), bool, int, float, complex, str, bytes, type, range, slice, type(Ellipsis), torch.Size,
    torch.dtype, torch.device, torch.layout, torch.memory_format, types.ModuleType, property,
}  # fmt: skip

CONTAINER_KINDS = {list, dict, OrderedDict, set, tuple}

KERNEL_PACKAGES = ("triton.", "torch._higher_order_ops.triton_kernel_wrap")
"""Where kernels of Triton, and what torch wraps around them, have their classes."""

HOOK_TABLES = frozenset(name for name, value in vars(nn.Module()).items() if type(value) is OrderedDict)
"""Where a module keeps its hooks: eleven tables, nearly always empty, which the garbage collector walks one by one."""

REGISTRY_TABLES = frozenset(MODULE_TABLES)


MEETING_KINDS = (
    threading.Thread, threading.Barrier, threading.Condition, threading.Event, threading.Semaphore, queue.Queue,
    Executor, Future,
)  # fmt: skip
"""What threads meet at: a copy would wait for those that are at the original."""


class HookWanted(BaseException):
    """A module of a twin that takes no hooks was given one. No `except Exception` of a model hides it."""


class _RefusingHookTable(OrderedDict[int, Any]):
    """The one empty table in the place of all empty tables of hooks."""

    def __setitem__(self, key: int, value: Any) -> None:
        raise HookWanted


def make_stand_in(
    model: nn.Module,
    *,
    device: str = "meta",
    dtype: torch.dtype | None = None,
    hooks: bool = True,
    notes: list[str] | None = None,
) -> nn.Module:
    """A copy of `model` whose tensors live on `device`; `model` is only read.

    Parameters and buffers that are shared stay shared. On "meta" no memory is taken; on other devices values
    are copied (zeros where the model itself is on meta). Floating tensors take `dtype` where it is
    given. What `torch.compile` or a data-parallel wrapper holds stands in the wrapper's place: the plain
    forward is what is counted.

    Args:
        hooks: whether hooks can be added to the copy. One that takes none is made faster; a module of it that is
            given one raises `HookWanted`.
        notes: gets a sentence on what is not as in the model.
    """
    copies = _StandIns(device, dtype, None if hooks else _RefusingHookTable())
    made = copies.copy_model(model)
    if copies.has_sharded and notes is not None and SHARDED_NOTE not in notes:
        notes.append(SHARDED_NOTE)
    return made


class _StandIns:
    """The copies made so far, by the id of the original: the memo that `copy.deepcopy` also reads."""

    def __init__(self, device: str, dtype: torch.dtype | None, unhooked: _RefusingHookTable | None) -> None:
        self.device, self.dtype, self.refusing_table = torch.device(device), dtype, unhooked
        self.on_meta = self.device == META_DEVICE
        self.memo: dict[int, Any] = {}
        self.slots_by_kind: dict[type, tuple[str, ...]] = {}
        self.plain_classes: dict[type, type] = {}  # of the modules that are neither TorchScript nor wrappers
        self.empty_hook_tables = dict.fromkeys(HOOK_TABLES, unhooked)
        self.has_sharded = False
        self.kept_memos: list[Any] = []  # kept alive, since their ids are keys of the memo

    def copy_model(self, model: nn.Module) -> nn.Module:
        model = _unwrap(model)
        with torch.no_grad():
            self.copy_modules(model)
        return self.memo[id(model)]  # type: ignore[no-any-return]

    def copy_modules(self, root: nn.Module) -> None:
        # Every registered tensor and module gets its twin first, so that a reference to it from
        # inside any other object finds the twin and not a second copy.
        plain = []
        for _, module in walk_modules(root):
            if id(module) in self.memo or (type(module) not in self.plain_classes and self.copy_if_special(module)):
                continue
            for table in (module._parameters, module._buffers):
                for tensor in table.values():
                    if tensor is not None and id(tensor) not in self.memo:
                        self.memo[id(tensor)] = self.make_tensor_like(tensor)
            self.memo[id(module)] = object.__new__(self.plain_classes[type(module)])
            plain.append(module)
        for module in plain:
            self.fill_module(module)

    def copy_if_special(self, module: nn.Module) -> bool:
        """Make the twin of a TorchScript module or a wrapper; of any other class, remember that it is neither."""
        inner = _unwrap(module)
        if isinstance(module, torch.jit.ScriptModule):
            self.copy_script_module(module)
        elif inner is not module:
            self.copy_modules(inner)
            self.memo[id(module)] = self.memo[id(inner)]
        else:
            refuse_flat_parameters(module)
            self.plain_classes[type(module)] = find_plain_class(type(module))
        return type(module) not in self.plain_classes

    def fill_module(self, module: nn.Module) -> None:
        memo, own, state = self.memo, module.__dict__, self.memo[id(module)].__dict__
        hooked = any(map(own.get, HOOK_TABLES))
        if hooked or self.plain_classes.get(type(module)) is not type(module):  # torch.distributed leaves one of these
            own = drop_distributed(own)
            hooked = any(map(own.get, HOOK_TABLES))
        state.update(own)
        unhooked = self.refusing_table is not None and not hooked
        if unhooked:  # most of a module's attributes are empty tables of hooks
            state.update(self.empty_hook_tables)
        for name, value in own.items():
            kind = type(value)
            if kind in ATOMIC_KINDS or (unhooked and name in HOOK_TABLES):
                continue
            if kind is tuple and ATOMIC_KINDS.issuperset(map(type, value)):
                continue  # sizes of kernels and the like, which nobody can change
            if kind in CONTAINER_KINDS and not value:
                state[name] = kind()
            elif name in REGISTRY_TABLES:
                state[name] = {key: None if item is None else memo[id(item)] for key, item in value.items()}
            else:
                state[name] = self.copy_value(value)
        state.pop(CALL_ENTRY, None)  # made by module.compile()
        kind = type(module)
        if kind not in self.slots_by_kind:
            self.slots_by_kind[kind] = find_slots(kind)
        for name in self.slots_by_kind[kind]:
            if hasattr(module, name):
                object.__setattr__(memo[id(module)], name, self.copy_value(getattr(module, name)))

    def copy_value(self, value: Any) -> Any:
        """The twin of anything that a module may hold."""
        kind = type(value)
        if kind in ATOMIC_KINDS:
            return value
        if id(value) in self.memo:
            return self.memo[id(value)]
        rebuild = COPIER_BY_KIND.get(kind)
        if rebuild is not None:
            return rebuild(self, value)
        if isinstance(value, torch.Tensor):
            return self.copy_tensor(value)
        if isinstance(value, nn.Module):
            self.copy_modules(value)  # held in a plain list or attribute of another object
            return self.memo[id(value)]
        return self.copy_unknown(value)

    def copy_tensor(self, tensor: torch.Tensor) -> torch.Tensor:
        known = self.memo.get(id(tensor))
        if known is None:
            known = self.memo[id(tensor)] = self.make_tensor_like(tensor)
        return known

    def make_tensor_like(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor of the same shape, strides and class on the other device."""
        kind = type(tensor)
        if kind in LAZY_KINDS:
            return kind(device=self.device, dtype=self.dtype or tensor.dtype)  # type: ignore[call-arg]
        new = self.make_data_like(tensor)
        if kind is nn.Parameter:
            new.__class__ = nn.Parameter  # as a lazy one becomes one in torch; its constructor makes a second tensor
            if tensor.requires_grad:
                new.requires_grad = True
        elif isinstance(tensor, nn.Parameter):
            new = nn.Parameter(new, tensor.requires_grad)
        elif tensor.requires_grad:
            new.requires_grad_()
        marks = getattr(tensor, "__dict__", None)
        if marks and not is_sharded(tensor):
            new.__dict__.update({name: self.copy_value(value) for name, value in marks.items()})
        return new

    def make_data_like(self, tensor: torch.Tensor) -> torch.Tensor:
        """The bare values, or on meta their place; a small integer tensor of the model's keeps its values there."""
        floating = tensor.is_floating_point()
        dtype = self.dtype if floating and self.dtype is not None else tensor.dtype
        is_plain = type(tensor) in PLAIN_TENSOR_KINDS
        if floating and is_plain and self.on_meta and tensor.layout is torch.strided:  # as nearly all are
            return torch.empty_strided(tensor.size(), tensor.stride(), dtype=dtype, device=META_DEVICE)
        if not is_plain and is_sharded(tensor):
            self.has_sharded = True
            return make_whole(tensor, dtype, self.device)
        if not self.on_meta:
            if tensor.is_meta or not has_values(tensor):
                return torch.zeros(tensor.shape, dtype=dtype, device=self.device)
            return tensor.detach().to(self.device, dtype, copy=True)
        if not is_plain or tensor.layout is not torch.strided or tensor.is_quantized:
            return tensor.detach().to(META_DEVICE)
        few = not (floating or tensor.is_complex()) and tensor.numel() <= MAX_KEPT_ELEMENTS
        if few and has_values(tensor):
            return tensor.detach().to("cpu", copy=True)
        return torch.empty_strided(tensor.size(), tensor.stride(), dtype=dtype, device=META_DEVICE)

    def copy_script_module(self, module: nn.Module) -> None:
        """A TorchScript module: copied as it is, with other tensors put in."""
        new = copy.deepcopy(module)
        for old, mine in zip(module.modules(), new.modules(), strict=True):
            self.memo[id(old)] = mine
            for table in (old.named_parameters(recurse=False), old.named_buffers(recurse=False)):
                for name, tensor in table:
                    setattr(mine, name, self.copy_tensor(tensor))

    def copy_unknown(self, value: Any) -> Any:
        """An object of a class we know nothing of: copied if it can be, shared if it cannot."""
        if type(value).__module__.startswith(KERNEL_PACKAGES):
            return value  # torch keeps a table of them, by identity
        if hasattr(type(value), "__del__") or isinstance(value, MEETING_KINDS):
            return value  # the end of a copy would close what it holds, or nobody would come to it
        ways = (
            (self.copy_attributes, self.copy_deep)
            if is_only_attributes(value)
            else (self.copy_deep, self.copy_attributes)
        )
        if not any(self.can_copy(way, value) for way in ways):
            self.memo[id(value)] = value
        return self.memo[id(value)]

    def can_copy(self, way: Callable[[Any], Any], value: Any) -> bool:
        """Whether `way` could copy the object; its copy is then in the memo."""
        try:
            self.memo[id(value)] = way(value)
        except Exception:  # a lock, a file, a generator, or something that holds one
            self.memo.pop(id(value), None)
            return False
        return True

    def copy_attributes(self, value: Any) -> Any:
        """A copy with a twin of each attribute, and of each item of a dict."""
        new = self.memo[id(value)] = copy_shallow(value)
        if isinstance(value, dict):
            dict.update(new, {key: self.copy_value(item) for key, item in value.items()})
        for name, item in vars(value).items():
            vars(new)[name] = self.copy_value(item)
        return new

    def copy_deep(self, value: Any) -> Any:
        """A deep copy; a failed one leaves no half-made objects in the memo."""
        tried: ChainMap[int, Any] = ChainMap({}, self.memo)
        new = copy.deepcopy(value, tried)  # type: ignore[arg-type]
        self.memo.update(tried.maps[0])
        self.kept_memos.append(tried)
        return new


def _unwrap(module: nn.Module) -> nn.Module:
    """What `torch.compile` or a data-parallel wrapper holds; asked without an import of the compiler."""
    while True:
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            module = module.module
        elif (inner := unwrap_compiled(module)) is not None:
            module = inner
        else:
            return module
