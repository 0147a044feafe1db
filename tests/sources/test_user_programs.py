"""A user's file is a program of its own: it reads its own command line, and archprof's process is then as before."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import archprof
from archprof.cli import app
from archprof.errors import ArchprofError

NET = "from torch import nn\nclass Net(nn.Linear):\n    def __init__(self, width=WIDTH): super().__init__(4, width)\n"

ARGPARSE = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--depth", type=int, default=3)
WIDTH = parser.parse_args().depth
"""

CLICK = """
import click
@click.command()
@click.option("--depth", default=3)
def read(depth): return depth
WIDTH = read(standalone_mode=False)
"""

LATE = """
import argparse
def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--depth", type=int, default=3)
    return parser.parse_args().depth
WIDTH = None
def make(): return Net(parse())
"""


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """Write `net.py` in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "net", raising=False)

    def write(text: str) -> Path:
        (tmp_path / "net.py").write_text(text)
        return tmp_path / "net.py"

    yield write
    sys.modules.pop("net", None)


@pytest.fixture
def as_before(monkeypatch: pytest.MonkeyPatch):
    """The words and the places of the process are the same objects with the same contents afterwards."""
    monkeypatch.setattr(sys, "argv", ["archprof", "table", "net.py:Net", "--depth", "1"])
    words, paths, main = sys.argv, sys.path, sys.modules["__main__"]
    contents = [*words], [*paths]
    yield
    assert (sys.argv is words, sys.path is paths, sys.modules["__main__"] is main) == (True, True, True)
    assert (sys.argv, sys.path) == contents


@pytest.mark.parametrize(("text", "name"), [(ARGPARSE, "Net"), (CLICK, "Net"), (LATE, "make")])
def test_a_file_reads_its_own_command_line(text: str, name: str, net: Callable, as_before: None) -> None:
    """Each takes --depth, of which archprof has one, too."""
    file = net(text + NET)
    assert archprof.profile(f"{file}:{name}", (1, 4)).totals.params == 4 * 3 + 3
    assert archprof.profile(f"net:{name}", (1, 4)).totals.params == 4 * 3 + 3  # as a module of the current folder


def test_by_command(net: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    net(ARGPARSE + NET)
    words = ["table", "net.py:Net", "--input", "4", "--depth", "0", "--format", "csv", "--columns", "params"]
    monkeypatch.setattr(sys, "argv", ["archprof", *words])
    shown = CliRunner().invoke(app, words)
    assert (shown.exit_code, shown.stdout) == (0, "layer,params,complete\n,15,true\n"), shown.output


@pytest.mark.parametrize(
    "text",
    [
        "import sys; sys.argv.append('x'); sys.path.append('x'); raise RuntimeError",
        "import sys; sys.argv = ['y']; sys.path = []; raise SystemExit(3)",
        "import argparse; p = argparse.ArgumentParser(); p.add_argument('must'); p.parse_args()",
        "def Net():\n    import sys; sys.argv[:] = []; sys.path.clear(); raise ValueError",
        "def Net():\n    raise SystemExit(3)",
    ],
)
def test_the_process_is_as_before_whatever_happens(text: str, net: Callable, as_before: None) -> None:
    file = net(text)
    with pytest.raises(ArchprofError, match=r"RuntimeError|SystemExit|ValueError"):
        archprof.profile(f"{file}:Net", (1, 4))


def test_ctrl_c_while_it_is_imported(net: Callable, as_before: None) -> None:
    with pytest.raises(KeyboardInterrupt):
        archprof.profile(f"{net('import sys; sys.argv = []; raise KeyboardInterrupt')}:Net", (1, 4))


def test_where_it_runs(net: Callable, as_before: None) -> None:
    """It imports from its own folder first, is no script, and finds its classes where a script would have them."""
    file = net(
        "import sys\nfrom torch import nn\n"
        "SEEN = [sys.path[0], sys.argv, __name__ == '__main__', sys.modules['__main__'].__file__]\n"
        "if __name__ == '__main__': raise SystemExit('run as a script')\n"
        "class Part(nn.Linear): pass\n"
        "def make():\n"
        "    import pickle\n"
        "    part = pickle.loads(b'c__main__\\nPart\\n.')\n"
        "    assert part is Part and SEEN == [{folder!r}, [{file!r}], False, {file!r}], SEEN\n"
        "    assert [sys.path[0], sys.argv] == [{folder!r}, [{file!r}]]\n"
        "    return part(4, 2)\n".replace("{folder!r}", repr(str(Path.cwd()))).replace(
            "{file!r}", repr(str(Path.cwd() / "net.py"))
        )
    )
    assert archprof.profile(f"{file}:make", (1, 4)).totals.params == 10
