"""What all commands pass on their way out: every error in words with its exit code, every message as visible text."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import typer
from typer.core import TyperGroup

from archprof import interrupts
from archprof.errors import ArchprofError
from archprof.wording import make_lines_visible, make_visible

MOST_WORDS = 500
"""Letters of the message of an exception that are shown."""


def write_message(text: str) -> None:
    """Write to stderr: the only way there, so that no name in a message steers a terminal or a CI."""
    with suppress(OSError):  # a closed stderr changes no answer
        sys.stderr.write(make_lines_visible(text))


@contextmanager
def error_boundary(debug: bool) -> Iterator[None]:
    """Errors end the command with what was given, what is allowed and what to try, and with their exit code."""
    interrupts.set_started(True)
    try:
        if not _is_folder_there():  # an import of torch would end the process: a library below it asks for the folder
            raise ArchprofError("The working folder does not exist any more.", "", "Change to one that does.")
        yield
    except KeyboardInterrupt:
        write_message("archprof: interrupted.\n")
        raise typer.Exit(interrupts.INTERRUPTED) from None
    except Exception as error:
        if debug or isinstance(error, (typer.Exit, typer.Abort)):
            raise
        write_message(f"archprof: {error if isinstance(error, ArchprofError) else describe_fault(error)}\n")
        raise typer.Exit(getattr(error, "exit_code", 1)) from error
    finally:
        interrupts.set_started(False)


def describe_fault(error: Exception) -> str:
    """What nobody foresaw, in words; with `--debug` the traceback is shown instead."""
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):  # the words of torch's allocator
        return "The memory of this machine is not enough.\nTry less: a smaller batch, context or model."
    if isinstance(error, OSError):
        return f"{error}."
    words = str(error).partition("\n")[0][:MOST_WORDS]  # torch adds where it was in C++
    if isinstance(error, (RuntimeError, OverflowError)) and "overflow" in str(error).lower():
        return f"A size is larger than torch can count: {words}\nTry less: a smaller batch, input, width or model."
    return f"{type(error).__name__}: {words}\nThis was not foreseen. --debug shows where it happened; please report it."


def _is_folder_there() -> bool:
    try:
        return bool(os.getcwd())
    except OSError:
        return False


class CommandGroup(TyperGroup):
    """The commands; what goes wrong before one starts ends as what goes wrong in it."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _visible_usage_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        with _visible_usage_errors():
            return super().invoke(ctx)


@contextmanager
def _visible_usage_errors() -> Iterator[None]:
    """The parser quotes the words of the command as they are."""
    try:
        yield
    except Exception as error:
        if isinstance(getattr(error, "message", None), str):
            error.message = make_visible(error.message)  # type: ignore[attr-defined]
        raise
