"""LeNet-5 (LeCun et al., 1998, "Gradient-based learning applied to document recognition")."""

from __future__ import annotations

from torch import nn

from archprof.models.blocks import chain_modules


def lenet5(num_classes: int = 10, in_channels: int = 1) -> nn.Sequential:
    """LeNet-5 for a 1x32x32 digit, as it is taught today.

    It differs from the paper, which has about 60,000 parameters, in three places: the second convolution sees all
    six maps (the paper connects some), the average pooling has no weights, and a linear layer ends it instead of
    radial basis functions.
    """
    features = nn.Sequential(
        nn.Conv2d(in_channels, 6, 5),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.Tanh(),
        nn.AvgPool2d(2),
    )
    head = nn.Sequential(
        nn.Linear(16 * 5 * 5, 120),
        nn.Tanh(),
        nn.Linear(120, 84),
        nn.Tanh(),
        nn.Linear(84, num_classes),
    )
    return chain_modules(features=features, flatten=nn.Flatten(), classifier=head)
