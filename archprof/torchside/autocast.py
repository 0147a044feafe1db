"""Autocast over the tensors of a pass, by CUDA's rules or the CPU's.

Torch's own acts by the device that a tensor is on, so that it leaves tensors on meta alone, and is not to be had for
CUDA where there is none. Here the same rules are registered under two keys of torch's dispatcher that have no device of
their own today. Each is switched on in the thread that enters `torch.autocast`, and sees every op where torch's own key
would: above autograd, and above what composite ops are made of.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch

from archprof.torchside.dispatch import make_key_guard, switch_dispatch_key
from archprof.torchside.private import DisableTorchFunction, is_view

Tensor = torch.Tensor

KEYS = {"cuda": "AutocastIPU", "cpu": "AutocastHPU"}
"""The dispatch key under which the rules of a device are registered."""

OTHER_DEVICES = frozenset(("meta", "xpu", "mps"))
"""What stands for the device of the pass where code asks for autocast: XPUs have CUDA's rules, too."""

_modes: Any = torch.amp.autocast_mode
_REPLACED: list[tuple[Any, str]] = [
    *((torch, f"{verb}_autocast_{what}") for verb, what in (("is", "enabled"), ("set", "enabled"))),
    (torch, "get_autocast_dtype"), (torch, "set_autocast_dtype"), (torch, "clear_autocast_cache"),
    (torch.amp, "is_autocast_available"), (_modes, "is_autocast_available"), (_modes, "_cast"),
    (torch.autocast, "__init__"),
]  # fmt: skip
"""What is torch's own outside a pass."""


class AutocastState:
    """Torch's functions of autocast, and whether it is on, to be put back."""

    def __init__(self) -> None:
        self._functions = [(owner, name, vars(owner)[name]) for owner, name in _REPLACED]
        self._on = {device: (torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)) for device in KEYS}
        self._ruling, self._nesting = PassAutocast.ruling, _count_nesting()

    def restore(self) -> None:
        for owner, name, function in self._functions:
            setattr(owner, name, function)
        for device, (enabled, dtype) in self._on.items():
            torch.set_autocast_enabled(device, enabled)
            torch.set_autocast_dtype(device, dtype)
        _set_nesting(self._nesting)
        if PassAutocast.ruling is not self._ruling:
            PassAutocast.ruling = self._ruling
            _switch_keys(self._ruling.rules if self._ruling is not None else None)


def _count_nesting() -> int:
    """How many contexts of autocast this thread is in; the outermost drops the cache."""
    torch.autocast_increment_nesting()
    return torch.autocast_decrement_nesting()


def _set_nesting(depth: int) -> None:
    change = depth - _count_nesting()
    for _ in range(abs(change)):
        torch.autocast_increment_nesting() if change > 0 else torch.autocast_decrement_nesting()


class PassAutocast:
    """Autocast in one pass.

    Attributes:
        device: whose rules hold where the code names no device with rules of its own: "cuda" or "cpu". Unless it is
            `asked` for, a model that names one of these changes it.
        acted: with which rules, and in which dtypes.
    """

    ruling: PassAutocast | None = None  # that of the pass that runs

    def __init__(self, device: str = "cuda", *, on_meta: bool = True, asked: bool = False) -> None:
        """Args:
        on_meta: the tensors are; real ones on the CPU are left to torch, by the CPU's rules.
        asked: by the user, for this device, and not only by what the model does itself.
        """
        self.device, self.on_meta, self.asked = device, on_meta, asked
        self._stands_for = OTHER_DEVICES if on_meta or not asked else OTHER_DEVICES | {"cpu"}
        self.acted: dict[tuple[str, torch.dtype], None] = {}
        self._cache: dict[int, tuple[weakref.ref[Tensor], Tensor]] = {}
        self._is_enabled, self._get_dtype = torch.is_autocast_enabled, torch.get_autocast_dtype

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Inside, autocast acts where the pass enters it, and the caller's own does not."""
        before = AutocastState()
        PassAutocast.ruling = self
        try:
            for owner, name in _REPLACED:
                setattr(owner, name, _find_replacement(name, vars(owner)[name]))
            for device in KEYS:
                torch.set_autocast_enabled(device, False)
            _set_nesting(0)
            yield
        finally:
            self._cache.clear()
            before.restore()

    def turn_on(self, dtype: str | None) -> AbstractContextManager[object]:
        """Inside, autocast is on, as around the forward in a training loop; as it is for `None`."""
        return nullcontext() if dtype is None else torch.autocast(self.device, getattr(torch, dtype))

    @property
    def rules(self) -> str | None:
        """The device whose rules hold now, on this thread; `None` where autocast is off, or left to torch."""
        for device in (self.device, *KEYS):
            if self._is_enabled(device) and (device == "cuda" or self.on_meta):
                return device
        return None

    @property
    def dtype(self) -> torch.dtype:
        return self._get_dtype(self.rules or self.device)

    def is_eligible(self, tensor: Tensor) -> bool:
        """Whether autocast takes part in what happens to a tensor; on a GPU, not in that of a scalar of the CPU."""
        here = tensor.is_meta or not self.on_meta or tensor.dim() > 0 or self.rules == "cpu"
        return here and tensor.is_floating_point() and tensor.dtype != torch.float64

    def cast(self, tensor: Tensor, dtype: torch.dtype) -> Tensor:
        """A tensor in a dtype; weights are cast once for as long as autocast lasts."""
        if tensor.dtype == dtype or not self.is_eligible(tensor):
            return tensor
        if not (dtype == self.dtype and tensor.dtype == torch.float32 and _is_weight(tensor)):
            return tensor.to(dtype)
        known = self._cache.get(id(tensor))
        if known is None or known[0]() is not tensor:
            known = self._cache[id(tensor)] = weakref.ref(tensor), tensor.to(dtype)
        return known[1]

    def translate(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Arguments of a function that takes the type of a device."""
        if args and args[0] in self._stands_for:
            return (self.device, *args[1:]), kwargs
        if kwargs.get("device_type") in self._stands_for:
            return args, {**kwargs, "device_type": self.device}
        return args, kwargs

    def note_dtype(self) -> None:
        for device in (self.device, *KEYS):
            if self._is_enabled(device):
                self.acted[device, self._get_dtype(device)] = None
                self.device = self.device if self.asked else device
                return

    def switch_keys(self) -> None:
        """Let the rules that hold now hold for torch, too."""
        _switch_keys(self.rules)

    def clear_cache(self) -> None:
        self._cache.clear()


def _translate_device(original: Any, after: Callable[[PassAutocast], None] | None = None) -> Any:
    """A function that takes the type of a device: of the pass that runs, if one does."""

    def call(*args: Any, **kwargs: Any) -> Any:
        ruling = PassAutocast.ruling
        if ruling is None:
            return original(*args, **kwargs)
        args, kwargs = ruling.translate(args, kwargs)
        result = original(*args, **kwargs)
        if after is not None:
            after(ruling)
        return result

    return call


def _clear_cache(original: Any) -> Any:
    def clear() -> None:
        if PassAutocast.ruling is not None:
            PassAutocast.ruling.clear_cache()
        original()

    return clear


def _cast_inputs(original: Any) -> Any:
    """What `torch.amp.custom_fwd` casts inputs by, which are on no device of that name."""

    def cast(value: Any, device_type: Any, dtype: Any) -> Any:
        ruling = PassAutocast.ruling
        device = device_type if ruling is None else "meta" if ruling.on_meta else "cpu"
        return original(value, device, dtype)

    return cast


def _open_context(original: Any) -> Any:
    def init(context: Any, *args: Any, **kwargs: Any) -> None:
        if PassAutocast.ruling is not None:
            args, kwargs = PassAutocast.ruling.translate(args, kwargs)
        if PassAutocast.ruling is None or (args[0] if args else kwargs.get("device_type")) != "cuda":
            original(context, *args, **kwargs)
            return
        named = dict(zip(("device_type", "dtype", "enabled", "cache_enabled"), args, strict=False)) | kwargs
        original(context, **{**named, "enabled": False})  # else torch asks for a GPU
        context._enabled = named.get("enabled", True)

    return init


_MAKERS: dict[str, Callable[[Any], Any]] = {
    "set_autocast_enabled": partial(_translate_device, after=PassAutocast.switch_keys),
    "set_autocast_dtype": partial(_translate_device, after=PassAutocast.note_dtype),
    "clear_autocast_cache": _clear_cache,
    "_cast": _cast_inputs,
    "__init__": _open_context,
}
"""What makes the replacement of a function; of the others, `_translate_device`."""

_replacements: dict[Any, Any] = {}  # by the function, made once


def _find_replacement(name: str, function: Any) -> Any:
    """What stands in the place of a function during passes; one that does already stays, in a pass inside another."""
    if function not in _replacements:
        made = _replacements[function] = _MAKERS.get(name, _translate_device)(function)
        _replacements[made] = made
    return _replacements[function]


def _is_weight(tensor: Tensor) -> bool:
    """Whether torch keeps what a tensor was cast to."""
    return tensor.requires_grad and tensor.is_leaf and not is_view(tensor) and torch.is_autocast_cache_enabled()


def _switch_keys(rules: str | None) -> None:
    """Let the rules of a device hold on this thread, or none."""
    if rules is not None:
        _register_rules(rules)
    for device in _libraries:
        switch_dispatch_key(KEYS[device], device == rules)


def prepare_rules(device: str) -> None:
    """Raise `MissingName` where this torch has no way to apply the rules of a device."""
    _register_rules(device)
    _switch_keys(None)


_libraries: dict[str, list[Any]] = {}  # of the rules that were wanted so far


def _register_rules(device: str) -> None:
    """Give the ops of a device's lists to its key; done once for a process, where nothing else uses the key."""
    if device in _libraries:
        return
    from archprof.torchside.autocast_lists import LISTS
    from archprof.torchside.autocast_policies import POLICIES

    library: Any = torch.library.Library
    below, rules = (library(name, "IMPL", KEYS[device]) for name in ("_", "aten"))
    below.fallback(torch.library.fallthrough_kernel)
    exclude = make_key_guard(KEYS[device])
    for policy, names in LISTS[device].items():
        for name in names.split():
            packet, _, overload = name.partition(".")
            op = getattr(getattr(torch.ops.aten, packet, None), overload or "default", None)
            if op is not None:  # this torch has it
                rules.impl(name, _make_kernel(op, POLICIES[policy], exclude))
    _libraries[device] = [below, rules]


def _make_kernel(op: Any, run: Callable[..., Any], exclude: Any) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        autocast = PassAutocast.ruling
        assert autocast is not None
        with exclude(), DisableTorchFunction():
            return run(op, autocast, args, kwargs)

    return call
