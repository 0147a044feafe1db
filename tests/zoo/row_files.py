"""A CSV file with a row for each model, written as each is done, by processes that may die."""

from __future__ import annotations

import csv
import multiprocessing
import multiprocessing.connection
import resource
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

Run = Callable[[str], Any]
"""From a model to its row, which has `model` and `why`; it is called in another process."""

MEMORY = 12 * 2**30
"""Bytes of address space that one process may take: a model that falls back must not take the machine with it."""


def write_rows(models: list[str], path: Path, jobs: int, run: Run, row_type: Any) -> None:
    """Run the models that have no row yet, in processes of their own, and write a row for each as it is done."""
    done = {row.model for row in read_rows(path, row_type)}
    left = [model for model in models if model not in done]
    new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(row_type)])
        if new:
            writer.writeheader()
        for count, row in enumerate(_rows(left, jobs, run, row_type), 1):
            writer.writerow(asdict(row))
            file.flush()
            sys.stderr.write(f"\r{count}/{len(left)} {row.model:60.60}")
    sys.stderr.write("\n")


def read_rows(path: Path, row_type: Any) -> list[Any]:
    """The rows that are there."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [row_type(**{key: value or None for key, value in row.items()}) for row in csv.DictReader(file)]


def _rows(models: list[str], jobs: int, run: Run, row_type: Any) -> Iterator[Any]:
    """The rows as they are done; a process that dies takes only its own model with it."""
    context = multiprocessing.get_context("spawn")
    waiting = list(reversed(models))
    workers: list[_Worker] = []
    while waiting or workers:
        while waiting and len(workers) < jobs:
            workers.append(_Worker(context, run, row_type))
            workers[-1].give(waiting.pop())
        ready = multiprocessing.connection.wait([worker.pipe for worker in workers])
        for worker in [worker for worker in workers if worker.pipe in ready]:
            row = worker.take()
            yield row
            if worker.alive and waiting:
                worker.give(waiting.pop())
            else:
                worker.stop()
                workers.remove(worker)


class _Worker:
    """A process that runs one model after another."""

    def __init__(self, context: Any, run: Run, row_type: Any) -> None:
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, run), daemon=True)
        self.process.start()
        theirs.close()
        self.model, self.alive, self.row_type = "", True, row_type

    def give(self, model: str) -> None:
        self.model = model
        self.pipe.send(model)

    def take(self) -> Any:
        try:
            return self.pipe.recv()
        except EOFError:
            self.alive = False
            self.process.join()
            return self.row_type(self.model, why=f"its process died: exit code {self.process.exitcode}")

    def stop(self) -> None:
        if self.alive:
            self.pipe.send(None)
        self.process.join()


def _work(pipe: Any, run: Run) -> None:
    import torch

    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    while (model := pipe.recv()) is not None:
        pipe.send(run(model))
