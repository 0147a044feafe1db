"""Patterns over the zoos, held against the zoos' own lists."""

from __future__ import annotations

import pytest
import timm
import torchvision

from archprof.errors import UnknownName, UsageError
from archprof.models.registry import BUILTIN_MODELS
from archprof.sources.zoo_patterns import expand_models


def test_patterns_are_what_the_zoos_list() -> None:
    assert expand_models(["timm:convnext_t*"]) == [f"timm:{name}" for name in timm.list_models("convnext_t*")]
    assert expand_models(["timm:*"]) == [f"timm:{name}" for name in timm.list_models()]
    assert expand_models(["torchvision:*"]) == [f"torchvision:{name}" for name in torchvision.models.list_models()]
    assert expand_models(["*"]) == list(BUILTIN_MODELS)
    assert expand_models(["torchvision:vgg1?"]) == [f"torchvision:vgg{n}" for n in (11, 13, 16, 19)]
    assert "hf:bert" in expand_models(["hf:bert*"])


def test_arguments_go_with_all_that_match() -> None:
    assert expand_models(["timm:vgg1[13](num_classes=10)"]) == [f"timm:vgg{n}(num_classes=10)" for n in (11, 13)]


def test_names_stay_and_each_is_there_once() -> None:
    words = ["vgg16", "conv3-64 relu", "net.py:Net", "nets/*.py:N", "convnext_tiny", "x.pt2", "vgg16", "vgg16*"]
    assert expand_models(words) == [*words[:-2], "vgg16_bn"] or expand_models(words)[:6] == words[:6]
    assert expand_models(words).count("vgg16") == 1


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("timm:convnxt*", "convnext"),
        ("torchvision:resnt*", "resnet"),
        ("resnt*", "resnet50"),
        ("timm:resnet5", "resnet50"),
        ("torchvision:vgg17", "vgg16"),
        ("resnt50", "resnet50"),
    ],
)
def test_what_matches_nothing_has_names_near_it(word: str, near: str) -> None:
    with pytest.raises(UnknownName, match=f"Near it: .*{near}"):
        expand_models([word])


@pytest.mark.parametrize("word", ["", "timm:", "vgg16(", "a\0b", "vgg16.json", ":x", 3])
def test_words_that_name_no_model(word: str) -> None:
    with pytest.raises(UsageError):
        expand_models([word])
