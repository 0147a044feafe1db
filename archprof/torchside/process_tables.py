"""What torch keeps once per process and a pass changes: noted before it, and put back after it."""

from __future__ import annotations

import gc
import os
import warnings
from typing import Any

import torch

from archprof.torchside.private import (
    MODE_FLAGS,
    SKIP_TABLES,
    STANCE,
    find_module,
    mode_notes,
    mode_stacks,
    pop_saved_hooks,
    top_saved_hooks,
)


class ModeStacks:
    """How deep torch's stacks of modes are, and its notes of them. What this torch lacks is left to its own care."""

    def __init__(self) -> None:
        self._flags = {name: mode_notes[name] for name in MODE_FLAGS if name in mode_notes}
        self._depths = [count() for count, _ in mode_stacks]
        self._saved_hooks = top_saved_hooks(True)

    def restore(self) -> None:
        """Take off what came on top."""
        for depth, (count, pop) in zip(self._depths, mode_stacks, strict=True):
            while count() > depth:
                pop()
        while pop_saved_hooks and (hooks := top_saved_hooks(True)) is not None and hooks != self._saved_hooks:
            pop_saved_hooks()
        mode_notes.update(self._flags)
        tell = mode_notes.get("set_is_in_mode_without_ignore_compile_internals")
        if tell is not None and MODE_FLAGS[-1] in self._flags:
            tell(self._flags[MODE_FLAGS[-1]])


class Switches:
    """What of torch and of Python is on or off, and a forward may switch."""

    def __init__(self) -> None:
        self._collects = gc.isenabled()
        self._deterministic = _read_deterministic()
        self._cudnn = _read_cudnn()
        self._fast_path = torch.backends.mha.get_fastpath_enabled()

    def restore(self) -> None:
        """As they were; what nobody switched is not touched."""
        if gc.isenabled() != self._collects:
            (gc.enable if self._collects else gc.disable)()
        if _read_deterministic() != self._deterministic:
            on, warns_only = self._deterministic
            torch.use_deterministic_algorithms(on, warn_only=warns_only)
        for name, was in zip(CUDNN_SWITCHES, self._cudnn, strict=True):
            if getattr(torch.backends.cudnn, name) != was:
                setattr(torch.backends.cudnn, name, was)
        if torch.backends.mha.get_fastpath_enabled() != self._fast_path:
            torch.backends.mha.set_fastpath_enabled(self._fast_path)


CUDNN_SWITCHES = ("enabled", "benchmark", "deterministic")
"""Of torch.backends.cudnn: what a forward may set to choose its kernels."""


def _read_cudnn() -> list[bool]:
    return [getattr(torch.backends.cudnn, name) for name in CUDNN_SWITCHES]


def _read_deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


CACHE_VARIABLES = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")
"""The environment that torch's compiler writes to."""


class ImportTraces:
    """What an import of torch's compiler leaves in the process, beside its modules."""

    def __init__(self) -> None:
        self._filters, self._seed = warnings.filters[:], torch.manual_seed
        self._variables = {name: os.environ.get(name) for name in CACHE_VARIABLES}

    def restore(self) -> None:
        """As it was."""
        torch.manual_seed = self._seed
        if warnings.filters != self._filters:
            warnings.filters[:] = self._filters  # type: ignore[index]
            with warnings.catch_warnings():  # which tells Python that they changed
                pass
        for name, value in self._variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class SkippedCode:
    """Code that torch's compiler passes over, until `restore`: it would compile our modes with a compiled function."""

    def __init__(self) -> None:
        self._rules: Any = find_module("_dynamo.trace_rules")
        known = self._rules is not None and vars(self._rules).keys() >= set(SKIP_TABLES)
        self._tables: Any = self._read() if known else None

    def add(self, package: str) -> None:
        """From now on the package of that name is passed over."""
        if self._tables is None:
            return
        if (package, self._tables) in _SKIPPING_TABLES:
            self._write(_SKIPPING_TABLES[package, self._tables])
        else:  # torch works out a long pattern
            self._rules.add(package)
            _SKIPPING_TABLES[package, self._tables] = self._read()

    def restore(self) -> None:
        """The tables as they were."""
        if self._tables is not None:
            self._write(self._tables)

    def _read(self) -> tuple[tuple[str, ...], Any]:
        return tuple(self._rules.SKIP_DIRS), self._rules.SKIP_DIRS_RE

    def _write(self, tables: tuple[tuple[str, ...], Any]) -> None:
        self._rules.SKIP_DIRS[:], self._rules.SKIP_DIRS_RE = tables


class CompilerStance:
    """What torch's compiler does with what was given to it, until `restore`."""

    def __init__(self) -> None:
        self._frames: Any = find_module("_dynamo.eval_frame")
        self._stance: Any = getattr(self._frames, STANCE, None)
        self._way_back: Any = None

    def force_eager(self) -> None:
        """From now on it runs as it was written."""
        self._way_back = torch.compiler.set_stance("force_eager")

    def restore(self) -> None:
        """The stance as it was, also where Ctrl-C came before there was a way back."""
        if self._stance is not None:
            setattr(self._frames, STANCE, self._stance)
        elif self._way_back is not None:
            self._way_back.__exit__(None, None, None)


_SKIPPING_TABLES: dict[Any, Any] = {}
"""The tables with a package that is passed over, by its name and the tables without it."""
