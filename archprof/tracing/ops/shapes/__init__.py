"""What an op returns on meta tensors, without torch's kernels.

Many of torch's meta kernels are written in Python: they take 80 to 900 us, and the first of them imports
sympy and torch._dynamo. The rules here answer the usual call of the usual ops in a few microseconds and
return `None` for any other, which torch then answers itself. A rule must give the shapes, dtypes and
strides that torch gives: each is tested against torch over random calls. Rules are for meta tensors only.
"""

from archprof.tracing.ops.shapes import (
    arithmetic,
    creation,
    gathering,
    normalization,
    ordering,
    pointwise,
    pooling,
    products,
    reductions,
    roomy,
)
from archprof.tracing.ops.shapes.registry import ShapeRule, find_shape_rule, list_covered_overloads

__all__ = [
    "ShapeRule",
    "arithmetic",
    "creation",
    "find_shape_rule",
    "gathering",
    "list_covered_overloads",
    "normalization",
    "ordering",
    "pointwise",
    "pooling",
    "products",
    "reductions",
    "roomy",
]
