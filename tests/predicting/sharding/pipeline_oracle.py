"""A model of blocks, and one rank of its pipeline run for real: what torch.distributed.pipelining holds and when."""

from __future__ import annotations

import torch
from torch import nn
from tracing.real_storages import StorageCounter

WIDTH, TOKENS, VOCABULARY = 64, 32, 500


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden + self.down(torch.nn.functional.gelu(self.up(self.norm(hidden))))


class Blocks(nn.Module):
    """An embedding, some blocks, and a head that may share the embedding's weight."""

    def __init__(self, blocks: int = 8, tied: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(blocks))
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.embed(tokens)
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(hidden)


class Stage(nn.Module):
    """The part of `Blocks` that one rank runs."""

    def __init__(self, model: Blocks, first: int, last: int) -> None:
        super().__init__()
        self.embed = model.embed if first == 0 else None
        self.blocks = model.blocks[first:last]
        self.head = model.head if last == len(model.blocks) else None

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        if self.embed is not None:
            hidden = self.embed(hidden)
        for block in self.blocks:
            hidden = block(hidden)
        return hidden if self.head is None else self.head(hidden)


def run_stage(stage: Stage, passes: list[tuple[bool, int, int]], microbatches: int, batch: int) -> tuple[int, int]:
    """The most live bytes of a later step of a rank: in forwards and backwards, and with the optimizer's step."""
    counter = StorageCounter()
    optimizer = torch.optim.AdamW(stage.parameters())
    shape = (batch, TOKENS, WIDTH)
    is_first, is_last = stage.embed is not None, stage.head is not None
    tokens = torch.randint(VOCABULARY, (microbatches * batch, TOKENS)) if is_first else None
    given = [torch.randn(shape, requires_grad=True) for _ in range(0 if is_first else microbatches)]
    gradients = [torch.randn(shape) for _ in range(0 if is_last else microbatches)]
    for tensor in (*stage.parameters(), *given, *gradients, *([tokens] if is_first else [])):
        counter.add(tensor)
    peaks = (0, 0)
    with counter:
        for _ in range(3):
            counter.steps.append([])
            kept: dict[int, torch.Tensor] = {}
            for forward, _, at in passes:
                if forward:
                    chunk = given[at] if tokens is None else tokens[at * batch : (at + 1) * batch]
                    kept[at] = stage(chunk)
                    continue
                output = kept.pop(at)
                seed = torch.ones_like(output) if is_last else gradients[at]
                torch.autograd.backward([output], [seed])
                del output, seed
                if not is_first:
                    given[at].grad = None
            passed = max(counter.steps[-1])
            optimizer.step()
            peaks = (passed, max(counter.steps[-1]))
            optimizer.zero_grad()
    return peaks
