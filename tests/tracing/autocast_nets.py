"""Small nets that meet every policy of autocast, each with the shape of its input."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint


class Block(nn.Module):
    """Attention by matrix products and softmax, layer norm and residuals."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.heads = nn.LayerNorm(8), nn.Linear(8, 24)
        self.rest = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.heads(self.norm(x)).chunk(3, -1)
        x = x + (query @ key.transpose(-1, -2)).div(2).softmax(-1) @ value
        return x + self.rest(x)


class Loss(nn.Module):
    """Returns its loss."""

    def __init__(self, squares: bool) -> None:
        super().__init__()
        self.block, self.head, self.squares = Block(), nn.Linear(8, 5), squares

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.head(self.block(x)).flatten(0, 1)
        labels = torch.zeros(len(y), dtype=torch.int64, device=y.device)
        return functional.mse_loss(y, y * 2) if self.squares else functional.cross_entropy(y, labels)


class Nested(nn.Module):
    """Autocast off inside, and on again within that; the first weight is used three times."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kind, y = x.device.type, self.a(x)
        with torch.autocast(kind, enabled=False):
            y = self.b(y.float())
            with torch.autocast(kind, dtype=torch.get_autocast_dtype(kind)):
                y = self.a(y)
        return self.a(y)


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.first, self.second, self.reentrant = Block(), Block(), reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(checkpoint(self.first, self.second(x), use_reentrant=self.reentrant))


class Mixed(nn.Module):
    """Ops of every list, and ops that promote by themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.slope = nn.Linear(8, 8), nn.PReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.line(x)
        y = torch.einsum("bij,bkj->bik", y, y) @ x
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1)
        y = functional.softplus(self.slope(y)).log_softmax(-1)
        y = torch.addcmul(y, self.line(y), self.line(y))
        y = torch.cat([y, self.line(y)], -1)
        return y.cumsum(-1).norm(dim=-1) + functional.interpolate(self.line(x), scale_factor=2.0).sum()


class SameCasts(torch.autograd.Function):
    """Its input comes in float32, whatever autocast does."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cuda", cast_inputs=torch.float32)
    def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @staticmethod
    @torch.amp.custom_bwd(device_type="cuda")
    def backward(ctx: object, grad: torch.Tensor) -> torch.Tensor:
        return grad * 2


class Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.line(SameCasts.apply(self.line(x)))


def make_convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3),
        nn.GroupNorm(2, 8), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip


def make_frozen() -> nn.Module:
    """Casts of the frozen weight are not kept."""
    net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    net[0].requires_grad_(False)
    return nn.Sequential(net[0], net[0], net[1], net[1])


WORDS = (2, 5, 8)

NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "convolutional": (make_convolutional, (2, 3, 16, 16)),
    "block": (Block, WORDS),
    "cross entropy": (lambda: Loss(False), WORDS),
    "mean squares": (lambda: Loss(True), WORDS),
    "nested": (Nested, (2, 8)),
    "checkpointed": (lambda: Checkpointed(False), WORDS),
    "checkpointed, reentrant": (lambda: Checkpointed(True), WORDS),
    "mixed": (Mixed, WORDS),
    "frozen": (make_frozen, WORDS),
}
