"""What an engine's worker does: it gives cells to processes of its own, and says what became of those.

A process that only counts is kept warm for the next cell; one that measures runs one cell, alone on its device.
"""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from archprof.facts.swept import Cell, SweptRow, fail_row, read_row, start_row
from archprof.sweeping.device_lock import hold_device
from archprof.sweeping.oom_kills import count_oom_kills
from archprof.sweeping.process import CellProcess, Lost, TimeLimit
from archprof.sweeping.process_pool import PROCESSES
from archprof.sweeping.versions import OtherVersion, check_versions

MOST_TRIES = 2
CODE_WORDS = ("sha256", "commit")
"""That sources of users begin with."""


@dataclass(frozen=True)
class Task:
    """A cell on its way to a worker.

    Attributes:
        made_by: versions of archprof and torch, and the source of the model.
        limit: seconds that it may take; `None`: any.
        folder: of whoever asks: paths are from there.
        versions, packages: see `check_versions`.
    """

    cell: Cell
    key: str
    made_by: Mapping[str, str]
    limit: float | None
    folder: str
    versions: Mapping[str, str]
    packages: tuple[str, ...]

    @property
    def code(self) -> str:
        """The user's code that it runs, by its source; "": none but that of archprof and the zoos."""
        source = self.made_by.get("source", "")
        return "" if re.fullmatch(r"[a-z]+ [^ ,]+", source) and not source.startswith(CODE_WORDS) else source or "?"

    @property
    def empty_row(self) -> SweptRow:
        return replace(start_row(self.cell, self.key, self.made_by), limit_seconds=self.limit)


@dataclass(frozen=True)
class Refusal:
    """A worker that answers by other versions does nothing; the fields are those of the error."""

    given: str
    allowed: str
    hint: str


def run_tasks(tasks: list[Task]) -> list[SweptRow] | Refusal:
    """The row of each task, in order: what an engine is asked to call."""
    try:
        return [_run_task(task) for task in tasks]
    except OtherVersion as error:
        return Refusal(error.given, error.allowed, error.hint)


def describe_worker() -> dict[str, Any]:
    """Where this worker is, the versions its processes have, and where those can measure."""
    process = PROCESSES.take()
    PROCESSES.give_back(process)
    return {"worker": name_worker(process.pid), "versions": dict(process.versions), "devices": process.devices}


def name_worker(pid: int) -> str:
    return f"{socket.gethostname()}:{pid}"


def describe_loss(why: str) -> str:
    """The note of a cell that was begun again."""
    return f"Its worker was lost ({why}), and it was done again."


def _run_task(task: Task) -> SweptRow:
    lost: Lost | None = None
    for tries in range(1, MOST_TRIES + 1):
        kills = count_oom_kills()
        try:
            row = replace(_try_once(task), tries=tries, limit_seconds=task.limit)
            said = (row.note, describe_loss(lost.why)) if lost else (row.note,)
            return replace(row, note=" ".join(filter(None, said)) or None)
        except TimeLimit as ended:
            why = f"It took more than {task.limit:g} s."
            return fail_row(task.empty_row, "time limit", why, worker=ended.where, took_seconds=task.limit, tries=tries)
        except Lost as ended:
            lost = ended
            if lost.signal == signal.SIGKILL and count_oom_kills() > kills:
                why = "The system ended its process, since the memory was full."
                return fail_row(task.empty_row, "out of memory", why, worker=lost.where, tries=tries)
    assert lost is not None
    why = f"Its process was lost {MOST_TRIES} times: {lost.why}."
    return fail_row(task.empty_row, "error", why, worker=lost.where, tries=MOST_TRIES)


def _try_once(task: Task) -> SweptRow:
    """What a process answers, which is then kept, or ended where it measured or its memory was full."""
    if task.cell.measure:
        with hold_device(task.cell.measure):
            return _ask(PROCESSES.start(), task, keeps=False)
    return _ask(PROCESSES.take(task.code), task, keeps=True)


def _ask(process: CellProcess, task: Task, *, keeps: bool) -> SweptRow:
    where = name_worker(process.pid)
    asked = {"cell": task.cell.to_record(), "key": task.key, "made_by": dict(task.made_by), "folder": task.folder}
    try:
        check_versions(task.versions, process.versions, task.packages, where)
        answer = process.ask(asked, task.limit, where)
    except BaseException:
        PROCESSES.end(process)
        raise
    row = replace(read_row(answer["row"]), worker=where)
    if keeps and row.status != "out of memory":
        PROCESSES.give_back(process, task.code)
    else:
        PROCESSES.end(process)
    return row
