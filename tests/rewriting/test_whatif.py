"""`whatif`: the user's model stays as it is, rewrites combine, and what cannot be rewritten is refused clearly."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from archprof import whatif
from archprof.errors import ArchprofError, TraceError, UsageError

EVERYTHING: dict[str, Any] = {
    "stack3x3": True, "add_bn": True, "residual": True, "separable": True, "no_fc": True, "width": 0.5,
    "num_classes": 7,
}  # fmt: skip


def small() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(16 * 8 * 8, 32), nn.ReLU(), nn.Linear(32, 10),
    )  # fmt: skip


def test_the_users_model_is_only_read() -> None:
    model = small()
    model[1].eval()
    model[0].register_forward_hook(lambda *_: None)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    identity = {name: id(tensor) for name, tensor in model.named_parameters()}
    rewritten = whatif(model, (1, 3, 16, 16), **EVERYTHING)
    assert rewritten.after.totals.params != rewritten.before.totals.params
    assert [type(layer).__name__ for layer in model] == [type(layer).__name__ for layer in small()]
    assert {name: id(tensor) for name, tensor in model.named_parameters()} == identity
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [layer.training for layer in model] == [True, False, True, True, True, True, True]
    assert [len(layer._forward_hooks) for layer in model] == [1, 0, 0, 0, 0, 0, 0]
    assert [refusal.path for refusal in rewritten.refused if "hooks" in refusal.why] == ["0"]


def test_the_rewritten_model_is_without_values_and_hooks() -> None:
    model = whatif(small(), (1, 3, 16, 16), **EVERYTHING).model
    assert all(parameter.is_meta for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks or module.training for module in model.modules())


def test_rewrites_combine_in_the_order_of_the_lectures() -> None:
    rewritten = whatif(small(), (1, 3, 16, 16), **EVERYTHING)
    order = list(dict.fromkeys(change.rewrite for change in rewritten.applied))
    assert order == list(EVERYTHING)
    assert rewritten.after.layers[0].outputs[0].shape == (1, 7)
    assert rewritten.after.inputs == ("float32[1,3,16,16]",)


@pytest.mark.parametrize("name", ["vgg16", "resnet18", "torchvision:googlenet", "torchvision:vit_b_16"])
def test_without_a_rewrite_nothing_changes_but_what_is_never_called(name: str) -> None:
    rewritten = whatif(name)
    before, after = rewritten.before.totals, rewritten.after.totals
    left_out = {change.path for change in rewritten.applied}
    unused = sum(layer.params for layer in rewritten.before.layers if layer.path in left_out)
    assert bool(left_out) == (name == "torchvision:googlenet")
    assert after.params == before.params - unused
    assert (after.macs, after.flops) == (before.macs, before.flops)
    assert after.activation_elements == before.activation_elements


class Branches(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:
            return x
        return -x


class Optional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None, twice: bool = False) -> torch.Tensor:
        y: torch.Tensor = self.conv(x)
        if mask is not None:
            y = y * mask
        return self.conv(y[:, :3]) if twice else y


def test_a_forward_that_decides_by_values_is_refused_with_its_line() -> None:
    with pytest.raises(ArchprofError, match=r"test_whatif\.py, line \d+") as caught:
        whatif(Branches(), (1, 3, 8, 8), add_bn=True)
    assert "control flow" in str(caught.value)


def test_arguments_that_are_no_tensors_have_the_value_of_the_call() -> None:
    plain = whatif(Optional(), (1, 3, 8, 8))
    assert plain.after.totals.macs == 27 * 4 * 36
    twice = whatif(Optional(), {"x": (1, 3, 8, 8), "twice": True})
    assert twice.after.totals.macs == 27 * 4 * (36 + 16)
    masked = whatif(Optional(), {"x": (1, 3, 8, 8), "mask": (6, 6)})
    assert masked.after.totals.flops > plain.after.totals.flops


class Listed(nn.Module):
    def forward(self, images: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(images)


def test_a_list_of_images_is_refused() -> None:
    with pytest.raises(ArchprofError, match="images is of type list"):
        whatif(Listed(), ([(3, 8, 8), (3, 8, 8)],), add_bn=True)


def test_a_wrong_input_is_the_error_of_the_trace() -> None:
    with pytest.raises(TraceError):
        whatif(small(), (1, 4, 16, 16))


@pytest.mark.parametrize(
    "options", [{"middle": 32}, {"width": 0}, {"num_classes": -1}, {"stack3x3": True, "middle": 0}]
)
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        whatif(small(), (1, 3, 16, 16), **options)


def test_dtype_and_batch() -> None:
    rewritten = whatif(small(), "3x16x16", batch=4, dtype="float16", add_bn=True)
    assert rewritten.after.dtype == rewritten.before.dtype == "float16"
    assert rewritten.after.layers[0].outputs[0].shape == (4, 10)


def test_a_saved_profile_cannot_be_rewritten() -> None:
    with pytest.raises(UsageError, match="saved profile"):
        whatif("r18.json", add_bn=True)
