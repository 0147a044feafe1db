"""The CIFAR-10 ladder of the lectures "VGGNet - Explained!" and "ResNet - Explained!", all for 3x32x32.

AlexNet with large kernels, the same with stacked 3x3, both with batch norm, deeper, and deeper with shortcuts.
The lectures fix the channels, kernels and poolings; that 3x3 convolutions keep the map size is our reading.
Weights start as torch draws them: what goes wrong in the ladder without batch norm is its lesson.
"""

from __future__ import annotations

from torch import nn

from archprof.models.blocks import chain_modules, conv_and_relu
from archprof.models.resnet import BasicBlock

VGG_BLOCKS = ((8, 16, 64), (32, 192), (64, 384, 256, 256))
VGG_DEEP_BLOCKS = ((8, 16, 64), (32, 192), (64, 384, 64, 192, 64, 384, 64, 192, 64, 384, 256, 256))
RESNET_BLOCKS = ((192, 64, 384), (384, 64, 192), (192, 64, 384), (384, 64, 192), (192, 64, 384))
RESNET_LAST_BLOCKS = ((384, 256, 256),)
"""Residual blocks as (channels in, between, out)."""


def cifar_alexnet(num_classes: int = 10, norm: bool = False) -> nn.Sequential:
    """Simplified AlexNet: 7x7, 5x5, 5x5 and 3x3 kernels, a 1x1 convolution and a global average as head."""
    features = [
        *conv_and_relu(3, 64, 7, padding=1, norm=norm),
        nn.MaxPool2d(2),
        *conv_and_relu(64, 192, 5, padding=1, norm=norm),
        nn.MaxPool2d(2),
        *conv_and_relu(192, 384, 5, padding=1, norm=norm),
        *conv_and_relu(384, 256, 3, padding=1, norm=norm),
        *conv_and_relu(256, 256, 3, padding=1),
        nn.MaxPool2d(2),
    ]
    return _assemble_net(features, num_classes)


def cifar_alexnet_bn(num_classes: int = 10) -> nn.Sequential:
    """`cifar_alexnet` with batch norm after every convolution but the last feature one and the head."""
    return cifar_alexnet(num_classes, norm=True)


def cifar_vgg(num_classes: int = 10) -> nn.Sequential:
    """`cifar_alexnet` with stacked 3x3 convolutions in place of the large kernels."""
    return _assemble_net(_vgg_features(VGG_BLOCKS, norm=False), num_classes)


def cifar_vgg_bn(num_classes: int = 10) -> nn.Sequential:
    """`cifar_vgg` with batch norm after every convolution but the last feature one and the head."""
    return _assemble_net(_vgg_features(VGG_BLOCKS, norm=True), num_classes)


def cifar_vgg_bn_deep(num_classes: int = 10) -> nn.Sequential:
    """`cifar_vgg_bn` with eight more convolutions: deeper, and worse."""
    return _assemble_net(_vgg_features(VGG_DEEP_BLOCKS, norm=True), num_classes)


def cifar_resnet(num_classes: int = 10) -> nn.Sequential:
    """About as deep as `cifar_vgg_bn_deep`, with shortcuts."""
    return _assemble_net(_resnet_features(RESNET_BLOCKS + RESNET_LAST_BLOCKS), num_classes)


def cifar_resnet_deep(num_classes: int = 10) -> nn.Sequential:
    """`cifar_resnet` with five more residual blocks."""
    return _assemble_net(_resnet_features(RESNET_BLOCKS + ((384, 64, 384),) * 5 + RESNET_LAST_BLOCKS), num_classes)


def _vgg_features(blocks: tuple[tuple[int, ...], ...], *, norm: bool) -> list[nn.Module]:
    """3x3 convolutions of these widths, with a pooling after each block."""
    layers: list[nn.Module] = []
    channels = 3
    for block in blocks:
        for width in block:
            layers += conv_and_relu(channels, width, 3, padding=1, norm=norm)
            channels = width
        layers.append(nn.MaxPool2d(2))
    if norm:
        del layers[-3]  # the last convolution has no batch norm
    return layers


def _resnet_features(blocks: tuple[tuple[int, int, int], ...]) -> list[nn.Module]:
    """A stem of three convolutions, two residual blocks with a pooling after each, then `blocks` and a pooling."""
    return [
        *conv_and_relu(3, 8, 3, padding=1, bias=False, norm=True),
        *conv_and_relu(8, 16, 3, padding=1, bias=False, norm=True),
        *conv_and_relu(16, 64, 3, padding=1, bias=False, norm=True),
        BasicBlock(64, 64, between=16),
        nn.MaxPool2d(2),
        BasicBlock(64, 192, between=32),
        nn.MaxPool2d(2),
        *(BasicBlock(channels_in, channels, between=between) for channels_in, between, channels in blocks),
        nn.MaxPool2d(2),
    ]


def _assemble_net(features: list[nn.Module], num_classes: int) -> nn.Sequential:
    return chain_modules(
        features=nn.Sequential(*features),
        classifier=nn.Conv2d(256, num_classes, 1),
        avgpool=nn.AdaptiveAvgPool2d((1, 1)),
        flatten=nn.Flatten(),
    )
