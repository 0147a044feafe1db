"""Building without memory or time. Oracle: the same constructor run by torch itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision.models
from torch import nn

from archprof.errors import ArchprofError
from archprof.sources.build import MAX_READABLE_ELEMENTS, build_on_meta, build_with_values, move_to_meta


def tensors(model: nn.Module) -> dict[str, Any]:
    """What a state_dict holds, and what is trained, without the values."""
    state = {name: (tuple(t.shape), t.dtype) for name, t in model.state_dict(keep_vars=True).items()}
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    return {"state": state, "trained": trained, "names": [name for name, _ in model.named_modules()]}


@pytest.mark.parametrize(
    "name",
    [
        "alexnet", "densenet121", "efficientnet_b0", "maxvit_t", "mobilenet_v3_small", "mvit_v2_s", "raft_small",
        "quantized_resnet18", "regnet_y_400mf", "resnet18", "shufflenet_v2_x0_5", "squeezenet1_1", "swin_v2_t",
    ],
)  # fmt: skip
def test_torchvision_models_are_as_torchvision_builds_them(name: str) -> None:
    builder = torchvision.models.get_model_builder(name)
    built, real = build_on_meta(builder), builder()
    assert tensors(built) == tensors(real)
    assert all(parameter.is_meta for parameter in built.parameters())


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("fasterrcnn_resnet50_fpn", {"weights_backbone": None}),
        ("ssd300_vgg16", {"weights_backbone": None}),
        ("deeplabv3_resnet50", {"weights_backbone": None, "aux_loss": True}),
        ("googlenet", {"init_weights": False}),
        ("vit_h_14", {}),
        ("swin3d_t", {}),
    ],
)
def test_large_models_are_as_torch_builds_them_on_meta(name: str, arguments: dict[str, Any]) -> None:
    def make() -> nn.Module:
        return torchvision.models.get_model(name, weights=None, **arguments)

    with torch.device("meta"):
        wanted = make()
    assert tensors(build_on_meta(make)) == tensors(wanted)


def test_a_constructor_that_reads_values_gets_them() -> None:
    model = build_on_meta(torchvision.models.regnet_y_128gf)  # reads its computed widths, which torch cannot on meta
    assert sum(p.numel() for p in model.parameters()) == 644_812_894  # torchvision's num_params of the SWAG weights


class Reads(nn.Module):
    """Its shape depends on values that are random."""

    def __init__(self) -> None:
        super().__init__()
        width = 3 + int(torch.empty(5).uniform_(0, 1).sum() > 9)
        self.linear = nn.Linear(width, MAX_READABLE_ELEMENTS)


def test_a_constructor_that_reads_random_values_runs_for_real() -> None:
    model = build_on_meta(Reads)
    assert model.linear.weight.shape == (MAX_READABLE_ELEMENTS, 3)
    assert model.linear.weight.is_meta


class Layers(nn.Module):
    """Every way in which constructors fill tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.large = nn.Parameter(torch.randn(300, 300) * 0.02 + 1)
        self.halved = nn.Parameter(torch.ones(300, 300, dtype=torch.float16) / 2)
        self.full = nn.Parameter(torch.full((300, 300), 1.5), requires_grad=False)
        self.register_buffer("mask", torch.tril(torch.ones(64, 64, dtype=torch.bool)))
        self.register_buffer("index", torch.arange(10))
        self.register_buffer("many", torch.zeros(300, 300, dtype=torch.int64))
        self.register_buffer("random", torch.randint(5, (300, 300)))
        self.register_buffer("like", torch.zeros_like(self.large))
        self.register_buffer("missing", None)
        self.register_buffer("passing", torch.ones(3), persistent=False)
        self.rnn = nn.LSTM(20, 30, num_layers=2, bidirectional=True)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 5))
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, batch_first=True), 2)
        self.embedding = nn.Embedding(5000, 32, padding_idx=0)
        nn.init.orthogonal_(self.embedding.weight)
        nn.init.dirac_(nn.Conv2d(4, 4, 3).weight)
        self.wide = nn.Linear(3, 3).double()
        with torch.no_grad():
            self.large[0, :5] = torch.arange(5.0)
            self.embedding.weight.t_().t_()


def test_every_way_to_fill_a_tensor() -> None:
    built, real = build_on_meta(Layers), Layers()
    assert tensors(built) == tensors(real)
    assert {name for name, t in built.named_buffers() if not t.is_meta} == {"mask", "index"}
    assert torch.equal(built.mask, real.mask)
    assert built.passing.is_meta


class Tied(nn.Module):
    def __init__(self, rows: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(rows, 4)
        self.head = nn.Linear(4, rows, bias=False)
        self.head.weight = self.embedding.weight
        self.scale = nn.Parameter(torch.ones(3))
        self.again = self.scale


@pytest.mark.parametrize("rows", [2, 100_000])
@pytest.mark.parametrize("make", [build_on_meta, lambda factory: _moved(factory())])
def test_ties_stay(rows: int, make: Callable[[Callable[[], Tied]], Tied]) -> None:
    model = make(lambda: Tied(rows))
    assert model.head.weight is model.embedding.weight
    assert model.scale is model.again
    assert all(parameter.is_meta for parameter in model.parameters())
    assert len(list(model.parameters())) == 2


def _moved(model: Tied) -> Tied:
    move_to_meta(model)
    return model


def test_marks_on_parameters_stay() -> None:
    def make() -> nn.Module:
        layer = nn.Module()
        layer.scale = nn.Parameter(torch.ones(3), requires_grad=False)
        layer.scale.no_decay = True  # type: ignore[attr-defined]
        return layer

    scale = build_on_meta(make).scale
    assert scale.is_meta
    assert scale.no_decay is True
    assert scale.requires_grad is False


class Careless(nn.Module):
    """Changes what is not its own, and then may fail."""

    def __init__(self, fails: bool) -> None:
        super().__init__()
        torch.manual_seed(7)
        torch.rand(5)
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        torch.set_grad_enabled(False)
        if fails:
            raise KeyError("as it happens")


@pytest.mark.parametrize("make", [build_on_meta, build_with_values])
@pytest.mark.parametrize("fails", [False, True])
def test_torch_is_left_as_it_was(make: Callable[[Callable[[], Any]], Any], fails: bool) -> None:
    state = torch.get_rng_state()
    try:
        make(lambda: Careless(fails))
    except KeyError:
        assert fails
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_default_dtype() is torch.float32
    assert torch.get_default_device() == torch.device("cpu")
    assert torch.is_grad_enabled()
    assert not torch.empty(3).is_meta


class Lazy(nn.Module):
    """Built for real, since a real tensor takes its values from one on meta."""

    def __init__(self) -> None:
        super().__init__()
        self.lazy = nn.LazyLinear(3)
        self.scale = nn.Parameter(torch.zeros(4).copy_(torch.empty(4).normal_()))


def test_lazy_layers_stay_lazy() -> None:
    model = build_on_meta(Lazy)
    assert model.scale.is_meta
    assert model.lazy.has_uninitialized_params()


def test_an_error_of_the_constructor_is_its_own() -> None:
    calls = []

    def fails() -> nn.Module:
        calls.append(1)
        raise RuntimeError("no such layer")

    with pytest.raises(RuntimeError, match="no such layer"):
        build_on_meta(fails)
    assert calls == [1]


def test_models_inside_a_tuple_are_moved() -> None:
    model, example = build_on_meta(lambda: (nn.BatchNorm2d(3), torch.zeros(1, 3)))
    assert model.running_mean.is_meta
    assert not example.is_meta


def test_a_real_build_is_real_and_the_same_each_time() -> None:
    one, two = build_with_values(lambda: nn.Linear(5, 5)), build_with_values(lambda: nn.Linear(5, 5))
    assert torch.equal(one.weight, two.weight)
    assert not one.weight.is_meta


@pytest.mark.parametrize(
    "factory",
    ["vgg.vgg16", "resnet.resnet50", "lambda: torch.nn.Transformer(64, 4)"],
    ids=["vgg16", "resnet50", "transformer"],
)
def test_building_does_not_load_the_compiler(factory: str) -> None:
    code = (
        "import sys, torch; from archprof.models import resnet, vgg; from archprof.sources.build import build_on_meta;"
        f"build_on_meta({factory}); assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_real_tensors_stop_at_a_quarter_of_the_memory(monkeypatch):
    monkeypatch.setattr("archprof.sources.build._machine_memory", lambda: 4 * 2**20)
    assert build_with_values(lambda: nn.Linear(250, 1000)).weight.numel() == 250_000
    with pytest.raises(ArchprofError, match="its tensors take more than"):
        build_with_values(lambda: nn.Linear(300, 1000))
    with pytest.raises(ArchprofError, match="needs values"):
        build_on_meta(lambda: nn.Linear(300, 1000 + round(nn.Linear(300, 1000).weight.sum().item())))
