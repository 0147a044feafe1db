"""Blocks that are checkpointed by the path: live bytes after every op as when torch's own wrapper does it for real."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from tracing.real_storages import live_bytes, train_for_real

import archprof
from archprof import UsageError
from archprof.models.resnet import resnet18

WORDS = (2, 5, 8)


class Block(nn.Module):
    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm, self.out = nn.LayerNorm(8), nn.Linear(16, 8)
        self.inner = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Dropout(dropout))

    def forward(self, x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        return x + scale * self.out(self.inner(self.norm(x)))


class Stack(nn.Module):
    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(dropout) for _ in range(3)])
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x, scale=0.5)
        return self.head(x)


class Pair(nn.Module):
    """A block that is called twice, and one that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.spare = Block(), Block()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.shared(self.shared(x))


def make_images() -> nn.Module:
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()),
        nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3)),
        nn.Sequential(nn.Flatten(), nn.Linear(800, 5)),
    )


CASES: dict[str, tuple[Any, tuple[int, ...], str, list[str]]] = {
    "all blocks": (Stack, WORDS, "blocks.*", ["blocks.0", "blocks.1", "blocks.2"]),
    "with dropout": (lambda: Stack(0.5), WORDS, "blocks.*", ["blocks.0", "blocks.1", "blocks.2"]),
    "one": (Stack, WORDS, "blocks.1", ["blocks.1"]),
    "parts of blocks": (Stack, WORDS, "*.inner", ["blocks.0.inner", "blocks.1.inner", "blocks.2.inner"]),
    "the last layer": (Stack, WORDS, "head", ["head"]),
    "called twice": (Pair, WORDS, "shared", ["shared"]),
    "images": (make_images, (2, 3, 16, 16), "[01]", ["0", "1"]),
    "resnet18": (resnet18, (2, 3, 64, 64), "layer?.*", [f"layer{i}.{j}" for i in (1, 2, 3, 4) for j in (0, 1)]),
}


def wrap_really(model: nn.Module, paths: list[str]) -> nn.Module:
    for path in paths:
        holder, _, name = path.rpartition(".")
        wrapped = checkpoint_wrapper(model.get_submodule(path))
        setattr(model.get_submodule(holder), name, wrapped)
    return model


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_live_bytes_are_those_of_real_checkpoints(name: str, accumulate: int) -> None:
    make, shape, pattern, paths = CASES[name]
    given = {"accumulate": accumulate}
    real = train_for_real(
        wrap_really(make(), paths), (torch.randn(shape),), lambda p: torch.optim.Adam(p, foreach=True), **given
    )
    profile = archprof.profile(make(), shape, train=True, optimizer="adam", checkpoint=pattern, **given)
    profile.check()
    assert live_bytes(profile, "first") == real[0]
    assert live_bytes(profile, "steady") == real[1] == real[2]
    plain = archprof.profile(make(), shape, train=True, optimizer="adam", **given)
    assert len(profile.ops) > len(plain.ops)
    assert (profile.totals.params, profile.totals.macs) == (plain.totals.params, plain.totals.macs)


@pytest.mark.parametrize(("blocks", "plain", "checkpointed"), [(2, 44, 26), (4, 84, 28)])
def test_the_peak_of_blocks_by_hand(blocks: int, plain: int, checkpointed: int) -> None:
    """Blocks of 20 sigmoids, each of which keeps its result, behind a product of a column.

    Plain: the input, every result, and three gradients: the first, one that is used and one that is made.
    Checkpointed: the input, what goes into each block and comes out of the last, and in the last the 20 results made
    again with two gradients: when the second is made, the last result that was made again is gone.
    """
    made = [nn.Sequential(*[nn.Sigmoid() for _ in range(20)]) for _ in range(blocks)]
    net = nn.Sequential(nn.Linear(1, 1, bias=False), *made)
    column = 4 * 1024 * 1024
    used = [
        archprof.predict_memory(net, (1024 * 1024, 1), train=True, checkpoint=one).live_peak_bytes.value // column
        for one in ((), "[1-9]")
    ]
    assert used == [plain, checkpointed]


def test_the_model_is_untouched_and_the_note_says_what_was_done() -> None:
    model = Pair()
    kinds = [type(module) for module in model.modules()]
    profile = archprof.profile(model, WORDS, train=True, checkpoint=["*"])
    assert [type(module) for module in model.modules()] == kinds
    assert "Checkpointed, so that they run again in the backward: shared." in profile.notes
    assert "Never called, so that there is nothing to checkpoint: spare." in profile.notes
    assert [module.kind for module in profile.modules][:2] == ["Pair", "Block"]


def test_the_compiler_is_not_woken() -> None:
    code = (
        "import sys, archprof; archprof.profile('resnet18', train=True, checkpoint='layer?.*');"
        "import torch; assert 'torch._dynamo' not in sys.modules; assert '_dynamo' not in vars(torch);"
        "torch.compile(lambda x: x); import torch._dynamo as real; assert torch._dynamo is real"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_wakes_the_compiler_finds_it() -> None:
    """A batch norm under autocast does; in a process in which nothing has imported it before, and then once more."""
    code = (
        "import sys, archprof; how = dict(train=True, amp='bfloat16', checkpoint='layer1.*', batch=4);"
        "assert 'torch' not in sys.modules; asleep = archprof.profile('resnet18', **how);"
        "import torch._dynamo; awake = archprof.profile('resnet18', **how);"
        "assert asleep.totals == awake.totals; assert asleep.storages == awake.storages"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"checkpoint": "block.*"}, r"no block of Stack to checkpoint called 'block\.\*'\.\nNear it: .*blocks\.[012]"),
        ({"checkpoint": ["blocks.0", "blocks.7"]}, r"called 'blocks\.7'"),
        ({"checkpoint": "blocks"}, r"called 'blocks'"),  # a list cannot be called
        ({"checkpoint": "head", "train": False}, "Add --train"),
    ],
)
def test_what_cannot_be_checkpointed(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        archprof.profile(Stack(), WORDS, **{"train": True, **options})
