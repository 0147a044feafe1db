"""Nets that end as nets do that are swept: killed once, killed always, too slow, too large, broken."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from torch import nn

HERE = Path(__file__)


def fine() -> nn.Module:
    return nn.Linear(3, 4)


def killed_once() -> nn.Module:
    """Ends its own process the first time."""
    if _is_first("cell"):
        os.kill(os.getpid(), signal.SIGKILL)
    return fine()


def worker_killed_once() -> nn.Module:
    """Ends the worker of the engine, which started its process, the first time."""
    if _is_first("worker"):
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    return fine()


def crashes() -> nn.Module:
    os.kill(os.getpid(), signal.SIGSEGV)
    return fine()


def leaves() -> nn.Module:
    os._exit(3)


def exits() -> nn.Module:
    sys.exit("no more")


def slow(seconds: int = 600) -> nn.Module:
    time.sleep(seconds)
    return fine()


def raises() -> nn.Module:
    raise RuntimeError('<b>bold</b>, "quoted"\nand more')


def full() -> nn.Module:
    raise MemoryError


def prints() -> nn.Module:
    print('{"row": 1}')  # noqa: T201
    os.write(1, b"\x00 and bytes\n")
    return fine()


def _is_first(what: str) -> bool:
    flag = HERE.with_suffix(f".{what}")
    is_first = not flag.exists()
    flag.touch()
    return is_first
