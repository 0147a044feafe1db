"""Code run on meta tensors by the rules, with nothing written down."""

from __future__ import annotations

from typing import Any

from archprof.torchside.dispatch import DispatchMode
from archprof.torchside.tensors import tensors_in
from archprof.tracing.ops.shapes.registry import find_shape_rule


class ShapeRuleMode(DispatchMode):
    """Answers the ops that have a rule, faster than torch and also where torch's kernel on meta refuses to."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, rule = kwargs or {}, find_shape_rule(func)
        given = tensors_in([args, kwargs]) if rule is not None else []
        result = rule(*args, **kwargs) if rule and given and all(tensor.is_meta for tensor in given) else None
        return func(*args, **kwargs) if result is None else result
