"""The grammar of `--optimizer`: the name of a class of torch.optim, with arguments or without."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

from archprof.errors import UnknownName, UsageError
from archprof.sources.model_grammar import parse_model
from archprof.torchside.optimizers import find_optimizer_class

OPTIMIZER_EXAMPLES = "Examples: sgd, sgd(momentum=0.9), adamw, adamw(foreach=False), adafactor."


class OptimizerSpec(NamedTuple):
    """The class that was named, and what it is called with."""

    kind: Any
    options: dict[str, Any]


def parse_optimizer(text: str) -> OptimizerSpec:
    """What "adamw(foreach=False)" names.

    Raises:
        UsageError: it cannot be read, or torch.optim has no such class, or the class no such argument.
    """
    try:
        spec = parse_model(text)
    except UsageError:
        raise UsageError(f"The optimizer {text!r} cannot be read.", OPTIMIZER_EXAMPLES) from None
    if spec.where:
        raise UsageError(f"The optimizer {text!r} is none of torch.optim.", OPTIMIZER_EXAMPLES)
    kind, options = find_optimizer_class(spec.name), spec.kwargs or {}
    known = [*inspect.signature(kind).parameters][1:]
    for name in options:
        if name not in known:
            raise UnknownName(f"argument of {kind.__name__}", name, known)
    return OptimizerSpec(kind, options)
