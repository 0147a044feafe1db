"""The rewrites but `stack3x3`, each against figures worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from archprof import whatif
from archprof.rewriting import Rewritten


def paths(rewritten: Rewritten) -> list[str]:
    return [change.path for change in rewritten.applied]


def why(rewritten: Rewritten) -> str:
    return " ".join(refusal.why for refusal in rewritten.refused)


def conv(channels_in: int, channels: int, kernel: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels, kernel, **options)


class Block(nn.Module):
    """A residual block whose shortcut is an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one, self.two = conv(channels, channels, padding=1), conv(channels, channels, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.two(torch.relu(self.one(x))))
        y += x
        return torch.relu(y)


def test_bn_follows_every_convolution_without_a_norm_but_the_head() -> None:
    features = [conv(3, 8), nn.ReLU(), conv(8, 16), nn.BatchNorm2d(16), nn.ReLU(), conv(16, 10, 1)]
    rewritten = whatif(nn.Sequential(*features, nn.AdaptiveAvgPool2d(1), nn.Flatten()), (1, 3, 16, 16), add_bn=True)
    assert paths(rewritten) == ["0"]
    assert [(refusal.path, "scores" in refusal.why) for refusal in rewritten.refused] == [("5", True)]
    assert rewritten.after.totals.params - rewritten.before.totals.params == 2 * 8
    kinds = [layer.kind for layer in rewritten.after.layers]
    assert kinds.count("BatchNorm2d") == 2


def test_bn_gives_vgg16_torchvisions_vgg16_bn() -> None:
    assert whatif("vgg16", add_bn=True).after.totals.params == 138_365_992


def test_nothing_without_a_norm_is_said() -> None:
    rewritten = whatif("resnet18", add_bn=True)
    assert not rewritten.applied
    assert "without a norm" in why(rewritten)


def test_residual_adds_identities_and_projections() -> None:
    layers = [conv(8, 8, padding=1), nn.ReLU(), conv(8, 8, padding=1), nn.ReLU()]
    layers += [conv(8, 16, padding=1, stride=2), nn.ReLU(), conv(16, 16, padding=1), nn.ReLU(), conv(16, 16), nn.ReLU()]
    rewritten = whatif(nn.Sequential(*layers), (1, 8, 16, 16), residual=True)
    assert [change.what for change in rewritten.applied] == [
        "an identity around 0 and 2",
        "a projection (skips.0) around 4 and 6",
    ]
    assert rewritten.after.totals.params - rewritten.before.totals.params == 8 * 16  # 1x1 without bias
    assert rewritten.after.totals.macs - rewritten.before.totals.macs == 8 * 16 * 8 * 8
    adds = [op for op in rewritten.after.ops if op.name == "aten.add_"]
    assert len(adds) == 2
    assert rewritten.after.layers[0].outputs == rewritten.before.layers[0].outputs


def test_a_projection_has_a_norm_where_the_pair_has() -> None:
    unit = [nn.BatchNorm2d(16), nn.ReLU()]
    model = nn.Sequential(conv(8, 16, padding=1), *unit, conv(16, 16, padding=1), nn.BatchNorm2d(16), nn.ReLU())
    rewritten = whatif(model, (1, 8, 16, 16), residual=True)
    assert rewritten.after.totals.params - rewritten.before.totals.params == 8 * 16 + 2 * 16


def test_the_shortcut_computes_what_it_should() -> None:
    """The rewritten model on real numbers against the same sum written by hand."""
    torch.manual_seed(0)
    first, second = conv(4, 4, padding=1), conv(4, 4, padding=1)
    model = nn.Sequential(first, nn.ReLU(), second, nn.ReLU())
    net = whatif(model, (1, 4, 8, 8), residual=True).model.to_empty(device="cpu")
    net.load_state_dict(model.state_dict())
    x = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(net(x), torch.relu(second(torch.relu(first(x))) + x))


def test_residual_leaves_blocks_and_shrinking_maps_alone() -> None:
    inside = whatif(nn.Sequential(Block(4), nn.MaxPool2d(2)), (1, 4, 8, 8), residual=True)
    assert not inside.applied
    assert "outside of branches" in why(inside)
    shrinks = whatif(nn.Sequential(conv(4, 4), nn.ReLU(), conv(4, 4), nn.ReLU()), (1, 4, 8, 8), residual=True)
    assert not shrinks.applied
    assert "8x8 to 4x4" in why(shrinks)


def test_separable_has_the_weights_of_the_paper() -> None:
    rewritten = whatif(nn.Sequential(conv(32, 64, stride=2, padding=1), nn.ReLU()), (1, 32, 16, 16), separable=True)
    assert rewritten.after.totals.params == 9 * 32 + 32 * 64 + 64
    assert rewritten.after.totals.macs == (9 * 32 + 32 * 64) * 8 * 8
    assert rewritten.after.layers[0].outputs == rewritten.before.layers[0].outputs


def test_separable_names_the_convolutions_that_have_groups() -> None:
    model = nn.Sequential(conv(3, 8), conv(8, 8, groups=8), conv(8, 4, 1))
    rewritten = whatif(model, (1, 3, 16, 16), separable=True)
    assert paths(rewritten) == ["0"]
    assert [(refusal.path, refusal.why) for refusal in rewritten.refused] == [("1", "it has 8 groups already")]


def test_no_fc_leaves_vgg16_its_convolutions_and_one_layer() -> None:
    rewritten = whatif("vgg16", no_fc=True)
    convolutions = sum(layer.params for layer in rewritten.before.layers if layer.kind == "Conv2d")
    assert rewritten.after.totals.params == convolutions + 512 * 1000 + 1000
    assert rewritten.after.layers[0].outputs == rewritten.before.layers[0].outputs


class Viewed(nn.Module):
    """Flattens by a view of a fixed size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.hidden, self.fc = conv(3, 8), nn.Linear(8 * 6 * 6, 20), nn.Linear(20, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x).view(-1, 8 * 6 * 6)
        return self.fc(torch.relu(self.hidden(x)))  # type: ignore[no-any-return]


def test_no_fc_and_a_view_of_a_fixed_size() -> None:
    rewritten = whatif(Viewed(), (2, 3, 8, 8), no_fc=True)
    assert rewritten.after.totals.params == 27 * 8 + 8 + 8 * 5 + 5
    assert rewritten.after.layers[0].outputs[0].shape == (2, 5)


@pytest.mark.parametrize("name", ["resnet18", "cifar_vgg", "torchvision:vit_b_16"])
def test_no_fc_says_why_not(name: str) -> None:
    rewritten = whatif(name, no_fc=True)
    assert not rewritten.applied
    assert why(rewritten)


def test_width_of_a_plain_net_by_hand() -> None:
    model = nn.Sequential(
        conv(3, 16), nn.BatchNorm2d(16), nn.ReLU(), conv(16, 20), nn.Flatten(), nn.Linear(20 * 16, 10)
    )
    rewritten = whatif(model, (1, 3, 8, 8), width=1.5)
    assert rewritten.after.totals.params == (27 * 24 + 24) + 2 * 24 + (9 * 24 * 30 + 30) + (30 * 16 * 10 + 10)


@pytest.mark.parametrize(
    "name", ["resnet18", "torchvision:mobilenet_v2", "torchvision:googlenet", "torchvision:densenet121"]
)
def test_width_agrees_where_values_are_added_or_put_together(name: str) -> None:
    rewritten = whatif(name, "3x64x64", width=0.5)
    assert not rewritten.refused
    assert rewritten.after.layers[0].outputs == rewritten.before.layers[0].outputs
    ratio = rewritten.after.totals.macs / rewritten.before.totals.macs
    assert 0.2 < ratio < 0.35  # about a quarter; the first layer only halves


def test_width_one_changes_nothing() -> None:
    rewritten = whatif("resnet18", "3x64x64", width=1.0)
    assert rewritten.after.totals == rewritten.before.totals
    assert "no number of channels" in why(rewritten)


@pytest.mark.parametrize("name", ["resnet20_cifar", "torchvision:vit_b_16"])
def test_width_is_done_whole_or_not_at_all(name: str) -> None:
    rewritten = whatif(name, width=0.5)
    assert not rewritten.applied
    assert len(rewritten.refused) == 1
    assert rewritten.after.totals == rewritten.before.totals


def test_groups_divide_the_channels_of_a_wider_resnext() -> None:
    rewritten = whatif("torchvision:resnext50_32x4d", "3x64x64", width=0.3)
    grouped = [layer for layer in rewritten.model.modules() if isinstance(layer, nn.Conv2d) and layer.groups == 32]
    assert len(grouped) == 16


def test_num_classes_of_linear_and_convolution_heads() -> None:
    assert whatif("vgg16", num_classes=10).after.totals.params == 134_301_514
    rewritten = whatif("torchvision:squeezenet1_0", num_classes=10)
    assert rewritten.after.layers[0].outputs[0].shape == (1, 10)
    assert rewritten.before.totals.params - rewritten.after.totals.params == 990 * 513
    same = whatif("cifar_vgg", num_classes=10)
    assert not same.applied
    assert "already" in why(same)


def test_a_refusal_is_one_sentence_without_a_trace() -> None:
    (refusal,) = whatif("resnet20_cifar", width=0.5).refused
    assert refusal.why.startswith("a size in iadd after it is fixed or does not agree: ")
    assert "\n" not in refusal.why
    assert not any(word in refusal.why for word in ("While executing", "Original traceback", "tlparse"))


class Again(nn.Module):
    """One convolution and one linear layer, each called more than once."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = conv(8, 8, 5, padding=2), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(4):
            x = torch.relu(self.conv(x))
        return self.fc(torch.relu(self.fc(x.mean((2, 3)))))  # type: ignore[no-any-return]


REWRITES: list[dict[str, Any]] = [
    {"stack3x3": True}, {"add_bn": True}, {"residual": True}, {"separable": True}, {"num_classes": 3},
]  # fmt: skip


@pytest.mark.parametrize("options", REWRITES)
def test_a_layer_that_is_called_again_is_refused_once(options: dict[str, Any]) -> None:
    rewritten = whatif(Again(), (1, 8, 16, 16), **options)
    assert not rewritten.applied
    path, times = ("fc", 2) if "num_classes" in options else ("conv", 4)
    assert [(refusal.path, f"called {times} times" in refusal.why) for refusal in rewritten.refused] == [(path, True)]
    assert rewritten.after.totals == rewritten.before.totals


class Flat(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool, self.fc = conv(3, 8), nn.AdaptiveAvgPool2d(2), nn.Linear(32, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(self.fc(self.pool(self.conv(x)).flatten(1)))).view(-1, 32)  # type: ignore[no-any-return]


def test_no_fc_of_a_linear_layer_that_is_called_again() -> None:
    rewritten = whatif(Flat(), (2, 3, 8, 8), no_fc=True)
    assert [tuple(refusal) for refusal in rewritten.refused] == [("no_fc", "fc", "it is called 2 times")]


def test_a_fixed_size_after_the_scores_is_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 10), nn.Unflatten(1, (2, 5)))
    rewritten = whatif(model, (1, 3, 2, 2), num_classes=7)
    assert [(refusal.path, "fixed" in refusal.why) for refusal in rewritten.refused] == [("1", True)]
    assert rewritten.after.totals == rewritten.before.totals


@pytest.mark.parametrize("options", [{"stack3x3": True}, {"separable": True}, {"width": 0.5}, {"num_classes": 3}])
def test_a_parametrized_layer_is_one_refused_row(options: dict[str, Any]) -> None:
    weight_norm = torch.nn.utils.parametrizations.weight_norm
    layers = [weight_norm(conv(8, 8, 5, padding=2)), nn.ReLU(), conv(8, 8, 5), nn.Flatten()]
    rewritten = whatif(nn.Sequential(*layers, weight_norm(nn.Linear(1152, 4))), (1, 8, 16, 16), **options)
    refused = "4" if "num_classes" in options else "0"
    assert [refusal.path for refusal in rewritten.refused] == [refused]
    assert "does not keep what it was made with" in why(rewritten)
    assert paths(rewritten) == (["2"] if "stack3x3" in options or "separable" in options else [])


def test_a_projection_is_not_made_like_a_parametrized_layer() -> None:
    strange = torch.nn.utils.parametrizations.weight_norm(conv(8, 16, padding=1))
    rewritten = whatif(nn.Sequential(conv(4, 8, padding=1), nn.ReLU(), strange, nn.ReLU()), (1, 4, 8, 8), residual=True)
    assert [refusal.path for refusal in rewritten.refused] == ["2"]
    assert "does not keep" in why(rewritten)
