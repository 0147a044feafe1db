"""Slurm through submitit: `slurm`, `slurm:partition=gpu,time=60`; `submitit` is its local executor, on this machine."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from archprof.errors import ArchprofError, UsageError
from archprof.measuring.host_state import count_cpus
from archprof.sweeping.engine import Engine, explain_missing

SLURM_JOBS = 16
"""At once, where nobody says how many."""

JOB_MINUTES = 24 * 60
"""That a job may take, where no option says otherwise; a cell has a limit of its own."""

CHUNK = 16
"""Cells of a job: it starts, and imports, once for all of them."""


def open_slurm(cluster: str, options: str, jobs: int | None, *, measure: str = "") -> Engine:
    """A job for every few cells, in a folder of the working folder, which the nodes must see."""
    given = read_options(options)
    try:
        from submitit import AutoExecutor
    except ImportError as error:
        raise explain_missing("submitit", "slurm", error) from error
    if cluster == "slurm" and shutil.which("sbatch") is None:
        raise ArchprofError(
            "Slurm cannot be reached from here: there is no sbatch.", "Nothing was run.",
            "Try it on a login node; --engine submitit runs such jobs on this machine.",
        )  # fmt: skip
    folder = tempfile.mkdtemp(prefix=".archprof-jobs-", dir=Path.cwd())
    slots = jobs or (SLURM_JOBS if cluster == "slurm" else count_cpus())
    executor = AutoExecutor(folder, cluster="slurm" if cluster == "slurm" else "local")
    executor.update_parameters(
        name="archprof",
        timeout_min=JOB_MINUTES,
        gpus_per_node=int(measure == "cuda"),
        **{f"slurm_{key}": value for key, value in given.items()},
    )
    submitted = SubmittedJobs(executor, slots)

    def close(at_once: bool) -> None:
        submitted.cancel()
        shutil.rmtree(folder, ignore_errors=True)

    return Engine(cluster, submitted, slots, chunk=CHUNK, close=close)


def read_options(text: str) -> dict[str, int | str]:
    """ "partition=gpu,time=60": what sbatch is told, as submitit names it behind slurm_."""
    pairs = [word.partition("=") for word in text.split(",") if word]
    if not all(key.strip() and equals and value for key, equals, value in pairs):
        raise UsageError(f"{text!r} are no options of Slurm.", "KEY=VALUE,…", "Such as slurm:partition=gpu,time=60.")
    return {key.strip(): int(value) if value.isdecimal() else value for key, _, value in pairs}


class SubmittedJobs:
    """Submits as an executor does: a thread for each job that runs waits for its end."""

    def __init__(self, executor: Any, slots: int) -> None:
        self._executor, self._jobs = executor, list[Any]()
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="archprof-job")

    def submit(self, call: Callable[..., Any], /, *args: Any) -> Future[Any]:
        return self._threads.submit(self._wait, call, args)

    def _wait(self, call: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        job = self._executor.submit(call, *args)
        self._jobs.append(job)
        return job.result()

    def cancel(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for job in self._jobs:
            if not job.done():
                job.cancel()
