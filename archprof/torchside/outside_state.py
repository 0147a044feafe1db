"""What a user's code keeps outside of its modules, where no copy reaches: put back after a pass.

That are closures, attributes of classes and globals which methods name, and what a module holds that cannot be copied.
A pass would leave counts in them that nobody asked for, and tensors without values in a cache.
"""

from __future__ import annotations

import functools
import operator
import types
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn

from archprof.errors import ArchprofError
from archprof.torchside.kept_values import UNCOPIED_KINDS, KeptValues, is_cached
from archprof.torchside.module_walk import walk_modules

LIBRARIES = frozenset((
    "archprof", "builtins", "collections", "functools", "numpy", "random", "timm", "torch", "torchvision",
    "transformers", "typing",
))  # fmt: skip
"""Packages whose classes are no user's, so that a model of theirs needs no look."""


@contextmanager
def keep_outside_state(model: nn.Module, owned: bool) -> Iterator[None]:
    """Put back what stands outside of a user's model at the end; a model that was made here is nobody's.

    Raises:
        ArchprofError: something was changed that cannot be put back, and nothing else went wrong.
    """
    if owned:
        yield
        return
    state = _OutsideState(model)
    try:
        state.keep()
        yield
    finally:
        try:
            state.restore()
        finally:  # one key press stops one of them
            state.restore()
    if lost := state.values.list_lost():
        raise ArchprofError(
            f"The forward went on with {', '.join(lost)}, which cannot be set back.",
            "A generator that the model holds gives each of its values once.",
            "Profile a model with a generator of its own.",
        )


class _OutsideState:
    """The places that the code of a model can name, with what stands in them."""

    def __init__(self, model: nn.Module) -> None:
        self.modules = list(walk_modules(model))
        packages = {_name_package(type(module)) for _, module in self.modules} - LIBRARIES
        self.is_own = partial(_is_of_packages, packages)
        self.values = KeptValues(self.is_own)
        self.seen: set[int] = set()
        self.classes: list[tuple[type, frozenset[str]]] = []
        self.setters: list[tuple[Callable[[Any], None], Any]] = []

    def keep(self) -> None:
        """Remember it all; caches are empty from here on."""
        for path, module in self.modules:
            if self.is_own(type(module)):
                self._keep_uncopied(module, path)
                self._keep_class(type(module))

    def restore(self) -> None:
        for put, value in self.setters:
            put(value)
        for base, names in self.classes:
            for name in set(vars(base)) - names:
                delattr(base, name)
        self.values.restore()

    def _keep_uncopied(self, module: nn.Module, path: str) -> None:
        """What a copy of the module will share with it."""
        for name, value in vars(module).items():
            if isinstance(value, UNCOPIED_KINDS):
                self.values.keep(value, f"{path}.{name}" if path else name)

    def _keep_class(self, kind: type) -> None:
        for base in kind.__mro__:
            if id(base) in self.seen or not self.is_own(base):
                continue
            self.seen.add(id(base))
            self.classes.append((base, frozenset(vars(base))))
            for name, value in list(vars(base).items()):
                if not (name.startswith("__") and name.endswith("__")) or callable(value):
                    self._keep_place(value, name, partial(_set_attribute, base, name))

    def _keep_place(self, value: Any, name: str, put: Callable[[Any], None]) -> None:
        """What stands in a place that can be given another value, and what the code in it can name."""
        if is_cached(value):
            self.setters.append((put, value))
            put(_make_empty_cache(value))
            self._keep_code(value.__wrapped__)
        elif functions := _list_functions(value):
            for function in functions:
                self._keep_code(function)
        elif isinstance(value, type):
            self._keep_class(value)
        elif not isinstance(value, types.ModuleType):
            self.setters.append((put, value))
            self.values.keep(value, name)

    def _keep_code(self, function: types.FunctionType) -> None:
        if id(function) in self.seen or not self.is_own(function):
            return
        self.seen.add(id(function))
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            if cell != types.CellType():  # an empty one: a name that was never given a value
                self._keep_place(cell.cell_contents, name, partial(setattr, cell, "cell_contents"))
        names = {name for code in _list_codes(function.__code__) for name in code.co_names}
        for name in names & function.__globals__.keys():
            space = function.__globals__
            self._keep_place(space[name], name, partial(operator.setitem, space, name))


def _make_empty_cache(cached: Any) -> Any:
    """A cache around the same function, and of the same size, with nothing in it."""
    return functools.wraps(cached.__wrapped__)(functools.lru_cache(**cached.cache_parameters())(cached.__wrapped__))


def _set_attribute(base: type, name: str, value: Any) -> None:
    if vars(base).get(name) is not value:
        setattr(base, name, value)


def _list_functions(value: Any) -> list[types.FunctionType]:
    """The functions that a method, a property or a decorated one is made of."""
    parts = (
        [value.fget, value.fset] if isinstance(value, property)
        else [getattr(value, "__func__", None) or getattr(value, "func", None) or value]
    )  # fmt: skip
    inner = [getattr(part, "__wrapped__", None) for part in parts]
    return [part for part in (*parts, *inner) if isinstance(part, types.FunctionType)]


def _list_codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """A function's code, and that of those which are made in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _list_codes(constant)


def _is_of_packages(packages: Set[str], value: Any) -> bool:
    """Whether a class or function is of the same package as a class of the model."""
    return _name_package(value) in packages


def _name_package(value: Any) -> str:
    return str(getattr(value, "__module__", "")).partition(".")[0]
