"""A training step in the facts against real training on the CPU: live bytes after every op of three steps."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from tracing.real_storages import live_bytes, train_for_real

import archprof
from archprof.facts.liveness import compute_peak_bytes

IMAGE = (4, 3, 16, 16)
WORDS = (2, 5, 8)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.unused = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(x)


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Residual(), Residual()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = checkpoint(self.first, x + 0 * self.second.unused.weight[0], use_reentrant=False)
        return checkpoint(self.second, x, use_reentrant=False)


def make_convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.GELU(),
        nn.Flatten(), nn.Linear(16 * 6 * 6, 10), nn.Dropout(0.5),
    )  # fmt: skip


def make_frozen() -> nn.Module:
    net = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 4))
    net[0].weight.requires_grad_(False)
    return net


NETS = {
    "convolutional": (make_convolutional, IMAGE), "residual": (Residual, WORDS), "checkpointed": (Checkpointed, WORDS),
    "frozen": (make_frozen, WORDS),
}  # fmt: skip

OPTIMIZERS: dict[str, Any] = {
    "sgd": partial(torch.optim.SGD, foreach=True),
    "sgd(foreach=False)": partial(torch.optim.SGD, foreach=False),
    "sgd(momentum=0.9, weight_decay=0.1)": partial(torch.optim.SGD, momentum=0.9, weight_decay=0.1, foreach=True),
    "Adam": partial(torch.optim.Adam, foreach=True),
    "adam(amsgrad=True, weight_decay=0.1)": partial(torch.optim.Adam, amsgrad=True, weight_decay=0.1, foreach=True),
    "adamw(foreach=False)": partial(torch.optim.AdamW, foreach=False),
    "adamw(fused=True)": partial(torch.optim.AdamW, fused=True),
    "adafactor": torch.optim.Adafactor,
    "rmsprop": partial(torch.optim.RMSprop, foreach=True),
    "adagrad": partial(torch.optim.Adagrad, foreach=True),
    "nadam": partial(torch.optim.NAdam, foreach=True),
    "radam": partial(torch.optim.RAdam, foreach=True),
    "adadelta": partial(torch.optim.Adadelta, foreach=True),
    "adamax": partial(torch.optim.Adamax, foreach=True),
    "rprop(foreach=False)": partial(torch.optim.Rprop, foreach=False),
}


def assert_equal_to_real(net: str, optimizer: str, **options: Any) -> None:
    make, shape = NETS[net]
    real = train_for_real(make(), (torch.randn(shape),), OPTIMIZERS[optimizer], **options)
    profile = archprof.profile(make(), shape, train=True, optimizer=optimizer, **options)
    profile.check()
    assert live_bytes(profile, "steady") == real[1] == real[2]
    assert compute_peak_bytes(profile) == max(real[2])
    assert live_bytes(profile, "first") == real[0]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer(optimizer: str) -> None:
    assert_equal_to_real("convolutional", optimizer)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("options", [{}, {"accumulate": 3}, {"set_to_none": False}], ids=["plain", "sum", "kept"])
def test_every_way_of_training(net: str, options: dict[str, Any]) -> None:
    assert_equal_to_real(net, "Adam", **options)


@pytest.mark.parametrize("optimizer", ["adam", "nadam", "adamw(foreach=False)"])
def test_a_step_that_can_be_captured(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On CUDA it computes with the number of steps on the device; torch is told that the CPU can, too."""
    for name in ("adam", "nadam"):
        place = sys.modules[f"torch.optim.{name}"]
        listed = place._get_capturable_supported_devices
        monkeypatch.setattr(
            place, "_get_capturable_supported_devices", lambda *a, ask=listed, **k: [*ask(*a, **k), "cpu"]
        )
    name, _, rest = optimizer.removesuffix(")").partition("(")
    options = [*([rest] if rest else []), "capturable=True"]
    make = partial(OPTIMIZERS.get(optimizer) or OPTIMIZERS["Adam"], capturable=True)
    real = train_for_real(make_frozen(), (torch.randn(WORDS),), make)
    profile = archprof.profile(make_frozen(), WORDS, train=True, optimizer=f"{name}({', '.join(options)})")
    assert [max(live_bytes(profile, kind)) for kind in ("first", "steady")] == [max(real[0]), max(real[2])]
    if "foreach=False" in optimizer:  # many at once, the CPU makes a tensor of the number one
        assert live_bytes(profile, "steady") == real[1] == real[2]


def test_the_facts_of_a_step() -> None:
    """One 3 x 2 weight: Adam keeps two of its size and a counter; its step lends itself one more for the root."""
    profile = archprof.profile(nn.Linear(3, 2, bias=False), (1, 3), train=True, optimizer="adam")
    roles = [(one.role, one.nbytes) for one in profile.storages]
    assert sorted(size for role, size in roles if role == "optimizer state") == [4, 24, 24]
    training = profile.training
    assert training is not None
    assert {op.phase for op in profile.ops[training.first :]} == {"optimizer"}
    roots = [op for op in profile.ops if op.name == "aten._foreach_sqrt"]
    made = [profile.storages[profile.tensors[op.outputs[0]].storage] for op in roots]
    assert [(one.role, one.nbytes) for one in made] == [("temporary", 24)] * 2


def test_the_counts_of_a_model_are_those_without_an_optimizer() -> None:
    plain = archprof.profile("lenet5", train=True)
    stepped = archprof.profile("lenet5", train=True, optimizer="adamw(fused=True)")
    assert stepped.totals == plain.totals


def test_a_step_is_saved_and_read_again(tmp_path: Any) -> None:
    profile = archprof.profile("lenet5", train=True, optimizer="sgd(momentum=0.9)", accumulate=2)
    profile.save(tmp_path / "a.json")
    read = archprof.load(tmp_path / "a.json")
    assert (read.training, read.storages) == (profile.training, profile.storages)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "adma"}, "no optimizer in torch.optim called 'adma'.\nNear it: .*Adam"),
        ({"optimizer": "adam(foo=1)"}, "no argument of Adam called 'foo'"),
        ({"optimizer": "adam(lr=-1)"}, "cannot train .*: Invalid learning rate"),
        ({"optimizer": "adam("}, "cannot be read"),
        ({"optimizer": "net.py:Mine"}, "none of torch.optim"),
        ({"optimizer": "lbfgs"}, "cannot make a step here: .*closure"),
        ({"optimizer": "adam(differentiable=True)"}, "cannot make a step here: a leaf Variable that requires grad"),
        ({"optimizer": "adam(fused=True, foreach=True)"}, "cannot be `True` together.$"),
        ({"optimizer": ""}, "The optimizer '' cannot be read"),
        ({"checkpoint": [3]}, "A pattern of blocks cannot be 3"),
        ({"optimizer": "muon"}, "only supports 2D parameters"),
        ({"optimizer": "sgd", "accumulate": 0}, "cannot be accumulated"),
        ({"optimizer": "sgd", "train": False}, "An optimizer is asked for, and no training"),
        ({"accumulate": 2, "train": False}, "What becomes of gradients is asked for, and no training"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(archprof.UsageError, match=message):
        archprof.profile("lenet5", **{"train": True, **options})


def test_a_model_that_cannot_be_trained_is_refused() -> None:
    frozen = nn.Linear(3, 2).requires_grad_(False)
    with pytest.raises(archprof.UsageError, match="no trainable parameter"):
        archprof.profile(frozen, (1, 3), train=True, optimizer="sgd")


def test_a_layer_has_no_block_to_checkpoint() -> None:
    with pytest.raises(archprof.UsageError, match="Linear has no block to checkpoint"):
        archprof.profile(nn.Linear(3, 2), (1, 3), train=True, checkpoint="0")


@pytest.mark.parametrize(("device", "said"), [("", "no device in the catalogue called ''"), (3, "cannot be 3")])
def test_what_is_no_device(device: Any, said: str) -> None:
    with pytest.raises(archprof.UsageError, match=said):
        archprof.predict_memory("lenet5", device=device)


def test_torch_is_afterwards_what_it_was() -> None:
    places = [sys.modules[name] for name in (torch.optim.Optimizer.__module__, torch.optim.Adam.__module__)]
    before = [vars(place).copy() for place in places]
    own = vars(torch.optim.Optimizer.add_param_group.__wrapped__).copy()
    archprof.profile("lenet5", train=True, optimizer="adam(capturable=True)")
    assert [vars(place) for place in places] == before
    assert vars(torch.optim.Optimizer.add_param_group.__wrapped__) == own


def test_an_op_on_a_list_costs_one_flop_an_element() -> None:
    profile = archprof.profile(nn.Linear(3, 2), (1, 3), train=True, optimizer="sgd(momentum=0.9)")
    assert profile.training is not None
    later = profile.ops[profile.training.steady :]
    assert [(op.name, op.flops) for op in later] == [
        ("aten._foreach_mul_", 8), ("aten._foreach_add_", 8), ("aten._foreach_add_", 8),
    ]  # fmt: skip
