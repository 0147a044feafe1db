"""What a shell offers behind the cursor: as bash asks for it, and without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torchvision

from archprof.cli import completion
from archprof.models.registry import BUILTIN_MODELS
from archprof.predicting import devices


def offered(line: str, folder: Path | None = None) -> list[str]:
    """What bash would show for this line, its cursor at the end."""
    words = line.split(" ")
    env = os.environ | {"_ARCHPROF_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    run = "try: app(prog_name='archprof')\nfinally: assert 'torch' not in sys.modules"
    code = f"import sys; from archprof.cli import app\n{run}"
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("archprof tab", {"table"}),
        ("archprof table resnet1", {"resnet18", "resnet101", "resnet152"}),
        ("archprof compare vgg16 convnext_t", {"convnext_tiny"}),
        ("archprof table vgg16 --by s", {"stage"}),
        ("archprof table vgg16 --dtype bf", set()),
        ("archprof table vgg16 --tr", {"--train"}),
        ("archprof report vgg16 --ba", {"--batch", "--baseline"}),
    ],
)
def test_what_bash_is_offered(line: str, some: set[str]) -> None:
    assert some <= set(offered(line))


def test_files_that_hold_models_are_offered(tmp_path: Path) -> None:
    for name in ("net.py", "last.json", "notes.txt"):
        (tmp_path / name).touch()
    assert {"net.py", "last.json"} <= set(offered("archprof table ", tmp_path))
    assert "notes.txt" not in offered("archprof table n", tmp_path)


def test_the_names_are_those_of_the_zoos() -> None:
    """torchvision's and timm's own lists; timm's names built by other decorators may be missing."""
    assert set(completion.complete_model("torchvision:")) >= {
        f"torchvision:{name}" for name in torchvision.models.list_models(module=torchvision.models)
    }
    found, real = {name.removeprefix("timm:") for name in completion.complete_model("timm:")}, set(timm.list_models())
    assert len(found & real) >= 0.99 * len(real)
    assert set(BUILTIN_MODELS) <= set(completion.complete_model(""))


def test_devices_are_found_by_any_part_of_their_names() -> None:
    assert completion.complete_device("h100") == [
        one.name for one in devices.load_catalogue() if "H100" in one.name.upper()
    ]  # fmt: skip
