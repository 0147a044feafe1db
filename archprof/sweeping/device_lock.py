"""One timed cell on a device at a time, whichever process of this machine runs it."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: only the threads of this process wait for each other
    fcntl = None  # type: ignore[assignment]

_threads = threading.Lock()


@contextmanager
def hold_device(device: str) -> Iterator[None]:
    """Wait until nobody else times anything on this machine's device, and keep it."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    path = Path(tempfile.gettempdir()) / f"archprof-timed-{device}-{user}.lock"
    with _threads, ExitStack() as stack:
        with suppress(OSError):  # a folder of another's, a file system without locks: the threads wait all the same
            file = stack.enter_context(path.open("a"))
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
