"""torchinfo 1.8.0, `torchinfo.summary(model, input_data=…)`, of which "Total mult-adds".

It looks at modules that hold no others, and multiplies their parameters: those called `weight` and `bias` by
* the positions of the output and its first dimension, where "Conv" is in the name of the class;
* the first dimension of the output alone everywhere else (so also of a linear layer on a sequence, and an embedding);
and any other parameter with "weight" or "bias" in its name (of recurrent layers) by the first two dimensions of the
output. Nothing else counts: no attention, no functional op, no parameter of a module that holds others.
"""

from __future__ import annotations

from collections.abc import Iterator

from archprof.analysis.other_tools.recurrent import RECURRENT_KINDS
from archprof.analysis.other_tools.tool_count import Convention, WorkPart
from archprof.analysis.other_tools.tool_view import ModuleCall, ToolView, count_elements

CONV_KINDS = tuple(f"{kind}{n}d" for kind in ("Conv", "ConvTranspose") for n in (1, 2, 3))
WEIGHT_AND_BIAS_KINDS = frozenset(
    {
        *(f"{kind}{n}d" for kind in ("BatchNorm", "InstanceNorm") for n in (1, 2, 3)),
        "Linear", "NonDynamicallyQuantizableLinear", "Bilinear", "Embedding", "EmbeddingBag", "LayerNorm", "GroupNorm",
        "RMSNorm", "PReLU",
    }
)  # fmt: skip
"""Modules of torch whose parameters are called weight and bias."""


def count_parts(view: ToolView) -> Iterator[WorkPart]:
    for row in view.module_calls:
        counted = _count_leaf(row) if row.is_leaf else None
        if counted is not None:
            yield WorkPart(row.kind, *counted, row.macs)
        else:
            yield from (WorkPart(f"{op.name} outside such modules", 0, 0, op.macs) for op in row.ops if op.macs)


def _count_leaf(row: ModuleCall) -> tuple[int, int] | None:
    """Least and most for a module that holds no others; `None` where its parameters cannot count."""
    elements = sum(map(count_elements, row.param_shapes))
    if not elements:
        return None
    first = row.output_shape[0] if row.output_shape else 1
    whole = elements * count_elements(row.output_shape[:2])
    if row.kind in CONV_KINDS:
        amount = elements * count_elements(row.output_shape[:1] + row.output_shape[2:])
    elif row.kind in RECURRENT_KINDS:
        amount = whole
    elif row.kind in WEIGHT_AND_BIAS_KINDS:
        amount = elements * first
    else:
        return 0, max(
            whole,
            elements * first,
            elements * count_elements(row.output_shape[:1] + row.output_shape[2:]) if "Conv" in row.kind else 0,
        )
    return amount, amount


CONVENTION = Convention(
    "torchinfo",
    "1.8.0",
    "summary(model, input_data=inputs)",
    "mult-adds",
    count_parts,
    unclear="A profile does not hold the names of parameters: those of a module of your own may count or not.",
)
