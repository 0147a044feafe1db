"""Loaders from Python as data to train on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import Any

import torch

from archprof.errors import UsageError
from archprof.probing.data.batches import Batch, DividedData, read_batch
from archprof.probing.data.images import DATA_ALLOWED


class LoaderSamples:
    """What a loader gives, again for every epoch; its batches and its order are its own."""

    def __init__(self, loader: Iterable[Any]) -> None:
        self.loader = loader

    def count_batches(self, batch: int) -> int:
        """Where the loader does not know, one."""
        return len(self.loader) if isinstance(self.loader, Sized) else 1

    def iterate(self, batch: int, shuffle: torch.Generator | None = None) -> Iterator[Batch]:
        return map(read_batch, self.loader)


def open_loaders(loader: Any, held_out: Any) -> tuple[DividedData, Batch]:
    """A loader as data, with another one of samples that are only asked, or none; and its first batch.

    Raises:
        UsageError: one of them cannot be read once an epoch, or is empty.
    """
    for each in (loader, *([] if held_out is None else [held_out])):
        if not isinstance(each, Iterable) or isinstance(each, Iterator):
            raise UsageError(
                f"Data to train on cannot be of type {type(each).__name__}.",
                f"Allowed: {DATA_ALLOWED} A loader is read once an epoch.",
            )
    samples, asked = LoaderSamples(loader), None if held_out is None else LoaderSamples(held_out)
    first = next(samples.iterate(1), None)
    if first is None:
        raise UsageError("The loader gave no batch.", "One or more.")
    return DividedData(f"a {type(loader).__name__} from Python", samples, asked, classes=0), first
