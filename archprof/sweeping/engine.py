"""What runs the cells of a sweep: anything with the `submit` of a `concurrent.futures.Executor`.

Each engine that a team may have is a file of `engines/`, and an optional extra.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from archprof.errors import ArchprofError, UnknownName, UsageError
from archprof.sweeping.process_pool import PROCESSES
from archprof.sweeping.supervisor import describe_worker

REACH_SECONDS = 5.0
"""For a connection to the head of a cluster."""

START_SECONDS = 600.0
"""For the first answer of a worker, which may have to be started."""

ENGINE_WORDS = ("local", "dask://HOST:PORT", "ray", "ray://HOST:PORT", "slurm", "submitit")


class Executor(Protocol):
    """The part of `concurrent.futures.Executor` that a sweep needs."""

    def submit(self, call: Callable[..., Any], /, *args: Any) -> Future[Any]: ...


def _describe_one(executor: Executor) -> list[dict[str, Any]]:
    return [executor.submit(describe_worker).result(START_SECONDS)]


@dataclass
class Engine:
    """An executor, and what a sweep has to know of it.

    Attributes:
        name: as a row has it.
        executor: that runs cells.
        slots: cells that it runs at once.
        chunk: cells that go to a worker together, where starting one is dear.
        describe: the workers that can be asked, as `describe_worker` says each.
        is_alive: it can still be asked.
        count_starts: how often the engine itself began what a future is of, where it does so again by itself.
        close: called once at the end; `True`: what runs is not waited for.
    """

    name: str
    executor: Executor
    slots: int
    chunk: int = 1
    describe: Callable[[Executor], list[dict[str, Any]]] = _describe_one
    is_alive: Callable[[], bool] = lambda: True
    count_starts: Callable[[Future[Any]], int] = lambda future: 1
    close: Callable[[bool], None] = lambda at_once: None


def open_engine(asked: Any, jobs: int | None, *, measure: str = "") -> Engine:
    """The engine that a word names, or that wraps an executor.

    Args:
        asked: one of `ENGINE_WORDS`, or a `concurrent.futures.Executor`.
        jobs: cells at once; `None`: what the engine has.
        measure: "cpu" or "cuda", of which each cell wants one for itself; "": none.

    Raises:
        UsageError: there is no such engine, or no cell at once.
        ArchprofError: it is not installed, or does not answer.
    """
    if jobs is not None and jobs < 1:
        raise UsageError(f"{jobs} cells cannot run at once.", "1 or more.")
    PROCESSES.open()
    if not isinstance(asked, str):
        return _wrap_executor(asked, jobs)
    scheme, _, rest = asked.partition(":")
    if asked == "local":
        from archprof.sweeping.engines.local import open_local

        return open_local(jobs, measure=measure)
    if scheme == "dask" and rest:
        from archprof.sweeping.engines.dask import open_dask

        return open_dask(read_address(asked), jobs)
    if asked == "ray" or (scheme == "ray" and rest):
        from archprof.sweeping.engines.ray import open_ray

        return open_ray(read_address(asked) if rest else None, jobs, measure=measure)
    if scheme in ("slurm", "submitit"):
        from archprof.sweeping.engines.slurm import open_slurm

        return open_slurm(scheme, rest, jobs, measure=measure)
    raise UnknownName("engine", asked, ENGINE_WORDS)


def _wrap_executor(executor: Any, jobs: int | None) -> Engine:
    if not callable(getattr(executor, "submit", None)):
        raise UsageError(
            f"An engine cannot be of type {type(executor).__name__}.",
            f"One of {', '.join(ENGINE_WORDS)}, or a concurrent.futures.Executor.",
        )
    slots = jobs or getattr(executor, "_max_workers", None) or 1
    return Engine(type(executor).__name__, executor, slots, close=lambda at_once: PROCESSES.close())


def read_address(url: str) -> tuple[str, int]:
    """The host and the port of "dask://host:port", which answers.

    Raises:
        UsageError: it has none.
        ArchprofError: nobody answers there.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port:
        raise UsageError(f"{url!r} is no address of an engine.", f"Such as {url.partition(':')[0]}://scheduler:8786.")
    try:
        socket.create_connection((host, port), REACH_SECONDS).close()
    except OSError as error:
        why = error.strerror or str(error) or "no answer"
        raise ArchprofError(
            f"The engine {url} cannot be reached: {why}.", "Nothing was run.", "Is it started, and is the port its own?"
        ) from error
    return host, port


def explain_missing(package: str, extra: str, error: ImportError) -> ArchprofError:
    """The error of an engine whose package cannot be imported."""
    return ArchprofError(
        f"This engine needs {package}, which cannot be imported: {error}.", "The local engine needs nothing more.",
        f"Try: pip install 'archprof[{extra}]'",
    )  # fmt: skip
