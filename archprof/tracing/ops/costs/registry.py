"""Which rule counts which op: one table of names, and three answers to "is it counted?".

What is known of an op stands in its rule: what it costs, what it moves and, where torch does not show it, what it keeps
for its backward. A cost is a function of shapes: `rule(result, /, *args, **kwargs)` gets what the op returned and its
arguments as dispatched, for every overload of the op. It reads `.shape` and `.dtype` of tensors, never their values,
and calls no torch op. `None` from a rule means that the shapes do not tell, so this call of the op is unknown (an
attention over sequences of different lengths, say).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar

from archprof.facts.records import Status, TensorSpec, Window

Causal = Literal["full", "half"]


class OpCost(NamedTuple):
    """What one call of an op costs: multiply-accumulates, floating-point operations, and its window if it has one."""

    macs: int
    flops: int
    window: Window | None = None


class KeptForBackward(NamedTuple):
    """What an op that is recorded whole keeps until its backward, beside the tensors that go in.

    Attributes:
        outputs: positions of results.
        reserve: what its kernel writes for its backward alone.
    """

    outputs: tuple[int, ...] = ()
    reserve: tuple[TensorSpec, ...] = ()


CostRule = Callable[..., OpCost | None]
KeepRule = Callable[..., KeptForBackward]
AnyRule = TypeVar("AnyRule", bound=Callable[..., Any])

NO_COST = OpCost(0, 0)


class OpRule(NamedTuple):
    """All that is said of one op.

    Attributes:
        cost: what it costs.
        causal: the rule of its cost takes a keyword `half`, true where only unmasked scores are to be counted.
        gathers: it reads of its first input only the rows that it returns.
        keeps: of an op that is recorded whole, what it keeps for its backward; a function of the same arguments. Of
            any other op torch itself shows that.
    """

    cost: CostRule
    causal: bool = False
    gathers: bool = False
    keeps: KeepRule | None = None

    def bind_causal(self, causal: Causal) -> CostRule:
        """What it costs where causal scores are counted so: see `find_cost_rule`."""
        return partial(self.cost, half=True) if self.causal and causal == "half" else self.cost


_rules: dict[str, OpRule] = {}
_changed: list[str] = []


def cost_rule(
    *names: str, causal: bool = False, gathers: bool = False, keeps: KeepRule | None = None
) -> Callable[[AnyRule], AnyRule]:
    """Register the decorated function as the rule of these ops, named as "aten.convolution".

    Args:
        names: with the namespace and without the overload; an in-place op needs no name of its own.
        causal, gathers, keeps: see `OpRule`.

    Raises:
        ValueError: a name has a rule already.
    """

    def register(function: AnyRule) -> AnyRule:
        for name in names:
            if name in _rules:
                raise ValueError(f"{name} has a rule already")
            _rules[name] = OpRule(function, causal, gathers, keeps)
        return function

    return register


def aten_names(names: str) -> list[str]:
    """The names of aten ops, from a text that lists them without the namespace."""
    return [f"aten.{name}" for name in names.split()]


def costs_nothing(result: object, /, *args: object, **kwargs: object) -> OpCost:
    """The rule of an op that moves or names data and does no arithmetic."""
    return NO_COST


def find_op_rule(name: str) -> OpRule | None:
    """The rule of the op dispatched under this name, or `None` when no rule covers it.

    An in-place op does what its twin does: "aten.relu_" finds the rule of "aten.relu".
    """
    return _rules.get(name) or _rules.get(name.removesuffix("_"))


def find_cost_rule(name: str, causal: Causal = "full") -> CostRule | None:
    """What the op dispatched under this name costs, or `None` when no rule covers it.

    Args:
        causal: "full" counts every score of an attention; "half" leaves out those that `is_causal` masks.
    """
    found = find_op_rule(name)
    return None if found is None else found.bind_causal(causal)


def status_of_rule(rule: OpRule | None) -> Status:
    """Whether an op with this rule is counted, declared to cost nothing, or unknown."""
    if rule is None:
        return "unknown"
    return "zero" if rule.cost is costs_nothing else "counted"


def find_cost_status(name: str) -> Status:
    """Whether the op is counted, declared to cost nothing, or unknown."""
    return status_of_rule(find_op_rule(name))


def register_cost(name: str) -> Callable[[AnyRule], AnyRule]:
    """Register your own rule for an op, in place of any that it has.

    The decorated function is called as `function(result, *args, **kwargs)` with the op's result and its arguments,
    and returns an `OpCost`, a pair (macs, flops), or `None` when the shapes do not tell.

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

        _rules[name] = _rules.get(name, OpRule(counted))._replace(cost=counted, causal=False)
        _changed.append(name)
        return function

    return register


def count_changed_rules() -> int:
    """How often a rule was put in place of another, or added: what was counted before may be counted otherwise now."""
    return len(_changed)
