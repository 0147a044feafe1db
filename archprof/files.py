"""Files are written whole or not at all, and a bad path is found before the work starts."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from archprof.errors import ArchprofError
from archprof.interrupts import remove_if_terminated

RUN_FILE = "run.json"
"""What a folder holds that is one of a run of training."""


CHUNK_BYTES = 2**22
"""Of a large file, that are read at once."""


def check_writable(path: str | Path) -> Path:
    """The path, if a file can be written there; `ArchprofError` if not. Nothing is made or changed.

    A link is followed: what it points to is what will be written.
    """
    given = Path(path)
    try:
        path = Path(os.path.realpath(path))
        path.exists()
    except (OSError, ValueError) as error:  # a name too long, a null byte
        raise ArchprofError(f"{given} cannot be written: {error}.", "An output is a file.") from error
    if given.exists() and not given.is_dir() and not given.is_file():
        return given  # a device or a pipe is written to as it stands
    if path.is_dir():
        raise ArchprofError(f"{given} is a folder.", "An output is a file.", f"Try {given / 'vgg16.json'}.")
    if not path.parent.is_dir():
        folder = given.parent
        raise ArchprofError(f"{given} cannot be written: there is no folder {folder}.", hint=f"Try mkdir -p {folder}")
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise ArchprofError(f"{given} cannot be written: no permission.", hint="Name a file in a folder of yours.")
    return path


def expand_home(path: str | Path) -> Path:
    """The path with its "~" or "~name" as the folder that is meant; as it stands where there is nobody of that name."""
    try:
        return Path(os.path.expanduser(path))
    except ValueError:  # a null byte
        return Path(path)


def read_text(path: str | Path, most_bytes: int) -> str:
    """The text of a file in UTF-8, with or without a byte order mark; `ArchprofError` if it cannot be read.

    No more than `most_bytes` are read of it: a file may be larger than the memory, or never end.
    """
    try:
        refuse_pipe(path)
        with open(path, "rb") as file:
            data = file.read(most_bytes + 1)
        if len(data) > most_bytes:
            raise ArchprofError(f"{path} has more than {most_bytes >> 20} MiB.")
        return data.decode("utf-8-sig")
    except (OSError, ValueError) as error:  # a null byte in the name, bytes that are no text
        raise ArchprofError(f"{path} cannot be read: {error}.") from error


def read_system_file(path: Path) -> str:
    """What the operating system says in a file of its own; "" where there is none, or it may not be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def read_data_table(name: str) -> list[dict[str, str]]:
    """A table of archprof/data, one dict per row."""
    import csv

    with (Path(__file__).parent / "data" / name).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def refuse_pipe(path: str | Path) -> None:
    """Raise `ArchprofError` for a pipe: one into which nobody writes would be waited for without end."""
    if stat.S_ISFIFO(os.stat(path).st_mode):
        raise ArchprofError(f"{path} cannot be read: it is a pipe.", "What is read is a file.")


def hash_file(path: str | Path) -> Any:
    """The SHA-256 of a file, which may be larger than the memory."""
    import hashlib

    hashed = hashlib.sha256()
    with open(path, "rb") as file:
        while data := file.read(CHUNK_BYTES):
            hashed.update(data)
    return hashed


def import_toml(path: str | Path) -> Any:
    """The parser that Python has since 3.11, or the package it was made from; `ArchprofError` if there is neither."""
    with suppress(ModuleNotFoundError):
        import tomllib  # from Python 3.11 on

        return tomllib
    with suppress(ModuleNotFoundError):
        import tomli

        return tomli
    raise ArchprofError(
        f"{path} is TOML, and this Python cannot read it.",
        "Python 3.11 and newer can; 3.10 needs the package tomli.",
        "Try: pip install tomli",
    )


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write a new file beside `path` and put it in its place in one step; `ArchprofError` if it cannot be."""
    path = check_writable(path)
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)
        else:
            replace_file(path, data)
    except OSError as error:
        why = error.strerror or error
        raise ArchprofError(f"{path} cannot be written: {why}.", hint="Name another place.") from error


def replace_file(path: Path, data: bytes, *, survives_crash: bool = False) -> None:
    """Write a new file beside `path` and put it in its place in one step.

    Args:
        survives_crash: the file is on the disk before it takes that place, so that a machine that stops leaves one.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".archprof-")
    try:
        with remove_if_terminated(name):
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                if survives_crash:
                    file.flush()
                    os.fsync(file.fileno())
            os.chmod(name, path.stat().st_mode & 0o777 if path.exists() else _default_mode())
            os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _default_mode() -> int:
    """How a new file may be read and written, as the process has it."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def is_profile_path(model: object) -> bool:
    """Whether a MODEL is a saved profile: a .json file, and not a configuration behind `hf:`."""
    return isinstance(model, str) and model.endswith(".json") and not model.startswith("hf:")


def is_run_path(model: object) -> bool:
    """Whether a MODEL is the folder of a run of training."""
    return isinstance(model, str | Path) and (Path(model) / RUN_FILE).is_file()
