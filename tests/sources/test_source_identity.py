"""By what a model is made: it changes when a file changes that the model is made of, and not otherwise."""

from __future__ import annotations

import hashlib
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from archprof.sources.source_identity import identify_source, list_imported_files
from archprof.version import __version__


@pytest.mark.parametrize(
    ("model", "source"),
    [
        ("vgg16", f"archprof {__version__}"),
        ("conv3-64 relu", f"archprof {__version__}"),
        ("convnext_tiny", f"torchvision {version('torchvision')}"),
        ("convnextv2_tiny", f"timm {version('timm')}"),
        ("timm:resnet50(num_classes=3)", f"timm {version('timm')}"),
        ("torchvision:resnet50", f"torchvision {version('torchvision')}"),
        ("hf:bert-base", f"transformers {version('transformers')}"),
        ("missing.py:Net", ""),
        ("missing.pt2", ""),
        ("no_such_module:Net", ""),
        (f"{'x' * 300}.py:Net", ""),
    ],
)
def test_what_a_name_is_made_by(model: str, source: str) -> None:
    assert identify_source(model) == source


def test_a_file_is_its_hash_and_that_of_what_it_imports_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("parts").mkdir()
    Path("net.py").write_text("import torch\nfrom layers import Layer\n\n\ndef f():\n    import parts.deep as d\n")
    Path("layers.py").write_text("from .parts import deep\nimport net\n")
    Path("parts/__init__.py").touch()
    Path("parts/deep.py").write_text("x = 1\n")
    Path("other.py").write_text("x = 1\n")
    found = [path.relative_to(tmp_path).as_posix() for path in list_imported_files(Path("net.py"))]
    assert found == ["layers.py", "net.py", "parts/__init__.py", "parts/deep.py"]
    first = identify_source("net.py:Net")
    assert identify_source("net.py:Net(width=2)") == first == identify_source(f"{tmp_path}/net.py:Net")
    Path("other.py").write_text("x = 2\n")
    assert identify_source("net.py:Net") == first
    for name in ("net.py", "layers.py", "parts/deep.py"):
        before = identify_source("net.py:Net")
        Path(name).write_text(Path(name).read_text() + "# changed\n")
        assert identify_source("net.py:Net") != before
    assert identify_source("net:Net") == identify_source("net.py:Net")  # the module of the folder


def test_one_file_is_sha256_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_bytes(b"x = 1\n")
    whole = hashlib.sha256(hashlib.sha256(b"x = 1\n").digest()).hexdigest()
    assert identify_source(f"{path}:Net") == f"sha256 {whole[:16]}"


def test_a_file_that_is_no_python_is_hashed_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_bytes(b"def (\0")
    assert identify_source(f"{path}:Net").startswith("sha256 ")


def test_a_revision_is_its_commit(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    path = tmp_path / "net.py"
    path.write_text("x = 1\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "one")
    assert identify_source(f"{path}:Net@HEAD") == f"commit {git('rev-parse', 'HEAD')}"
    assert identify_source(f"{path}:Net@nope") == ""
