"""Autocast on tensors without values: code that asks whether it is on gets an answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def answer_autocast_on_meta() -> Iterator[None]:
    """Inside, `torch.is_autocast_enabled("meta")` is False.

    Torch raises, since autocast acts on no such device. Models ask it of the device of their tensors to keep a product
    in float32 (every rotary embedding of transformers 5.0 does), and would need values for nothing but that.
    """
    asked = torch.is_autocast_enabled

    def answer(*args: Any, **kwargs: Any) -> bool:
        device = kwargs.get("device_type", args[0] if args else None)
        return False if device == "meta" else asked(*args, **kwargs)

    torch.is_autocast_enabled = answer
    try:
        yield
    finally:
        torch.is_autocast_enabled = asked
