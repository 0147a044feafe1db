"""Models whose tensors are not all here: freed, sharded over processes, in flat pieces. MACs and parameters by hand."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn
from tracing.odd import LINE, ROWS, Runs, line

import archprof
from archprof.errors import ArchprofError
from archprof.torchside.stand_in import make_stand_in
from archprof.torchside.tensors import has_values


def freed(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return empty(torch.zeros(shape, dtype=dtype))


def empty(tensor: torch.Tensor) -> torch.Tensor:
    tensor.untyped_storage().resize_(0)
    return tensor


FREED = {  # and how many products of 3 x 4 x 4 there are
    "in an attribute": (lambda: Runs(lambda self, x: self.layer(x), layer=line(), held=freed(4, 4)), 1),
    "of integers": (lambda: Runs(lambda self, x: self.layer(x), layer=line(), held=freed(4, 4, dtype=torch.int64)), 1),
    "in a list": (lambda: Runs(lambda self, x: self.layer(x), layer=line(), held=[freed(4, 4)]), 1),
    "in an object": (lambda: Runs(lambda self, x: self.layer(x), layer=line(), held=Holder(freed(4, 4))), 1),
    "a buffer": (lambda: buffered(freed(4, 4)), 2),
    "a parameter": (lambda: buffered(nn.Parameter(freed(4, 4))), 2),
    "a view past the end": (lambda: Runs(lambda self, x: self.layer(x), layer=line(), held=cut(torch.zeros(4, 4))), 1),
}


class Holder:
    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


def buffered(tensor: torch.Tensor) -> nn.Module:
    model = Runs(lambda self, x: self.layer(x) @ self.held, layer=line())
    if isinstance(tensor, nn.Parameter):
        model.register_parameter("held", tensor)
    else:
        model.register_buffer("held", tensor)
    return model


def cut(tensor: torch.Tensor) -> torch.Tensor:
    last = tensor[3]
    tensor.untyped_storage().resize_(13 * 4)
    return last


@pytest.mark.parametrize("needs_values", [False, True])
@pytest.mark.parametrize("name", FREED)
def test_a_freed_storage(name: str, needs_values: bool) -> None:
    make, products = FREED[name]
    model = make()
    run = model.run
    if needs_values:
        model.run = lambda self, x: run(self, x) * x.sum().item()
    profile = archprof.profile(model, ROWS)
    assert profile.totals.macs == LINE * products
    assert profile.ran.device == ("cpu" if needs_values else "meta")
    stand_in: Any = make_stand_in(model, device="cpu")
    held = stand_in.held
    for tensor in (getattr(each, "tensor", each) for each in (held if isinstance(held, list) else [held])):
        assert has_values(tensor)
        assert not tensor.any()


@pytest.mark.parametrize("dtype", [None, "float64"])
@pytest.mark.parametrize(
    "given", [freed(3, 4), empty(torch.zeros(4, 3).T), empty(torch.zeros(3, 4, requires_grad=True))]
)
def test_a_freed_input(given: torch.Tensor, dtype: str | None) -> None:
    model = Runs(lambda self, x: self.layer(x) * x.sum().item(), layer=line())
    assert archprof.profile(model, given, dtype=dtype).totals.macs == LINE


@pytest.mark.parametrize("tensor", [torch.zeros(3, 4), torch.zeros(4, 3).T, torch.zeros(3)[1:], torch.zeros(0, 4)])
def test_a_tensor_that_is_there(tensor: torch.Tensor) -> None:
    assert has_values(tensor)
    assert has_values(tensor.unsqueeze(0).expand(7, *tensor.shape))


SHARDED = """
import tempfile, torch, archprof
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, FullyShardedDataParallel
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

dist.init_process_group("gloo", store=dist.FileStore(tempfile.mktemp(), 1), rank=0, world_size=1)
mesh = init_device_mesh("cpu", (1,))

class Net(nn.Sequential):
    values = False
    def forward(self, x):
        y = super().forward(x)
        return y * x.sum().item() if self.values else y

def make():
    return Net(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))

def shard(model, step=False):
    fully_shard(model[0], mesh=mesh)
    fully_shard(model, mesh=mesh)
    if step:
        model(torch.rand(3, 4)).sum().backward()
    return model

models = [
    shard(make()), shard(make(), True),
    parallelize_module(make(), mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()}),
]
for model in models:
    for Net.values in (False, True):
        for train in (False, True):
            p = archprof.profile(model, torch.rand(3, 4), train=train)
            kinds = " ".join(layer.kind for layer in p.layers)
            noted = any("sharded" in note for note in p.notes)
            print(p.totals.params, p.totals.macs, p.totals.backward_macs, p.totals.complete, noted, kinds)
    model(torch.rand(3, 4)).sum().backward()
dist.destroy_process_group()
"""


def test_sharded_models() -> None:
    done = subprocess.run([sys.executable, "-c", SHARDED], capture_output=True, text=True, check=True)
    forward = "76 192 None True True Net Linear ReLU Linear"  # 3 x 4 x 8, twice
    training = "76 192 288 True True Net Linear ReLU Linear"  # both weights, and the input of the second
    assert done.stdout.splitlines() == [forward, training] * 6


class FullyShardedDataParallel(nn.Module):
    """Stands for the wrapper of torch, which asks for a process group."""

    __module__ = "torch.distributed.fsdp.fully_sharded_data_parallel"

    def __init__(self) -> None:
        super().__init__()
        self._fsdp_wrapped_module = line()


def test_flat_parameters_are_refused() -> None:
    with pytest.raises(ArchprofError, match="FullyShardedDataParallel holds"):
        archprof.profile(FullyShardedDataParallel(), ROWS)
    zero = line()
    zero.weight = nn.Parameter(torch.zeros(0))
    zero.weight.ds_shape = torch.Size((4, 4))  # as deepspeed marks it
    with pytest.raises(ArchprofError, match="DeepSpeed ZeRO 3 holds"):
        archprof.profile(zero, ROWS)
