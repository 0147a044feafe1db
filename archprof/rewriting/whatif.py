"""From a model and the names of rewrites to the rewritten model, with what it costs before and after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import fx, nn

from archprof.errors import UsageError
from archprof.facts.records import Profile
from archprof.facts.request import LARGEST_SIZE, PLAIN_PASS, PassRequest
from archprof.rewriting.add_bn import ADD_BN, NO_CONVOLUTION_TO_NORMALISE, add_batch_norms
from archprof.rewriting.draft import Change, Draft, Net, Refusal
from archprof.rewriting.folding import fold_sequentials
from archprof.rewriting.no_fc import replace_fc, set_num_classes
from archprof.rewriting.residual import NO_CONVOLUTION_PAIR, RESIDUAL, add_shortcuts
from archprof.rewriting.separable import NO_CONVOLUTION_TO_SPLIT, SEPARABLE, split_convolutions
from archprof.rewriting.stack3x3 import NO_CONVOLUTION_TO_STACK, STACK3X3, stack_convolutions
from archprof.rewriting.tracing import capture_graph
from archprof.rewriting.width import NO_WIDTH_TO_CHANGE, WIDTH, scale_width
from archprof.sources.inputs import make_spec
from archprof.sources.resolve import check_traceable, resolve
from archprof.sources.target import Target
from archprof.tracing.trace import trace


@dataclass(frozen=True)
class Rewritten:
    """A model before and after.

    Attributes:
        before, after: what one forward costs.
        model: the rewritten model, on the meta device and in evaluation mode. Its layers keep their paths; what was
            put in the place of a layer stands in an `nn.Sequential` at the path of that layer.
        graph: what its forward calls, in order.
        applied: what was done, in order.
        refused: what could not be done, and why.
    """

    before: Profile
    after: Profile
    model: nn.Module
    graph: fx.Graph
    applied: tuple[Change, ...]
    refused: tuple[Refusal, ...]


def whatif(
    model: Any,
    inputs: Any = None,
    request: PassRequest = PLAIN_PASS,
    *,
    stack3x3: bool = False,
    middle: int | None = None,
    add_bn: bool = False,
    residual: bool = False,
    separable: bool = False,
    no_fc: bool = False,
    width: float | None = None,
    num_classes: int | None = None,
) -> Rewritten:
    """Rewrite a copy of a model, in the order of the arguments, and say what that costs; the model is only read.

    Args:
        model, inputs: as for `archprof.profile`.
        stack3x3: stacks of 3x3 convolutions for larger kernels.
        middle: channels between the convolutions of a stack.
        add_bn: batch norm after convolutions that have no norm.
        residual: shortcuts around pairs of convolutions.
        separable: depthwise and pointwise convolutions.
        no_fc: a global average for the first linear layers.
        width: hidden channels times this.
        num_classes: outputs of the last layer.

    Raises:
        UsageError: the model, its inputs or the options do not fit.
        TraceError: the model's forward failed.
        ArchprofError: its forward cannot be made a graph.
    """
    check_traceable(model)
    _validate_options(stack3x3, middle, width, num_classes)
    target = resolve(model, inputs, request)
    before = trace(replace(target, owned=False), request)
    net = capture_graph(target, batch=request.batch, dtype=getattr(torch, request.dtype) if request.dtype else None)
    for asked, name, nothing, rewrite in (
        (stack3x3, STACK3X3, NO_CONVOLUTION_TO_STACK, partial(stack_convolutions, middle=middle)),
        (add_bn, ADD_BN, NO_CONVOLUTION_TO_NORMALISE, add_batch_norms),
        (residual, RESIDUAL, NO_CONVOLUTION_PAIR, add_shortcuts),
        (separable, SEPARABLE, NO_CONVOLUTION_TO_SPLIT, split_convolutions),
        (no_fc, "no_fc", "", replace_fc),
        (width is not None, WIDTH, NO_WIDTH_TO_CHANGE, partial(scale_width, factor=width or 1.0)),
    ):
        if asked:
            _apply_rewrite(net, name, nothing, rewrite)
    if num_classes is not None:
        set_num_classes(net, num_classes)
    fold_sequentials(net)
    rewritten = Net(net).eval()
    after = trace(_make_target(target.name, rewritten, net), replace(request, dtype=None))
    before = replace(before, inputs=after.inputs)  # the same tensors, whose exact shapes the graph is made for
    return Rewritten(before, after, rewritten, net.graph, tuple(net.changes), tuple(net.refusals))


WIDEST = 2**20
"""The most by which widths may be multiplied."""


def _validate_options(stack3x3: bool, middle: int | None, width: float | None, num_classes: int | None) -> None:
    if middle is not None and not stack3x3:
        raise UsageError(f"middle is {middle}, and nothing is stacked.", "It says how wide stack3x3 is in the middle.")
    sizes = (("middle", middle, LARGEST_SIZE), ("width", width, WIDEST), ("num_classes", num_classes, LARGEST_SIZE))
    for name, value, most in sizes:
        if value is not None and not 0 < value <= most:
            raise UsageError(f"{name} is {value:.6g}.", f"More than 0, at most {most}.")


def _apply_rewrite(net: Draft, name: str, nothing: str, rewrite: Callable[[Draft], None]) -> None:
    """Do one rewrite and note the new shapes; say `nothing`, if there is such a case, where it found nothing to do."""
    said = len(net.changes) + len(net.refusals)
    rewrite(net)
    if nothing and said == len(net.changes) + len(net.refusals):
        net.note_refusal(name, "", nothing)
    net.note_shapes()


def _make_target(name: str, model: nn.Module, net: Draft) -> Target:
    """The rewritten model with the same inputs, ready to be traced."""
    return Target(f"{name} rewritten", model, tuple(map(make_spec, net.inputs)), {}, owned=False, rebuild=None)
