"""Where a page came from: hash, commit and date, and never the clock."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

import archprof
from archprof.errors import UsageError
from archprof.sources.provenance import trace_sources

NET = "import torch\ndef Net(): return torch.nn.Linear(4, 2), '[1,4]'\n"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.py").write_text(NET, "utf-8")
    who = {"GIT_AUTHOR_DATE": "2025-03-04T12:00:00Z", "GIT_COMMITTER_DATE": "2025-03-04T12:00:00Z"}
    for name, value in who.items():
        monkeypatch.setenv(name, value)
    git = ["git", "-c", "user.email=a@b", "-c", "user.name=a", "-C", str(tmp_path)]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], check=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commit_of_the_file_dates_the_page(repository: Path) -> None:
    found = trace_sources(["net.py:Net", "vgg16"])
    said = hashlib.sha256(NET.encode()).hexdigest()[:16]
    commit = subprocess.run(
        ["git", "log", "-1", "--format=%h"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert found == ("2025-03-04", (f"net.py: sha256 {said}; commit {commit} of 2025-03-04",))
    (repository / "net.py").write_text(NET + "# more\n", "utf-8")
    assert trace_sources(["net.py:Net"]).lines[0].endswith(", changed since")
    assert trace_sources(["net.py:Net@HEAD"]).lines == (f"net.py: at HEAD; commit {commit} of 2025-03-04",)


def test_a_date_that_is_given_stands(repository: Path) -> None:
    assert trace_sources(["net.py:Net"], "2026-01-31").date == "2026-01-31"
    assert trace_sources(["vgg16"]) == ("", ())
    with pytest.raises(UsageError, match="31 January"):
        trace_sources(["vgg16"], "31 January")


def test_two_pages_of_the_same_are_equal_to_the_byte(repository: Path) -> None:
    for name in ("a.html", "b.html"):
        archprof.report("net.py:Net", repository / name)
    assert (repository / "a.html").read_bytes() == (repository / "b.html").read_bytes()
    text = (repository / "a.html").read_text("utf-8")
    assert "2025-03-04" in text
    assert hashlib.sha256(NET.encode()).hexdigest()[:16] in text


def test_a_report_against_a_baseline_is_a_change(repository: Path) -> None:
    archprof.profile("net.py:Net").save("before.json")
    (repository / "net.py").write_text(NET.replace("4, 2", "4, 3"), "utf-8")
    archprof.report("net.py:Net", "x.html", baseline="before.json")
    text = (repository / "x.html").read_text("utf-8")
    assert "+50.0% MACs (8 to 12): the model itself outputs 2 to 3 (+4)." in text
    assert "before.json: sha256" in text
