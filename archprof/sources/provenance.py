"""Where a model came from: the hash of its file, and the commit of that, so that a page can be made again."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from archprof.errors import UsageError
from archprof.files import hash_file

HASH_DIGITS = 16


class Provenance(NamedTuple):
    """What is known of where models came from.

    Attributes:
        date: as given, or of the newest commit of their files; "" where there is none. Never that of the clock, so that
            two pages of the same are equal.
        lines: a sentence for each file.
    """

    date: str = ""
    lines: tuple[str, ...] = ()


def trace_sources(models: Sequence[Any], date: str | None = None) -> Provenance:
    """Read the files that models are named by.

    Args:
        models: what `archprof.profile` takes; what names no file has no source.
        date: given by the user, as 2026-01-31.

    Raises:
        UsageError: the date is none.
    """
    check_date(date)
    dates, lines = [], list[str]()
    for path, revision in dict.fromkeys(filter(None, (_find_file(model) for model in models))):
        commit = _find_commit(path, revision)
        dates += [commit[1]] if commit else []
        lines.append(_describe(path, revision, commit))
    return Provenance(date or max(dates, default=""), tuple(lines))


def check_date(date: str | None) -> None:
    """Raise `UsageError` where a date was given that is none."""
    if date is not None and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", date):
        raise UsageError(f"{date!r} is no date.", "A date is a year, a month and a day: 2026-01-31.")


def _find_file(model: Any) -> tuple[Path, str | None] | None:
    """The file in a name such as net.py:Net@HEAD~1, with the revision."""
    if not isinstance(model, str):
        return None
    name, _, revision = model.partition("@")
    found = re.match(r"(.+?\.(?:py|json|pt2|safetensors))(?::|$|\()", name)
    return (Path(found[1]), revision or None) if found and Path(found[1]).is_file() else None


def _find_commit(path: Path, revision: str | None) -> tuple[str, str] | None:
    """The hash and the date of the last commit of a file; `None` where no repository has it."""
    command = [
        "git",
        "-C",
        str(path.resolve().parent),
        "log",
        "-1",
        "--format=%h %cs",
        "--end-of-options",
        revision or "HEAD",
        "--",
    ]
    try:
        said = subprocess.run([*command, path.name], capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return None
    return (said[0], said[1]) if len(said) == 2 else None


def _describe(path: Path, revision: str | None, commit: tuple[str, str] | None) -> str:
    """ "net.py: sha256 0123456789abcdef; commit 1a2b3c4 of 2026-01-31, changed since"."""
    held = f"sha256 {hash_file(path).hexdigest()[:HASH_DIGITS]}" if revision is None else f"at {revision}"
    if commit is None:
        return f"{path}: {held}"
    changed = ", changed since" if revision is None and _is_changed(path) else ""
    return f"{path}: {held}; commit {commit[0]} of {commit[1]}{changed}"


def _is_changed(path: Path) -> bool:
    command = ["git", "-C", str(path.resolve().parent), "status", "--porcelain", "--", path.name]
    return bool(subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip())
