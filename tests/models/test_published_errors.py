"""The published ImageNet errors, against where they come from."""

from __future__ import annotations

import re

import pytest
from lectures import ROWS
from torchvision.models import get_model_weights

from archprof.models import registry

IN_TORCHVISION = [entry for entry in registry.BUILTIN_MODELS.values() if entry.torchvision]


@pytest.mark.parametrize("entry", IN_TORCHVISION, ids=lambda entry: entry.name)
def test_single_model_errors_are_those_of_torchvisions_first_weights(entry: registry.BuiltinModel) -> None:
    accuracy = get_model_weights(entry.torchvision).IMAGENET1K_V1.meta["_metrics"]["ImageNet-1K"]
    assert entry.top1_error == pytest.approx(100 - accuracy["acc@1"], abs=1e-9)
    assert entry.top5_error == pytest.approx(100 - accuracy["acc@5"], abs=1e-9)
    assert entry.source == "single model: torchvision weights metadata, IMAGENET1K_V1"


@pytest.mark.parametrize(("name", "place"), [("alexnet_2012", 2), ("zfnet", 3), ("vgg_e", 4), ("resnet152", 6)])
def test_row_m12_competition_errors_and_depths(name: str, place: int) -> None:
    depths = [int(depth) for depth in re.findall(r"\d+", ROWS["M12"].note)]
    entry = registry.BUILTIN_MODELS[name]
    competition = [figure for figure in entry.published if figure.kind == "competition entry"]
    assert [figure.top5_error for figure in competition] == [ROWS["M12"].numbers[place]]
    assert entry.depth == depths[place]
    assert str(entry.year) in competition[0].source


def test_a_net_without_a_published_figure_has_none() -> None:
    entry = registry.BUILTIN_MODELS["cifar_vgg"]
    assert (entry.top1_error, entry.top5_error, entry.source) == (None, None, "")
