"""`archprof verify` and `--convention`, as a user meets them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

BLOCKS = "conv3-8 bn relu"
SIZE = ["--input", "3x8x8"]

NET = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(8, 8)
    def forward(self, x):
        return torch.mv(self.linear(x), x[0])
def net():
    return Net(), torch.zeros(4, 8)
"""


def test_explained_differences_end_with_0(command):
    result = command("verify", BLOCKS, *SIZE)
    assert result.exit_code == 0, result.output
    assert "batch norm, 2 per element" in result.stdout
    assert "agrees" in result.stdout
    assert "unexplained" not in result.stdout


def test_a_model_of_a_file_in_every_format(command, here: Path):
    (here / "net.py").write_text(NET)
    result = command("verify", "net.py:net", "--format", "csv")
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    by_torch = [row for row in rows if row["source"].startswith("torch")]
    assert [row["difference"] for row in by_torch] == ["-32", "-32"]
    data = json.loads(command("verify", "net.py:net", "--format", "json").stdout)
    assert [row["verdict"] for row in data["rows"]][:3] == ["complete", "explained", None]
    for form in ("md", "latex", "text"):
        assert "aten.mv" in command("verify", "net.py:net", "--format", form).stdout.replace("\\", "")


def test_an_unexplained_difference_ends_with_1(command, monkeypatch):
    from archprof.tracing import verify

    real = verify.torch_counts
    monkeypatch.setattr(verify, "torch_counts", lambda *args, **more: {**real(*args, **more), "aten.more": 7})
    result = command("verify", BLOCKS, *SIZE)
    assert result.exit_code == 1
    assert "unexplained" in result.stdout


def test_convention_stands_behind_the_table(command):
    result = command("table", BLOCKS, *SIZE, "--convention", "thop")
    assert result.exit_code == 0, result.output
    first, rest = " ".join(result.stdout.split()).split("by the rule of thop 0.1.1-2209072238")
    assert "by layer" in first
    assert "prints 15,872 MACs (15.87 k)" in rest  # 64 * 8 * 27 and 4 for each of 512 elements
    assert "archprof counts 13,824 MACs" in rest


@pytest.mark.parametrize("form", ["csv", "md", "json", "latex"])
def test_convention_alone_in_data_formats(command, form: str):
    result = command("table", BLOCKS, *SIZE, "--convention", "fvcore", "--format", form)
    assert result.exit_code == 0, result.output
    assert "batch norm" in result.stdout
    assert "act_fp32" not in result.stdout


def test_convention_of_several_models(command):
    result = command("compare", BLOCKS, "conv3-8", *SIZE, "--convention", "torch", "--format", "csv")
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["printed"] for row in rows] == ["27648", "27648"]
    assert "By the rule of torch 2.14.1" in command("compare", BLOCKS, "conv3-8", *SIZE, "--convention", "torch").stdout


def test_archprof_is_the_convention_by_itself(command):
    assert command("table", BLOCKS, *SIZE, "--convention", "archprof").stdout == command("table", BLOCKS, *SIZE).stdout


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--convention", "thopp"], 2),
        (["--convention", "thop", "--train"], 2),
        (["--convention", "thop", "-o", "x.html"], 2),
    ],
)
def test_what_no_convention_can_do_is_said_before_any_work(command, words: list[str], code: int):
    result = command("table", "alexnet", *words)
    assert result.exit_code == code
    assert "thop" in result.stderr
