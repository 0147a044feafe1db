"""A sweep: the cells that are not done yet go to an engine, and each row is kept as it comes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archprof.errors import ArchprofError
from archprof.facts.swept import SweptRow, count_statuses
from archprof.facts.swept_files import check_swept_path
from archprof.sweeping.dispatch import Dispatch
from archprof.sweeping.engine import Engine, open_engine
from archprof.sweeping.grid import Sweep, SweepRequest, build_sweep
from archprof.sweeping.journal import Outlet
from archprof.sweeping.supervisor import Task
from archprof.sweeping.versions import check_versions
from archprof.wording import say_many

Progress = Callable[[float, float], None]


@dataclass(frozen=True)
class Swept:
    """What came of a sweep.

    Attributes:
        rows: of the cells that were asked, in that order, as far as they are done.
        asked: how many there are.
        there: how many were in the output already.
        others: rows of the output that are of other sweeps.
        repeated: cells that were asked more than once.
        damaged: lines of the journal that were not whole.
        interrupted: the user stopped it.
    """

    rows: tuple[SweptRow, ...]
    asked: int
    there: int = 0
    others: int = 0
    repeated: int = 0
    damaged: int = 0
    interrupted: bool = False


def run_sweep(
    request: SweepRequest,
    *,
    engine: Any = "local",
    jobs: int | None = None,
    path: str | Path | None = None,
    retry: bool = False,
    progress: Progress = lambda done, left: None,
) -> Swept:
    """Run what is not done yet. Ctrl-C ends it early, with what it has.

    Args:
        engine, jobs: see `open_engine`.
        path: of the output, .parquet or .csv, whose rows are not done again; `None`: the rows are returned alone.
        retry: what failed is done again.
        progress: told the fraction done and the seconds that are left.

    Raises:
        UsageError: a name, a pattern, a setting, a device, the suffix of the output or the engine is none.
        ArchprofError: the output is another sweep's at this moment, or cannot be read or written; the engine does not
            answer, or a worker of it has other versions: nothing was run. Or it went away: what was done is kept.
    """
    where = None if path is None else check_swept_path(path)
    sweep = build_sweep(request)
    with ExitStack() as stack:
        outlet = stack.enter_context(Outlet(where)) if where else None
        rows = dict(outlet.rows) if outlet else {}
        waiting = {key: task for key, task in sweep.tasks.items() if not _is_done(rows.get(key), task, retry)}
        before = len(sweep.tasks) - len(waiting)

        def keep(row: SweptRow) -> None:
            rows[row.key] = row
            if outlet is not None:
                outlet.add(row)

        interrupted = False
        try:
            if waiting:
                _run_on_engine(request, [*waiting.values()], engine, jobs, keep, progress, len(sweep.tasks))
        except KeyboardInterrupt:
            interrupted = True
        finally:
            if outlet is not None:
                outlet.finish(list(sweep.tasks))
    return _summarise(sweep, rows, before, outlet, interrupted)


def _is_done(row: SweptRow | None, task: Task, retry: bool) -> bool:
    """A row is final, but for one that took too long where it may now take longer."""
    if row is None or (retry and row.status != "ok"):
        return False
    had = row.limit_seconds
    return row.status != "time limit" or (task.limit is not None and had is not None and task.limit <= had)


def _run_on_engine(
    request: SweepRequest,
    tasks: list[Task],
    asked: Any,
    jobs: int | None,
    keep: Callable[[SweptRow], None],
    progress: Progress,
    whole: int,
) -> None:
    engine = open_engine(asked, jobs, measure=request.measure or "")
    ended = False
    try:
        _check_workers(engine, tasks[0])
        Dispatch(engine, tasks, keep, progress, whole).run()
        ended = True
    finally:
        engine.close(not ended)


def _check_workers(engine: Engine, task: Task) -> None:
    """Raise for an engine none of whose workers answers, or one of whose workers answers by other versions."""
    try:
        workers = engine.describe(engine.executor)
    except ArchprofError:
        raise
    except Exception as error:
        words = f"{type(error).__name__}: {error}".strip(": ").partition("\n")[0].rstrip(".")
        raise ArchprofError(
            f"The workers of the engine {engine.name} do not answer: {words}.",
            "Nothing was run.",
            "Each needs the same archprof as this.",
        ) from error
    for worker in workers:
        check_versions(task.versions, worker["versions"], task.packages, worker["worker"])
        if task.cell.measure and task.cell.measure not in worker["devices"]:
            raise ArchprofError(
                f"The worker {worker['worker']} has no {task.cell.measure} to measure on.", "Nothing was run."
            )


def _summarise(sweep: Sweep, rows: dict[str, SweptRow], before: int, outlet: Outlet | None, interrupted: bool) -> Swept:
    done = tuple(rows[key] for key in sweep.tasks if key in rows)
    others, damaged = len(rows) - len(done), outlet.damaged if outlet else 0
    return Swept(done, len(sweep.tasks), before, others, sweep.repeated, damaged, interrupted)


def describe_swept(swept: Swept) -> list[str]:
    """What there is to say of a sweep, a line each."""
    counts = ", ".join(f"{count:,} {status}" for status, count in count_statuses(swept.rows).items())
    again = sum(row.tries > 1 for row in swept.rows)
    left = swept.asked - len(swept.rows)
    said = {
        f"{say_many(swept.asked, 'cell')}: {counts or 'none done'}.": True,
        f"{swept.there:,} of them were there already.": swept.there,
        f"{say_many(swept.others, 'row')} of other sweeps in the file: kept.": swept.others,
        f"{say_many(swept.repeated, 'repetition')} of a cell: each is done once.": swept.repeated,
        f"{say_many(swept.damaged, 'line')} of the journal not whole: done again.": swept.damaged,
        f"{say_many(again, 'cell')} begun more than once, since the worker was lost.": again,
        f"Interrupted: {say_many(left, 'cell')} left. The same command goes on.": swept.interrupted,
    }
    return [line for line, is_so in said.items() if is_so]
