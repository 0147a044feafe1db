"""What is differentiated: a loss of what a model returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from archprof.errors import ArchprofError, UsageError
from archprof.facts.probed import LossKind
from archprof.probing.data.batches import Batch
from archprof.torchside.tensors import find_own_loss, tensors_in
from archprof.wording import show_shape

LossFunction = Callable[[Any, Any], torch.Tensor]
"""Of what the model returned and of the labels, the loss as a scalar."""


class Loss(NamedTuple):
    value: torch.Tensor
    kind: LossKind


def find_loss(output: Any, batch: Batch, given: LossFunction | None) -> Loss:
    """The caller's loss, else the model's own, else the cross entropy of the labels, else the sum of the means.

    Raises:
        UsageError: the labels do not fit what the model returned.
        ArchprofError: nothing of it depends on a parameter.
    """
    if given is not None:
        return Loss(given(output, batch.labels), "given")
    own = find_own_loss(output)
    if isinstance(own, torch.Tensor):
        return Loss(own, "own")
    if batch.labels is not None:
        return Loss(functional.cross_entropy(find_scores(output, batch.labels), batch.labels), "cross entropy")
    means = [each.mean() for each in tensors_in(output) if each.requires_grad and each.is_floating_point()]
    if not means:
        raise ArchprofError("No output depends on a trainable parameter: there is no gradient.")
    return Loss(torch.stack(means).sum(), "means")


def find_scores(output: Any, labels: torch.Tensor) -> torch.Tensor:
    """The scores of the classes: the first tensor of what a model returned, as (samples, classes) in float32 or wider.

    Raises:
        UsageError: it is of another shape, or has fewer classes than the labels name.
    """
    scores = next((each for each in tensors_in(output) if each.is_floating_point()), None)
    if scores is None or scores.dim() != 2 or len(scores) != len(labels) or labels.is_floating_point():
        shape = "no tensor" if scores is None else show_shape(scores.shape)
        raise UsageError(
            f"The model returned {shape} for {show_shape(labels.shape)} labels.",
            "A score for each class of each sample: (samples, classes).",
            "In Python, give the loss: probe(net, data=loader, loss=lambda output, labels: …).",
        )
    if int(labels.max()) >= scores.shape[1]:
        raise UsageError(f"There is a label {int(labels.max())}, and the model has {scores.shape[1]} outputs.")
    return scores if scores.dtype == torch.float64 else scores.float()
