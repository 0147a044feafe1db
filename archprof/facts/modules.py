"""The modules of a model as it was built, their parameters, and the calls of them that a pass made.

The rows of tables follow from these and are worked out in one place, `build_layers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from math import prod
from typing import Any, Literal, NamedTuple

from archprof.facts.tensors import TensorSpec


class Module(NamedTuple):
    """One module of the model, called or not.

    Attributes:
        path: its first place in the model, as in `state_dict`; "" is the model itself.
        kind: its class name.
        parent: index into `Profile.modules` of the module that holds that place.
        aliases: its other places.
        is_container: it only holds other modules and has nothing of its own to show, as a `ModuleList`.
        is_opaque: nobody can see calls of it (TorchScript): its work is its caller's.
    """

    path: str
    kind: str
    parent: int | None = None
    aliases: tuple[str, ...] = ()
    is_container: bool = False
    is_opaque: bool = False

    @property
    def name(self) -> str:
        """What `named_modules` calls it: its path."""
        return self.path


class Parameter(NamedTuple):
    """One tensor that a module owns, at its first owner.

    Attributes:
        name: as in `state_dict`.
        module: index into `Profile.modules` of its owner.
        spec: its layout.
        trainable: it requires a gradient.
        role: "parameter" or "buffer".
        nbytes: its size.
        storage: index into `Profile.storages`; `None` where that is not known.
        aliases: its other names.
    """

    name: str
    module: int
    spec: TensorSpec
    trainable: bool
    role: Literal["parameter", "buffer"]
    nbytes: int
    storage: int | None = None
    aliases: tuple[str, ...] = ()


class SplitRule(NamedTuple):
    """How a model says itself that modules of its are split over devices.

    Attributes:
        axis: "tp": within layers; "ep": by experts.
        pattern: of the paths of modules or parameters, with "*" for a number.
        style: the name that transformers has for the way.
    """

    axis: Literal["tp", "ep"]
    pattern: str
    style: str


class Call(NamedTuple):
    """One call of one module, in the order of the calls.

    Attributes:
        module: index into `Profile.modules`.
        parent: index into `Profile.calls` of the call that made it; `None` for the model's own.
        number: 0 for the first call of this module, 1 for the next.
        inputs, outputs: the tensors that went in and came out, flattened in order.
    """

    module: int
    parent: int | None
    number: int
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()


class Layer(NamedTuple):
    """One row of the tables: a call, or a module that was never called.

    Attributes:
        path, kind: of the module.
        depth: how deep the call was nested; the model itself is 0.
        call: the number of the call; `None` = never called in this pass.
        inputs, outputs: the tensors that went in and came out, flattened in order.
        params, trainable, buffers: elements this row owns, each tensor once, at its first owner's first call.
        param_bytes, buffer_bytes: the size of those.
        parent: index into `Profile.layers` of the row that it is part of.
        call_index: index into `Profile.calls`.
    """

    path: str
    kind: str
    depth: int
    call: int | None
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    params: int = 0
    trainable: int = 0
    buffers: int = 0
    param_bytes: int = 0
    buffer_bytes: int = 0
    parent: int | None = None
    call_index: int | None = None

    @property
    def repeat_mark(self) -> str:
        """What stands behind its name where it is a later call of its module: " #2"."""
        return f" #{self.call + 1}" if self.call else ""


OwnedSizes = Sequence[int]
"""Elements and bytes that one module owns: the fields of `Layer` from `params` to `buffer_bytes`."""

NOTHING_OWNED: OwnedSizes = (0, 0, 0, 0, 0)
NO_TENSORS: list[tuple[TensorSpec, ...]] = [(), ()]


RowOrigin = tuple["int | None", int, "int | None"]
"""The call of a row, its module, and the call that it is part of."""

new_layer: Callable[[Iterable[Any]], Layer] = partial(tuple.__new__, Layer)
"""What `_make` does, without a function of Python in between: one per row."""


def sum_owned(parameters: Sequence[Parameter]) -> dict[int, OwnedSizes]:
    """What each module owns, by its index; those that own nothing are left out."""
    owned: dict[int, list[int]] = {}
    for _, module, spec, trainable, role, nbytes, _, _ in parameters:
        sizes, count = owned.get(module), prod(spec[0])
        if sizes is None:
            sizes = owned[module] = [0, 0, 0, 0, 0]
        if role == "buffer":
            sizes[2] += count
            sizes[4] += nbytes
        else:
            sizes[0] += count
            sizes[1] += count * trainable
            sizes[3] += nbytes
    return dict(owned)


def sum_columns(rows: Iterable[Sequence[int]]) -> list[int]:
    """The sum of each of the five columns."""
    return [sum(column) for column in zip(*rows, strict=True)] or [0] * 5


def build_layers(
    modules: Sequence[Module], parameters: Sequence[Parameter], calls: Sequence[Call]
) -> tuple[Layer, ...]:
    """The rows of the tables: calls in order, and modules that were never called.

    A module that was never called follows the rows of the first call of the nearest module that holds it and was
    called; a container has nothing to show and is left out.
    """
    owned, layers, row_of_call = sum_owned(parameters), list[Layer](), list[int]()
    uncalled = _find_uncalled(modules, calls)
    for index, module, caller in _order_rows(calls, uncalled) if uncalled else _list_calls(calls):
        parent = None if caller is None else row_of_call[caller]
        depth = 0 if parent is None else layers[parent].depth + 1
        path, kind = modules[module][:2]
        number, ends = None, NO_TENSORS
        if index is not None:
            _, _, number, *ends = calls[index]
            row_of_call.append(len(layers))
        own = NOTHING_OWNED if number else owned.get(module, NOTHING_OWNED)
        layers.append(new_layer((path, kind, depth, number, *ends, *own, parent, index)))
    return tuple(layers)


def list_holders(path: str) -> Iterator[str]:
    """The paths above a path, the nearest first; the last is "", the model itself."""
    while path:
        path = path.rpartition(".")[0]
        yield path


def find_holder(path: str, numbers: Mapping[str, int]) -> int | None:
    """The number of the nearest module above a path that has one."""
    return next((numbers[above] for above in list_holders(path) if above in numbers), None)


def _list_calls(calls: Sequence[Call]) -> list[RowOrigin]:
    return [(index, call.module, call.parent) for index, call in enumerate(calls)]


def _order_rows(calls: Sequence[Call], uncalled: Mapping[int, list[int]]) -> Iterator[RowOrigin]:
    """Where each row comes from; `uncalled` holds the modules that follow the rows of a call."""
    open_calls: list[int] = []
    for index, call in enumerate(calls):
        while open_calls and open_calls[-1] != call.parent:
            yield from _follow_call(open_calls.pop(), uncalled)
        yield index, call.module, call.parent
        open_calls.append(index)
    for ended in reversed(open_calls):
        yield from _follow_call(ended, uncalled)


def _follow_call(ended: int, uncalled: Mapping[int, list[int]]) -> Iterator[RowOrigin]:
    return ((None, module, ended) for module in uncalled.get(ended, ()))


def _find_uncalled(modules: Sequence[Module], calls: Sequence[Call]) -> dict[int, list[int]]:
    """Modules that were never called, by the first call of the nearest module that holds them and was called."""
    first = {call.module: index for index, call in reversed([*enumerate(calls)])}
    found: dict[int, list[int]] = {}
    for index, module in enumerate(modules):
        if index in first or module.is_container:
            continue
        holder = module.parent
        while holder is not None and holder not in first:
            holder = modules[holder].parent
        if holder is not None:
            found.setdefault(first[holder], []).append(index)
    return found
