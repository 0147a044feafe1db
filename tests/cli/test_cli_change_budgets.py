"""The limits of pyproject.toml on the page of a change."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from archprof.cli import app

NET = """
import torch

class Net(torch.nn.Sequential):
    def __init__(self, n=4):
        super().__init__(torch.nn.Linear(8, n))
"""


def make_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, *models: str) -> str:
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "pyproject.toml").write_text(f"[tool.archprof]\nmax-params = {limit}\n")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["report", *models, "--input", "8", "-o", "x.html"])
    assert done.exit_code == 0, done.output
    return (tmp_path / "x.html").read_text()


@pytest.mark.parametrize(("limit", "said"), [(53, "1 of 1 limits not kept"), (54, "all 1 limits kept")])
def test_the_page_of_a_change_has_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, said: str
) -> None:
    """The second version has 8 x 6 weights and 6 biases: 54 parameters."""
    text = make_page(tmp_path, monkeypatch, limit, "net.py:Net", "net.py:Net(n=6)")
    assert f"Budgets: {said}" in text
    assert "id=budgets" in text


def test_other_pages_have_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Budgets:" not in make_page(tmp_path, monkeypatch, 1, "net.py:Net")
