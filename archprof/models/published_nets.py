"""Image classifiers that others published with their cost and error: what a model of one's own is held against."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from archprof.files import read_data_table
from archprof.models.registry import BUILTIN_MODELS, PublishedError

PUBLISHED_BY = "torchvision 0.29.1"
"""Its `Weights.meta`, of the first weights of each name: data/torchvision.csv."""


TIMM_RESULTS = "timm's results-imagenet.csv"
"""https://github.com/huggingface/pytorch-image-models, results/: data/timm.csv, which tests/zoo/publish.py writes."""


class PublishedNet(NamedTuple):
    """One net at the input size of its weights; errors on ImageNet in percent.

    Attributes:
        macs: as published, in thousandths of 10^9: of convolutions and matrix products. timm publishes none beside its
            results: of a net of timm, as traced at the size of its result.
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
        for row in read_data_table("torchvision.csv")
    )


@cache
def load_timm_nets() -> tuple[PublishedNet, ...]:
    """Of each architecture and input size the best weights, named as "timm:convnext_base at 288 px"."""
    return tuple(
        PublishedNet(
            name=f"timm:{row['name'].partition('.')[0]} at {row['image']} px",
            weights=row["name"].partition(".")[2],
            params=int(row["params"]),
            macs=int(row["macs"]),
            top1_error=float(row["top1_error"]),
            top5_error=float(row["top5_error"]),
        )
        for row in read_data_table("timm.csv")
    )


PREFIX = "torchvision:"

SAME_SHARE = 0.01
"""How far the MACs of an image may be from those published for a pass to be the one that the error is of."""


def find_published_errors(model: str, params: int, macs: int) -> tuple[PublishedError, ...]:
    """What was published of a net, the figure of the net alone first; none of one that nobody here knows.

    Args:
        model: a built-in name, or one of torchvision with its prefix or without.
        params, macs: of the model and of one image: the figure of a net of torchvision is of its whole size and of the
            input that its weights take.
    """
    if model in BUILTIN_MODELS:
        return BUILTIN_MODELS[model].published
    net = next((net for net in load_published_nets() if net.name == model.removeprefix(PREFIX)), None)
    if net is None or net.params != params or abs(macs - net.macs) > SAME_SHARE * net.macs:
        return ()
    source = f"torchvision weights metadata, {net.weights}"
    return (PublishedError(net.top1_error, net.top5_error, "single model", source),)
