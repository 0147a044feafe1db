"""What `roi_align` is given by a file, checked before: its kernel trusts the image numbers and places of its boxes."""

from __future__ import annotations

import math
from typing import Any

import torch

from archprof.errors import ArchprofError

MOST_SAMPLES = 2**28
"""Points that one call may read, over all its boxes."""


def refuse_wild_boxes(
    images: torch.Tensor, boxes: torch.Tensor, scale: float, height: int, width: int, ratio: int, *_: Any
) -> None:
    """Raise `ArchprofError` for boxes of images that are not there, without finite places, or of endless samples."""
    if not images.numel() or boxes.dim() != 2 or boxes.shape[1] != 5:
        raise ArchprofError("The exported program calls roi_align without images, or without boxes of five numbers.")
    numbers, places = boxes[:, 0], boxes[:, 1:].double() * scale
    known = bool(torch.isfinite(boxes).all() and (numbers >= 0).all() and (numbers < images.shape[0]).all())
    if not known or not _is_affordable(places, height, width, ratio):
        raise ArchprofError(
            "The exported program calls roi_align with a box of no image, or of no size that can be sampled.",
            "Numbers of images in the batch, and finite places.",
            "Profile the module itself: net.py:Net",
        )


def _is_affordable(places: torch.Tensor, height: int, width: int, ratio: int) -> bool:
    if height < 1 or width < 1:
        return False
    if ratio > 0:
        return len(places) * (ratio * height) * (ratio * width) <= MOST_SAMPLES
    spans = (places[:, 2:] - places[:, :2]).abs() + 1
    counts = torch.ceil(spans / torch.tensor([width, height])) * torch.tensor([width, height])
    return math.isfinite(total := float(counts.prod(1).sum())) and total <= MOST_SAMPLES
