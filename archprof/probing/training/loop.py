"""The loop: forward, loss, backward, step. Plain torch, one epoch at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from torch import nn

from archprof.probing.data.batches import Batch
from archprof.probing.live import move_batch
from archprof.probing.loss import LossFunction, find_loss, find_scores
from archprof.units import keep_finite


class Learner(NamedTuple):
    """A net with its optimizer, and how it learns.

    Attributes:
        autocast: gives the context of a forward.
        loss: a function of the caller's; `None`: see `find_loss`.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    device: str
    dtype: str
    autocast: Callable[[], AbstractContextManager[Any]]
    loss: LossFunction | None = None


class Score(NamedTuple):
    """The mean loss and the share of right answers over some samples; `None` where there is none."""

    loss: float | None
    accuracy: float | None
    seconds: float


def learn_epoch(learner: Learner, batches: Iterable[Batch], tell: Callable[[], None]) -> Score:
    """One pass over the data; `tell` is called after each step."""
    learner.model.train()
    score = _RunningScore()
    for batch in batches:
        learner.optimizer.zero_grad(set_to_none=True)
        loss = score.add(learner, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        learner.optimizer.step()
        tell()
    return score.read()


def ask(learner: Learner, batches: Iterable[Batch]) -> Score:
    """What a net knows of samples that it does not learn; its train flags are put back."""
    flags = {module: module.training for module in learner.model.modules()}
    learner.model.eval()
    score = _RunningScore()
    with torch.no_grad():
        for batch in batches:
            score.add(learner, batch)
    for module, flag in flags.items():
        module.training = flag
    return score.read()


class _RunningScore:
    """Sums over the batches so far, kept on the device."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.samples = self.classified = 0
        self.loss: torch.Tensor | float = 0.0
        self.right: torch.Tensor | int = 0

    def add(self, learner: Learner, given: Batch) -> torch.Tensor:
        """Run the forward of a batch; its loss."""
        batch = move_batch(given, learner.device, learner.dtype)
        with learner.autocast():
            output = learner.model(*batch.args, **batch.kwargs)
        loss, kind = find_loss(output, batch, learner.loss)
        count = 1 if batch.labels is None else len(batch.labels)
        self.samples += count
        self.loss = self.loss + loss.detach().double() * count
        if batch.labels is not None and kind == "cross entropy":
            self.classified += count
            best = find_scores(output, batch.labels).argmax(1)
            self.right = self.right + torch.eq(best, batch.labels).sum()
        return loss

    def read(self) -> Score:
        loss = keep_finite(float(self.loss) / self.samples) if self.samples else None
        accuracy = int(self.right) / self.classified if self.classified else None
        return Score(loss, accuracy, time.perf_counter() - self.start)
