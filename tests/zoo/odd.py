"""Models of odd make, each a factory that returns `(model, inputs)`."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations


class Recurrent(nn.Module):
    """Every recurrent layer, one of them in both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(12, 16, num_layers=2, bidirectional=True, batch_first=True)
        self.gru, self.rnn = nn.GRU(32, 10), nn.RNN(10, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rnn(self.gru(self.lstm(x)[0])[0])[0]


class Tied(nn.Module):
    """Input and output embedding are one tensor, and one layer is called three times."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.head = nn.Embedding(50, 16), nn.Linear(16, 16), nn.Linear(16, 50, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embed(ids)
        for _ in range(3):
            x = x + self.mix(x).relu()
        return self.head(x)


class Functional(nn.Module):
    """No layer at all: weights that functions use."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel, self.matrix = nn.Parameter(torch.zeros(8, 3, 3, 3)), nn.Parameter(torch.zeros(8, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.conv2d(x, self.kernel, stride=2, padding=1)
        return torch.einsum("bchw,ck->bkhw", functional.gelu(x), self.matrix)


class Fourier(nn.Module):
    """A filter in the frequency domain and a complex matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.filter = nn.Parameter(torch.zeros(4, 16, 9, dtype=torch.complex64))
        self.mix = nn.Parameter(torch.zeros(9, 9, dtype=torch.complex64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.irfft2((torch.fft.rfft2(x) * self.filter) @ self.mix)


class Parametrised(nn.Module):
    """Weight norm, spectral norm, a lazy layer and a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = parametrizations.weight_norm(nn.Conv1d(4, 8, 3))
        self.up = nn.ConvTranspose1d(8, 6, 4, stride=2, groups=2)
        self.fc = nn.LazyLinear(7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.up(self.conv(x)))


class Attending(nn.Module):
    """Attention with its weights asked for, without, and a whole encoder layer on its fast path."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(24, 4, batch_first=True, kdim=10, vdim=12)
        self.layer = nn.TransformerEncoderLayer(24, 3, 48, batch_first=True)

    def forward(self, x: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        x, weights = self.attention(x, key, value)
        return self.layer(x) * weights.sum()


class MatrixVector(nn.Module):
    """Products that torch's counter leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix, self.vector = nn.Parameter(torch.zeros(6, 9)), nn.Parameter(torch.zeros(9))
        self.both = nn.Bilinear(6, 6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.both(x, x + torch.mv(self.matrix, self.vector))


def recurrent() -> tuple[nn.Module, str]:
    return Recurrent(), "[3,7,12]"


def tied() -> tuple[nn.Module, str]:
    return Tied(), "int64[2,11]<50"


def functions() -> tuple[nn.Module, str]:
    return Functional(), "3x16x16"


def fourier() -> tuple[nn.Module, str]:
    return Fourier(), "4x16x16"


def parametrised() -> tuple[nn.Module, str]:
    return Parametrised(), "4x20"


def attending() -> tuple[nn.Module, tuple[str, ...]]:
    return Attending(), ("[2,5,24]", "[2,9,10]", "[2,9,12]")


def matrix_vector() -> tuple[nn.Module, str]:
    return MatrixVector(), "[5,6]"
