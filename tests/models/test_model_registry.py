"""The names: complete, cheap to list, and true about the net that each builds."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from plain_torch import build, image, output_shapes, weight_layers

from archprof.errors import UnknownName
from archprof.models import registry
from archprof.models.definitions import find_builder

PROMISED = set(
    """
    lenet5 alexnet alexnet_2012 alexnet_ungrouped alexnet_nopad alexnet_d2l zfnet zfnet_nopad
    vgg11 vgg13 vgg16 vgg19 vgg11_bn vgg13_bn vgg16_bn vgg19_bn
    vgg_a vgg_a_lrn vgg_b vgg_c vgg_d vgg_e vgg11_d2l_small
    resnet18 resnet34 resnet50 resnet101 resnet152 resnet50_v1
    resnet20_cifar resnet32_cifar resnet44_cifar resnet56_cifar resnet110_cifar
    cifar_alexnet cifar_alexnet_bn cifar_vgg cifar_vgg_bn cifar_vgg_bn_deep cifar_resnet cifar_resnet_deep
    """.split()
)

every_entry = pytest.mark.parametrize("entry", registry.BUILTIN_MODELS.values(), ids=lambda entry: entry.name)


def test_every_promised_name_is_there_and_no_other() -> None:
    assert set(registry.list_builtin_names()) == PROMISED


def test_the_registry_does_not_load_torch() -> None:
    code = (
        "import sys; from archprof.models import registry; registry.BUILTIN_MODELS['vgg16'].source;"
        "print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_an_unknown_name_is_answered_with_near_ones() -> None:
    with pytest.raises(UnknownName) as error:
        registry.match_builtins("vgg-16")
    assert "built-in model called 'vgg-16'" in error.value.given
    assert "vgg16" in error.value.allowed


@every_entry
def test_default_input_gives_one_score_a_class(entry: registry.BuiltinModel) -> None:
    classes = 10 if entry.input.endswith("32x32") or entry.input.startswith("1x") else 1000
    assert output_shapes(build(entry.name), image(entry.name))[""] == (classes,)


@every_entry
def test_number_of_classes_can_be_chosen(entry: registry.BuiltinModel) -> None:
    assert output_shapes(build(entry.name, num_classes=7), image(entry.name))[""] == (7,)


@every_entry
def test_every_parameter_gets_a_gradient(entry: registry.BuiltinModel) -> None:
    """Also finds an in-place change of what autograd kept."""
    with torch.device("meta"):
        net = find_builder(entry)()
    net(image(entry.name)).sum().backward()
    assert [name for name, parameter in net.named_parameters() if parameter.grad is None] == []


@every_entry
def test_depth_is_the_number_of_layers_with_weights(entry: registry.BuiltinModel) -> None:
    assert len(weight_layers(build(entry.name))) == entry.depth


@every_entry
def test_every_builder_says_what_it_builds(entry: registry.BuiltinModel) -> None:
    assert find_builder(entry).__doc__
    assert entry.about


@pytest.mark.parametrize(("alias", "name"), [("a", "vgg11"), ("b", "vgg13"), ("d", "vgg16"), ("e", "vgg19")])
def test_the_papers_letters_are_the_same_nets(alias: str, name: str) -> None:
    letter, number = registry.BUILTIN_MODELS[f"vgg_{alias}"], registry.BUILTIN_MODELS[name]
    assert (letter.builder, letter.published) == (number.builder, number.published)
