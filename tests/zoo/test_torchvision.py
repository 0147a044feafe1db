"""Parameters and MACs of torchvision's models against the figures published with their weights.

`num_params` and `_ops` stand in the metadata of every weights entry; `_ops` is in units of 10^9 multiply-accumulates,
to three decimals. torchvision made it from one 512x512 image (16 such frames for video, two for optical flow) put
through the transforms of that entry, with the trained weights loaded. What depends on that is named here, with the
reason; nothing is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torchvision import models

import archprof
from archprof.facts.records import Profile

PUBLISHED_AS = {
    # Loading the weights takes the two auxiliary classifiers away; building without weights keeps them (13,004,888
    # parameters). Inception v3 keeps its own when it loads, and its figure counts it.
    "googlenet": "aux_logits=False",
    "quantized_googlenet": "aux_logits=False",
    # Loading the weights adds the auxiliary classifier, which runs in eval mode as well.
    "deeplabv3_mobilenet_v3_large": "aux_loss=True",
    "deeplabv3_resnet50": "aux_loss=True",
    "deeplabv3_resnet101": "aux_loss=True",
    "fcn_resnet50": "aux_loss=True",
    "fcn_resnet101": "aux_loss=True",
}
"""How the published model is asked for, where that is not the bare name."""

NORMS = {
    "fasterrcnn_mobilenet_v3_large_320_fpn": 24_400,
    "fasterrcnn_mobilenet_v3_large_fpn": 24_400,
    "fasterrcnn_resnet50_fpn": 53_120,
    "fcos_resnet50_fpn": 53_120,
    "keypointrcnn_resnet50_fpn": 53_120,
    "maskrcnn_resnet50_fpn": 53_120,
    "retinanet_resnet50_fpn": 53_120,
}
"""Weights and biases of the backbone's batch norms: parameters as built, frozen into buffers when weights are loaded,
so not in `num_params`. 53,120 = 2 x 26,560 channels normalised in ResNet-50, 24,400 = 2 x 12,200 in MobileNetV3."""

TWO_FC = 256 * 7 * 7 * 1024 + 1024 * 1024
FOUR_CONVS = 4 * 7 * 7 * 9 * 256 * 256 + 256 * 7 * 7 * 1024
BOXES = 1024 * 91 + 1024 * 4 * 91
MASK = 4 * 14 * 14 * 9 * 256 * 256 + 14 * 14 * 4 * 256 * 256 + 28 * 28 * 256 * 91
KEYPOINTS = 14 * 14 * 9 * (256 * 512 + 7 * 512 * 512) + 14 * 14 * 16 * 512 * 17

HEADS = {
    "fasterrcnn_mobilenet_v3_large_320_fpn": (TWO_FC + BOXES, 0),
    "fasterrcnn_mobilenet_v3_large_fpn": (TWO_FC + BOXES, 0),
    "fasterrcnn_resnet50_fpn": (TWO_FC + BOXES, 0),
    "fasterrcnn_resnet50_fpn_v2": (FOUR_CONVS + BOXES, 0),
    "keypointrcnn_resnet50_fpn": (TWO_FC + 1024 * 2 + 1024 * 4 * 2, KEYPOINTS),
    "maskrcnn_resnet50_fpn": (TWO_FC + BOXES, MASK),
    "maskrcnn_resnet50_fpn_v2": (FOUR_CONVS + BOXES, MASK),
}
"""MACs of the heads of two-stage detectors, by hand: for each proposal, for each detection. How many of both there are
depends on the weights, and without training they are others than in the published run."""

PUBLISHED_RUN = {
    # The RPN of the MobileNet detectors drops proposals that score below 0.05: of noise, all.
    ("fasterrcnn_mobilenet_v3_large_320_fpn", "COCO_V1"): (0, 0),
    ("fasterrcnn_mobilenet_v3_large_fpn", "COCO_V1"): (0, 0),
    ("fasterrcnn_resnet50_fpn", "COCO_V1"): (1000, 0),
    ("fasterrcnn_resnet50_fpn_v2", "COCO_V1"): (1000, 0),
    ("keypointrcnn_resnet50_fpn", "COCO_LEGACY"): (1000, 0),
    ("keypointrcnn_resnet50_fpn", "COCO_V1"): (1000, 1),
    ("maskrcnn_resnet50_fpn", "COCO_V1"): (1000, 0),
    ("maskrcnn_resnet50_fpn_v2", "COCO_V1"): (1000, 100),
}
"""Proposals and detections in the published run: the one pair of whole numbers that gives its `_ops`."""

SAMPLE = {
    "alexnet", "convnext_tiny", "deeplabv3_mobilenet_v3_large", "densenet121", "efficientnet_b0",
    "efficientnet_v2_s", "fasterrcnn_mobilenet_v3_large_320_fpn", "googlenet", "inception_v3",
    "lraspp_mobilenet_v3_large", "maxvit_t", "mc3_18", "mnasnet1_0", "mobilenet_v3_small", "mvit_v2_s",
    "quantized_resnet18", "raft_small", "regnet_y_128gf", "resnet50", "resnext50_32x4d", "shufflenet_v2_x1_0",
    "squeezenet1_1", "ssdlite320_mobilenet_v3_large", "swin3d_t", "swin_v2_t", "vgg16_bn", "vit_b_16",
}  # fmt: skip
"""One of each family, in the default run; the rest is `slow`."""


def entries() -> Iterator[Any]:
    """Every weights entry of every model."""
    for name in models.list_models():
        for weights in models.get_model_weights(name):
            marks = [] if name in SAMPLE else [pytest.mark.slow]
            yield pytest.param(name, weights, id=f"{name}-{weights.name}", marks=marks)


def profile(name: str, weights: Any) -> Profile:
    """The profile of the published model on the published input."""
    transforms = weights.transforms()
    module = models.get_model_builder(name).__module__
    arguments = PUBLISHED_AS.get(name, "")
    if ".detection." in module:  # these resize inside the model: the default input is what comes out of it
        return archprof.profile(f"torchvision:{name}")
    if ".optical_flow." in module:
        return archprof.profile(f"torchvision:{name}", tuple(transforms(*torch.zeros(2, 1, 3, 512, 512))))
    image = transforms(torch.zeros(1, 16, 3, 512, 512) if ".video." in module else torch.zeros(1, 3, 512, 512))
    if name.startswith("vit_"):
        arguments = f"image_size={image.shape[-1]}"
    return archprof.profile(f"torchvision:{name}({arguments})", image)


@pytest.mark.parametrize(("name", "weights"), list(entries()))
def test_published_figures(name: str, weights: Any) -> None:
    result = profile(name, weights)
    macs = result.totals.macs
    if name in HEADS:
        macs += _published_heads(name, weights.name) - _heads_of(result, name)
    assert result.totals.params == weights.meta["num_params"] + NORMS.get(name, 0)
    assert round(macs / 1e9, 3) == weights.meta["_ops"]


def _published_heads(name: str, weights: str) -> int:
    """MACs of the heads in the published run."""
    (proposals, detections), (each_proposal, each_detection) = PUBLISHED_RUN[name, weights], HEADS[name]
    return proposals * each_proposal + detections * each_detection


def _heads_of(result: Profile, name: str) -> int:
    """MACs of the heads in our run, which must be what so many proposals and detections cost."""
    rows = list(zip(result.layers, result.costs, strict=True))
    macs = sum(cost.macs for layer, cost in rows if layer.path.startswith("roi_heads"))
    counts = {layer.path: layer.inputs[0].shape[0] for layer, _ in rows if layer.inputs}
    proposals = counts["roi_heads.box_head"]
    detections = counts.get("roi_heads.mask_head") or counts.get("roi_heads.keypoint_head") or 0
    assert macs == proposals * HEADS[name][0] + detections * HEADS[name][1]
    return macs


def test_the_exceptions_are_about_models_that_exist() -> None:
    named = {*PUBLISHED_AS, *NORMS, *HEADS, *SAMPLE, *(name for name, _ in PUBLISHED_RUN)}
    assert named <= set(models.list_models())
