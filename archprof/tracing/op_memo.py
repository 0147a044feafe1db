"""What an op returns and costs, worked out once for each distinct call and remembered, from pass to pass, too.

A model asks the same few questions thousands of times: the same op, on tensors of the same shapes,
strides and dtypes, with the same other arguments. Without values that is all that a result depends on,
so that an answer holds for every later call that asks the same.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from archprof.facts.records import Signature
from archprof.torchside.private import find_address
from archprof.torchside.tensors import META_DEVICE, PLAIN_TENSOR_KINDS
from archprof.tracing.ops.costs.registry import Causal, count_changed_rules
from archprof.tracing.ops.shapes.registry import REALS
from archprof.tracing.recorder import Recorder
from archprof.tracing.shared_specs import SharedSpec, SpecTable

Tensor = torch.Tensor
CallKey = tuple[Any, ...]
INPLACE_VIEW = torch.Tag.inplace_view
default_dtype = torch.get_default_dtype
as_strided, empty_strided = Tensor.as_strided, torch.empty_strided

COMPARABLE_KINDS = frozenset(
    (int, float, bool, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format)
)
"""Classes of other arguments that can be told apart by their value."""


class MemoisedOp(NamedTuple):
    """What every call with the same key returns, and what is written down of it.

    Attributes:
        result_parts: one for each part of the result.
        container: `tuple` or `list` where the op returns one; `None` where it returns a tensor.
        signature: what is written down of the call.
        moves: it moves data, as a view does not.
        gathers: it reads of its first input only the rows that it returns.
        repeats_input: an input came twice when this was learnt, so that the bytes moved hold for such calls alone.
    """

    result_parts: tuple[Any, ...]
    container: type | None
    signature: Signature
    moves: bool
    gathers: bool
    repeats_input: bool

    def replay(self, recorder: Recorder, row: int, inputs: list[Tensor]) -> Any:
        """What the op returns, made anew and written down."""
        parts, kind, signature, moves, gathers, twice = self
        read = recorder.index_inputs(inputs)
        written: tuple[int, ...]
        if kind is None:
            result, index = parts[0].replay(recorder, inputs)
            written = (index,)
        else:
            made = [part.replay(recorder, inputs) for part in parts]
            result = kind([tensor for tensor, _ in made])
            written = tuple([index for _, index in made if index is not None])
        if len(read) > 1 and moves and (twice or len(set(read)) < len(read)):
            signature = recorder.recount(signature, read, written, gathers)
        recorder.append_op(signature, row, read, written, moves)
        return result


class NewTensor(NamedTuple):
    """A tensor in a storage of its own.

    Attributes:
        allocated: bytes and dtype of the storage.
        is_auxiliary: a new storage stands before it in the result, so that it is auxiliary until something reads it.
    """

    size: torch.Size
    strides: tuple[int, ...]
    dtype: torch.dtype
    spec: SharedSpec
    allocated: tuple[int, str]
    is_auxiliary: bool

    def replay(self, recorder: Recorder, inputs: list[Tensor]) -> tuple[Tensor, int]:
        size, strides, dtype, spec, allocated, further = self
        tensor = empty_strided(size, strides, dtype=dtype, device=META_DEVICE)
        return tensor, recorder.add_new_storage(tensor, spec, allocated, further)


class ViewOfInput(NamedTuple):
    """A tensor in the storage of an input.

    Attributes:
        input_position: of that input among the tensors of the call.
        offset: elements behind where that input begins.
    """

    input_position: int
    size: torch.Size
    strides: tuple[int, ...]
    offset: int
    spec: SharedSpec

    def replay(self, recorder: Recorder, inputs: list[Tensor]) -> tuple[Tensor, int]:
        place, size, strides, offset, spec = self
        base = inputs[place]
        tensor = as_strided(base, size, strides, base.storage_offset() + offset)
        return tensor, recorder.add_view(tensor, spec)


class SameInput(NamedTuple):
    """An input itself."""

    input_position: int

    def replay(self, recorder: Recorder, inputs: list[Tensor]) -> tuple[Tensor, int]:
        tensor = inputs[self.input_position]
        return tensor, recorder.index_result(tensor)


class NoTensor(NamedTuple):
    """`None`."""

    def replay(self, recorder: Recorder, inputs: list[Tensor]) -> tuple[None, None]:
        return None, None


ResultPart = NewTensor | ViewOfInput | SameInput | NoTensor


def can_memoise(func: Any) -> bool:
    """Whether the keys of an op's calls tell all that its results depend on.

    They do not tell where in its storage a tensor begins, nor do answers put a tensor into another storage. Ops from
    outside torch may depend on anything.
    """
    return func.namespace == "aten" and func.__name__ != "as_strided.default" and INPLACE_VIEW not in func.tags


def inspect_call(func: Any, args: Any, kwargs: dict[str, Any]) -> tuple[list[Tensor], int, CallKey | None]:
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
        if kind in PLAIN_TENSOR_KINDS:
            inputs.append(value)
            metas += value.is_meta
            try:
                key += (value.size(), value.stride(), value.dtype)
            except RuntimeError:  # sparse, or nested
                known = False
        elif kind in COMPARABLE_KINDS:
            key += (kind, value)  # 1 and 1.0 are equal, and give other dtypes
        elif kind is list or kind is tuple:
            kinds = tuple(map(type, value))
            if COMPARABLE_KINDS.issuperset(kinds):
                key += (kinds, tuple(value))
                continue
            several, on_meta, inner = inspect_call(kind, value, {})
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


MAX_SHARED_ANSWERS = 10_000
"""Answers that are kept from pass to pass; a deep model has some hundreds."""


class _Answers(NamedTuple):
    """Answers, and what they hold for.

    Attributes:
        specs: the table of the layouts in them, which are compared as objects.
        rules: how the pass answers and counts.
        by_key: the answers.
        hashes_seen: of the keys, which is enough for a first sign.
    """

    specs: SpecTable
    rules: tuple[Any, ...]
    by_key: dict[CallKey | None, MemoisedOp]
    hashes_seen: set[int]


_answers: list[_Answers] = []


def share_answers(specs: SpecTable, causal: Causal, *, values: bool, parts: bool) -> _Answers:
    """The answers of earlier passes with these layouts, and the same ways to answer and to count."""
    rules = (causal, values, parts, count_changed_rules())
    for known in _answers:
        if known.specs is specs and known.rules == rules and len(known.hashes_seen) < MAX_SHARED_ANSWERS:
            return known
    of_others = [one for one in _answers if one.specs is specs and one.rules[-1] == rules[-1] and one.rules != rules]
    _answers[:] = [*of_others, _Answers(specs, rules, {}, set())]
    return _answers[-1]


class OpMemo:
    """The answers for a pass. Each is kept from the second time on that it is asked for, since many are only once."""

    def __init__(self, recorder: Recorder, causal: Causal, *, values: bool, parts: bool) -> None:
        self.recorder, self.forgets = recorder, False
        _, _, self.op_by_key, self._hashes_seen = share_answers(recorder.specs, causal, values=values, parts=parts)

    def forget(self) -> None:
        """From here on nothing is known or kept: a tensor got other data, and is not as it was written down."""
        self.op_by_key, self.forgets = {}, True

    def remember(
        self, key: CallKey, inputs: list[Tensor], result: Any, signature: Signature, *, moves: bool, gathers: bool
    ) -> None:
        """A call with this key returned `result`, and `signature` was written down of it."""
        mark = hash(key)
        if self.forgets or mark not in self._hashes_seen:
            self._hashes_seen.add(mark)
            return
        parts = _memoise_parts(inputs, result, self.recorder)
        if parts is not None:
            kind = None if isinstance(result, Tensor) else type(result)
            repeats = len(set(map(id, inputs))) < len(inputs)
            self.op_by_key[key] = MemoisedOp(parts, kind, signature, moves, gathers, repeats_input=repeats)


def _memoise_parts(inputs: list[Tensor], result: Any, recorder: Recorder) -> tuple[ResultPart, ...] | None:
    """How later calls are answered; `None` where they cannot be given the same as this one."""
    kind = None if isinstance(result, Tensor) else type(result)
    if kind not in (None, tuple, list) or any(tensor.dtype not in REALS for tensor in inputs):
        return None
    if any(tensor.layout is not torch.strided for tensor in inputs):
        return None  # it has no storage of its own
    fresh: list[int] = []
    parts = []
    for made in [result] if kind is None else result:
        part = _memoise_part(made, inputs, fresh, recorder)
        if part is None:
            return None
        parts.append(part)
    return tuple(parts)


def _memoise_part(made: Any, inputs: list[Tensor], fresh: list[int], recorder: Recorder) -> ResultPart | None:
    """How a part of a result is made again; `fresh` are the storages that the parts before it brought."""
    if made is None:
        return NoTensor()
    if type(made) not in PLAIN_TENSOR_KINDS or made.dtype not in REALS or not made.is_meta:
        return None
    same = [place for place, given in enumerate(inputs) if given is made]
    if same:
        return SameInput(same[0]) if len(same) == 1 else None  # `out=x` beside `x`: which of them it was does not show
    address = find_address(made.untyped_storage())
    bases = [place for place, given in enumerate(inputs) if find_address(given.untyped_storage()) == address]
    if bases:
        return _memoise_view(made, inputs, bases, recorder)
    if address in fresh:
        return None
    fresh.append(address)
    return _memoise_new(made, len(fresh) > 1, recorder)


def _memoise_view(made: Tensor, inputs: list[Tensor], bases: list[int], recorder: Recorder) -> ViewOfInput | None:
    place, *others = bases
    base = inputs[place]
    if others or made.dtype is not base.dtype or made.is_neg() != base.is_neg():
        return None
    offset = int(made.storage_offset()) - int(base.storage_offset())
    return ViewOfInput(place, made.size(), made.stride(), offset, recorder.find_spec(made))


def _memoise_new(made: Tensor, further: bool, recorder: Recorder) -> NewTensor | None:
    size, strides, nbytes = made.size(), made.stride(), made.untyped_storage().nbytes()
    extent = 0 if 0 in size else 1 + sum([(n - 1) * stride for n, stride in zip(size, strides, strict=True)])
    if made.storage_offset() or extent * made.dtype.itemsize != nbytes:
        return None  # it has room that its layout does not tell of
    spec = recorder.find_spec(made)
    return NewTensor(size, strides, made.dtype, spec, (nbytes, spec.tensor_spec.dtype), further)
