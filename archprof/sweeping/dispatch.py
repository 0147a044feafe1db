"""Tasks on their way to the workers of an engine, and their rows on their way back."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from dataclasses import replace
from typing import Any, NamedTuple

from archprof.errors import ArchprofError
from archprof.facts.swept import SweptRow, fail_row
from archprof.sweeping.engine import Engine
from archprof.sweeping.supervisor import MOST_TRIES, Refusal, Task, describe_loss, run_tasks

AHEAD = 2
"""Tasks for each slot of an engine that are with it at once, so that no worker waits."""

MOST_WORDS = 200


class Parcel(NamedTuple):
    """Tasks that go to a worker together.

    Attributes:
        begun: how often they were begun before.
        why: how their worker was lost then.
    """

    tasks: tuple[Task, ...]
    begun: int = 0
    why: str = ""


class Dispatch:
    """One run over tasks."""

    def __init__(
        self,
        engine: Engine,
        tasks: Sequence[Task],
        keep: Callable[[SweptRow], None],
        progress: Callable[[float, float], None],
        whole: int,
    ) -> None:
        """`whole`: how many cells there are, those that were done before among them."""
        self.engine, self.keep, self.progress = engine, keep, progress
        self.waiting = deque(Parcel(tuple(some)) for some in _split(tasks, engine))
        self.pending: dict[Future[Any], Parcel] = {}
        self.whole, self.asked, self.done = whole, len(tasks), 0
        self.start = time.monotonic()

    def run(self) -> None:
        """Run all of them.

        Raises:
            ArchprofError: a worker has other versions, or the engine went away.
        """
        while self.waiting or self.pending:
            self._submit()
            done, _ = wait(self.pending, return_when=FIRST_COMPLETED)
            for future in done:
                self._receive(future, self.pending.pop(future))

    def _submit(self) -> None:
        while self.waiting and len(self.pending) < AHEAD * self.engine.slots:
            parcel = self.waiting.popleft()
            try:
                future = self.engine.executor.submit(run_tasks, list(parcel.tasks))
            except Exception as error:
                raise self._make_gone_error(error) from error
            self.pending[future] = parcel

    def _receive(self, future: Future[Any], parcel: Parcel) -> None:
        try:
            answer = future.result()
        except (Exception, CancelledError) as error:
            self._begin_again(parcel, error)
            return
        if isinstance(answer, Refusal):
            raise ArchprofError(answer.given, answer.allowed, answer.hint)
        again = self.engine.count_starts(future) - 1
        for row in answer:
            self._keep(_tell_tries(row, parcel.begun + again, parcel.why or "the engine says so"))

    def _keep(self, row: SweptRow) -> None:
        self.keep(replace(row, engine=self.engine.name))
        self.done += 1
        left = (time.monotonic() - self.start) / self.done * (self.asked - self.done)
        self.progress((self.whole - self.asked + self.done) / self.whole, left)

    def _begin_again(self, parcel: Parcel, error: BaseException) -> None:
        """Each task of a lost worker by itself, unless it was the last time."""
        if isinstance(error, BrokenExecutor) or not self.engine.is_alive():
            raise self._make_gone_error(error) from error
        begun = parcel.begun + 1
        for task in reversed(parcel.tasks):
            if begun < MOST_TRIES:
                self.waiting.appendleft(Parcel((task,), begun, type(error).__name__))
            else:
                said = f"Its worker was lost {begun} times: {_describe(error)}."
                self._keep(fail_row(task.empty_row, "error", said, tries=begun))

    def _make_gone_error(self, error: BaseException) -> ArchprofError:
        return ArchprofError(
            f"The engine {self.engine.name} went away: {_describe(error)}.",
            f"{self.asked - self.done:,} cells are left; what is done is kept.",
            "The same command goes on.",
        )


def _split(tasks: Sequence[Task], engine: Engine) -> list[Sequence[Task]]:
    """In parcels of the engine's size, smaller ones where there would be too few for its slots."""
    size = max(1, min(engine.chunk, len(tasks) // engine.slots))
    return [tasks[at : at + size] for at in range(0, len(tasks), size)]


def _tell_tries(row: SweptRow, before: int, why: str) -> SweptRow:
    if not before:
        return row
    return replace(row, tries=row.tries + before, note=row.note or describe_loss(why))


def _describe(error: BaseException) -> str:
    said = str(error).strip().partition("\n")[0].rstrip(".")[:MOST_WORDS]
    return f"{type(error).__name__}: {said}".rstrip(": ")
