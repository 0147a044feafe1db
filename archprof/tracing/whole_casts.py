"""What autocast does to the functions that are recorded whole, before they run."""

from __future__ import annotations

from typing import Any

import torch

from archprof.torchside.autocast import PassAutocast
from archprof.torchside.autocast_policies import cast_arguments

Tensor = torch.Tensor


def cast_whole(ops: Any, autocast: PassAutocast, name: str, args: Any, kwargs: dict[str, Any]) -> Any:
    """The arguments as autocast hands them on; `None` where it acts on the parts of the function instead.

    Args:
        ops: the `OpMode` of the pass.
        name: of the op that the function becomes.
    """
    if name == "aten.scaled_dot_product_attention":
        return cast_arguments(autocast, autocast.dtype, args, kwargs)
    if autocast.rules == "cuda":
        return _cast_for_cudnn(ops, autocast, args), kwargs
    return cast_arguments(autocast, autocast.dtype, args, kwargs) if name == "aten.lstm" else None


def _cast_for_cudnn(ops: Any, autocast: PassAutocast, args: Any) -> tuple[Any, ...]:
    """cuDNN's recurrent layers run in float16 whatever autocast casts to, with their weights in one new buffer.

    Source: `_cudnn_rnn_cast_reflatten` in aten/src/ATen/cudnn/AutocastRNN.cpp of torch.
    """
    place = 3 if isinstance(args[3], list | tuple) else 2  # packed sequences come with their batch sizes
    before, weights = args[:place], args[place]
    if autocast.is_eligible(weights[0]) and weights[0].dtype != torch.float16:
        weights = _flatten_weights(ops.recorder, weights)
    before, _ = cast_arguments(autocast, torch.float16, before, {})
    return (*before, weights, *args[place + 1 :])


def _flatten_weights(recorder: Any, weights: Any) -> list[Tensor]:
    buffer = torch.zeros(sum(weight.numel() for weight in weights), dtype=torch.float16, device=weights[0].device)
    made, begin = [], 0
    for weight in weights:
        with recorder.paused():
            part = buffer[begin : begin + weight.numel()].view(weight.shape).detach()
        recorder.add_view(part, recorder.find_spec(part))
        made.append(part.copy_(weight))
        begin += weight.numel()
    return made
