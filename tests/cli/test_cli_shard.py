"""`archprof shard` and `archprof fit --over mesh` as commands; what they find is tested with the functions."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

MODEL = "hf:LlamaConfig(num_hidden_layers=4,hidden_size=64,intermediate_size=128,num_attention_heads=4,vocab_size=96)"
TRAIN = ("--train", "--optimizer", "adamw", "--set", "seq=16")


def test_every_format(command: Callable, tmp_path: Path) -> None:
    words = ("shard", MODEL, "--mesh", "pp=2,fsdp=2,tp=2", "--batch", "4", "--device", "h100", *TRAIN)
    shown = command(*words, env={"COLUMNS": "80"}).stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert all(title in shown for title in ("over 8 ranks", "Sent in a step", "Time of a step, at least"))
    rows = list(csv.DictReader(io.StringIO(command(*words, "--format", "csv").stdout)))
    said = json.loads(command(*words, "--format", "json").stdout)
    assert [row["ranks"] for row in rows] == [rank["ranks"] for rank in said["ranks"]]
    assert sum(int(row["count"]) for row in rows) == 8
    path = tmp_path / "ranks.md"
    command(*words, "-o", path)
    assert path.read_text(encoding="utf-8").count("|") > 10


def test_copies_that_do_not_train_send_nothing(command: Callable) -> None:
    shown = command("shard", "lenet5", "--mesh", "dp=2").stdout
    assert "Sent in a step by each rank\n" in shown
    assert "Nothing is sent." in shown


def test_meshes(command: Callable) -> None:
    words = ("fit", MODEL, "--over", "mesh", "--gpus", "4", "--device", "h100", "--batch", "4", *TRAIN)
    shown = command(*words, env={"COLUMNS": "80"}).stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert "Best by least time per sample: --mesh" in shown
    rows = list(csv.DictReader(io.StringIO(command(*words, "--least", "memory", "--format", "csv").stdout)))
    assert {row["fits"] for row in rows} == {"yes"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("shard", "lenet5", "--mesh", ""), 2, ["axes are pp, dp, fsdp"]),
        (("shard", "lenet5", "--mesh", "xx=2"), 2, ["xx=2", "dp=8,tp=4"]),
        (("shard", "lenet5", "--mesh", "pp=2"), 2, ["microbatches", "Try: --batch 2"]),
        (("shard", "lenet5", "--mesh", "pp=99", "--batch", "99"), 2, ["lenet5", "blocks", "Try: pp="]),
        (("shard", "lenet5", "--mesh", "tp=2"), 2, ["no plan", "--plan"]),
        (("shard", "lenet5", "--mesh", "dp=2", "--device", "h1000"), 2, ["h1000", "archprof devices"]),
        (
            ("shard", "lenet5", "--mesh", "dp=2", "--device", "h100", "--network", "token-ring"),
            2,
            ["token-ring", "ndr"],
        ),
        (("fit", "lenet5", "--over", "mesh", "--gpus", "0", "--device", "h100"), 2, ["0 GPUs", "--gpus 8"]),
        (("fit", "lenet5", "--over", "mesh", "--gpus", "8"), 2, ["--device h100"]),
    ],
)
def test_bad_input(words: tuple[str, ...], code: int, said: list[str], command: Callable) -> None:
    result = command(*words)
    assert result.exit_code == code
    assert result.stdout == ""
    assert all(word in result.stderr for word in said), result.stderr
