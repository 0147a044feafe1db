"""What goes through a model in one step, and where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch.nn import functional

from archprof.errors import UsageError

ImageShape = tuple[int, int, int]
"""Channels, height and width."""


class Batch(NamedTuple):
    """The arguments of one forward, and the class of each sample; `None` where there are none."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = {}
    labels: torch.Tensor | None = None


class Samples(Protocol):
    """Samples with their classes."""

    def count_batches(self, batch: int) -> int:
        """How many batches of so many samples there are in an epoch."""

    def iterate(self, batch: int, shuffle: torch.Generator | None = None) -> Iterator[Batch]:
        """Every sample once, in its order or in one that is drawn; the last batch may be smaller."""


class IndexedSamples:
    """Samples that can be had in any order."""

    def __len__(self) -> int:
        raise NotImplementedError

    def take(self, indices: Sequence[int]) -> Batch:
        """These samples as one batch."""
        raise NotImplementedError

    def count_batches(self, batch: int) -> int:
        return -(-len(self) // batch)

    def iterate(self, batch: int, shuffle: torch.Generator | None = None) -> Iterator[Batch]:
        order = range(len(self)) if shuffle is None else torch.randperm(len(self), generator=shuffle).tolist()
        return (self.take(order[start : start + batch]) for start in range(0, len(order), batch))


@dataclass(frozen=True)
class DividedData:
    """Labelled samples in two parts.

    Attributes:
        name: as it was asked for.
        train, held_out: what is learned, and what is only asked; `None`: nothing is.
        classes: how many; 0 where that is not known.
        notes: what was done to the samples.
    """

    name: str
    train: Samples
    held_out: Samples | None
    classes: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TensorSamples(IndexedSamples):
    """Images in memory.

    Attributes:
        images: (samples, channels, height, width), of any dtype.
        labels: the class of each.
        mean, std: of each channel, which are taken off and divided by.
        shape: what they are scaled to; a single channel is repeated.
    """

    images: torch.Tensor
    labels: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor
    shape: ImageShape

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Sequence[int]) -> Batch:
        chosen = torch.as_tensor(indices)
        images = (self.images[chosen].float() - self.mean[:, None, None]) / self.std[:, None, None]
        if images.shape[2:] != self.shape[1:]:
            images = functional.interpolate(images, self.shape[1:], mode="bilinear", align_corners=False)
        images = images.expand(-1, self.shape[0], -1, -1).contiguous()
        return Batch((images,), labels=self.labels[chosen])


class LoaderData(NamedTuple):
    """The batches of a loader from Python, and what it is called in answers."""

    batches: Sequence[Batch]
    name: str


def read_batch(given: Any) -> Batch:
    """What a loader yields, as a batch.

    Raises:
        UsageError: it is none of what a loader may yield.
    """
    if isinstance(given, torch.Tensor):
        return Batch((given,))
    if isinstance(given, Mapping):
        return Batch((), dict(given))
    if isinstance(given, tuple | list) and len(given) == 2 and isinstance(given[1], torch.Tensor):
        inputs = given[0]
        args = tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)
        return Batch(args, labels=given[1])
    raise UsageError(
        f"A loader gave {type(given).__name__}, which is no batch.",
        "A tensor, (inputs, labels) with labels as a tensor, or a dict of keywords of the forward.",
    )
