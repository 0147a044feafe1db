"""The mode in torch's dispatcher, which sees every op of a pass; `function_mode` is the one above it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from threading import get_ident
from typing import Any, NamedTuple

import torch

from archprof.facts.ops import OpCounts
from archprof.facts.records import Status
from archprof.torchside.dispatch import DispatchMode
from archprof.torchside.missing_values import mark_op_error
from archprof.torchside.private import OVERLOAD, is_mutable
from archprof.torchside.tensors import tensors_in
from archprof.torchside.watched_model import WatchedModel
from archprof.tracing.calls import Calls
from archprof.tracing.chance import CHANCE_OPS, Chance, Draw
from archprof.tracing.departures import Departure, make_departure
from archprof.tracing.gradients import find_backward_row
from archprof.tracing.moves import only_moves
from archprof.tracing.op_memo import CallKey, OpMemo, can_memoise, inspect_call
from archprof.tracing.ops import costs, shapes
from archprof.tracing.ops.costs.registry import NO_COST
from archprof.tracing.ops.dtypes import CHECKS, DtypeCheck
from archprof.tracing.plain_arguments import make_plain, to_plain_value
from archprof.tracing.real_values import VALUE_MAKING_OPS, keep_on_meta, make_with_values, promote_to_meta
from archprof.tracing.recorder import Recorder

Tensor = torch.Tensor
STRIDED_ALONE = frozenset((torch.strided,))
RESULT_KINDS = (Tensor, tuple, list)


class _OpInfo(NamedTuple):
    """What is looked up once for each op that a pass meets."""

    op: Any  # kept alive, since its id is the key
    name: str
    full_name: str  # with the overload
    cost_rule: costs.CostRule | None
    status: Status
    gathers: bool
    shape_rule: shapes.ShapeRule | None
    in_place: bool
    can_memoise: bool
    has_chance: bool  # it draws numbers, or reads them
    dtype_check: DtypeCheck | None


class OpMode(DispatchMode):
    """Charges every aten op to the module call that runs, and answers it by shape where it can."""

    def __init__(
        self,
        recorder: Recorder,
        calls: Calls,
        causal: costs.Causal,
        *,
        values: bool = False,
        parts: bool = False,
        draw: Draw = "high",
    ) -> None:
        super().__init__()
        self.recorder, self.calls, self.causal, self.values, self.parts = recorder, calls, causal, values, parts
        self.departures: list[Departure] = []
        self.chance = Chance(draw)
        self._infos: dict[int, _OpInfo] = {}
        self.memo, self._thread = OpMemo(recorder, causal, values=values, parts=parts), calls.thread

    watched: WatchedModel | None = None
    supports_higher_order_operators = True  # else torch refuses to run them under a mode

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if get_ident() != self._thread:
            self.calls.find_threads().share()
        inputs, metas, key = inspect_call(func, args, kwargs)
        result = self.replay(key, inputs)
        if result is not None:
            return result
        known = self._infos.get(id(func)) or self._learn_op(func)
        result = self._compute_result(known, func, metas, len(inputs), args, kwargs)
        if self.recorder.recording and (
            inputs or isinstance(result, RESULT_KINDS) or known.op is None
        ):  # else a profiler's marker and its like
            inputs = inputs if known.op is not None else [*tensors_in(args), *tensors_in(kwargs)]
            if not known.can_memoise or (known.in_place and inspect_call(func, args, kwargs)[2] != key):
                key = None
            self.record_op(known, inputs, result, args, kwargs, key)
        return result

    def replay(self, key: CallKey | None, inputs: list[torch.Tensor]) -> Any:
        """What a call returns that is known already, written down; `None` for one that is not."""
        answer = self.memo.op_by_key.get(key)
        if answer is None or not self.recorder.recording:
            return None
        return answer.replay(self.recorder, self._find_row(), inputs)

    def _compute_result(self, known: _OpInfo, func: Any, metas: int, tensors: int, args: Any, kwargs: Any) -> Any:
        """What a call returns, by a rule or by torch; `metas` of its `tensors` are on meta."""
        if metas and known.dtype_check is not None:
            known.dtype_check(known.name, args, kwargs)
        if metas and known.name == "aten._to_copy":
            if only_moves(args[0], kwargs):
                return torch.ops.aten.alias.default(args[0])
            kwargs = keep_on_meta(kwargs) if self.values else kwargs
        if metas and metas != tensors:
            args, kwargs = promote_to_meta(known.name, args, kwargs, in_place=known.in_place)
        if known.in_place and metas != tensors and self.watched is not None:
            self.watched.refuse_change(func, args, kwargs)
        result = known.shape_rule(*args, **kwargs) if metas and known.shape_rule is not None else None
        if result is None:
            result = _run_op(func, metas, args, kwargs)
            if self.values and known.name in VALUE_MAKING_OPS:
                result = make_with_values(func, result, args, kwargs)
            if known.has_chance:
                self.chance.watch(known.name, args, result)
        return result

    def record_op(
        self, known: _OpInfo, inputs: list[torch.Tensor], result: Any, args: Any, kwargs: Any, key: CallKey | None
    ) -> None:
        """Write down one op with its cost, for later calls with the same key, too."""
        count = _count_cost(known, inputs, result, args, kwargs)
        named = tuple([(name, to_plain_value(value)) for name, value in kwargs.items()]) if kwargs else ()
        label = (known.full_name, make_plain(args), named)
        cost: OpCounts = (None, None, "unknown", None, known.gathers)
        if count is not None:
            cost = (count[0], count[1], known.status, count[2], known.gathers)
        signature, moves = self.recorder.add_op(label, cost, self._find_row(), inputs, _returned_tensors(result))
        if key is not None:
            self.memo.remember(key, inputs, result, signature, moves=moves, gathers=known.gathers)

    def record_answer(self, func: Any, result: Any, args: Any, kwargs: Any) -> None:
        """Write down an op that was answered above this mode."""
        known = self._infos.get(id(func)) or self._learn_op(func)
        self.record_op(known, inspect_call(func, args, kwargs)[0], result, args, kwargs, None)

    def record_function(
        self, name: str, inputs: list[torch.Tensor], result: Any, args: Any, kwargs: Any, key: CallKey | None = None
    ) -> None:
        """Write down a torch function as one op, in the row that runs."""
        if self.recorder.recording:
            self.record_op(self._look_up_rules(None, name), inputs, result, args, kwargs, key)

    def note_departure(self, function: Callable[..., Any], tensor: Tensor) -> None:
        """The values of a tensor were handed over by one of torch's functions for that."""
        recorder = self.recorder
        self.chance.read_count += not tensor.is_meta
        if recorder.recording:
            made = make_departure(function, tensor, len(recorder.recorded_ops), self.calls.current_row, recorder.phase)
            self.departures += [made] if made is not None else []

    def mark_nodes(self, tensors: list[Tensor]) -> None:
        """Note whose nodes made these, where their numbers do not tell: they do in one thread."""

    def _find_row(self) -> int:
        calls = self.calls
        row = calls.stack[-1] if calls.stack else self._find_backward_row() if calls.in_backward else 0
        if calls.node_owners is not None:
            self.recorder.last_node_number = calls.node_owners.note_row(row)
        return row

    def _find_backward_row(self) -> int:
        return find_backward_row(self.calls)

    def _learn_op(self, func: Any) -> _OpInfo:
        known = self._infos[id(func)] = self._look_up_rules(*_name_op(func))
        return known

    def _look_up_rules(self, func: Any, full_name: str) -> _OpInfo:
        name = full_name.rpartition(".")[0]
        rule = costs.find_op_rule(name)
        status, gathers = costs.status_of_rule(rule), rule is not None and rule.gathers
        cost = None if rule is None else rule.bind_causal(self.causal)
        in_place, repeats, shape = _inspect_op(func)
        chance, check = name in CHANCE_OPS, CHECKS.get(name)
        return _OpInfo(func, name, full_name, cost, status, gathers, shape, in_place, repeats, chance, check)


@cache
def _name_op(func: Any) -> tuple[Any, str]:
    """An op and its name; no op of those that take functions, such as `cond`."""
    return (func, str(func)) if isinstance(func, OVERLOAD) else (None, f"higher_order.{func.name()}.default")


@cache
def _inspect_op(func: Any) -> tuple[bool, bool, shapes.ShapeRule | None]:
    """Whether an op changes an argument, whether its answers hold again, and the rule of its shapes."""
    if func is None:
        return False, False, None
    return is_mutable(func), can_memoise(func), shapes.find_shape_rule(func)


def _run_op(func: Any, metas: int, args: Any, kwargs: Any) -> Any:
    """What torch returns; an exception remembers whether it may be for want of values."""
    try:
        return func(*args, **kwargs)
    except Exception as error:
        if metas:
            mark_op_error(error, func)
        raise


def _returned_tensors(result: Any) -> list[torch.Tensor]:
    """The tensors that an op returns."""
    if isinstance(result, Tensor):
        return [result]
    if type(result) is tuple or type(result) is list:
        return [item for item in result if isinstance(item, Tensor)]
    return []


def _count_cost(known: _OpInfo, inputs: list[torch.Tensor], result: Any, args: Any, kwargs: Any) -> costs.OpCost | None:
    """What an op costs; `None` where that is unknown."""
    if known.status == "zero":
        return NO_COST
    count = known.cost_rule(result, *args, **kwargs) if known.cost_rule is not None else None
    if count is not None and count[0] and not STRIDED_ALONE.issuperset([tensor.layout for tensor in inputs]):
        return None  # a sparse product does as much as its values are many, which shapes do not tell
    return count
