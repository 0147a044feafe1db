"""The few things that several families share."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


def chain_modules(**modules: nn.Module) -> nn.Sequential:
    """The modules one after another, each under the name it is given here."""
    return nn.Sequential(OrderedDict(modules))


def conv_and_relu(
    channels_in: int,
    channels_out: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
    bias: bool = True,
    norm: bool = False,
) -> list[nn.Module]:
    """A convolution, batch norm if `norm`, and ReLU."""
    convolution = nn.Conv2d(channels_in, channels_out, kernel, stride, padding, groups=groups, bias=bias)
    between = [nn.BatchNorm2d(channels_out)] if norm else []
    return [convolution, *between, nn.ReLU(inplace=True)]


def classifier_head(features: int, num_classes: int, *, dropout: float = 0.5, bias: bool = True) -> nn.Sequential:
    """The three linear layers that end AlexNet, ZFNet and VGG: features, 4096, 4096, classes."""
    return nn.Sequential(
        nn.Linear(features, 4096, bias=bias),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(4096, 4096, bias=bias),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(4096, num_classes, bias=bias),
    )


def cross_channel_norm() -> nn.LocalResponseNorm:
    """The response normalisation of Krizhevsky et al. (2012), section 3.3: n = 5, k = 2, alpha = 1e-4, beta = 0.75.

    torch divides alpha by n, the paper does not, so alpha is given here times n.
    """
    return nn.LocalResponseNorm(size=5, alpha=5e-4, beta=0.75, k=2.0)


def initialise_weights(net: nn.Sequential, linear_std: float | None = None) -> nn.Sequential:
    """Draw the weights of every convolution as He et al. (2015, "Delving deep into rectifiers") do, in place.

    With `linear_std`, those of every linear layer come from a normal distribution of that width.
    A net on the meta device has no values to draw and is left alone: that would only cost time.
    """
    if next(net.parameters()).is_meta:
        return net
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear) and linear_std is not None:
            nn.init.normal_(module.weight, std=linear_std)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return net
