"""What happens to tasks whose workers are lost, and to engines that go away: on an engine that does as it is told."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any

import pytest

from archprof.errors import ArchprofError
from archprof.facts.swept import Cell, SweptRow
from archprof.sweeping.dispatch import Dispatch
from archprof.sweeping.engine import Engine
from archprof.sweeping.supervisor import Refusal, Task

Answer = Callable[[list[Task]], Any]


class Told:
    """An executor whose answers are said by the test; what raises is what the future raises."""

    def __init__(self, answer: Answer) -> None:
        self.answer, self.asked = answer, list[list[str]]()

    def submit(self, call: Callable[..., Any], /, *args: Any) -> Future[Any]:
        (tasks,) = args
        self.asked.append([task.key for task in tasks])
        future: Future[Any] = Future()
        try:
            future.set_result(self.answer(tasks))
        except Exception as error:
            future.set_exception(error)
        return future


def tasks(count: int) -> list[Task]:
    return [Task(Cell(f"m{i}"), f"m{i}", {}, None, ".", {}, ()) for i in range(count)]


def done(some: list[Task]) -> list[SweptRow]:
    return [replace(task.empty_row, status="ok") for task in some]


def run(answer: Answer, count: int = 3, **engine: Any) -> tuple[list[SweptRow], Told, list[float]]:
    told, rows, fractions = Told(answer), list[SweptRow](), list[float]()
    made = Engine("told", told, **{"slots": 1, **engine})
    Dispatch(made, tasks(count), rows.append, lambda part, left: fractions.append(part), count + 1).run()
    return rows, told, fractions


def test_every_task_is_done_once_and_told() -> None:
    rows, told, fractions = run(done)
    assert told.asked == [["m0"], ["m1"], ["m2"]]
    assert [(row.key, row.engine, row.tries, row.note) for row in sorted(rows, key=lambda row: row.key)] == [
        (f"m{i}", "told", 1, None) for i in range(3)
    ]
    assert fractions == [2 / 4, 3 / 4, 1]  # of four, one was there before


def loses(times: int, of: str = "m1") -> Answer:
    left = {of: times}

    def answer(some: list[Task]) -> list[SweptRow]:
        for task in some:
            if left.get(task.key, 0):
                left[task.key] -= 1
                raise ConnectionError("the worker is gone")
        return done(some)

    return answer


def test_a_task_whose_worker_is_lost_is_done_again_and_says_so() -> None:
    rows, told, _ = run(loses(1))
    assert told.asked.count(["m1"]) == 2
    found = {row.key: row for row in rows}
    assert len(rows) == 3
    assert (found["m1"].status, found["m1"].tries) == ("ok", 2)
    assert found["m1"].note == "Its worker was lost (ConnectionError), and it was done again."
    assert found["m0"].tries == found["m2"].tries == 1


def test_a_task_that_loses_two_workers_is_an_error_and_no_loop() -> None:
    rows, told, _ = run(loses(99))
    found = {row.key: row for row in rows}
    assert told.asked.count(["m1"]) == 2
    assert (found["m1"].status, found["m1"].tries) == ("error", 2)
    assert found["m1"].why == "Its worker was lost 2 times: ConnectionError: the worker is gone."
    assert found["m2"].status == "ok"


def test_of_a_lost_parcel_each_goes_by_itself() -> None:
    rows, told, _ = run(loses(1, "m2"), count=8, chunk=4)
    assert told.asked[0] == ["m0", "m1", "m2", "m3"]
    assert sorted(row.key for row in rows) == [f"m{i}" for i in range(8)]
    assert {row.key for row in rows if row.tries == 2} == {"m0", "m1", "m2", "m3"}


def test_few_tasks_are_spread_over_the_slots() -> None:
    assert [len(some) for some in run(done, count=6, chunk=16, slots=3)[1].asked] == [2, 2, 2]
    assert [len(some) for some in run(done, count=2, chunk=16, slots=3)[1].asked] == [1, 1]


def test_what_the_engine_began_again_by_itself_is_told() -> None:
    rows, *_ = run(done, count=1, count_starts=lambda future: 2)
    assert (rows[0].tries, rows[0].note) == (2, "Its worker was lost (the engine says so), and it was done again.")


def test_a_worker_that_refuses_ends_the_sweep() -> None:
    with pytest.raises(ArchprofError, match=r"has archprof 0\.0\.9"):
        run(lambda some: Refusal("The worker w has archprof 0.0.9.", "", ""))


def raise_(error: Exception) -> Any:
    raise error


def test_an_engine_that_goes_away_ends_the_sweep_with_what_is_left() -> None:
    with pytest.raises(ArchprofError, match=r"The engine told went away: ConnectionError.*\n[23] cells are left"):
        run(loses(1, "m0"), is_alive=lambda: False)
    with pytest.raises(ArchprofError, match="went away: BrokenProcessPool"):
        run(lambda some: raise_(BrokenProcessPool("gone")))


def test_an_engine_that_takes_nothing_ends_the_sweep() -> None:
    class Closed(Told):
        def submit(self, call: Callable[..., Any], /, *args: Any) -> Future[Any]:
            raise RuntimeError("cannot schedule new futures after shutdown")

    with pytest.raises(ArchprofError, match="went away: RuntimeError: cannot schedule"):
        Dispatch(Engine("e", Closed(done), 1), tasks(1), lambda row: None, lambda part, left: None, 1).run()
