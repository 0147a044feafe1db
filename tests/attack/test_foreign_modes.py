"""Inside modes of others a profile is what it is outside them, and the modes are on again afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack

import archprof


class RefusesOps(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError("no ops here")


class RefusesFunctions(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError("no functions here")


MODES = {
    "fake tensors": FakeTensorMode,
    "refuses ops": RefusesOps,
    "refuses functions": RefusesFunctions,
    "anomalies": lambda: torch.autograd.detect_anomaly(check_nan=True),
    "a device": lambda: torch.device("meta"),
    "inference": torch.inference_mode,
}


def stacks() -> Any:
    modes = [*_get_current_dispatch_mode_stack(), *_get_current_function_mode_stack()]
    return list(map(id, modes)), torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()


@pytest.mark.parametrize("kind", MODES)
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_a_profile_inside_a_mode_is_that_outside(kind: str, train: bool) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    wanted = archprof.profile(model, "3x8x8", train=train)
    named = archprof.profile("conv3-4 relu", "3x8x8", train=train)
    with MODES[kind]():
        before = stacks()
        found = archprof.profile(model, "3x8x8", train=train)
        found_by_name = archprof.profile("conv3-4 relu", "3x8x8", train=train)
        assert stacks() == before
    assert (found.totals, found.ran.device, found.notes) == (wanted.totals, "meta", wanted.notes)
    assert found.ops == wanted.ops
    assert found_by_name.totals == named.totals


TRANSFORMS: dict[str, Callable[[Callable[[torch.Tensor], torch.Tensor]], Any]] = {
    "vmap": lambda inside: torch.func.vmap(inside)(torch.ones(3, 2, 4)),
    "jvp": lambda inside: torch.func.jvp(inside, (torch.ones(2, 4),), (torch.ones(2, 4),)),
    "functionalize": lambda inside: torch.func.functionalize(inside)(torch.ones(2, 4)),
    "a graph": lambda inside: make_fx(inside, tracing_mode="fake")(torch.ones(2, 4)),
    "a script": lambda inside: torch.jit.trace(inside, torch.ones(2, 4), check_trace=False),
    "grad": lambda inside: torch.func.grad(inside)(torch.ones(2, 4)),
}


@pytest.mark.parametrize("kind", TRANSFORMS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
def test_a_profile_inside_a_transform_is_that_outside(kind: str) -> None:
    """Of a tensor of the transform its shape is known; `grad` forbids hooks on saved tensors, which training takes."""
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU())
    trains = (False,) if kind == "grad" else (False, True)
    wanted = [archprof.profile(model, (2, 4), train=train) for train in trains]
    found = []

    def inside(x: torch.Tensor) -> torch.Tensor:
        found.extend(archprof.profile(model, given, train=train) for given in ((2, 4), x) for train in trains)
        return (x * 2).sum()

    TRANSFORMS[kind](inside)
    assert [profile.totals for profile in found] == [profile.totals for profile in wanted * 2]
    assert [profile.ran.device for profile in found] == ["meta"] * len(found)


def test_a_mode_inside_the_forward_is_the_models_own() -> None:
    class Inside(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with RefusesOps():
                return super().forward(x)

    with pytest.raises(archprof.TraceError, match="no ops here"):
        archprof.profile(Inside(4, 4), torch.zeros(1, 4))
