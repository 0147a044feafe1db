"""Depth in weight layers, against the depths that papers give."""

import builders
import pytest
import torch
from torch import nn

import archprof
from archprof.analysis.weight_depth import count_weight_layers
from archprof.models import registry


@pytest.mark.parametrize("name", registry.list_builtin_names())
def test_built_in_models_have_the_depth_of_their_papers(name):
    """Rows V8, D11 and M13 of the lectures among them: VGG A to E has 11 to 19, AlexNet and ZFNet have 8."""
    assert count_weight_layers(archprof.profile(name)) == registry.BUILTIN_MODELS[name].depth


@pytest.mark.parametrize(
    ("name", "depth"),
    [("googlenet", 22), ("densenet121", 121), ("wide_resnet50_2", 50), ("resnext50_32x4d", 50), ("inception_v3", 48)],
)
def test_torchvision_models_have_the_depth_of_their_papers(name, depth):
    """Szegedy 2014 (22 layers), Huang 2017 (121), Zagoruyko 2016 (50), Xie 2017 (50), Szegedy 2015 (48)."""
    pytest.importorskip("torchvision")
    assert count_weight_layers(archprof.profile(f"torchvision:{name}")) == depth


class Net(nn.Module):
    """A net whose forward is any function of its parts and the input."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.forward = forward.__get__(self)
        for name, part in parts.items():
            setattr(self, name, part)


def depth(forward, **parts):
    return count_weight_layers(archprof.profile(Net(forward, **parts), torch.zeros(2, 8)))


def linear():
    return nn.Linear(8, 8)


def test_branches_in_parallel_do_not_add():
    assert depth(lambda net, x: net.a(x) + net.c(net.b(x)), a=linear(), b=linear(), c=linear()) == 2


def test_a_layer_called_twice_counts_twice():
    assert depth(lambda net, x: net.a(net.a(x)), a=linear()) == 2


def test_in_place_ops_and_views_pass_the_depth_on():
    def forward(net, x):
        x = net.a(x).relu_().view(4, 4)
        out = torch.zeros(2, 8)
        out[:, :] = x.reshape(2, 8)
        return net.b(out.mul_(2))

    assert depth(forward, a=linear(), b=linear()) == 2


def test_products_without_a_parameter_do_not_count():
    assert depth(lambda net, x: (net.a(x) @ x.T) @ x, a=linear()) == 1


def test_a_transformer_layer_has_four():
    """Projections in and out, and two linear layers; attention itself has no weights."""
    layer = nn.TransformerEncoderLayer(8, 2, 16)
    assert count_weight_layers(archprof.profile(layer, torch.zeros(5, 1, 8))) == 4


def test_a_weight_may_be_masked_or_scaled_first():
    def forward(net, x):
        return x @ (net.a.weight * net.mask).abs().T

    assert depth(forward, a=linear(), mask=nn.Buffer(torch.ones(8, 8))) == 1


def test_a_module_without_weights_has_none():
    assert depth(lambda net, x: x.relu()) == 0


def test_the_backward_pass_adds_nothing():
    net = nn.Sequential(linear(), nn.ReLU(), linear())
    assert count_weight_layers(archprof.profile(net, torch.zeros(2, 8), train=True)) == 2


def test_without_dataflow_there_is_no_depth():
    """The hand-built profile names no parameter as an input."""
    assert count_weight_layers(builders.profile()) == 0
