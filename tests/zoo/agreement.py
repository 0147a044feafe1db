"""Our MACs beside those of torch's FlopCounterMode on meta, and what explains a difference, by name."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal, NamedTuple

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from archprof.facts.records import Profile
from archprof.sources.inputs import make_input_tensors
from archprof.sources.target import Target
from archprof.torchside.autocast import PassAutocast
from archprof.tracing.oracles import torch_macs

COUNTED_BY_TORCH = {str(packet) for packet in flop_registry}
"""Names such as "aten.mm"; what is not among them, torch counts as nothing."""

OPENED_BY_TORCH = {"aten.linear", "aten.matmul", "aten.scaled_dot_product_attention", "aten.lstm", "aten.gru",
                   "aten.rnn_tanh", "aten.rnn_relu"}  # fmt: skip
"""Composites that we write down whole: torch counts the products that they are made of."""


class Agreement(NamedTuple):
    """Attributes:
    torch: its MACs.
    difference: ours without its.
    explained: the ops that make it up, with what each adds; `None` when they do not.
    """

    torch: int
    difference: int
    explained: dict[str, int] | None

    @property
    def holds(self) -> bool:
        return self.explained is not None

    def words(self) -> str:
        """ "", the ops that torch does not count, or that nothing explains it."""
        if self.explained is None:
            return f"unexplained: {self.difference:+,}"
        return "; ".join(f"{name} {macs:+,}" for name, macs in self.explained.items())


MOST_REAL = 2**29
"""Parameters up to which a model that asks for values is counted by torch on real tensors."""


def _on_meta(target: Target, profile: Profile) -> int:
    """Torch's count; without a mask of ones, which changes no product, where the values of it are asked for."""
    args, kwargs = _made(target, profile, "meta")
    with PassAutocast().watch():  # older transformers ask, and would be counted on the CPU, less attention
        try:
            return torch_macs(target.model.eval(), args, kwargs)
        except Exception:
            if "attention_mask" not in kwargs:
                raise
            return torch_macs(target.model.eval(), args, {k: v for k, v in kwargs.items() if k != "attention_mask"})


def with_torch(target: Target, profile: Profile) -> Agreement:
    """How far the profile of a target agrees with torch's counter on the same model and inputs."""
    try:
        theirs = _on_meta(target, profile)
    except Exception:
        if target.rebuild is None or profile.totals.params > MOST_REAL:
            raise
        theirs = _on_cpu(target.rebuild().eval(), *_made(target, profile, "cpu"))
    difference = profile.totals.macs - theirs
    explained = not_counted_by_torch(profile)
    return Agreement(theirs, difference, explained if sum(explained.values()) == difference else None)


def _made(target: Target, profile: Profile, device: Literal["meta", "cpu"]) -> tuple[Any, Any]:
    """The arguments of one forward."""
    args, kwargs = (
        make_input_tensors(tree, device=device, batch=profile.batch, dtype=profile.dtype)
        for tree in (target.args, target.kwargs)
    )
    return args, kwargs


def _on_cpu(model: nn.Module, args: Any, kwargs: Any) -> int:
    """torch's count of a real pass; attention as its matrix products, since torch has no formula for its CPU kernel."""
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(*args, **kwargs)
    return int(counter.get_total_flops()) // 2


def not_counted_by_torch(profile: Profile) -> dict[str, int]:
    """MACs of ours that torch's counter leaves out, by op: what has no formula there, and three in four of complex."""
    left_out: Counter[str] = Counter()
    for op in profile.ops:
        if not op.macs:
            continue
        if op.name not in COUNTED_BY_TORCH | OPENED_BY_TORCH:
            left_out[op.name] += op.macs
        elif any(profile.tensors[index].spec.dtype.startswith("complex") for index in op.outputs):
            left_out[f"{op.name} of complex numbers"] += op.macs * 3 // 4
    return dict(left_out)
