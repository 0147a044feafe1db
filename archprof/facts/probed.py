"""What was probed: how large activations and gradients were in real passes, an overlay on the rows of a profile."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from archprof.facts.ran import Ran

LossKind = Literal["cross entropy", "own", "given", "means"]
"""The loss that was differentiated: the mean cross entropy of the labels, the one that the model returns, a function of
the caller's, or the sum of the means of the outputs, where there are no labels."""


class Activation(NamedTuple):
    """What one call returned, over all samples: its floating tensors taken together.

    Attributes:
        key: the call, by its index.
        elements: of all samples.
        mean, std, least, largest: of the finite elements; `None` without any. std divides by their number.
        zeros: elements that are 0.
        nonfinite: elements that are infinite or not a number.
        units: channels or features of the first of the tensors; `None` where it has no dimension of samples and units.
        dead: units that are 0 for all samples, at all positions.
        saturated: elements within 1 % of the range of a bounded activation from one of its bounds; `None` of others.
        rank: singular values of at least 1 % of the largest, of the matrix (samples, elements of each) that a part of
            the first batch makes.
        rank_limit: the greatest rank that this matrix could have.
    """

    key: int
    elements: int
    mean: float | None
    std: float | None
    least: float | None
    largest: float | None
    zeros: int
    nonfinite: int
    units: int | None = None
    dead: int | None = None
    saturated: int | None = None
    rank: int | None = None
    rank_limit: int | None = None


class Gradient(NamedTuple):
    """What came back for one trainable parameter, and what the optimizer made of it.

    Attributes:
        parameter: its index in `Profile.parameters`.
        norm: the Euclidean norm of the gradient; `None` where none came, or one that is not finite.
        weight_norm: that of the parameter, before the step.
        update_norm: of what the first step of the optimizer added to the parameter; `None` without an optimizer.
        nonfinite: elements of the gradient that are infinite or not a number.
    """

    parameter: int
    norm: float | None
    weight_norm: float | None
    update_norm: float | None = None
    nonfinite: int = 0


@dataclass(frozen=True)
class Probe:
    """Activations and gradients of real batches, at initialisation or from a checkpoint.

    Attributes:
        ran: on what.
        data: where the batches are from, as it was asked for.
        batch, batches: samples of a batch, and how many there were; gradients are those of the mean loss over all.
        seed: of the weights where the model was built here, of the samples that were drawn, and of all that is random.
        weights: the file that the weights are from; "": the model's own.
        optimizer: whose first step was taken, as it was asked for; "": none.
        loss: the mean over the batches; `None` where it is not finite.
        loss_kind: what was differentiated.
        activations: one for each call that returned floating tensors.
        gradients: one for each trainable parameter.
        notes: what the reader must know to trust the numbers.
    """

    kind: ClassVar[str] = "probed"

    ran: Ran
    data: str
    batch: int
    batches: int
    seed: int
    weights: str
    optimizer: str
    loss: float | None
    loss_kind: LossKind
    activations: tuple[Activation, ...]
    gradients: tuple[Gradient, ...]
    notes: tuple[str, ...] = ()

    def calls(self) -> Iterator[int]:
        """Every call that returned something."""
        return (one.key for one in self.activations)

    def check(self) -> None:
        """Raise `ValueError` on the first invariant that does not hold."""
        for what, keys in (("call", [*self.calls()]), ("parameter", [one.parameter for one in self.gradients])):
            if len(keys) != len(set(keys)):
                raise ValueError(f"a {what} was probed twice")
        for one in self.activations:
            if one.zeros + one.nonfinite > one.elements or (one.dead or 0) > (one.units or 0):
                raise ValueError(f"call {one.key} has more zeros than elements")
        for number in self._list_numbers():
            if number is not None and not math.isfinite(number):
                raise ValueError("a statistic that is no number")

    def _list_numbers(self) -> Iterator[float | None]:
        for activation in self.activations:
            yield from activation[2:6]
        for gradient in self.gradients:
            yield from gradient[1:4]
