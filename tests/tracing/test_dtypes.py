"""What cannot run is not counted. Oracle: torch on real tensors raises, or does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from tracing.odd import LINE, ROWS, Runs, line

import archprof

pytestmark = pytest.mark.filterwarnings("ignore")

IMAGE = torch.zeros(1, 3, 8, 8)
DTYPES = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.bool, torch.complex64,
]  # fmt: skip


def attend(query: Any, key: Any, value: Any, mask: Any = None) -> torch.Tensor:
    return functional.scaled_dot_product_attention(query[None], key[None], value[None], attn_mask=mask)


RUNS: dict[str, Callable[[Any, torch.Tensor], Any]] = {  # the input is 4 x 4
    "linear": lambda self, x: functional.linear(x, self.w, self.w[0]),
    "linear without bias": lambda self, x: functional.linear(x, self.w),
    "linear in batches": lambda self, x: functional.linear(x[None], self.w, self.w[0]),
    "linear of a vector": lambda self, x: functional.linear(x[0], self.w, self.w[0]),
    "a bias of another dtype": lambda self, x: torch.addmm(x[0], self.w, self.w),
    "matmul": lambda self, x: x @ self.w,
    "matmul of itself": lambda self, x: x @ x,
    "bmm": lambda self, x: torch.bmm(x[None], self.w[None]),
    "baddbmm": lambda self, x: torch.baddbmm(x[None], x[None], self.w[None]),
    "mv": lambda self, x: torch.mv(x, self.w[0]),
    "dot": lambda self, x: torch.dot(x[0], self.w[0]),
    "einsum": lambda self, x: torch.einsum("ij,jk->ik", x, self.w),
    "convolution": lambda self, x: self.conv(IMAGE.to(x.dtype)),
    "transposed convolution": lambda self, x: self.up(IMAGE.to(x.dtype)),
    "query": lambda self, x: attend(x, self.w, self.w),
    "key": lambda self, x: attend(self.w, x, self.w),
    "value": lambda self, x: attend(self.w, self.w, x),
    "mask": lambda self, x: attend(self.w, self.w, self.w, x),
    "batch norm": lambda self, x: functional.batch_norm(x, self.w[0], self.w[1].abs() + 1, self.w[0], self.w[1]),
    "layer norm": lambda self, x: functional.layer_norm(x, (4,), self.w[0], self.w[1]),
    "group norm": lambda self, x: functional.group_norm(x, 2, self.w[0], self.w[1]),
    "LSTM": lambda self, x: self.lstm(x[None])[0],
    "multi-head attention": lambda self, x: self.heads(x[None], x[None], x[None])[0],
    "bilinear": lambda self, x: self.both(x, x),
    "embedding": lambda self, x: functional.embedding(x, self.w),
    "cross entropy": lambda self, x: functional.cross_entropy(self.w, x[:, 0]),
    "softmax": lambda self, x: x.softmax(-1),
    **{
        name: lambda self, x, name=name: getattr(functional, name)(x)
        for name in (
            "relu relu6 gelu silu mish hardswish hardsigmoid hardtanh leaky_relu elu celu selu softplus logsigmoid "
            "sigmoid tanh softsign glu"
        ).split()
    },
    "log softmax": lambda self, x: x.log_softmax(-1),
    "average pooling": lambda self, x: functional.avg_pool2d(IMAGE.to(x.dtype), 2),
}


def make(run: Callable[[Any, torch.Tensor], Any]) -> nn.Module:
    parts = {
        "conv": nn.Conv2d(3, 4, 3), "up": nn.ConvTranspose2d(3, 4, 3), "lstm": nn.LSTM(4, 3),
        "heads": nn.MultiheadAttention(4, 2), "both": nn.Bilinear(4, 4, 2), "w": nn.Parameter(torch.ones(4, 4)),
    }  # fmt: skip
    return Runs(run, **parts).eval()


def raises(call: Callable[[], Any]) -> bool:
    try:
        call()
    except (RuntimeError, ValueError, IndexError, archprof.TraceError):
        return True
    return False


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", RUNS)
def test_what_raises_on_real_tensors_raises_here(name: str, dtype: torch.dtype) -> None:
    model, x = make(RUNS[name]), torch.ones(4, 4).to(dtype)
    with torch.no_grad():
        wanted = raises(lambda: model(x))
    assert raises(lambda: archprof.profile(model, x)) == wanted


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_autocast_casts_on_real_tensors(dtype: torch.dtype) -> None:
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.layer(x.to(dtype))

    model = Runs(run, layer=line())
    assert not raises(lambda: model(ROWS))
    assert archprof.profile(model, ROWS).totals.macs == LINE


def test_the_message_says_which_dtypes() -> None:
    with pytest.raises(archprof.TraceError, match=r"aten.mm takes tensors of one dtype, and was given int64, float32"):
        archprof.profile(line(), torch.zeros(3, 4, dtype=torch.int64))
