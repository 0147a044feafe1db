"""The sources of `archprof verify`: torch, fvcore and torchvision's metadata, each really asked."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import archprof
from archprof.analysis.tables.verify import all_agree
from archprof.errors import TraceError, UsageError
from archprof.facts.request import PassRequest
from archprof.tracing.verify import MAX_FVCORE_BYTES, count_by_sources


class Every(nn.Module):
    """What each of the others counts otherwise: norm, attention, `mv`, both kinds of padding."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding="same")
        self.even = nn.Conv2d(8, 8, 4, padding="same")
        self.plain = nn.Conv2d(8, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.gain = nn.Parameter(torch.zeros(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.plain(self.even(self.conv(x)))).flatten(2)
        x = nn.functional.scaled_dot_product_attention(x, x, x)
        return torch.mv(x.mean(-1), self.gain)


def sources(compared: archprof.Table) -> dict[str, str]:
    return {str(row.cells[0]).split()[0]: str(row.cells[-1]) for row in compared.rows if row.depth == 0}


def test_everything_that_differs_is_explained() -> None:
    model, x = Every(), torch.zeros(2, 3, 8, 8)
    compared = archprof.verify(model, x)
    assert sources(compared) == {"archprof": "complete", "torch": "explained", "fvcore": "explained"}
    assert all_agree(compared)
    attention, products = 2 * 2 * 8 * 8 * 64, 2 * 8
    seen = 2 * 64 * 8 * 9 * 8
    profile, (by_torch, by_fvcore) = count_by_sources(model, x)
    assert profile.totals.macs == by_torch.macs + products
    assert by_fvcore.macs == seen + 2 * 2 * 8 * 64
    assert by_torch.macs == seen + 2 * 64 * 8 * (27 + 16 * 8) + attention
    assert by_fvcore.unseen == ("conv", "even")


def test_the_model_is_only_read() -> None:
    model = Every().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rng = torch.get_rng_state()
    archprof.verify(model, torch.ones(2, 3, 8, 8))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.equal(rng, torch.get_rng_state())


@pytest.mark.parametrize("name", ["resnet18", "torchvision:squeezenet1_1"])
def test_published_figures_are_found_for_built_ins_and_for_torchvision(name: str) -> None:
    compared = archprof.verify(name)
    assert sources(compared) == {
        "archprof": "complete", "torch": "agrees", "fvcore": "explained", "torchvision": "agrees",
    }  # fmt: skip
    published = compared.rows[-1].cells
    assert published[0] == "torchvision IMAGENET1K_V1"


def test_auxiliary_heads_explain_the_parameters_of_googlenet() -> None:
    _, found = count_by_sources("torchvision:googlenet")
    assert (found[-1].params, found[-1].macs) == (6_624_904, 1_498_000_000)
    assert all_agree(archprof.verify("torchvision:googlenet"))


@pytest.mark.parametrize(("name", "options"), [("resnet18", {"batch": 2}), ("resnet18(num_classes=10)", {})])
def test_other_inputs_or_arguments_than_published(name: str, options: dict[str, int]) -> None:
    _, found = count_by_sources(name, None, PassRequest(**options))
    assert [count.macs for count in found[2:]] == ([None] if options else [])


def test_what_needs_values_is_not_run_on_meta_and_says_so() -> None:
    class Picks(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x[x.sum(1).nonzero().squeeze(1)])

    profile, (by_torch, by_fvcore) = count_by_sources(Picks(8, 8), torch.ones(4, 8))
    assert profile.ran.device == "cpu"
    assert by_torch.macs is None
    assert "meta" in by_torch.why
    assert by_fvcore.macs == profile.totals.macs


def test_a_lazy_model_is_counted_by_others_and_stays_lazy() -> None:
    """4 x 27 x 30 x 30 and 5 x 3600 MACs; 4 x 27 + 4 and 5 x 3600 + 5 parameters."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(5))
    _, counts = count_by_sources(net, (1, 3, 32, 32))
    assert [(one.params, one.macs) for one in counts] == [(18_117, 115_200)] * 2
    assert isinstance(net[2], nn.LazyLinear)


def test_keywords_and_large_models_are_nothing_for_fvcore() -> None:
    _, (_, by_fvcore) = count_by_sources(nn.Linear(4, 4), {"input": torch.zeros(2, 4)})
    assert "positional" in by_fvcore.why
    with torch.device("meta"):
        large = nn.Linear(2**15, MAX_FVCORE_BYTES // 4 // 2**15 + 1, bias=False)
    _, (by_torch, by_fvcore) = count_by_sources(large, (1, 2**15))
    assert by_torch.macs == by_torch.params
    assert "too much" in by_fvcore.why


def test_saved_profiles_and_failing_models_are_errors() -> None:
    with pytest.raises(UsageError, match="holds no model"):
        archprof.verify("x.json")
    with pytest.raises(TraceError):
        archprof.verify(nn.Linear(3, 3), torch.zeros(2, 4))
