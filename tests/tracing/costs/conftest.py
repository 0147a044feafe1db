"""What the tests of cost rules share: the ops that a function dispatches, each with our count and torch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from archprof.tracing.ops.costs import Causal, OpCost, find_cost_rule


def _counts_grouped_queries() -> bool:
    try:
        return bool(sdpa_flop_count((1, 2, 1, 1), (1, 1, 1, 1), (1, 1, 1, 1)))
    except AssertionError:
        return False


GROUPED_QUERIES = _counts_grouped_queries()
"""Whether torch's own formula takes fewer heads of keys than of queries, which that of 2.11 does not."""


@pytest.fixture(scope="session")
def grouped_queries() -> None:
    """Skips what asks torch for them where it does not count them."""
    if not GROUPED_QUERIES:
        pytest.skip(f"torch {torch.__version__} counts no grouped queries")


class Call(NamedTuple):
    """One dispatched op: its name as the tracer writes it, and what went in and came out."""

    name: str
    packet: Any
    result: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def count(self, causal: Causal = "full") -> OpCost | None:
        rule = find_cost_rule(self.name, causal)
        return None if rule is None else rule(self.result, *self.args, **self.kwargs)

    @property
    def torch_macs(self) -> int:
        if self.packet not in flop_registry:
            pytest.skip(f"torch {torch.__version__} has no formula for {self.name}")
        try:
            return int(flop_registry[self.packet](*self.args, **self.kwargs, out_val=self.result)) // 2
        except AssertionError as error:
            if GROUPED_QUERIES:
                raise
            pytest.skip(f"torch {torch.__version__} counts no grouped queries: {error}")


class _Calls(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.replace("::", ".")
        self.calls.append(Call(name, func._overloadpacket, result, args, kwargs or {}))
        return result


def _dispatched(function: Callable[[], Any], name: str | None = None) -> list[Call]:
    with _Calls() as mode:
        function()
    return [call for call in mode.calls if name in (None, call.name.removesuffix("_"))]


def _by_schema(name: str, result: Any, **given: Any) -> Call:
    """A call of "aten.name" that never ran: arguments by the names of torch's own schema, a blank for the rest."""
    packet = getattr(torch.ops.aten, name.removeprefix("aten."))
    schema = getattr(packet, packet.overloads()[0])._schema
    blanks = {"Tensor": torch.empty(0, device="meta"), "bool": False, "int": 0, "float": 0.0}
    args, kwargs = [], {}
    for argument in schema.arguments:
        blank = argument.default_value if argument.has_default_value() else blanks.get(str(argument.type))
        value = given.get(argument.name, blank)
        if argument.kwarg_only:
            kwargs[argument.name] = value
        else:
            args.append(value)
    assert given.keys() <= {argument.name for argument in schema.arguments}, schema
    return Call(name, packet, result, tuple(args), kwargs)


@pytest.fixture(scope="session")
def dispatched() -> Callable[..., list[Call]]:
    """`dispatched(function, name=None)`: the ops that calling `function` dispatches, or those of that name."""
    return _dispatched


@pytest.fixture(scope="session")
def by_schema() -> Callable[..., Call]:
    """`by_schema(name, result, **given)`: a call of an op with its arguments placed by torch's schema."""
    return _by_schema


@pytest.fixture(scope="session")
def meta() -> Callable[..., torch.Tensor]:
    """`meta(2, 3)`: a tensor of that shape without data."""
    return lambda *shape, **options: torch.empty(shape, device="meta", **options)
