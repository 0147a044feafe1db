"""Sweeps over models and settings. Importing this imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archprof.library.comparing import list_several
from archprof.library.predictions import read_batches, read_list

if TYPE_CHECKING:
    from archprof.analysis.swept import SweepAnswer


def sweep(
    models: str | Sequence[str], inputs: str | Sequence[str] | None = None, *, path: str | Path | None = None,
    batch: int | str | Iterable[int] = "1", dtype: str | Iterable[str] | None = None, train: bool = False,
    amp: str | None = None, optimizer: str | None = None, set: Mapping[str, int] | None = None,
    device: str | Sequence[str] | None = None, measure: str | None = None, channels_last: bool = False,
    compile: bool = False, engine: Any = "local", jobs: int | None = None, limit: float | None = None,
    retry: bool = False, progress: Callable[[float, float], None] | None = None,
) -> Any:  # fmt: skip
    """Models x settings x devices, each pass once: a pandas DataFrame with a row each, also where it failed.

    Args:
        models: names as on the command line, or patterns over the zoos: "timm:convnext*", ["vgg16", "torchvision:*"].
        inputs: in the grammar of `--input`; `None`: each model's own.
        path: of the output, .parquet or .csv: what is in it is not done again, and a sweep that was killed goes on.
        batch, dtype: one or several: 8, "1,8,64", ["float32", "bfloat16"].
        train, amp, optimizer, set: as for `archprof.profile`.
        device: one or several of the catalogue, on which times are predicted.
        measure: where each pass is run and timed too, "cpu" or "cuda"; channels_last, compile: how.
        engine: "local", "dask://host:port", "ray", "ray://host:port", "slurm", "submitit" or an executor such as
            those of `concurrent.futures`.
        jobs: cells at once; `None`: what the engine has.
        limit: seconds that a cell may take; a row says that it took longer.
        retry: what failed before is tried again.
        progress: called with the fraction done and the seconds that are left.

    Returns:
        The columns of `archprof.facts.swept.SweptRow`. After Ctrl-C, what is done; `frame.attrs["notes"]` says so.

    Raises:
        UsageError, ArchprofError: as `archprof.sweeping.sweep.run_sweep`, before any work.
    """
    return answer_sweep(
        models, inputs, path=path, batch=batch, dtype=dtype, train=train, amp=amp, optimizer=optimizer, set=set,
        device=device, measure=measure, channels_last=channels_last, compile=compile, engine=engine, jobs=jobs,
        limit=limit, retry=retry, progress=progress,
    ).to_frame()  # fmt: skip


def answer_sweep(
    models: str | Sequence[str], inputs: str | Sequence[str] | None = None, *, path: str | Path | None = None,
    batch: int | str | Iterable[int] = "1", dtype: str | Iterable[str] | None = None, train: bool = False,
    amp: str | None = None, optimizer: str | None = None, set: Mapping[str, int] | None = None,
    device: str | Sequence[str] | None = None, measure: str | None = None, channels_last: bool = False,
    compile: bool = False, engine: Any = "local", jobs: int | None = None, limit: float | None = None,
    retry: bool = False, progress: Callable[[float, float], None] | None = None,
) -> SweepAnswer:  # fmt: skip
    """The rows of `sweep` as records, and what there is to say of them."""
    from archprof.analysis.swept import SweepAnswer
    from archprof.sweeping.grid import SweepRequest
    from archprof.sweeping.sweep import describe_swept, run_sweep

    request = SweepRequest(
        list_several(models), tuple([inputs] if isinstance(inputs, str) else inputs or ()), read_batches(batch),
        read_list(dtype) or [None], train, optimizer, amp, set, device, measure, channels_last, compile, limit,
    )  # fmt: skip
    more = {} if progress is None else {"progress": progress}
    swept = run_sweep(request, engine=engine, jobs=jobs, path=path, retry=retry, **more)
    return SweepAnswer(swept.rows, tuple(describe_swept(swept)), swept.interrupted)
