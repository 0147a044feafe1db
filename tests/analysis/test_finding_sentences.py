"""Every sentence of a page is computed again from the JSON of its profile; one that no pattern knows fails."""

from __future__ import annotations

import pytest
import torch
from page_nets import EVERY, list_profiles
from sentence_oracle import check_alone, check_change, check_pair
from torch import nn

import archprof
from archprof.analysis.report.page import build_report
from archprof.predicting import runs

QUICK = (
    "vgg16", "resnet152", "swin_t", "vit_b_16", "efficientnet_b0", "convnext", "inception_v3", "fasterrcnn", "gpt2",
    "llama-2-7b", "mixtral",
    "unet", "one op", "raft", "tagger", "siamese", "names", "one number", "no weights", "unknown", "points",
    "one width", "bert", "two versions", "two versions that are one", "a layer by another name", "a block put in",
)  # fmt: skip
"""Pages that are made in no time; the others are tried with `-m slow`."""

PAGES = [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in EVERY]


@pytest.mark.parametrize("page", PAGES)
def test_every_sentence_is_so(page: str) -> None:
    profiles = list_profiles(page)
    if len(profiles) == 1:
        check_page(profiles[0])
    else:
        check_contest(profiles)


def check_page(profile: archprof.Profile) -> None:
    page = build_report([profile]).models[0]
    assert len(page.findings) <= 4
    listed = {row.name for row in page.table.rows}
    for finding in page.findings:
        assert set(finding.rows) <= listed
        assert "never called" not in finding.text
        check_alone(profile, finding.text, finding.rows)


@pytest.mark.parametrize("name", ["lenet5", "cifar_vgg"])
def test_every_sentence_about_a_measured_model_is_so(name: str) -> None:
    check_page(archprof.measure(name, seconds=1.0))


@pytest.mark.parametrize(("name", "device"), [("resnet50", "h100"), ("hf:gpt2", "t4")])
def test_every_sentence_about_a_predicted_model_is_so(name: str, device: str) -> None:
    check_page(runs.predict_on(archprof.profile(name), device))


@pytest.mark.parametrize(
    "names",
    [
        ("vgg16", "resnet18", "hf:gpt2", "torchvision:swin_t", "torchvision:vit_b_16"),
        ("alexnet", "vgg16", "resnet50"),
        ("resnet34", "resnet50", "resnet101", "resnet152"),
        ("torchvision:vit_b_16", "resnet50", "alexnet"),
    ],
)
def test_every_sentence_about_several_models_is_so(names: tuple[str, ...]) -> None:
    check_contest([archprof.profile(name) for name in names])


@pytest.mark.parametrize("names", [("resnet18", "resnet50"), ("resnet50", "vgg16", "alexnet")])
def test_every_sentence_about_predicted_models_is_so(names: tuple[str, ...]) -> None:
    said = check_contest([runs.predict_on(archprof.profile(name), "t4") for name in names])
    assert any("time" in text for text in said)


def test_every_sentence_about_measured_models_is_so() -> None:
    said = check_contest([archprof.measure(name, seconds=1.0) for name in ("lenet5", "alexnet")])
    assert any("time" in text or "takes longer" in text for text in said)  # by how much, where the times are steady


def check_contest(profiles: list[archprof.Profile]) -> list[str]:
    comparison = build_report(profiles).comparison
    assert comparison is not None
    assert comparison.findings
    for finding in comparison.findings:
        letter, _, rest = finding.text.partition(": ")
        if len(letter) == 1:
            check_alone(profiles[finding.models[0]], rest, finding.rows)
        elif comparison.changes:
            check_change(profiles, finding.text)
        else:
            check_pair(profiles, finding.text)
    return [finding.text for finding in comparison.findings]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("vgg16", "classifier holds 89% of the parameters of vgg16 and spends under 1% of its MACs."),
        ("resnet152", "layer3 spends 70% of the MACs of resnet152, holds 67% of its parameters and makes 49% of its"),
        ("torchvision:vit_b_16", "12 equal EncoderBlock blocks spend over 99% of the MACs"),
    ],
)
def test_the_first_sentence_says_what_deviates(model: str, words: str) -> None:
    assert build_report([archprof.profile(model)]).models[0].findings[0].text.startswith(words)


@pytest.mark.parametrize("model", ["torchvision:swin_t", "torchvision:vit_b_16", "torchvision:convnext_tiny"])
def test_weights_that_get_gradients_are_not_said_to_be_unread(model: str) -> None:
    said = " ".join(finding.text for finding in build_report([archprof.profile(model)]).models[0].findings)
    assert "no op" not in said
    assert "never" not in said


def test_spread_evenly_over_everything_is_no_finding() -> None:
    net = nn.Sequential(*(nn.Linear(16 + i % 2, 16 + (i + 1) % 2) for i in range(60)))
    said = [finding.text for finding in build_report([archprof.profile(net, (1, 16))]).models[0].findings]
    assert not any("of its 60 layers" in text for text in said)


def test_a_tied_embedding_is_not_said_to_spend_nothing() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wte, self.body = nn.Embedding(1000, 32), nn.Sequential(*(nn.Linear(32, 32) for _ in range(4)))
            self.head = nn.Linear(32, 1000, bias=False)
            self.head.weight = self.wte.weight

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.head(self.body(self.wte(ids)))

    said = [one.text for one in build_report([archprof.profile(Tied(), "int64[1,8]<1000")]).models[0].findings]
    assert not any("wte" in text for text in said)
