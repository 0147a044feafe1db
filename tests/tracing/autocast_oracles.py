"""What torch's own autocast does to every op, by the rules of CUDA, for which no GPU is needed, or on real CPU tensors.

For CUDA, torch's fake tensors say that they are on a GPU, so that its dispatcher goes where it would for one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import archprof

Seen = tuple[str, list[str], list[str]]
"""An op, and the dtypes of its tensors in and out."""

UNLIKE_OPS = {"aten.detach", "prim.device", "aten.empty", "aten.empty_like", "aten.ones_like", "aten.alias"}
"""Ops that run only in one of the two: what autograd keeps is watched in a trace, and seeds are made elsewhere."""

SAME_OPS = {
    "aten.cudnn_batch_norm": "aten.native_batch_norm",
    "aten._native_batch_norm_legit": "aten.native_batch_norm",
}


def dtypes_of(tree: Any) -> list[str]:
    return [str(leaf.dtype).removeprefix("torch.") for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


class OpWriter(TorchDispatchMode):
    """Writes down each op of torch with its dtypes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Seen] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.seen.append((str(func).rpartition(".")[0], dtypes_of((args, kwargs)), dtypes_of(result)))
        return result


def make_alike(seen: list[Seen]) -> list[Seen]:
    """What both must say: of batch norm, whose kernels differ, the dtypes of what all have."""
    made = []
    for name, before, after in seen:
        if name in UNLIKE_OPS:
            continue
        name = SAME_OPS.get(name, name)
        if "batch_norm" in name:
            made.append((name.replace("cudnn", "native"), before[:1] if "backward" in name else before[:5], after[:1]))
        else:
            made.append((name, before, after))
    return made


@contextmanager
def pretended_gpu() -> Any:
    common: Any = torch.cuda.amp.common
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(common, "amp_definitely_not_available", return_value=False))
        stack.enter_context(mock.patch.object(torch.cuda, "is_bf16_supported", return_value=True))
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        stack.enter_context(torch.device("cuda"))
        yield


def run_pass(make: Callable[[], nn.Module], shape: tuple[int, ...], amp: str, train: bool, device: str) -> list[Seen]:
    """A pass of torch's own under autocast."""
    model, x = make().train(train), torch.ones(shape, device=device)
    with OpWriter() as writer, torch.set_grad_enabled(train):
        with torch.autocast(device, getattr(torch, amp)):
            output = model(x)
        if train and device == "cpu":
            torch.autograd.backward([output], [torch.ones_like(output)])
    return make_alike(writer.seen)


def see_cuda(make: Callable[[], nn.Module], shape: tuple[int, ...], amp: str, train: bool) -> list[Seen]:
    with pretended_gpu():
        return run_pass(make, shape, amp, train, "cuda")


def see_trace(profile: archprof.Profile) -> list[Seen]:
    return make_alike(
        [
            (op.name, [spec.dtype for spec in op.signature.inputs], [spec.dtype for spec in op.signature.outputs])
            for op in profile.ops
        ]
    )
