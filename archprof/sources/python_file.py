"""Models in the user's own code: `net.py:Net` and `package.module:factory`. Only naming one runs it."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial, wraps
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from archprof.errors import ArchprofError, UnknownName, UsageError
from archprof.files import expand_home


def load_from_file(path: str, name: str) -> Any:
    """The attribute `name` of a Python file; files beside it can be imported now, and when a factory is called."""
    file = Path(os.path.realpath(expand_home(path)))  # links in a ring stay as they are
    if not file.is_file():
        raise _make_no_file_error(path, file)
    module = _make_module(file)
    here = partial(_allow_siblings, file.parent, module)
    with here():
        _run_file(module, file, path)
        found = _find_attribute(module, name, path)
    return _call_within(here, found)


def load_from_module(dotted: str, name: str) -> Any:
    """The attribute `name` of a module; the current folder counts now, and when a factory is called."""
    if not all(part.isidentifier() for part in dotted.split(".")):
        raise UsageError(
            f"{dotted!r} is no place for a model.",
            "Before the colon stands torchvision, timm, a file ending in .py, or a dotted module.",
        )
    here = partial(_start_program, Path.cwd(), dotted, None)
    with here():
        try:
            module = importlib.import_module(dotted)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{dotted}.".startswith(f"{error.name}."):
                raise _make_import_error(dotted, error) from error
            raise _make_no_module_error(dotted, error.name) from None
        except (Exception, SystemExit) as error:
            raise _make_import_error(dotted, error) from error
        return _call_within(here, _find_attribute(module, name, dotted))


def _make_module(file: Path) -> ModuleType:
    """A module for a file, of a name that no other has, so that two files called net.py do not meet."""
    module = ModuleType(f"{file.stem}_{hashlib.sha1(str(file).encode()).hexdigest()[:8]}")
    module.__file__ = str(file)
    return module


def _run_file(module: ModuleType, file: Path, given: str) -> None:
    sys.modules[module.__name__] = module
    try:
        exec(compile(file.read_bytes(), str(file), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[module.__name__]
        raise _make_import_error(given, error) from error


@contextmanager
def _start_program(folder: Path, name: str, main: ModuleType | None) -> Iterator[None]:
    """The process as code sees it that was started by its name alone, and as it was, afterwards.

    It imports from its own `folder`, reads its own command line, on which stands nothing but `name`, and what it has
    pickled as a script lies in `main`.
    """
    paths, words, before = sys.path, sys.argv, ([*sys.path], [*sys.argv], sys.modules["__main__"])
    sys.path.insert(0, str(folder))
    sys.argv = [name]
    sys.modules["__main__"] = main or before[2]
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path, sys.argv = paths, words
        sys.path[:], sys.argv[:], sys.modules["__main__"] = before


@contextmanager
def _allow_siblings(folder: Path, module: ModuleType) -> Iterator[None]:
    """Let the files of `folder` be imported, and forget them after: another folder may have files of the same names."""
    before = set(sys.modules)
    with _start_program(folder, str(module.__file__), module):
        yield
    for name in set(sys.modules) - before:
        top = name.partition(".")[0]
        if (folder / f"{top}.py").is_file() or (folder / top).is_dir():
            del sys.modules[name]


def _call_within(place: Callable[[], AbstractContextManager[None]], found: Any) -> Any:
    """`found`; a factory or class such that it is called within `place`."""
    if isinstance(found, nn.Module) or not callable(found):
        return found

    @wraps(found, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        with place():
            return found(*args, **kwargs)

    return call


def _find_attribute(holder: Any, dotted: str, place: str) -> Any:
    """What a dotted name stands for in a module."""
    first, _, rest = dotted.partition(".")
    try:
        found = getattr(holder, first)
    except AttributeError:
        raise UnknownName(f"model in {place}", first, _list_usable_names(holder)) from None
    except (ImportError, RuntimeError) as error:  # modules that import their parts when asked for them
        raise _make_import_error(place, error) from error
    return _find_attribute(found, rest, place) if rest else found


def _list_usable_names(holder: Any) -> list[str]:
    """The names in a module or class that could be meant: its own first, imported ones only if it has no own."""
    public = {name: getattr(holder, name, None) for name in vars(holder) if not name.startswith("_")}
    usable = {name: value for name, value in public.items() if isinstance(value, nn.Module) or callable(value)}
    home = getattr(holder, "__name__", None)
    own = [n for n, value in usable.items() if isinstance(value, nn.Module) or getattr(value, "__module__", 0) == home]
    return own or list(usable)


def _make_no_file_error(given: str, file: Path) -> UsageError:
    if not file.parent.is_dir():
        return UsageError(f"There is no file {given}: the folder {file.parent} does not exist.")
    files = sorted(path.name for path in file.parent.glob("*.py"))
    near = difflib.get_close_matches(file.name, files, n=4, cutoff=0.4)
    allowed = f"Near it: {', '.join(near)}." if near else f"Python files there: {', '.join(files[:12]) or 'none'}."
    return UsageError(f"There is no file {given}.", allowed)


def _make_no_module_error(dotted: str, missing: str) -> UsageError:
    near = difflib.get_close_matches(dotted, ["torchvision", "timm"], n=1)
    part = "" if missing == dotted else f": {missing!r} was not found"
    return UsageError(
        f"There is no module called {dotted!r}{part}.",
        "It is looked for in the current folder and where Python is installed.",
        f"Did you mean {near[0]}:?" if near else "A file is named by its path: path/to/net.py:Net",
    )


def _make_import_error(place: str, error: BaseException) -> ArchprofError:
    """The place exists; importing it raised."""
    where = _locate_error(error)
    hint = "Its own import failed; archprof only ran it."
    if "relative import" in str(error):
        hint = "It is part of a package: name it as package.module:Net instead of by its file."
    return ArchprofError(f"{place} cannot be imported: {type(error).__name__}: {error}{where}", "", hint)


def _locate_error(error: BaseException) -> str:
    """Where an error came from: the last line of it that is not Python's own import machinery."""
    trace, line = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<") and file not in (__file__, importlib.__file__):
            line = f" (line {trace.tb_lineno} of {file})"
        trace = trace.tb_next
    return line
