"""A fast sample of the score, held to the figures that the guide gives for the whole."""

from __future__ import annotations

import pytest

pytest.importorskip("timm")

from prediction import score
from prediction.halves import halves


def test_a_sample_of_the_models_of_pepr() -> None:
    """A tenth of 36 models; the whole has medians of 0.35 % and 2.1 %, and 0 % under by more than 2 %."""
    allocated, reserved = score.score_pepr(quick=True)
    assert allocated.median < 0.008
    assert allocated.p90 < 0.025
    assert allocated.under <= 0.05
    assert reserved.median < 0.03


def test_halves_split_families_and_not_models() -> None:
    names = ["timm:resnet50", "timm:resnet101", "timm:resnext50_32x4d", "timm:vgg11", "timm:vgg13(num_classes=7)"]
    half = halves(names)
    assert half["timm:resnet50"] == half["timm:resnet101"] != half["timm:resnext50_32x4d"]
    assert half["timm:vgg11"] == half["timm:vgg13(num_classes=7)"]


def test_errors_by_hand() -> None:
    errors = score.Errors("x", (-0.05, 0.01, -0.02, 0.04))
    assert errors.median == pytest.approx(0.03)
    assert errors.p90 == pytest.approx(0.05)
    assert errors.under == pytest.approx(0.25)
