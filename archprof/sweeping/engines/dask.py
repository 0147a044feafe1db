"""A Dask cluster that is there: `dask://scheduler:8786`."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from archprof.errors import ArchprofError
from archprof.sweeping.engine import START_SECONDS, Engine, explain_missing
from archprof.sweeping.process_pool import close_processes
from archprof.sweeping.supervisor import describe_worker

CONNECT_SECONDS = 20


def open_dask(address: tuple[str, int], jobs: int | None) -> Engine:
    """The cluster behind a scheduler's address; each thread of its workers runs a cell."""
    try:
        from distributed import Client
    except ImportError as error:
        raise explain_missing("dask.distributed", "dask", error) from error
    url = f"dask://{address[0]}:{address[1]}"
    try:
        client = Client(f"tcp://{address[0]}:{address[1]}", timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        why = str(error).partition("\n")[0].rstrip(".")
        raise ArchprofError(f"The engine {url} cannot be reached: {why}.", "Nothing was run.") from error
    threads = sum(client.nthreads().values())
    if not threads:
        client.close()
        raise ArchprofError(f"The engine {url} has no workers.", "Nothing was run.", f"Try there: dask worker {url}")
    tasks = DaskTasks(client)

    def close(at_once: bool) -> None:
        tasks.cancel()
        if client.status == "running":
            with suppress(OSError, TimeoutError):  # workers end what waits by themselves, too
                client.run(close_processes)
        client.close()

    return Engine(
        "dask", tasks, min(jobs or threads, threads), describe=lambda _: _describe_all(client),
        is_alive=lambda: client.status == "running", count_starts=tasks.count_starts, close=close,
    )  # fmt: skip


def _describe_all(client: Any) -> list[dict[str, Any]]:
    """Every worker, each asked itself."""
    asked = [client.submit(describe_worker, workers=[worker], pure=False) for worker in client.nthreads()]
    return [one.result(START_SECONDS) for one in asked]


class DaskTasks:
    """Submits as an executor does. The scheduler begins again what a lost worker was at, and this counts that."""

    def __init__(self, client: Any) -> None:
        self._executor = client.get_executor(pure=False, retries=0)
        self._topic = f"archprof-sweep-{uuid.uuid4()}"
        self._starts: Counter[str] = Counter()
        self._names: dict[Future[Any], str] = {}
        client.subscribe_topic(self._topic, self._note)

    def _note(self, event: tuple[float, str]) -> None:
        self._starts[event[1]] += 1

    def submit(self, call: Callable[..., Any], /, *args: Any) -> Future[Any]:
        name = str(uuid.uuid4())
        future: Future[Any] = self._executor.submit(_tell_and_run, self._topic, name, call, *args)
        self._names[future] = name
        return future

    def count_starts(self, future: Future[Any]) -> int:
        return max(self._starts[self._names.pop(future, "")], 1)

    def cancel(self) -> None:
        self._executor.shutdown(wait=False)


def _tell_and_run(topic: str, name: str, call: Callable[..., Any], *args: Any) -> Any:
    """On the worker: say that this was begun, and do it."""
    from distributed import get_worker

    get_worker().log_event(topic, name)
    return call(*args)
