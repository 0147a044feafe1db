"""The written module: readable, harmless whatever the names, and exactly what was announced."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import fx, nn
from written import check_same, load, run, save

from archprof import whatif
from archprof.errors import ArchprofError
from archprof.rewriting import write_module


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()
        )
        self.fc = nn.Linear(4, 2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        y = self.features(image)
        y = nn.functional.dropout(y, 0.5, training=self.training)
        return self.fc(y.mean((2, 3)))  # type: ignore[no-any-return]


WRITTEN = '''"""Tiny after num_classes (1 change); made by `archprof whatif`.

Parameters: 270 before, 275 now. MACs: 16,136 before, 16,140 now.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Net(nn.Module):
    """Takes float32[1,3,8,8]."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(4, 4, kernel_size=3, padding=1),
            nn.ReLU(),
        )
        self.fc = nn.Linear(4, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.features(image)
        x = functional.dropout(x, p=0.5, training=self.training, inplace=False)
        x = x.mean((2, 3))
        x = self.fc(x)
        return x


def model() -> Net:
    """The net with new weights."""
    return Net()
'''


def test_the_code_is_what_one_would_write(tmp_path: Path) -> None:
    rewritten = whatif(Tiny(), (1, 3, 8, 8), num_classes=3)
    assert write_module(rewritten) == WRITTEN
    file = save(rewritten, tmp_path)
    check_same(rewritten, file)
    assert run(file, torch.randn(2, 3, 8, 8)).shape == (2, 3)


def test_dropout_follows_the_mode(tmp_path: Path) -> None:
    net = load(save(whatif(Tiny(), (1, 3, 8, 8)), tmp_path)).model()
    x = torch.randn(1, 3, 8, 8)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


def test_it_computes_what_the_model_computes(tmp_path: Path) -> None:
    model = Tiny().eval()
    net = load(save(whatif(model, (1, 3, 8, 8)), tmp_path)).model().eval()
    net.load_state_dict(model.state_dict())  # the layers keep their names
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(net(x), model(x))


@pytest.mark.parametrize(
    "name", ["class", "a-b", "7", "__private", "keys", "with space", "torch", "nn", "größe", "self"]
)
def test_any_name_of_a_layer_is_only_a_name(name: str, tmp_path: Path) -> None:
    model, inner = nn.Sequential(), nn.Sequential()
    inner.add_module(name, nn.Conv2d(3, 8, 3, padding=1))
    inner.add_module("other", nn.ReLU())
    model.add_module(name, inner)
    model.add_module("last", nn.Conv2d(8, 8, 3, padding=1))
    model.add_module("act", nn.ReLU())
    for residual in (False, True):  # as one nn.Sequential, and taken apart by a shortcut
        rewritten = whatif(model, (1, 3, 8, 8), residual=residual, num_classes=4)
        file = save(rewritten, tmp_path)
        check_same(rewritten, file)
        run(file, torch.randn(2, 3, 8, 8))


def test_a_name_that_could_end_a_string_is_refused() -> None:
    model = nn.Sequential()
    model.add_module('x"); print("no', nn.Conv2d(3, 8, 3))
    with pytest.raises(ArchprofError, match="has a layer called"):
        whatif(model, (1, 3, 8, 8))


def test_the_name_of_the_model_cannot_end_the_docstring(tmp_path: Path) -> None:
    made = type('Net""" ; raise SystemExit \\', (Tiny,), {})
    file = save(whatif(made(), (1, 3, 8, 8)), tmp_path)
    load(file).model()


@fx.wrap
def my_own(x: torch.Tensor) -> torch.Tensor:
    return x * 2


class Wrapped(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return my_own(x)


class Table(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.arange(100))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, self.table]


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 8)
        self.two.weight = self.one.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(self.one(x))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("model", "shape", "words"),
    [
        (Wrapped(), (1, 8), "my_own is neither torch's nor torchvision's"),
        (Table(), (1, 100), "100 numbers"),
        (Tied(), (1, 8), "share one parameter"),
        (nn.TransformerEncoderLayer(8, 2, batch_first=True), (1, 4, 8), "does not keep what it was made with"),
    ],
)
def test_what_cannot_be_written_is_refused(model: nn.Module, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ArchprofError, match=words):
        write_module(whatif(nn.Sequential(model), shape))


class Free(nn.Module):
    """A parameter, a small constant, slices, shapes and a dict as output."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4, 1, 1))
        self.register_buffer("order", torch.tensor([2, 0, 1]))
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = self.conv(x[:, self.order]) * self.scale
        y *= 2.0
        height = y.shape[-2] // 2
        return {"out": y[..., :height, 1::2].reshape(x.size(0), -1).clamp(min=-float("inf"))}


def test_tensors_without_a_layer_and_plain_python(tmp_path: Path) -> None:
    rewritten = whatif(Free(), (1, 3, 8, 8))
    file = save(rewritten, tmp_path)
    check_same(rewritten, file)
    net, x = load(file).model(), torch.randn(2, 3, 8, 8)
    model = Free()
    net.load_state_dict(model.state_dict())
    torch.testing.assert_close(net(x)["out"], model(x)["out"])


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.fc = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.features(x).mean((2, 3)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_the_net_is_in_the_dtype_of_the_pass(dtype: str, tmp_path: Path) -> None:
    rewritten = whatif(Normed(), "3x8x8", dtype=dtype, num_classes=3)
    file = save(rewritten, tmp_path)
    check_same(rewritten, file)
    assert run(file, torch.randn(2, 3, 8, 8, dtype=getattr(torch, dtype))).dtype is getattr(torch, dtype)
    own = whatif(Normed().to(getattr(torch, dtype)), [f"{dtype}[2,3,8,8]"], num_classes=3)
    check_same(own, save(own, tmp_path, "own.py"))


def test_parameters_of_several_dtypes_are_refused() -> None:
    class Mixed(Normed):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.features(x).mean((2, 3)).double())  # type: ignore[no-any-return]

    model = Mixed()
    model.fc.double()
    with pytest.raises(ArchprofError, match=r"torch\.float32 and torch\.float64"):
        write_module(whatif(model, (1, 3, 8, 8)))


@pytest.mark.parametrize("frozen", ["features", "features.1", "features.0.weight", ""])
def test_what_is_frozen_stays_frozen(frozen: str, tmp_path: Path) -> None:
    model = Normed()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen))
    rewritten = whatif(model, (1, 3, 8, 8), width=2.0, num_classes=3)
    assert rewritten.applied
    written = load(save(rewritten, tmp_path)).model()
    for net in (rewritten.model, written):
        kept = {name: parameter.requires_grad for name, parameter in net.named_parameters()}
        assert kept == {name: parameter.requires_grad for name, parameter in model.named_parameters()}


def test_what_stands_for_a_frozen_convolution_is_frozen() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 5).requires_grad_(False), nn.ReLU(), nn.Conv2d(8, 8, 3))
    for options in ({"stack3x3": True}, {"separable": True}):
        net = whatif(model, (1, 3, 16, 16), **options).model
        assert {parameter.requires_grad for parameter in net.get_submodule("0").parameters()} == {False}
        assert any(parameter.requires_grad for parameter in net.parameters())
