"""A file as it was at a revision of its git repository: `net.py:Net@v1.0`. The repository itself is only read."""

from __future__ import annotations

import difflib
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from torch import nn

from archprof.errors import ArchprofError, UsageError
from archprof.files import expand_home
from archprof.sources import python_file


def load_from_revision(path: str, revision: str, name: str) -> Any:
    """The attribute `name` of a Python file as it was then; a factory or class runs beside the files of then.

    Raises what `at_revision` and `python_file.load_from_file` raise.
    """
    with at_revision(path, revision) as file, _restore_given_path(file, path, revision):
        found = python_file.load_from_file(str(file), name)
    if isinstance(found, nn.Module) or not callable(found):
        return found

    @wraps(found, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        with at_revision(path, revision) as file:
            return python_file.load_from_file(str(file), name)(*args, **kwargs)

    return call


@contextmanager
def _restore_given_path(file: Path, path: str, revision: str) -> Iterator[None]:
    """Errors name the file as it was given, not its copy."""
    try:
        yield
    except ArchprofError as error:
        error.given = error.given.replace(str(file), f"{path} at {revision}")
        error.args = ("\n".join(line for line in (error.given, error.allowed, error.hint) if line),)
        raise


@contextmanager
def at_revision(path: str, revision: str) -> Iterator[Path]:
    """The file in a copy of its whole repository as it was then; the copy is gone afterwards.

    The copy is what `git archive` gives: no submodules, and nothing that the repository marks `export-ignore`.

    Raises:
        UsageError: the file is in no git repository, or the revision is not in it, or the file was not there then.
        ArchprofError: git is not installed, or failed.
    """
    file = expand_home(path).absolute()
    root = _find_repository(path, file)
    inside = file.resolve().relative_to(root).as_posix()
    commit = _find_commit(root, revision)
    _check_file_existed(root, commit, revision, path, inside)
    with tempfile.TemporaryDirectory(prefix="archprof-") as folder:
        _unpack(root, commit, folder)
        there = Path(folder) / inside
        if not there.is_file():
            raise UsageError(f"{path} at {revision} is not part of what git exports.", "It is marked export-ignore.")
        yield there


def find_commit_of(path: str, revision: str) -> str:
    """The commit that a revision names in the repository of a file; raises what `at_revision` raises."""
    return _find_commit(_find_repository(path, expand_home(path).absolute()), revision)


def _find_repository(given: str, file: Path) -> Path:
    """The top folder of the repository that the file is in, or was in."""
    folder = next(parent for parent in file.resolve().parents if parent.is_dir())
    found = _run_git(folder, "rev-parse", "--show-toplevel")
    if found.returncode:
        hint = "Without a revision the file is taken as it is." if "not a git repository" in found.stderr else ""
        raise UsageError(f"{given} cannot be looked up at a revision: {_first_complaint(found)}", hint=hint)
    return Path(found.stdout.strip()).resolve()


def _find_commit(root: Path, revision: str) -> str:
    """The commit that a revision names."""
    found = _run_git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if found.returncode == 0:
        return found.stdout.strip()
    refs = _run_git(root, "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags", "refs/remotes")
    names = refs.stdout.split()
    near = difflib.get_close_matches(revision, names, n=4, cutoff=0.5)
    allowed = f"Near it: {', '.join(near)}." if near else f"Branches and tags: {', '.join(names[:12]) or 'none'}."
    raise UsageError(f"There is no revision {revision!r} in {root}.", allowed, "Any name that git knows: HEAD~1, v1.0.")


def _check_file_existed(root: Path, commit: str, revision: str, given: str, inside: str) -> None:
    if _run_git(root, "cat-file", "-e", f"{commit}:{inside}").returncode == 0:
        return
    files = _run_git(root, "ls-tree", "-r", "--name-only", "-z", commit).stdout.split("\0")
    near = difflib.get_close_matches(inside, [name for name in files if name.endswith(".py")], n=4, cutoff=0.6)
    allowed = f"Near it, then: {', '.join(near)}." if near else ""
    raise UsageError(f"{given} was not in the repository at {revision}.", allowed)


def _unpack(root: Path, commit: str, folder: str) -> None:
    """Write the whole tree of a commit below `folder`."""
    with tempfile.TemporaryFile() as file:
        made = _run_git(root, "archive", "--format=tar", commit, out=file)
        if made.returncode:
            raise ArchprofError(f"The files of {commit[:12]} cannot be read: {_first_complaint(made)}")
        file.seek(0)
        with tarfile.open(fileobj=file) as tree:
            tree.extraction_filter = getattr(tarfile, "tar_filter", None)  # never outside `folder`, where Python can
            tree.extractall(folder)


def _run_git(folder: Path, *words: str, out: Any = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    """Run git in a folder; it must not ask, and what it writes is text or goes to the file `out`."""
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
        )
    except FileNotFoundError:
        raise ArchprofError("A revision needs git, which is not installed.", hint="Leave out the @ part.") from None


def _first_complaint(run: subprocess.CompletedProcess[str]) -> str:
    """The first line of what git complained of, without its prefix."""
    lines = run.stderr.strip().splitlines() or [f"git ended with {run.returncode}"]
    return lines[0].removeprefix("fatal: ").removesuffix(".") + "."
