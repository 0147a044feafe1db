"""The models, split by family into halves: what is fitted on one is read on the other."""

from __future__ import annotations

import re
from collections.abc import Iterable


def family(model: str) -> str:
    """The letters with which a model's name begins: resnet50 and resnet101 are of one family."""
    return re.sub(r"^timm:(legacy_|gluon_|tf_)?([a-z]+).*", r"\2", model)


def halves(models: Iterable[str]) -> dict[str, int]:
    """Every other family in the order of the alphabet, by model."""
    models = sorted(set(models))
    families = sorted({family(model) for model in models})
    return {model: families.index(family(model)) % 2 for model in models}
