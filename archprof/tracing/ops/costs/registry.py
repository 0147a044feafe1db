"""Which rule counts which op: one table of names, and three answers to "is it counted?".

A rule is a function of shapes: `rule(result, /, *args, **kwargs)` gets what the op returned and then
its arguments as dispatched, for every overload of the op. It reads `.shape` and `.dtype` of tensors, never
their values, and calls no torch op. `None` from a rule means that the shapes do not tell, so this call
of the op is unknown (an attention over sequences of different lengths, say).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar

from archprof.facts.records import Status, Window

Causal = Literal["full", "half"]


class OpCost(NamedTuple):
    """What one call of an op costs: multiply-accumulates, floating-point operations, and its window if it has one."""

    macs: int
    flops: int
    window: Window | None = None


CostRule = Callable[..., OpCost | None]
AnyRule = TypeVar("AnyRule", bound=Callable[..., Any])

NO_COST = OpCost(0, 0)

_rules: dict[str, CostRule] = {}
_causal: set[str] = set()


def cost_rule(*names: str, causal: bool = False) -> Callable[[AnyRule], AnyRule]:
    """Register the decorated function as the rule of these ops, named as "aten.convolution".

    Args:
        names: with the namespace and without the overload; an in-place op needs no name of its own.
        causal: the rule takes a keyword `half`, true where only unmasked scores are to be counted.

    Raises:
        ValueError: a name has a rule already.
    """

    def register(function: AnyRule) -> AnyRule:
        for name in names:
            if name in _rules:
                raise ValueError(f"{name} has a rule already")
            _rules[name] = function
            if causal:
                _causal.add(name)
        return function

    return register


def aten_names(names: str) -> list[str]:
    """The names of aten ops, from a text that lists them without the namespace."""
    return [f"aten.{name}" for name in names.split()]


def costs_nothing(result: object, /, *args: object, **kwargs: object) -> OpCost:
    """The rule of an op that moves or names data and does no arithmetic."""
    return NO_COST


def find_cost_rule(name: str, causal: Causal = "full") -> CostRule | None:
    """The rule of the op dispatched under this name, or `None` when no rule covers it.

    An in-place op costs what its twin costs: "aten.relu_" finds the rule of "aten.relu".

    Args:
        causal: "full" counts every score of an attention; "half" leaves out those that `is_causal` masks.
    """
    known = name if name in _rules else name.removesuffix("_")
    found = _rules.get(known)
    if found is not None and causal == "half" and known in _causal:
        return partial(found, half=True)
    return found


def find_cost_status(name: str) -> Status:
    """Whether the op is counted, declared to cost nothing, or unknown."""
    found = find_cost_rule(name)
    if found is None:
        return "unknown"
    return "zero" if found is costs_nothing else "counted"


def register_cost(name: str) -> Callable[[AnyRule], AnyRule]:
    """Register your own rule for an op, in place of any that it has.

    The decorated function is called as `function(result, *args, **kwargs)` with the op's result and its arguments,
    and returns a `Count`, a pair (macs, flops), or `None` when the shapes do not tell.

        @archprof.register_cost("mylib.my_op")
        def my_op(result, x, weight):
            macs = x.shape[0] * weight.numel()
            return macs, 2 * macs

    Raises:
        ValueError: the name lacks its namespace.
    """
    if "." not in name or "::" in name:
        raise ValueError(f"{name!r} is not the name of an op: write it as 'mylib.my_op'")

    def register(function: AnyRule) -> AnyRule:
        def counted(result: object, /, *args: object, **kwargs: object) -> OpCost | None:
            count = function(result, *args, **kwargs)
            return None if count is None else OpCost(*count)

        _rules[name] = counted
        _causal.discard(name)
        return function

    return register
