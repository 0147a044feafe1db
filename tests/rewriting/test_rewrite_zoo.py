"""Every built-in and 40 torchvision models by every rewrite: it applies and is written, or says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from written import check_same, run, save

from archprof import whatif
from archprof.errors import ArchprofError
from archprof.models import registry
from archprof.rewriting import Rewritten

REWRITES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "stack3x3": {"stack3x3": True},
    "middle": {"stack3x3": True, "middle": 32},
    "add_bn": {"add_bn": True},
    "residual": {"residual": True},
    "separable": {"separable": True},
    "no_fc": {"no_fc": True},
    "width": {"width": 0.5},
    "num_classes": {"num_classes": 7},
    "everything": {
        "stack3x3": True, "add_bn": True, "residual": True, "separable": True, "no_fc": True, "width": 0.5,
        "num_classes": 7,
    },
}  # fmt: skip

TORCHVISION = """
    alexnet convnext_tiny convnext_small deeplabv3_mobilenet_v3_large deeplabv3_resnet50 densenet121 densenet169
    efficientnet_b0 efficientnet_b1 efficientnet_v2_s fcn_resnet50 googlenet inception_v3 lraspp_mobilenet_v3_large
    mc3_18 mnasnet0_5 mnasnet1_0 mobilenet_v2 mobilenet_v3_large mobilenet_v3_small r2plus1d_18 r3d_18 regnet_x_400mf
    regnet_x_800mf regnet_y_400mf regnet_y_800mf resnet18 resnet34 resnet50 resnext50_32x4d s3d shufflenet_v2_x0_5
    shufflenet_v2_x1_0 squeezenet1_0 squeezenet1_1 vgg11 vgg16_bn vit_b_16 vit_b_32 wide_resnet50_2
""".split()

FAST = [
    *(("lenet5", rewrite) for rewrite in REWRITES),
    *(("cifar_alexnet_bn", rewrite) for rewrite in REWRITES),
    ("cifar_resnet", "everything"),
    ("torchvision:mobilenet_v3_small", "everything"),
]
EVERY = [*registry.list_builtin_names(), *(f"torchvision:{name}" for name in TORCHVISION)]
SIZES = {
    "mc3_18": "3x4x32x32",
    "r2plus1d_18": "3x4x32x32",
    "r3d_18": "3x4x32x32",
    "s3d": "3x16x64x64",
    "inception_v3": "3x96x96",
}
LARGEST = 30_000_000
"""Parameters of a model that is run on real tensors; larger ones are run on tensors without values."""


def test_there_are_forty() -> None:
    assert len(set(TORCHVISION)) == 40


@pytest.mark.parametrize(("name", "rewrite"), FAST)
def test_rewrites(name: str, rewrite: str, tmp_path: Path) -> None:
    check(name, rewrite, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("rewrite", REWRITES)
def test_rewrites_of_every_model(name: str, rewrite: str, tmp_path: Path) -> None:
    check(name, rewrite, tmp_path)


def check(name: str, rewrite: str, folder: Path) -> None:
    rewritten = small(name, REWRITES[rewrite])
    for option in REWRITES[rewrite]:
        said = [*rewritten.applied, *rewritten.refused]
        assert option == "middle" or any(each.rewrite == option for each in said), f"nothing is said of {option}"
    if "num_classes" not in REWRITES[rewrite]:
        assert rewritten.after.layers[0].outputs == rewritten.before.layers[0].outputs
    file = save(rewritten, folder)
    check_same(rewritten, file)
    backward(rewritten, file)


def small(name: str, options: dict[str, Any]) -> Rewritten:
    """Rewritten for a small input, or for its own where it takes no other."""
    try:
        return whatif(
            name,
            SIZES.get(name.removeprefix("torchvision:"), "3x32x32" if "cifar" in name else "3x64x64"),
            batch=2,
            **options,
        )
    except ArchprofError:
        return whatif(name, batch=2, **options)


def backward(rewritten: Rewritten, file: Path) -> None:
    if rewritten.after.totals.params <= LARGEST and rewritten.after.totals.macs < 20e9:
        sizes = [spec.shape for spec in rewritten.after.layers[0].inputs]
        run(file, *map(torch.randn, sizes))
        return
    import archprof

    traced = archprof.profile(f"{file}:Net", list(rewritten.after.inputs), train=True)
    assert traced.totals.backward_macs
