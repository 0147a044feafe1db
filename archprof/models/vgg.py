"""VGG (Simonyan & Zisserman, 2015, "Very deep convolutional networks for large-scale image recognition").

Parameter names are torchvision's, for its eight nets and for the paper's A-LRN and C beside them.
"""

from __future__ import annotations

from torch import nn

from archprof.models.blocks import (
    chain_modules,
    classifier_head,
    conv_and_relu,
    cross_channel_norm,
    initialise_weights,
)

# Table 1 of the paper: the kernel sizes of each block. B, D and E are A with more 3x3 convolutions.
BLOCKS_A = ("3", "3", "33", "33", "33")
BLOCKS_B = ("33", "33", "33", "33", "33")
BLOCKS_C = ("33", "33", "331", "331", "331")
BLOCKS_D = ("33", "33", "333", "333", "333")
BLOCKS_E = ("33", "33", "3333", "3333", "3333")
BLOCK_WIDTHS = (64, 128, 256, 512, 512)


def vgg11(num_classes: int = 1000, dropout: float = 0.5) -> nn.Sequential:
    """VGG-11, the paper's A. 3x224x224."""
    return _assemble_net(_make_features(BLOCKS_A), num_classes, dropout)


def vgg13(num_classes: int = 1000, dropout: float = 0.5) -> nn.Sequential:
    """VGG-13, the paper's B. 3x224x224."""
    return _assemble_net(_make_features(BLOCKS_B), num_classes, dropout)


def vgg16(num_classes: int = 1000, dropout: float = 0.5) -> nn.Sequential:
    """VGG-16, the paper's D. 3x224x224."""
    return _assemble_net(_make_features(BLOCKS_D), num_classes, dropout)


def vgg19(num_classes: int = 1000, dropout: float = 0.5) -> nn.Sequential:
    """VGG-19, the paper's E. 3x224x224."""
    return _assemble_net(_make_features(BLOCKS_E), num_classes, dropout)


def vgg11_bn(num_classes: int = 1000, dropout: float = 0.5) -> nn.Sequential:
    """VGG-11 with batch norm after every convolution, which the paper has not. 3x224x224."""
    return _assemble_net(_make_features(BLOCKS_A, norm=True), num_classes, dropout)


def vgg13_bn(num_classes: int = 1000, dropout: float = 0.5) -> nn.Sequential:
    """VGG-13 with batch norm after every convolution, which the paper has not. 3x224x224."""
    return _assemble_net(_make_features(BLOCKS_B, norm=True), num_classes, dropout)


def vgg16_bn(num_classes: int = 1000, dropout: float = 0.5) -> nn.Sequential:
    """VGG-16 with batch norm after every convolution, which the paper has not. 3x224x224."""
    return _assemble_net(_make_features(BLOCKS_D, norm=True), num_classes, dropout)


def vgg19_bn(num_classes: int = 1000, dropout: float = 0.5) -> nn.Sequential:
    """VGG-19 with batch norm after every convolution, which the paper has not. 3x224x224."""
    return _assemble_net(_make_features(BLOCKS_E, norm=True), num_classes, dropout)


def vgg_a_lrn(num_classes: int = 1000, dropout: float = 0.5) -> nn.Sequential:
    """The paper's A-LRN: A with AlexNet's response normalisation after the first convolution. 3x224x224."""
    features = _make_features(BLOCKS_A)
    features.insert(2, cross_channel_norm())
    return _assemble_net(features, num_classes, dropout)


def vgg_c(num_classes: int = 1000, dropout: float = 0.5) -> nn.Sequential:
    """The paper's C: 16 layers like D, but the third convolution of the last three blocks is 1x1. 3x224x224."""
    return _assemble_net(_make_features(BLOCKS_C), num_classes, dropout)


def vgg11_d2l_small(num_classes: int = 10, in_channels: int = 1) -> nn.Sequential:
    """VGG-11 with a quarter of the channels, for Fashion-MNIST enlarged to 1x224x224 ("Dive into Deep Learning")."""
    features = _make_features(BLOCKS_A, widths=(16, 32, 64, 128, 128), channels=in_channels)
    return chain_modules(features=features, flatten=nn.Flatten(), classifier=classifier_head(128 * 7 * 7, num_classes))


def _make_features(
    blocks: tuple[str, ...], *, norm: bool = False, widths: tuple[int, ...] = BLOCK_WIDTHS, channels: int = 3
) -> nn.Sequential:
    """Blocks of convolutions that keep the map size, each followed by a pooling that halves it."""
    layers: list[nn.Module] = []
    for kernels, width in zip(blocks, widths, strict=True):
        for kernel in map(int, kernels):
            layers += conv_and_relu(channels, width, kernel, padding=kernel // 2, norm=norm)
            channels = width
        layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
    return nn.Sequential(*layers)


def _assemble_net(features: nn.Sequential, num_classes: int, dropout: float) -> nn.Sequential:
    pool = nn.AdaptiveAvgPool2d((7, 7))  # changes nothing at 224x224; lets other sizes through
    head = classifier_head(512 * 7 * 7, num_classes, dropout=dropout)
    net = chain_modules(features=features, avgpool=pool, flatten=nn.Flatten(), classifier=head)
    return initialise_weights(net, linear_std=0.01)
