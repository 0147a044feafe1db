"""`.ci/matrix` names its combinations, and makes nothing where it is asked for another."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def call_matrix(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / ".ci" / "matrix", *arguments], capture_output=True, text=True, check=False)


def test_combinations_are_listed() -> None:
    assert call_matrix("--list").stdout.split() == [
        "newest", "oldest", "oldest-torch", "oldest-transformers", "oldest-timm",
    ]  # fmt: skip


def test_another_name_is_wrong_usage() -> None:
    done = call_matrix("oldest-numpy")
    assert done.returncode == 2
    assert "There are: newest oldest" in done.stderr


def test_its_suites_exist_and_each_library_has_a_bound() -> None:
    script = (ROOT / ".ci" / "matrix").read_text(encoding="utf-8")
    suites = script.partition("suites=(")[2].partition(")")[0].split()
    assert len(suites) >= 4
    assert all((ROOT / suite).exists() for suite in suites)
    bounds = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert all(f'"{name}>=' in bounds for name in ("torch", "torchvision", "transformers", "timm"))
