"""ZFNet (Zeiler & Fergus, 2013, "Visualizing and understanding convolutional networks")."""

from __future__ import annotations

from torch import nn

from archprof.models.blocks import chain_modules, classifier_head, conv_and_relu, cross_channel_norm


def zfnet(num_classes: int = 1000, dropout: float = 0.5) -> nn.Sequential:
    """The net of figure 3 of the paper: 7x7 stride 2, then 5x5 stride 2, 96-256-384-384-256, 3x224x224.

    The figure gives the map sizes 110, 55, 26, 13, 13, 13, 13, 6 but no padding. This variant reaches them
    with padding 1 in the first convolution and pooling that rounds up; the others circulate with a 225x225 input.
    Each response normalisation comes after its pooling, as in the figure.
    """
    features = nn.Sequential(
        *conv_and_relu(3, 96, 7, stride=2, padding=1),
        _pool(),
        cross_channel_norm(),
        *conv_and_relu(96, 256, 5, stride=2),
        _pool(),
        cross_channel_norm(),
        *conv_and_relu(256, 384, 3, padding=1),
        *conv_and_relu(384, 384, 3, padding=1),
        *conv_and_relu(384, 256, 3, padding=1),
        _pool(),
    )
    head = classifier_head(256 * 6 * 6, num_classes, dropout=dropout)
    return chain_modules(features=features, flatten=nn.Flatten(), classifier=head)


def zfnet_nopad(num_classes: int = 1000, bias: bool = False) -> nn.Sequential:
    """ZFNet as taught in IIT Madras lecture 11: its AlexNet with a 7x7 first and 512-1024-512 filters, 3x227x227.

    Strides stay, there is no padding and there are no biases. The lecture keeps 55x55 after the 7x7;
    56x56 is what comes out. The first pooling makes 27x27 of either, so all later shapes agree.
    """
    features = nn.Sequential(
        *conv_and_relu(3, 96, 7, stride=4, bias=bias),
        nn.MaxPool2d(3, 2),
        *conv_and_relu(96, 256, 5, bias=bias),
        nn.MaxPool2d(3, 2),
        *conv_and_relu(256, 512, 3, bias=bias),
        *conv_and_relu(512, 1024, 3, bias=bias),
        *conv_and_relu(1024, 512, 3, bias=bias),
        nn.MaxPool2d(3, 2),
    )
    head = classifier_head(512 * 2 * 2, num_classes, bias=bias)
    return chain_modules(features=features, flatten=nn.Flatten(), classifier=head)


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)
