"""Files are written whole or not at all, and a bad path is found before the work starts."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from archprof.errors import ArchprofError


def check_writable(path: str | Path) -> Path:
    """The path, if a file can be made there; `ArchprofError` if not. Nothing is made or changed."""
    path = Path(path)
    folder = path.parent
    if path.is_dir():
        raise ArchprofError(f"{path} is a folder.", "An output is a file.", f"Try {path / 'vgg16.json'}.")
    if not folder.is_dir():
        raise ArchprofError(f"{path} cannot be written: there is no folder {folder}.", hint=f"Try mkdir -p {folder}")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise ArchprofError(f"{path} cannot be written: no permission.", hint="Name a file in a folder of yours.")
    return path


def write_whole(path: str | Path, text: str) -> None:
    """Write `text` to a new file beside `path` and put it in its place in one step."""
    path = check_writable(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(name, path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
