"""A language model as students of a course write it: RMS norms, rotary positions by halves, SwiGLU, plain attention.

Its events were recorded on GPUs: `memory_snapshots.csv`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

VOCABULARY = 10_000


class Norm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


class Rotary(nn.Module):
    def __init__(self, size: int, length: int) -> None:
        super().__init__()
        angles = torch.outer(torch.arange(length), 1e4 ** (-torch.arange(0, size, 2) / size))
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, x: Tensor, at: Tensor) -> Tensor:
        cos, sin, even, odd = self.cos[at], self.sin[at], x[..., ::2], x[..., 1::2]
        return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


def softmax(x: Tensor, twice: bool) -> Tensor:
    """With the powers computed once, or once for each place where they are needed."""
    powers = torch.exp(x - x.max(-1, keepdim=True).values)
    below = torch.exp(x - x.max(-1, keepdim=True).values) if twice else powers
    return powers / below.sum(-1, keepdim=True)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, length: int, twice: bool) -> None:
        super().__init__()
        self.heads, self.twice = heads, twice
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.rotary = Rotary(width // heads, length)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = (
            part(x).view(batch, length, self.heads, -1).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        at = torch.arange(length, device=x.device)
        q, k = self.rotary(q, at), self.rotary(k, at)
        scores = q @ k.transpose(-1, -2) / (width // self.heads) ** 0.5
        allowed = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
        scores = torch.where(allowed, scores, torch.tensor(-torch.inf, device=x.device))
        return self.out((softmax(scores, self.twice) @ v).transpose(1, 2).reshape(batch, length, width))


class Gated(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(width, inner, bias=False), nn.Linear(width, inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.gate(x)
        return self.down(gate * torch.sigmoid(gate) * self.up(x))


class Layer(nn.Module):
    def __init__(self, width: int, inner: int, heads: int, length: int, twice: bool) -> None:
        super().__init__()
        self.first, self.attention = Norm(width), Attention(width, heads, length, twice)
        self.second, self.gated = Norm(width), Gated(width, inner)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.first(x))
        return x + self.gated(self.second(x))


class LanguageModel(nn.Module):
    def __init__(self, width: int, inner: int, layers: int, heads: int, length: int, twice: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.layers = nn.Sequential(*[Layer(width, inner, heads, length, twice) for _ in range(layers)])
        self.norm, self.head = Norm(width), nn.Linear(width, VOCABULARY, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.layers(self.embedding(tokens))))


class Loss(nn.Module):
    """The model and the mean of the cross entropy of its words, or of the last words alone; the logits are kept.

    The torch that was recorded took `[:, -1]` for two views, the first of which is of everything; its backward, which
    fills another tensor of the logits' size, is in the events. Today's torch leaves the first out.
    """

    def __init__(self, model: nn.Module, last_only: bool) -> None:
        super().__init__()
        self.model, self.last_only = model, last_only

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        given = self.model(tokens)
        if self.last_only:
            logits, words = given.narrow(0, 0, len(given))[:, -1], tokens[:, -1]
        else:
            logits, words = given.flatten(0, 1), tokens.flatten()
        logits = logits - logits.max(-1, keepdim=True).values
        chosen = logits.gather(-1, words[:, None])[:, 0]
        loss = (torch.log(torch.exp(logits).sum(-1)) - chosen).mean()
        return {"loss": loss, "logits": given} if self.last_only else {"loss": loss}
