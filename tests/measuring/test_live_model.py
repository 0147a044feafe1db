"""What is run: a copy with random inputs, and nothing but the stages of one pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from archprof.facts.request import MeasureRequest, PassRequest
from archprof.measuring.live_model import LiveModel, PassStage
from archprof.sources.resolve import resolve


def subject(model: Any, inputs: Any, **options: Any) -> LiveModel:
    how = MeasureRequest("cpu", channels_last=options.pop("channels_last", False))
    return LiveModel(resolve(model, inputs), PassRequest(**{"batch": 2, "dtype": "float32"} | options), how)


def stages(subject: LiveModel) -> list[tuple[PassStage, bool, bool]]:
    """Each stage, whether it came with a loss, and whether gradients were on."""
    seen: list[tuple[PassStage, bool, bool]] = []
    subject.run_pass(lambda stage, loss: seen.append((stage, loss is not None, torch.is_grad_enabled())))
    return seen


def test_a_forward_is_one_stage_without_gradients() -> None:
    one = subject(nn.Linear(3, 3), "3")
    assert stages(one) == [("forward", False, False), ("end", False, True)]
    assert not one.model.training


def test_a_step_goes_through_its_stages_and_moves_no_weight() -> None:
    one = subject(nn.Linear(3, 3), "3", train=True)
    before = [parameter.clone() for parameter in one.model.parameters()]
    assert [stage[:2] for stage in stages(one)] == [
        ("outside", False), ("forward", False), ("outside", False), ("backward", True), ("optimizer", False),
        ("end", False),
    ]  # fmt: skip
    for parameter, old in zip(one.model.parameters(), before, strict=True):
        assert torch.equal(parameter, old)
        assert parameter.grad is not None
    one.drop_gradients()
    assert all(parameter.grad is None for parameter in one.model.parameters())


@pytest.mark.parametrize("train", [False, True])
def test_a_lazy_layer_has_its_weights_before_the_first_pass(train: bool) -> None:
    one = subject(
        nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(5)), "3x8x8", channels_last=True, train=train
    )
    assert [parameter.numel() for parameter in one.model.parameters()] == [4 * 27, 4, 5 * 4 * 36, 5]
    assert one.model[0].weight.is_contiguous(memory_format=torch.channels_last)
    one.run_pass()


def test_the_loss_is_the_sum_of_the_means_of_the_outputs() -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 4), nn.Linear(3, 5)

        def forward(self, tensor: torch.Tensor) -> Any:
            return {"a": self.first(tensor), "b": [self.second(tensor), tensor.argmax()]}

    one = subject(Heads(), "3", train=True)
    one.run_pass()
    # The mean over 2 x 4 outputs: the gradient of each bias is 2 / 8.
    assert torch.allclose(one.model.first.bias.grad, torch.full((4,), 1 / 4))  # type: ignore[union-attr, arg-type]
    assert torch.allclose(one.model.second.bias.grad, torch.full((5,), 1 / 5))  # type: ignore[union-attr, arg-type]
    assert "the sum of the means of the outputs" in one.notes[0]


class Loss(NamedTuple):
    loss: torch.Tensor
    logits: torch.Tensor


@pytest.mark.parametrize("pack", [lambda a, b: {"loss": a, "logits": b}, Loss])
def test_a_loss_of_the_models_own_is_taken(pack: Callable[..., Any]) -> None:
    class Own(nn.Linear):
        def forward(self, tensor: torch.Tensor) -> Any:
            logits = super().forward(tensor)
            return pack(logits.sum(), logits)

    one = subject(Own(3, 4), "3", train=True)
    one.run_pass()
    assert torch.equal(one.model.bias.grad, torch.full((4,), 2.0))  # type: ignore[arg-type]
    assert "the one that the model returns" in one.notes[0]


def test_flags_that_the_user_set_stay_in_training() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    model[1].eval()
    assert [module.training for module in subject(model, "3", train=True).model.modules()] == [True, True, False]
    assert [module.training for module in subject(model.eval(), "3", train=True).model.modules()] == [True] * 3


def test_a_built_in_model_gets_real_weights() -> None:
    one = subject("resnet18", None)
    weights = list(one.model.parameters())
    assert not any(weight.is_meta for weight in weights)
    assert weights[0].std() > 0.01


def test_inputs_of_every_form_reach_the_device_and_keep_their_form() -> None:
    class Takes(nn.Module):
        def forward(self, pair: tuple[torch.Tensor, torch.Tensor], *, ids: torch.Tensor, flag: bool) -> torch.Tensor:
            assert isinstance(pair, tuple)
            assert flag is True
            assert ids.dtype == torch.int64
            assert int(ids.max()) < 7
            return pair[0] + pair[1]

    shapes = {"pair": ("[4,3]", "[4,3]"), "ids": "int64[4]<7", "flag": True}
    one = subject(Takes(), shapes, channels_last=True)
    one.run_pass()
    assert one.kwargs["pair"][0].dtype == torch.float32


@pytest.mark.parametrize("train", [False, True])
def test_the_forward_alone_runs_under_autocast(train: bool) -> None:
    one = subject(nn.Linear(3, 3), "3", train=train, amp="bfloat16")
    seen: list[tuple[torch.dtype, bool]] = []
    one.model.register_forward_hook(lambda *args: seen.append((args[2].dtype, torch.is_autocast_enabled("cpu"))))
    one.run_pass(lambda stage, loss: seen.append((torch.float32, torch.is_autocast_enabled("cpu"))))
    assert seen.count((torch.bfloat16, True)) == 1
    assert {on for dtype, on in seen if dtype == torch.float32} == {False}
