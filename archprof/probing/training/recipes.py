"""How nets are trained."""

from __future__ import annotations

from typing import NamedTuple

from archprof.errors import UnknownName


class Recipe(NamedTuple):
    """What every net of a run gets: an optimizer in the grammar of `--optimizer`, and samples of a batch."""

    optimizer: str
    batch: int


RECIPES = {"lecture": Recipe("adam(lr=0.001)", 128)}
"""The lecture fixes the batch of 128 and ten epochs; Adam at 0.001, without augmentation, is our reading of it."""


def find_recipe(name: str) -> Recipe:
    """The recipe of a name; `UnknownName` where there is none."""
    if name not in RECIPES:
        raise UnknownName("recipe", name, RECIPES)
    return RECIPES[name]
