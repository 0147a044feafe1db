"""The published nets that stand in grey behind the models of a scatter."""

from __future__ import annotations

from collections.abc import Sequence

from archprof.analysis.view import ProfileView
from archprof.models.published_nets import PUBLISHED_BY, TIMM_RESULTS, load_published_nets, load_timm_nets

PUBLISHED_MEASURES = ("macs", "params", "top5_error")

MIN_POSITIONS = 112 * 112
"""Pixels from which on an image is one that nets of ImageNet take."""

BACKDROP_NOTE = (
    f"Grey: image classifiers, each at its own input size: of {PUBLISHED_BY}, as its metadata publish them, and of "
    f"{TIMM_RESULTS}, with the parameters and MACs that archprof counts."
)


def find_backdrop(views: Sequence[ProfileView], x: str, y: str) -> tuple[tuple[float, float, str], ...]:
    """(x, y, name) of each net that publishes both measures and is none of the models, by MACs.

    None where they are no neighbours of the models: for a pass of a batch, or with a backward, or of small images or
    none.
    """
    if not {x, y}.issubset(PUBLISHED_MEASURES) or not any(map(_takes_one_image, views)):
        return ()
    drawn = [view for view in views if y != "top5_error" or view.top5_error is not None]
    own = {view.profile.model.removeprefix("torchvision:") for view in drawn}
    costs = {(view.total.params, view.total.macs) for view in drawn}  # how nets of timm are known again
    nets = [net for net in load_published_nets() if net.name not in own]
    nets += [net for net in load_timm_nets() if (net.params, net.macs) not in costs]
    return tuple([(getattr(net, x), getattr(net, y), net.name) for net in sorted(nets, key=lambda net: net.macs)])


def _takes_one_image(view: ProfileView) -> bool:
    profile = view.profile
    return profile.batch == 1 and profile.mode != "train" and (view.image_positions or 0) >= MIN_POSITIONS
