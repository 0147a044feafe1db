"""Work that code hands to other threads and processes while a pass runs: every place where it does tells a watcher."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from typing import Any, Protocol

POOL_ROOMS = ("concurrent.futures", "multiprocessing")
"""Packages whose own threads only wait for tasks; the tasks are what is watched."""

POOL_METHODS = ("apply", "apply_async", "imap", "imap_unordered", "map", "map_async", "starmap", "starmap_async")


class Watcher(Protocol):
    """What is told of work handed over by code of the pass."""

    def is_inside(self) -> bool:
        """Whether the running thread does work of the pass."""

    def take_along(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """What a thread of a pool is to run in the place of `function`."""

    def start_thread(self, thread: threading.Thread, start: Callable[[], None]) -> None:
        """Start a thread by `start`."""

    def await_task(self, task: Any) -> None:
        """Wait for what `take_along` gave, as long as it gets on."""

    def note_process(self) -> None:
        """Work goes to another process."""


class HandOvers:
    """The methods by which Python hands work over, from `watch` to `restore` with a watcher of each."""

    def __init__(self) -> None:
        self._originals: dict[tuple[type, str], Any] = {}
        self._replacements: dict[Any, Any] = {}  # by what each stands for, made once
        self._find_watcher: Callable[[], Watcher] | None = None

    def watch(self, find_watcher: Callable[[], Watcher]) -> None:
        """Tell the watcher that is found, from now on; it is asked for once there is something to tell."""
        self._find_watcher = find_watcher
        self._replace(threading.Thread, "start", _start_thread)
        self._watch_pools()

    def is_inside(self) -> bool:
        """Whether the running thread does work of a pass that is watched."""
        watcher = self._find_watcher and self._find_watcher()
        return watcher is not None and watcher.is_inside()

    def restore(self) -> None:
        """The methods as they were."""
        for (owner, name), original in self._originals.items():
            setattr(owner, name, original)
        self._originals.clear()
        self._find_watcher = None

    def _watch_pools(self) -> None:
        """Of the modules that are imported by now; a pool starts a thread of its own before it takes a task."""
        for room, kind, names, replace in (
            ("concurrent.futures.thread", "ThreadPoolExecutor", ("submit",), _submit),
            ("concurrent.futures.process", "ProcessPoolExecutor", ("submit",), _leave_process),
            ("multiprocessing.process", "BaseProcess", ("start",), _leave_process),
            ("multiprocessing.pool", "Pool", POOL_METHODS, _give_to_pool),
        ):
            owner = getattr(sys.modules.get(room), kind, None)
            for name in names if owner else ():
                self._replace(owner, name, replace)

    def _replace(self, owner: Any, name: str, replacement: Callable[..., Any]) -> None:
        if (owner, name) in self._originals:
            return
        original = self._originals[owner, name] = vars(owner)[name]
        if (owner, original) not in self._replacements:
            self._replacements[owner, original] = self._make_method(owner, original, replacement)
        setattr(owner, name, self._replacements[owner, original])

    def _make_method(self, owner: Any, original: Callable[..., Any], replacement: Callable[..., Any]) -> Any:
        @functools.wraps(original)
        def method(*args: Any, **kwargs: Any) -> Any:
            watcher = self._find_watcher and self._find_watcher()
            if watcher is None or not watcher.is_inside():
                return original(*args, **kwargs)
            if owner is threading.Thread and _belongs_to_pool(args[0]):
                self._watch_pools()
                return original(*args, **kwargs)
            return replacement(watcher, original, *args, **kwargs)

        return method


HAND_OVERS = HandOvers()
"""Those of this process, which one pass at a time watches."""


def _belongs_to_pool(thread: threading.Thread) -> bool:
    """Whether a thread runs code of Python's pools: it outlives the pass, and what it is for comes later."""
    code = vars(thread).get("_target") or type(thread).run
    return str(getattr(code, "__module__", "")).startswith(POOL_ROOMS)


def _start_thread(watcher: Watcher, start: Callable[..., None], thread: threading.Thread) -> None:
    watcher.start_thread(thread, functools.partial(start, thread))


def _submit(
    watcher: Watcher, submit: Callable[..., Any], pool: Any, function: Any, /, *args: Any, **kwargs: Any
) -> Any:
    if type(pool).__module__ == "concurrent.futures.interpreter":
        return _leave_process(watcher, submit, pool, function, *args, **kwargs)
    task = watcher.take_along(function)
    future = submit(pool, task, *args, **kwargs)
    watcher.await_task(task)
    return future


def _give_to_pool(watcher: Watcher, method: Callable[..., Any], pool: Any, func: Any, *args: Any, **kwargs: Any) -> Any:
    """A task for a pool of multiprocessing, whose workers are processes, or threads."""
    if isinstance(pool, sys.modules["multiprocessing.pool"].ThreadPool):
        func = watcher.take_along(func)
    else:
        watcher.note_process()
    return method(pool, func, *args, **kwargs)


def _leave_process(watcher: Watcher, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    watcher.note_process()
    return method(*args, **kwargs)
