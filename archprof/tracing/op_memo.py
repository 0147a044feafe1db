"""What an op returns and costs, worked out once for each distinct call and remembered for the pass.

A model asks the same few questions thousands of times: the same op, on tensors of the same shapes,
strides and dtypes, with the same other arguments. Without values that is all that a result depends on,
so that an answer holds for every later call that asks the same.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from archprof.torchside.tensors import META, PLAIN
from archprof.tracing.ops.shapes.registry import REALS
from archprof.tracing.recorder import Fact, Moved, Recorder, Spec

Tensor = torch.Tensor
Key = tuple[Any, ...]
INPLACE_VIEW = torch.Tag.inplace_view
default_dtype = torch.get_default_dtype
as_strided, empty_strided = torch._C.TensorBase.as_strided, torch.empty_strided

VALUES = frozenset((int, float, bool, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format))
"""Classes of other arguments that can be told apart by their value."""


class Answer(NamedTuple):
    """What every call with the same key returns, and what is written down of it.

    Attributes:
        parts: one for each part of the result.
        kind: `tuple` or `list` where the op returns one; `None` where it returns a tensor.
        fact: what the call costs.
        moved: bytes read and written, `None` for a view.
        twice: an input came twice when this was learnt, so that `moved` holds for such calls alone.
    """

    parts: tuple[Any, ...]
    kind: type | None
    fact: Fact
    moved: Moved
    twice: bool

    def again(self, recorder: Recorder, row: int, inputs: list[Tensor]) -> Any:
        """What the op returns, made anew and written down."""
        parts, kind, fact, moved, twice = self
        read = recorder.read(inputs)
        written: tuple[int, ...]
        if kind is None:
            result, index = parts[0].again(recorder, inputs)
            written = (index,)
        else:
            made = [part.again(recorder, inputs) for part in parts]
            result = kind([tensor for tensor, _ in made])
            written = tuple([index for _, index in made if index is not None])
        if len(read) > 1 and moved is not None and (twice or len(set(read)) < len(read)):
            moved = recorder.moved(fact.name, read, written)
        recorder.write(fact, row, read, written, moved)
        return result


class New(NamedTuple):
    """A tensor in a storage of its own.

    Attributes:
        allocated: bytes and dtype of the storage.
        further: a new storage stands before it in the result, so that it is auxiliary until something reads it.
    """

    size: torch.Size
    strides: tuple[int, ...]
    dtype: torch.dtype
    spec: Spec
    allocated: tuple[int, str]
    further: bool

    def again(self, recorder: Recorder, inputs: list[Tensor]) -> tuple[Tensor, int]:
        size, strides, dtype, spec, allocated, further = self
        tensor = empty_strided(size, strides, dtype=dtype, device=META)
        return tensor, recorder.brings(tensor, spec, allocated, further)


class View(NamedTuple):
    """A tensor in the storage of an input.

    Attributes:
        place: of that input among the tensors of the call.
        offset: elements behind where that input begins.
    """

    place: int
    size: torch.Size
    strides: tuple[int, ...]
    offset: int
    spec: Spec

    def again(self, recorder: Recorder, inputs: list[Tensor]) -> tuple[Tensor, int]:
        place, size, strides, offset, spec = self
        base = inputs[place]
        tensor = as_strided(base, size, strides, base.storage_offset() + offset)
        return tensor, recorder.shares(tensor, spec)


class Same(NamedTuple):
    """An input itself."""

    place: int

    def again(self, recorder: Recorder, inputs: list[Tensor]) -> tuple[Tensor, int]:
        tensor = inputs[self.place]
        return tensor, recorder.written(tensor)


class Nothing(NamedTuple):
    """`None`."""

    def again(self, recorder: Recorder, inputs: list[Tensor]) -> tuple[None, None]:
        return None, None


Part = New | View | Same | Nothing


def may_repeat(func: Any) -> bool:
    """Whether the keys of an op's calls tell all that its results depend on.

    They do not tell where in its storage a tensor begins, nor do answers put a tensor into another storage. Ops from
    outside torch may depend on anything.
    """
    return func.namespace == "aten" and func.__name__ != "as_strided.default" and INPLACE_VIEW not in func.tags


def question(func: Any, args: Any, kwargs: dict[str, Any]) -> tuple[list[Tensor], int, Key | None]:
    """What a call asks.

    Returns:
        The tensors among its arguments, how many of them are on meta, and a key that is equal for calls which have the
        same answer: `None` where that may depend on what cannot be compared.
    """
    inputs: list[Tensor] = []
    key: list[Any] = [id(func), default_dtype()]
    metas, known = 0, True
    for value in args if not kwargs else (*args, *kwargs, *kwargs.values()):
        kind = type(value)
        if kind in PLAIN:
            inputs.append(value)
            metas += value.is_meta
            try:
                key += (value.size(), value.stride(), value.dtype)
            except RuntimeError:  # sparse, or nested
                known = False
        elif kind in VALUES:
            key += (kind, value)  # 1 and 1.0 are equal, and give other dtypes
        elif kind is list or kind is tuple:
            kinds = tuple(map(type, value))
            if VALUES.issuperset(kinds):
                key += (kinds, tuple(value))
                continue
            several, on_meta, inner = question(kind, value, {})
            inputs += several
            metas += on_meta
            key += (kinds, inner)
            known = known and inner is not None
        else:
            known = False
            if isinstance(value, Tensor):
                inputs.append(value)
                metas += value.is_meta
    return inputs, metas, tuple(key) if known and metas == len(inputs) else None


class Answers:
    """The answers of a pass. Each is kept from the second time on that it is asked for, since many are only once."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.known: dict[Key | None, Answer] = {}
        self._asked: set[int] = set()  # by the hash of the key, which is enough for a first sign

    def learn(self, key: Key, inputs: list[Tensor], result: Any, fact: Fact, moved: Moved) -> None:
        """A call with this key returned `result`, and `fact` was written down of it."""
        mark = hash(key)
        if mark not in self._asked:
            self._asked.add(mark)
            return
        answer = _answer(inputs, result, fact, moved, self.recorder)
        if answer is not None:
            self.known[key] = answer


def _answer(inputs: list[Tensor], result: Any, fact: Fact, moved: Moved, recorder: Recorder) -> Answer | None:
    """The answer to later calls; `None` where they cannot be given the same as this one."""
    kind = None if isinstance(result, Tensor) else type(result)
    if kind not in (None, tuple, list) or any(tensor.dtype not in REALS for tensor in inputs):
        return None
    fresh: list[int] = []
    parts = []
    for made in [result] if kind is None else result:
        part = _part(made, inputs, fresh, recorder)
        if part is None:
            return None
        parts.append(part)
    return Answer(tuple(parts), kind, fact, moved, twice=len(set(map(id, inputs))) < len(inputs))


def _part(made: Any, inputs: list[Tensor], fresh: list[int], recorder: Recorder) -> Part | None:
    """How a part of a result is made again; `fresh` are the storages that the parts before it brought."""
    if made is None:
        return Nothing()
    if type(made) not in PLAIN or made.dtype not in REALS or not made.is_meta:
        return None
    same = [place for place, given in enumerate(inputs) if given is made]
    if same:
        return Same(same[0]) if len(same) == 1 else None  # `out=x` beside `x`: which of them it was does not show
    address = made.untyped_storage()._cdata
    bases = [place for place, given in enumerate(inputs) if given.untyped_storage()._cdata == address]
    if bases:
        return _view(made, inputs, bases, recorder)
    if address in fresh:
        return None
    fresh.append(address)
    return _new(made, len(fresh) > 1, recorder)


def _view(made: Tensor, inputs: list[Tensor], bases: list[int], recorder: Recorder) -> View | None:
    place, *others = bases
    base = inputs[place]
    if others or made.dtype is not base.dtype or made.is_neg() != base.is_neg():
        return None
    offset = int(made.storage_offset()) - int(base.storage_offset())
    return View(place, made.size(), made.stride(), offset, recorder.spec(made))


def _new(made: Tensor, further: bool, recorder: Recorder) -> New | None:
    size, strides, nbytes = made.size(), made.stride(), made.untyped_storage().nbytes()
    extent = 0 if 0 in size else 1 + sum([(n - 1) * stride for n, stride in zip(size, strides, strict=True)])
    if made.storage_offset() or extent * made.dtype.itemsize != nbytes:
        return None  # it has room that its layout does not tell of
    spec = recorder.spec(made)
    return New(size, strides, made.dtype, spec, (nbytes, spec.spec.dtype), further)
