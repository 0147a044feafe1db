"""Rows on their way: each is appended to a file beside the output as it comes, so that nothing is lost when all stops.

A line is the checksum of a row and the row as JSON. A line that is not whole is no line: its cell is done again.
"""

from __future__ import annotations

import json
import os
import stat
import zlib
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from archprof import files
from archprof.errors import ArchprofError
from archprof.facts.swept import SweptFileError, SweptRow, read_row
from archprof.facts.swept_files import read_swept, write_swept

try:
    import fcntl
except ImportError:  # Windows: nobody else is kept from the journal
    fcntl = None  # type: ignore[assignment]

SUFFIX = ".journal"
HEAD = b"archprof sweep journal 1\n"

MOST_BYTES = 2**30
"""Of a journal, which is read whole: some 700,000 rows."""


class Outlet:
    """The output of a sweep with its journal, for this process alone.

    Attributes:
        path: of the output.
        rows: what is there, by key; those of the file in its order, then those of the journal.
        damaged: lines of the journal that were not whole.

    Raises:
        ArchprofError: another sweep is at it, or it cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = path.with_name(path.name + SUFFIX)
        files.check_writable(self.journal)
        self._file = self._open()
        try:
            self.rows: dict[str, SweptRow] = {row.key: row for row in read_swept(path)} if path.exists() else {}
            self.damaged = self._read_journal()
        except BaseException:
            self._drop_if_empty()
            self._file.close()
            raise

    def __enter__(self) -> Outlet:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def _open(self) -> IO[bytes]:
        """The journal, which nobody else has, and nobody has taken away meanwhile."""
        while True:
            try:
                file = self.journal.open("a+b", buffering=0)
            except OSError as error:
                raise ArchprofError(f"{self.journal} cannot be written: {error.strerror}.") from error
            if not _lock(file):
                file.close()
                raise ArchprofError(
                    f"Another sweep is writing {self.path}.", "One at a time.", "Wait for it, or name another output."
                )
            with suppress(OSError):
                if os.path.samestat(os.fstat(file.fileno()), self.journal.stat()):
                    return file
            file.close()

    def _drop_if_empty(self) -> None:
        """Take the journal away where it holds no more than a part of its head."""
        with suppress(OSError):
            if self._is_file() and not self._file.seek(0) and HEAD.startswith(self._file.read(len(HEAD) + 1)):
                self.journal.unlink()

    def _is_file(self) -> bool:
        """And no device or pipe, of which reading might never end, and none that is too large to be read."""
        found = os.fstat(self._file.fileno())
        return stat.S_ISREG(found.st_mode) and found.st_size <= MOST_BYTES

    def _read_journal(self) -> int:
        text = b"?"
        if self._is_file():
            self._file.seek(0)
            text = self._file.read()
        head, _, body = text.partition(b"\n")
        if not HEAD.startswith(head) or (b"\n" in text and head + b"\n" != HEAD):
            raise ArchprofError(
                f"{self.journal} is no journal of a sweep.", hint="Move it away, or name another output."
            )
        if not text.endswith(b"\n") or not text:
            whole = text[: text.rfind(b"\n") + 1]
            os.ftruncate(self._file.fileno(), len(whole))
            if not whole:
                self._write(HEAD)
        lines = body.split(b"\n")
        found = [_read_line(line) for line in lines if line]
        self.rows.update({row.key: row for row in found if row is not None})
        self._has_news = bool(found)
        return found.count(None)

    def add(self, row: SweptRow) -> None:
        """Keep a row, whatever happens next; `ArchprofError` if it cannot be."""
        self.rows[row.key] = row
        said = json.dumps(row.to_record()).encode()
        self._write(b"%08x %s\n" % (zlib.crc32(said), said))
        self._has_news = True

    def _write(self, data: bytes) -> None:
        try:
            written = self._file.write(data)
        except OSError as error:
            raise ArchprofError(f"{self.journal} cannot be written: {error.strerror}.") from error
        if written != len(data):
            raise ArchprofError(f"{self.journal} cannot be written: there is no room.")

    def finish(self, order: list[str]) -> None:
        """Write the output whole, the keys of `order` last and in that order, and drop the journal.

        Where nothing came, what is there stays as it is.
        """
        if self._has_news:
            asked = dict.fromkeys(order)
            others = [row for key, row in self.rows.items() if key not in asked]
            write_swept(self.path, [*others, *(self.rows[key] for key in asked if key in self.rows)])
        self.journal.unlink(missing_ok=True)


def _lock(file: IO[Any]) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _read_line(line: bytes) -> SweptRow | None:
    """The row of a line; `None` for one that is not whole."""
    checksum, _, said = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(said):
        return None
    try:
        return read_row(json.loads(said))
    except (ValueError, TypeError, AttributeError, RecursionError, SweptFileError):
        return None
