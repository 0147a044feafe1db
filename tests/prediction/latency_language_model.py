"""The language model of a course (CS336) of which times are public: written out op by op, with rotary positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

VOCABULARY = 10_000


class Norm(nn.Module):
    """By the root mean square."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5) * self.weight


def rotate(x: Tensor) -> Tensor:
    pairs = x.reshape(*x.shape[:-1], -1, 2)
    angles = torch.ones(x.shape[-2], pairs.shape[-2], device=x.device)
    one, other = pairs[..., 0], pairs[..., 1]
    return torch.stack((one * angles - other * angles, one * angles + other * angles), -1).flatten(-2)


class Block(nn.Module):
    """Attention and a gated feed-forward net, each after a norm."""

    def __init__(self, width: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = Norm(width), Norm(width)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.w1, self.w3 = (nn.Linear(width, hidden, bias=False) for _ in range(2))
        self.w2 = nn.Linear(hidden, width, bias=False)

    def attend(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = (one(x).view(batch, length, self.heads, -1).transpose(1, 2) for one in (self.q, self.k, self.v))
        scores = torch.einsum("bhqd,bhkd->bhqk", rotate(q), rotate(k)) / q.shape[-1] ** 0.5
        mask = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
        scores = torch.where(mask, scores, float("-inf"))
        scores = (scores - scores.max(-1, keepdim=True).values).exp()
        scores = scores / scores.sum(-1, keepdim=True)
        out = torch.einsum("bhqk,bhkd->bhqd", scores, v)
        return self.o(out.transpose(1, 2).reshape(batch, length, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(self.first(x))
        y = self.second(x)
        gate = self.w1(y)
        return x + self.w2(gate * torch.sigmoid(gate) * self.w3(y))


class LanguageModel(nn.Module):
    def __init__(self, width: int, hidden: int, layers: int, heads: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.blocks = nn.ModuleList(Block(width, hidden, heads) for _ in range(layers))
        self.norm, self.out = Norm(width), nn.Linear(width, VOCABULARY, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return self.out(self.norm(x))
