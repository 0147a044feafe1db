"""AlexNet (Krizhevsky et al., 2012) and the nets that go by its name.

They differ in width, groups, padding and input size, so each says which it is. All pool with overlap, 3x3 stride 2.
"""

from __future__ import annotations

from torch import nn

from archprof.models.blocks import chain_modules, classifier_head, conv_and_relu, cross_channel_norm


def alexnet(num_classes: int = 1000, dropout: float = 0.5) -> nn.Sequential:
    """The narrow one of Krizhevsky (2014, "One weird trick"): 64-192-384-256-256, no groups, 3x224x224.

    Parameter names are torchvision's.
    """
    features = nn.Sequential(
        *conv_and_relu(3, 64, 11, stride=4, padding=2),
        _pool(),
        *conv_and_relu(64, 192, 5, padding=2),
        _pool(),
        *conv_and_relu(192, 384, 3, padding=1),
        *conv_and_relu(384, 256, 3, padding=1),
        *conv_and_relu(256, 256, 3, padding=1),
        _pool(),
    )
    head = nn.Sequential(
        nn.Dropout(dropout),
        nn.Linear(256 * 6 * 6, 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(4096, 4096),
        nn.ReLU(inplace=True),
        nn.Linear(4096, num_classes),
    )
    return chain_modules(features=features, avgpool=nn.AdaptiveAvgPool2d((6, 6)), flatten=nn.Flatten(), classifier=head)


def alexnet_2012(num_classes: int = 1000, dropout: float = 0.5, groups: int = 2) -> nn.Sequential:
    """The net of the 2012 paper: 96-256-384-384-256, response normalisation, and two groups for its two GPUs.

    The paper says 224x224, but its 55x55 maps come out of 227x227 without padding.
    """
    features = nn.Sequential(
        *conv_and_relu(3, 96, 11, stride=4),
        cross_channel_norm(),
        _pool(),
        *conv_and_relu(96, 256, 5, padding=2, groups=groups),
        cross_channel_norm(),
        _pool(),
        *conv_and_relu(256, 384, 3, padding=1),
        *conv_and_relu(384, 384, 3, padding=1, groups=groups),
        *conv_and_relu(384, 256, 3, padding=1, groups=groups),
        _pool(),
    )
    return _assemble_net(features, classifier_head(256 * 6 * 6, num_classes, dropout=dropout))


def alexnet_ungrouped(num_classes: int = 1000, dropout: float = 0.5) -> nn.Sequential:
    """The 2012 net as one GPU would hold it: every convolution sees all channels. 3x227x227."""
    return alexnet_2012(num_classes, dropout, groups=1)


def alexnet_nopad(num_classes: int = 1000, bias: bool = False) -> nn.Sequential:
    """AlexNet as taught in IIT Madras lecture 11: no padding anywhere, no biases, so 2x2 maps are left of 3x227x227."""
    features = nn.Sequential(
        *conv_and_relu(3, 96, 11, stride=4, bias=bias),
        _pool(),
        *conv_and_relu(96, 256, 5, bias=bias),
        _pool(),
        *conv_and_relu(256, 384, 3, bias=bias),
        *conv_and_relu(384, 384, 3, bias=bias),
        *conv_and_relu(384, 256, 3, bias=bias),
        _pool(),
    )
    return _assemble_net(features, classifier_head(256 * 2 * 2, num_classes, bias=bias))


def alexnet_d2l(num_classes: int = 10, in_channels: int = 1) -> nn.Sequential:
    """AlexNet of the book "Dive into Deep Learning", for Fashion-MNIST enlarged to 1x224x224."""
    features = nn.Sequential(
        *conv_and_relu(in_channels, 96, 11, stride=4, padding=1),
        _pool(),
        *conv_and_relu(96, 256, 5, padding=2),
        _pool(),
        *conv_and_relu(256, 384, 3, padding=1),
        *conv_and_relu(384, 384, 3, padding=1),
        *conv_and_relu(384, 256, 3, padding=1),
        _pool(),
    )
    return _assemble_net(features, classifier_head(256 * 5 * 5, num_classes))


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(kernel_size=3, stride=2)


def _assemble_net(features: nn.Sequential, head: nn.Sequential) -> nn.Sequential:
    return chain_modules(features=features, flatten=nn.Flatten(), classifier=head)
