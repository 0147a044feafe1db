"""Small nets of every kind that statistics may be taken of, each with one batch and labels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.twice, self.head = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.twice(torch.relu(self.twice(x))))


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(2, 4, 3, padding=1), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.conv(x), inplace=True)
        return self.head((y + y.mean()).mean((2, 3)))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed, _ = self.attend(x, x, x)
        return self.head(mixed[:, 0])


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.LSTM(5, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(x)[0][:, -1])


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm, self.head = nn.Embedding(11, 6), nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.head(self.norm(self.embed(x)).mean(1))}


class Breaking(nn.Module):
    """Infinite and undefined values behind one layer, none of which reach the loss."""

    class Divide(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x / torch.relu(x)

    def __init__(self) -> None:
        super().__init__()
        self.head, self.divide = nn.Linear(4, 3), self.Divide()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.divide(x.detach())
        return self.head(x)


def make_saturated() -> nn.Module:
    net = nn.Sequential(nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
    with torch.no_grad():
        net[0].weight.mul_(20)
        net[2].weight.mul_(20)
    return net


def make_dead() -> nn.Module:
    net = nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.ReLU6(inplace=True), nn.Conv2d(6, 4, 1), nn.Hardtanh(-0.1, 0.2), nn.Flatten(),
        nn.Linear(64, 3),
    )  # fmt: skip
    with torch.no_grad():
        net[0].bias[:2] = -100
        net[0].bias[2] = 100
    return net


IMAGES, VECTORS, STEPS = (7, 2, 6, 6), (7, 4), (7, 9, 5)

NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "saturated": (make_saturated, VECTORS),
    "dead": (make_dead, IMAGES),
    "norm, in place": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), nn.ReLU(inplace=True), nn.Dropout(0.3),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3),
        ),
        IMAGES,
    ),
    "shared": (Shared, (7, 6)),
    "functional": (Functional, IMAGES),
    "attention": (Attention, (7, 5, 8)),
    "encoder": (
        lambda: nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Flatten(), nn.Linear(40, 3)),
        (7, 5, 8),
    ),
    "recurrent": (Recurrent, STEPS),
    "words": (Words, (7, 9)),
    "signal": (
        lambda: nn.Sequential(nn.Conv1d(9, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)),
        STEPS,
    ),
    "half": (lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).half(), VECTORS),
    "double": (lambda: nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 3)).double(), VECTORS),
    "not finite": (Breaking, VECTORS),
}  # fmt: skip

UNIT_AXIS = {"signal": {"": 1, "0": 1, "1": 1}}
"""Where units are not in the second dimension of images and in the last of all else, by net and path."""


def make(name: str) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """The net, its input in its dtype, and labels of three classes."""
    torch.manual_seed(3)
    factory, shape = NETS[name]
    net = factory()
    given = torch.randint(11, shape) if name == "words" else torch.randn(shape).to(next(net.parameters()).dtype)
    return net, given, torch.arange(shape[0]) % 3
