"""What a person sees: a terminal of a given width, its colours, the wait, Ctrl-C."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from processes import ARCHPROF, environment
from rich.cells import cell_len

termios = pytest.importorskip("termios")
fcntl, pty = pytest.importorskip("fcntl"), pytest.importorskip("pty")

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


TAKE = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
OWNED = [sys.executable, "-c", TAKE]
"""Put before a command: the terminal becomes its own, so that Ctrl-C reaches it."""


class Seen(NamedTuple):
    text: str
    returncode: int


def terminal(*words: str, columns: int = 120, press: Callable[[str], bytes] = lambda seen: b"", **env: str) -> Seen:
    """Run `archprof` with its streams on a terminal; `press` says which keys to press, given all seen so far."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    env = environment() | {"TERM": "xterm-256color"} | env
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    running = subprocess.Popen([*OWNED, *ARCHPROF, *words], env=env, start_new_session=True, **streams)
    os.close(theirs)
    seen = b""
    while part := _read(ours):
        seen += part
        os.write(ours, press(seen.decode(errors="replace")))
    os.close(ours)
    return Seen(seen.decode().replace("\r\n", "\n"), running.wait(timeout=60))


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # nobody is left on the other side
        return b""


def on_screen(text: str) -> list[str]:
    """The lines as they stand at the end: what follows a carriage return overwrites what was there."""
    lines = []
    for line in text.split("\n"):
        cells: list[str] = []
        for part in line.split("\r"):
            cells[: len(part)] = part
        lines.append("".join(cells).rstrip())
    return lines


@pytest.mark.parametrize("columns", [40, 80, 120, 160])
def test_no_line_is_wider_than_the_terminal(columns: int, saved: Path) -> None:
    seen = terminal("table", str(saved), columns=columns)
    widths = [cell_len(ESCAPE.sub("", line)) for line in seen.text.splitlines()]
    assert max(widths) <= columns
    assert ("Too narrow for:" in seen.text) == (columns <= 80)
    assert "15.47" in seen.text


def test_colours_on_a_terminal(saved: Path, command: Callable) -> None:
    seen = terminal("table", str(saved), columns=160)
    assert ESCAPE.search(seen.text)
    assert on_screen(ESCAPE.sub("", seen.text)) == command("table", str(saved)).stdout.split("\n")


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colours_where_they_are_not_wanted(env: dict[str, str], saved: Path, command: Callable) -> None:
    seen = terminal("table", str(saved), columns=160, **env)
    assert seen.text == command("table", str(saved)).stdout


def test_an_empty_no_color_is_none(saved: Path) -> None:
    """https://no-color.org: present and not an empty string."""
    assert ESCAPE.search(terminal("table", str(saved), NO_COLOR="").text)


def test_a_wait_is_shown_and_then_gone(here: Path) -> None:
    """A model that takes a while to import, on a terminal too narrow for its name."""
    name = f"slow_{'x' * 60}.py"
    (here / name).write_text("import time\nfrom torch import nn\ntime.sleep(1.5)\nnet = nn.Linear(2, 2)\n")
    seen = terminal("table", f"{name}:net", "--input", "2", columns=60)
    assert "\rTracing slow_xxx" in seen.text
    told = re.findall(r"\r(Tracing[^\r]*)", seen.text)
    assert len(told) >= 2
    assert max(map(len, told)) < 60
    assert "Tracing" not in "\n".join(on_screen(seen.text))
    assert seen.returncode == 0


def test_ctrl_c_in_a_long_wait(without_torch: dict[str, str], here: Path) -> None:
    """Ctrl-C in a long wait: the line is gone, one word says so, and the exit code is the shell's for it."""
    (here / "no" / "torch" / "__init__.py").write_text("import time\ntime.sleep(30)\n")
    pressed: list[float] = []

    def press(seen: str) -> bytes:
        if "Tracing vgg16 ... 2 s" not in seen or pressed:
            return b""
        pressed.append(time.monotonic())
        return b"\x03"

    seen = terminal("table", "vgg16", press=press, **without_torch)
    assert time.monotonic() - pressed[0] < 5
    assert "Tracing vgg16 ... 1 s" in seen.text
    assert on_screen(seen.text) == ["archprof: interrupted.", ""]
    assert seen.returncode == 130


def test_a_short_wait_shows_nothing(saved: Path) -> None:
    assert "Tracing" not in terminal("table", str(saved)).text
