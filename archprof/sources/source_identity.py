"""By what a model is made: the version of a package, or the hash of a user's files. It changes when numbers may."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib import metadata
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

from archprof.errors import ArchprofError
from archprof.files import expand_home, hash_file
from archprof.models import registry
from archprof.models.block_grammar import looks_like_blocks
from archprof.sources import git_revision
from archprof.sources.model_grammar import ModelSpec, parse_model
from archprof.sources.saved_files import SAVED_SUFFIXES
from archprof.version import __version__

HASH_DIGITS = 16
PACKAGES = {"timm": "timm", "torchvision": "torchvision", "hf": "transformers"}
WEIGHT_SUFFIXES = (".pt2", *SAVED_SUFFIXES)
OWN = f"archprof {__version__}"


def identify_source(model: str) -> str:
    """ "timm 1.0.31", "archprof 0.1.0", "sha256 0123456789abcdef" of files, or "commit 1a2b3c…".

    "" where there is no such source, which is said when the model is opened.
    """
    if looks_like_blocks(model):
        return OWN
    if model.endswith(WEIGHT_SUFFIXES):
        file = expand_home(model)
        return _hash_files([file]) if _is_file(file) else ""
    spec = parse_model(model)
    if spec.where == "":
        return OWN if spec.name in registry.BUILTIN_MODELS else _identify_bare(spec.name)
    if spec.where in PACKAGES:
        package = PACKAGES[spec.where]
        config = Path(spec.name) if spec.name.endswith(".json") else Path(spec.name, "config.json")
        more = f", {_hash_files([config])}" if spec.where == "hf" and _is_file(config) else ""
        return f"{package} {read_version(package)}{more}"
    return _identify_code(spec)


@cache
def read_version(package: str) -> str:
    """The installed version of a package; "" where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


@cache
def _identify_bare(name: str) -> str:
    """A name that is not built in is looked for in torchvision, then in timm."""
    from archprof.sources.torchvision_zoo import list_torchvision_names

    package = "torchvision" if name in list_torchvision_names() else "timm"
    return f"{package} {read_version(package)}"


def _identify_code(spec: ModelSpec) -> str:
    """The user's own code: a file, a file of then, or a module."""
    if spec.revision is not None:
        try:
            return f"commit {git_revision.find_commit_of(spec.where, spec.revision)}"
        except ArchprofError:
            return ""
    if spec.is_file:
        path = expand_home(spec.where)
        return _hash_files(list_imported_files(path)) if _is_file(path) else ""
    found = _find_module(spec.where)
    if found is None:
        return ""
    package = spec.where.partition(".")[0]
    version = read_version(package)
    return f"{package} {version}, ".lstrip() * bool(version) + _hash_files(list_imported_files(found))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long
        return False


def _find_module(dotted: str) -> Path | None:
    """The file of a module that is looked for in the current folder and where Python is installed."""
    places, found = [str(Path.cwd()), *sys.path], None
    for part in dotted.split("."):
        found = PathFinder.find_spec(part, places)
        places = list(found.submodule_search_locations or []) if found else []
    if found is None:  # a finder of its own knows it, as of editable installations
        with suppress(Exception):
            found = find_spec(dotted)
    origin = Path(found.origin) if found and found.origin else None
    return origin if origin and origin.is_file() else None


def list_imported_files(path: Path) -> list[Path]:
    """A Python file, and those beside it that it imports, and they."""
    seen: dict[Path, None] = {}
    waiting = [path.resolve()]
    while waiting:
        file = waiting.pop()
        if file not in seen:
            seen[file] = None
            waiting += _find_imports(file, path.resolve().parent)
    return sorted(seen)


def _find_imports(file: Path, folder: Path) -> Iterator[Path]:
    """The files of a folder that a file imports, by name: what it reads otherwise is not known."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _find_module_files(folder, alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = file.parents[node.level - 1] if 0 < node.level <= len(file.parents) else folder
            for alias in node.names:
                yield from _find_module_files(base, ".".join(filter(None, (node.module, alias.name))))


def _find_module_files(folder: Path, dotted: str) -> Iterator[Path]:
    """`a.b` of a folder: a/__init__.py and a/b.py, or a.py."""
    place = folder
    for part in dotted.split("."):
        for file in (place / f"{part}.py", place / part / "__init__.py"):
            if file.is_file():
                yield file.resolve()
        place = place / part


def _hash_files(paths: list[Path]) -> str:
    whole = hashlib.sha256()
    for path in paths:
        whole.update(hash_file(path).digest())
    return f"sha256 {whole.hexdigest()[:HASH_DIGITS]}"
