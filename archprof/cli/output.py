"""How commands answer: a format, a terminal or a file, and errors told in words."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from archprof import files
from archprof.errors import ArchprofError, UsageError

if TYPE_CHECKING:
    from archprof.analysis.table import Table


class Format(NamedTuple):
    """How a table is written: the suffix of its files, and its text."""

    suffix: str
    render: Callable[[Table], str]


TABLE_FORMATS = {
    "text": Format(".txt", lambda table: table.to_text()),
    "csv": Format(".csv", lambda table: table.to_csv()),
    "md": Format(".md", lambda table: table.to_markdown()),
    "json": Format(".json", lambda table: table.to_json()),
    "latex": Format(".tex", lambda table: table.to_latex()),
}


TABLE_SUFFIXES = {form.suffix: name for name, form in TABLE_FORMATS.items()}

PAGE_FORMATS = [*TABLE_FORMATS, "html"]
PAGE_SUFFIXES = {**TABLE_SUFFIXES, ".html": "html"}
"""For commands whose answer can be a page too."""


def choose_format(
    format: str | None,
    output: Path | None,
    formats: Iterable[str] = TABLE_FORMATS,
    suffixes: Mapping[str, str] = TABLE_SUFFIXES,
) -> str:
    """The format that was asked for in words, or by the suffix of the output file, which must be writable."""
    allowed = f"Formats: {', '.join(formats)}. Suffixes: {', '.join(suffixes)}."
    if format is not None and format not in formats:
        raise UsageError(f"There is no format {format!r} here.", allowed)
    if output is None:
        return format or "text"
    files.check_writable(output)
    if format is None and output.suffix not in suffixes:
        raise UsageError(f"The suffix of {output} names no format.", allowed, "Name one with --format.")
    return format or suffixes[output.suffix]


def write_table(table: Table, form: str, output: Path | None) -> None:
    """Print a table, in the width and colours of the terminal if there is one, or write it to a file."""
    write_text(
        render_for_terminal(table) if form == "text" and output is None else TABLE_FORMATS[form].render(table), output
    )


def write_text(text: str, output: Path | None) -> None:
    """Print `text`, or write it to a file and say so."""
    try:
        if output is None:
            sys.stdout.write(text)
            sys.stdout.flush()
        else:
            files.write_whole(output, text)
            sys.stderr.write(f"Wrote {output}\n")
    except BrokenPipeError:  # the reader (head, a pager) has seen enough
        raise typer.Exit from None
    except OSError as error:
        raise ArchprofError(f"{output or 'The output'} cannot be written: {error.strerror}.") from error


def render_for_terminal(table: Table) -> str:
    """Text as wide as the terminal and in its colours; plain in a pipe."""
    from archprof.render.text import render_text

    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    unicode = "utf" in (sys.stdout.encoding or "").lower()
    return render_text(table, width=terminal_width(), color=color, unicode=unicode)


def terminal_width() -> int | None:
    """Columns of the terminal, or of `COLUMNS`; `None` in a pipe: as wide as it needs to be."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() or os.environ.get("COLUMNS") else None


@contextmanager
def error_boundary(debug: bool) -> Iterator[None]:
    """Errors end the command with what was given, what is allowed and what to try, and with their exit code."""
    try:
        yield
    except ArchprofError as error:
        if debug:
            raise
        sys.stderr.write(f"archprof: {error}\n")
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt:
        sys.stderr.write("archprof: interrupted.\n")
        raise typer.Exit(130) from None
