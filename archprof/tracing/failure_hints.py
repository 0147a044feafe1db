"""What to try when a forward fails: told from the layer that failed, its sizes and what it was given.

Torch's words differ from release to release and are not read. A layer of torch says by its attributes what it takes; of
anything else, the line that raised is named.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from archprof.facts.records import TensorSpec
from archprof.sources.input_spec import InputSpec, is_floating_dtype
from archprof.torchside.error_lines import find_own_line
from archprof.wording import show_shape

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
CONVOLUTIONS = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip

INTEGER_DTYPES = ("int64", "int32", "int16", "int8", "uint8", "bool")


@dataclass(frozen=True)
class FailedCall:
    """The call that raised.

    Attributes:
        module: that failed; only its class and its sizes are read.
        inputs: the tensors that it was given.
        arguments: what the user gave the model.
        batch: that was put in front of inputs written without it.
        error: that was raised.
    """

    module: nn.Module
    inputs: Sequence[TensorSpec] = ()
    arguments: Sequence[InputSpec] = ()
    batch: int = 1
    error: BaseException = field(default_factory=RuntimeError)


def suggest_fix(call: FailedCall) -> str:
    """What to try, in a sentence or two."""
    found = next((hint for rule in HINT_RULES for hint in rule(call)), None)
    batch = next(_explain_prepended_batch(call), None)
    return " ".join(hint for hint in (found, batch) if hint) or _point_at_line(call)


def explain_arguments(forward: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """What a forward takes, where the arguments are not that; `None` where they fit it."""
    try:
        signature = inspect.signature(forward)
    except (TypeError, ValueError):  # code that is not Python
        return None
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        return (
            f"Its forward takes {signature.replace(return_annotation=signature.empty)}: {error}. One --input for each."
        )
    return None


def _suggest_for_batch_norm(call: FailedCall) -> Iterator[str]:
    module = call.module
    if not isinstance(module, BATCH_NORMS) or not call.inputs:
        return
    shape = call.inputs[0].shape
    if module.training and len(shape) > 1 and math.prod(shape) == shape[1]:
        yield (
            f"In training a batch norm needs more than one value per channel, and got one of each of {shape[1]:,}: "
            "--batch 2."
        )
    yield from _compare_size("channels", module.num_features, shape, 1)


def _suggest_for_instance_norm(call: FailedCall) -> Iterator[str]:
    if isinstance(call.module, INSTANCE_NORMS) and call.inputs:
        shape = call.inputs[0].shape
        if len(shape) > 2 and math.prod(shape[2:]) == 1:
            yield "An instance norm needs more than one value per channel of each image: give a larger --input."
        yield from _compare_size("channels", call.module.num_features, shape, 1)


def _suggest_for_embedding(call: FailedCall) -> Iterator[str]:
    if not isinstance(call.module, nn.Embedding | nn.EmbeddingBag) or not call.inputs:
        return
    rows, given = call.module.num_embeddings, call.inputs[0]
    sizes = ",".join(map(str, given.shape))
    if given.dtype not in INTEGER_DTYPES[:2]:
        yield f"An embedding takes int64 or int32, and got {given.dtype}: --input 'int64[{sizes}]<{rows}'."
    else:
        yield f"This embedding has {rows:,} rows, so its ids are below that: --input '{given.dtype}[{sizes}]<{rows}'."


def _suggest_for_convolution(call: FailedCall) -> Iterator[str]:
    module = call.module
    if not isinstance(module, CONVOLUTIONS) or not call.inputs:
        return
    shape, sides = call.inputs[0].shape, len(module.kernel_size)
    yield from _compare_dtype(call)
    if len(shape) not in (sides + 1, sides + 2):
        takes = f"{sides + 2} dimensions (batch, channels and {sides} more)"
        yield f"A {type(module).__name__} takes {takes}, and got {len(shape)}: {show_shape(shape)}."
        return
    yield from _compare_size("channels", module.in_channels, shape, len(shape) - sides - 1)
    padding = (0,) * sides if isinstance(module.padding, str) else module.padding
    for side, kernel, gap, edge in zip(shape[-sides:], module.kernel_size, module.dilation, padding, strict=False):
        reach = gap * (kernel - 1) + 1
        if not module.transposed and side + 2 * edge < reach:
            yield f"Its kernel spans {reach}, and of its input {side + 2 * edge} are left: give a larger --input."
            return


def _suggest_for_linear(call: FailedCall) -> Iterator[str]:
    if isinstance(call.module, nn.Linear) and call.inputs:
        yield from _compare_dtype(call)
        yield from _compare_size("features", call.module.in_features, call.inputs[0].shape, -1)


def _suggest_for_layer_norm(call: FailedCall) -> Iterator[str]:
    module = call.module
    if isinstance(module, nn.LayerNorm | nn.RMSNorm) and call.inputs:
        shape, last = call.inputs[0].shape, tuple(module.normalized_shape)
        if tuple(shape[-len(last) :]) != last:
            yield f"It takes tensors that end in {show_shape(last)}, and got {show_shape(shape)}."
        yield from _compare_dtype(call)
    if isinstance(module, nn.GroupNorm) and call.inputs:
        yield from _compare_size("channels", module.num_channels, call.inputs[0].shape, 1)


def _suggest_for_recurrent(call: FailedCall) -> Iterator[str]:
    module = call.module
    if isinstance(module, nn.RNNBase | nn.RNNCellBase) and call.inputs:
        yield from _compare_dtype(call)
        yield from _compare_size("features", module.input_size, call.inputs[0].shape, -1)
    if isinstance(module, nn.MultiheadAttention) and call.inputs:
        yield from _compare_dtype(call)
        yield from _compare_size("features", module.embed_dim, call.inputs[0].shape, -1)


def _suggest_for_memory(call: FailedCall) -> Iterator[str]:
    if isinstance(call.error, MemoryError | torch.OutOfMemoryError):
        yield "This pass needs values, and more memory than there is: give a smaller --input or --batch."


HINT_RULES = (
    _suggest_for_memory,
    _suggest_for_batch_norm,
    _suggest_for_instance_norm,
    _suggest_for_embedding,
    _suggest_for_convolution,
    _suggest_for_linear,
    _suggest_for_layer_norm,
    _suggest_for_recurrent,
)


def _compare_size(what: str, wanted: int, shape: Sequence[int], place: int) -> Iterator[str]:
    """A size that is another than the layer's; a lazy layer has none yet."""
    if wanted and -len(shape) <= place < len(shape) and shape[place] != wanted:
        yield f"It takes {wanted:,} {what}, and got {shape[place]:,} in {show_shape(shape)}."


def _compare_dtype(call: FailedCall) -> Iterator[str]:
    """Floats of another dtype than the layer's own, or no floats at all."""
    own = next((p.dtype for p in call.module.parameters(recurse=False) if p.is_floating_point()), None)
    wanted, given = str(own).removeprefix("torch."), call.inputs[0].dtype
    if own is None or given == wanted:
        return
    if is_floating_dtype(given):
        yield f"Its weights are {wanted}, and it got {given}: --dtype {given} for the pass, or an --input of {wanted}."
    else:
        yield f"It takes {wanted}, and got {given}: leave that dtype out of --input."


def _explain_prepended_batch(call: FailedCall) -> Iterator[str]:
    """Said where a shape that has the batch put in front seems to have had one."""
    for spec in call.arguments:
        if spec.batched and len(spec.shape) > 1 and spec.shape[0] in (1, call.batch):
            exact, rest = ",".join(map(str, spec.shape)), show_shape(spec.shape[1:])
            made = f"A batch of {call.batch} was put in front, which made {show_shape(spec.full_shape(call.batch))}."
            yield f"{made} Exact: [{exact}]. Without its batch: {rest}."
            return


def _point_at_line(call: FailedCall) -> str:
    place = find_own_line(call.error)
    raised = f"It was raised in {place}. " if place else ""
    return raised + "If the model takes another input, --input says its shape and dtype, and --arg what is no tensor."
