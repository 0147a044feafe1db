"""Trees of inputs from the command line to the forward, and back from what a profile says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import archprof
from archprof.cli import app
from archprof.errors import UsageError
from archprof.facts.request import PassRequest
from archprof.sources.resolve import resolve

NET = '''
import torch
from torch import nn

class Net(nn.Module):
    """Takes what a real batch looks like, and checks that it came whole."""

    def __init__(self):
        super().__init__()
        self.layer, self.table = nn.Linear(4, 4, bias=False), nn.Embedding(9, 4)

    def forward(self, x, batch=None, scale=1.0, mode="nearest", sizes=()):
        assert isinstance(x, torch.Tensor) and mode in ("nearest", "cubic"), mode
        total = self.layer(x)
        if batch is not None:
            assert batch["none"] is None and batch["flag"] is True and isinstance(batch["pair"], tuple)
            assert batch["mask"].dtype == torch.bool and bool(batch["mask"].all())
            total = total + self.layer(self.table(batch["ids"])) + sum(map(self.layer, batch["list"])).sum()
        for size in sizes:
            total = self.layer(total)
        return {"out": total * scale, "mode": mode}

def with_inputs(width=4):
    return Net(), (torch.zeros(3, 4),), {"scale": 2.0}
'''
BATCH = (
    "batch={ids: int64[3]>=1<9, mask: bool[3]>=1<2, none: None, flag: True, list: [[2,4], [2,4]], pair: ([1], int(3))}"
)


@pytest.fixture
def macs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The MACs that `archprof table` counts for net.py with these options."""
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)

    def count(name: str, *words: str) -> int:
        result = CliRunner().invoke(app, ["table", f"net.py:{name}", *words, "--format", "json"])
        assert result.exit_code == 0, result.output
        return int(json.loads(result.stdout)["totals"]["macs"])

    return count


ROW = 4 * 4
"""MACs of one row through the layer."""


def test_a_nested_batch_on_the_command_line(macs: Callable[..., int]) -> None:
    assert macs("Net", "--input", "[3,4]", "--input", BATCH) == (3 + 3 + 2 + 2) * ROW


def test_plain_arguments_on_the_command_line(macs: Callable[..., int]) -> None:
    assert macs("Net", "--input", "4", "--batch", "5", "--arg", "mode='cubic'", "--arg", "sizes=(7, 7)") == 15 * ROW


def test_arguments_stand_beside_the_inputs_of_a_factory(macs: Callable[..., int]) -> None:
    assert macs("with_inputs") == 3 * ROW
    assert macs("with_inputs", "--arg", "sizes=[1]") == 6 * ROW
    assert macs("with_inputs", "--input", "[5,4]") == 5 * ROW


def test_arguments_beside_a_default_that_is_made_for_the_batch() -> None:
    model = resolve("fasterrcnn_mobilenet_v3_large_fpn", "targets=None", PassRequest(batch=2))
    assert (len(model.args[0]), model.kwargs) == (2, {"targets": None})


def test_a_factory_that_returns_nothing_useful(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text("empty = lambda: ()\nnumber = lambda: 3\n")
    for name in ("empty", "number"):
        with pytest.raises(UsageError, match="not a model"):
            archprof.profile(f"{file}:{name}")


@pytest.mark.parametrize("words", [["--arg", "sizes"], ["--arg", "sizes=os"], ["--input", "(3,4)"], ["--input", "{a"]])
def test_what_cannot_be_read_is_said(tmp_path: Path, words: list[str]) -> None:
    result = CliRunner().invoke(app, ["table", "lenet5", *words])
    assert result.exit_code == 2
    assert "Traceback" not in result.output


class Echo(nn.Module):
    """Computes nothing of what it is given."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return args, kwargs


TREES: list[Any] = [
    [torch.zeros(2, 3), torch.zeros(2, dtype=torch.int8), None, 0.5, True],
    {"x": [(1, 2), (torch.ones(1, dtype=torch.bool),)], "y": {"a b": torch.zeros(()), "n": [1, 2], "e": [], "t": ()}},
    ["3x4", "k=int64:5<7", 'z="it is"'],
]


@pytest.mark.parametrize("inputs", TREES)
def test_what_a_profile_says_of_its_inputs_gives_them_again(inputs: Any) -> None:
    first = archprof.profile(Echo(), inputs)
    again = archprof.profile(Echo(), list(first.inputs))
    assert again.inputs == first.inputs
    assert again.layers[0].inputs == first.layers[0].inputs
