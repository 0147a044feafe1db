"""Threads and forks around a pass: nobody waits for ever."""

from __future__ import annotations

import hashlib
import os
import queue
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import nn

import archprof
from archprof.torchside import guard

X = torch.zeros(1, 4)
IMPATIENT = 30
"""Seconds after which a wait is one for ever."""


class Does(nn.Module):
    def __init__(self, what: Any) -> None:
        super().__init__()
        self.linear, self.what = nn.Linear(4, 4), [what]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.what[0]()
        return self.linear(x)


def profile_other() -> int:
    return archprof.profile(nn.Linear(4, 2), X).totals.params


def in_a_thread() -> None:
    """And raises what the thread raised, as a careful forward does."""
    told: list[BaseException] = []

    def run() -> None:
        try:
            profile_other()
        except BaseException as error:
            told.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if told:
        raise told[0]


def in_a_pool() -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(profile_other).result()


def finish(work: Any) -> Any:
    """What `work` returns or raises in a thread, if it comes to an end."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except archprof.ArchprofError as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(IMPATIENT)
    assert not thread.is_alive()
    return found[0]


@pytest.mark.parametrize("way", [in_a_thread, in_a_pool])
def test_a_forward_that_profiles_in_a_thread_and_waits_for_it_is_refused(way: Any) -> None:
    told = finish(lambda: archprof.profile(Does(way), X))
    assert isinstance(told, archprof.ArchprofError)
    assert "in a thread of its own" in str(told)
    assert finish(profile_other) == 10  # and the next pass has its turn


def get_from_queue(kind: Any) -> Any:
    """How a worker is asked, and what it says is waited for."""
    told: Any = kind()
    return told.put, told.get


def hold_lock() -> Any:
    lock, box = threading.Lock(), queue.SimpleQueue[Any]()
    lock.acquire()
    return lambda one: (box.put(one), lock.release()), lambda: (lock.acquire(), box.get())[1]


def read_pipe() -> Any:
    ends, box = os.pipe(), queue.SimpleQueue[Any]()
    return lambda one: (box.put(one), os.write(ends[1], b"x")), lambda: (os.read(ends[0], 1), box.get())[1]


WAITS = {
    "a queue": lambda: get_from_queue(queue.Queue),
    "a simple queue": lambda: get_from_queue(queue.SimpleQueue),
    "a lock": hold_lock,
    "a pipe": read_pipe,
}


@pytest.mark.parametrize("way", WAITS)
def test_a_forward_that_waits_for_a_worker_from_before_which_profiles_is_refused(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way != "a queue" and sys.platform != "linux":
        pytest.skip("what waits in C is told by Linux alone")
    monkeypatch.setattr(guard, "PATIENCE", 0.3)
    asked: queue.SimpleQueue[Any] = queue.SimpleQueue()
    tell, wait = WAITS[way]()

    def work() -> None:
        asked.get()
        try:
            tell(profile_other())
        except archprof.ArchprofError as error:
            tell(error)

    threading.Thread(target=work, daemon=True).start()
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask() -> None:
        asked.put(1)
        answers.put(wait())

    assert finish(lambda: archprof.profile(Does(ask), X).totals.params) == 20
    assert "in a thread of its own" in str(answers.get_nowait())
    assert finish(profile_other) == 10


@pytest.mark.skipif(sys.platform != "linux", reason="what a thread has spent is told by Linux alone")
def test_a_thread_waits_while_c_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line of Python that takes long, and does not let other threads look at every step."""
    monkeypatch.setattr(guard, "PATIENCE", 0.2)  # a busy machine may give a thread no turn for a moment
    inside, found, letters = threading.Event(), list[int](), b"x" * 2**20

    def hash_long() -> None:
        inside.set()
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            hashlib.pbkdf2_hmac("sha256", letters, b"", 400_000)

    other = threading.Thread(target=lambda: (inside.wait(), found.append(profile_other())))
    other.start()
    assert finish(lambda: archprof.profile(Does(hash_long), X).totals.params) == 20
    other.join(IMPATIENT)
    assert found == [10]


def test_a_thread_waits_as_long_as_a_pass_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "PATIENCE", 0.1)
    inside, found = threading.Event(), []

    def spin() -> None:
        inside.set()
        end = time.monotonic() + 1
        while time.monotonic() < end:
            torch.zeros(2)

    other = threading.Thread(target=lambda: (inside.wait(), found.append(profile_other())))
    other.start()
    assert finish(lambda: archprof.profile(Does(spin), X).totals.params) == 20
    other.join(IMPATIENT)
    assert found == [10]


def test_a_forward_that_profiles_in_its_own_thread_may() -> None:
    assert finish(lambda: archprof.profile(Does(profile_other), X).totals.params) == 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks on this system")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_that_is_forked_while_another_thread_profiles_can_profile() -> None:
    inside, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        inside.set()
        go_on.wait(IMPATIENT)

    thread = threading.Thread(target=lambda: archprof.profile(Does(wait), X))
    start = threading.Thread.start
    thread.start()
    assert inside.wait(IMPATIENT)
    child = os.fork()
    if not child:
        signal.alarm(IMPATIENT)
        os._exit(0 if profile_other() == 10 and threading.Thread.start is start else 1)
    _, status = os.waitpid(child, 0)
    go_on.set()
    thread.join(IMPATIENT)
    assert os.waitstatus_to_exitcode(status) == 0
