"""The command line: in this process where that is enough, in one of its own where the process is the point."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import ARCHPROF, environment
from typer.testing import CliRunner, Result

from archprof.cli import app

Command = Callable[..., Result]
Process = Callable[..., "subprocess.CompletedProcess[str]"]

NO_TORCH = "raise ImportError('torch was imported')\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(here: Path) -> Command:
    """Run `archprof` with these words in this process, in an empty folder."""
    return lambda *words, **options: CliRunner().invoke(app, list(words), prog_name="archprof", **options)


@pytest.fixture
def tattler(here: Path) -> Path:
    """`net.py:Net`, whose import leaves a mark: the path of the mark."""
    source = "open('imported', 'w').close()\nimport torch\nclass Net(torch.nn.Linear):\n    "
    (here / "net.py").write_text(source + "def __init__(self): super().__init__(4, 2)\n")
    return here / "imported"


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved profile of vgg16."""
    path = tmp_path_factory.mktemp("saved") / "vgg16.json"
    assert CliRunner().invoke(app, ["table", "vgg16", "-o", str(path)]).exit_code == 0
    return path


@pytest.fixture
def without_torch(tmp_path: Path) -> dict[str, str]:
    """An environment in which importing torch is an error; no/torch/__init__.py in the current folder says which."""
    (tmp_path / "no" / "torch").mkdir(parents=True)
    (tmp_path / "no" / "torch" / "__init__.py").write_text(NO_TORCH)
    return environment(tmp_path / "no")


@pytest.fixture
def process(here: Path) -> Process:
    """Run `python -m archprof` with these words in a process of its own, in an empty folder."""

    def run(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        kept = {"capture_output": True, "text": True, "encoding": "utf-8"}
        return subprocess.run([*ARCHPROF, *words], env=env or environment(), timeout=120, **kept)

    return run
