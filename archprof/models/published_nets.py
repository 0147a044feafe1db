"""Image classifiers that others published with their cost and error: what a model of one's own is held against."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from archprof.models.registry import read_table

PUBLISHED_BY = "torchvision 0.29.1"
"""Its `Weights.meta`, of the first weights of each name: data/torchvision.csv."""


class PublishedNet(NamedTuple):
    """One net at the input size of its weights; errors on ImageNet in percent.

    Attributes:
        macs: as published, in thousandths of 10^9: of convolutions and matrix products.
    """

    name: str
    weights: str
    params: int
    macs: int
    top1_error: float
    top5_error: float


@cache
def load_published_nets() -> tuple[PublishedNet, ...]:
    """All of them, by name."""
    return tuple(
        PublishedNet(
            name=row["name"],
            weights=row["weights"],
            params=int(row["params"]),
            macs=round(float(row["gmacs"]) * 1e9),
            top1_error=float(row["top1_error"]),
            top5_error=float(row["top5_error"]),
        )
        for row in read_table("torchvision.csv")
    )
