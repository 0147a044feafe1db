"""ResNet (He et al., 2015, "Deep residual learning for image recognition"), for ImageNet and for CIFAR-10.

Parameter names are torchvision's where torchvision has the net. No convolution has a bias: batch norm follows each.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from archprof.models.blocks import chain_modules, initialise_weights

MakeBlock = Callable[[int, int, int], nn.Module]
"""(channels in, channels out, stride) -> residual block."""


def resnet18(num_classes: int = 1000) -> nn.Sequential:
    """ResNet-18. 3x224x224."""
    return _imagenet_resnet(BasicBlock, (2, 2, 2, 2), 64, num_classes)


def resnet34(num_classes: int = 1000) -> nn.Sequential:
    """ResNet-34. 3x224x224."""
    return _imagenet_resnet(BasicBlock, (3, 4, 6, 3), 64, num_classes)


def resnet50(num_classes: int = 1000) -> nn.Sequential:
    """ResNet-50 v1.5: a block that halves the map does so in its 3x3 convolution. 3x224x224."""
    return _imagenet_resnet(Bottleneck, (3, 4, 6, 3), 256, num_classes)


def resnet50_v1(num_classes: int = 1000) -> nn.Sequential:
    """ResNet-50 as published: a block that halves the map does so in its first 1x1 convolution. 3x224x224."""
    return _imagenet_resnet(bottleneck_v1, (3, 4, 6, 3), 256, num_classes)


def resnet101(num_classes: int = 1000) -> nn.Sequential:
    """ResNet-101 v1.5. 3x224x224."""
    return _imagenet_resnet(Bottleneck, (3, 4, 23, 3), 256, num_classes)


def resnet152(num_classes: int = 1000) -> nn.Sequential:
    """ResNet-152 v1.5. 3x224x224."""
    return _imagenet_resnet(Bottleneck, (3, 8, 36, 3), 256, num_classes)


def resnet20_cifar(num_classes: int = 10) -> nn.Sequential:
    """ResNet-20 of the paper's section 4.2, with parameter-free shortcuts. 3x32x32."""
    return _cifar_resnet(3, num_classes)


def resnet32_cifar(num_classes: int = 10) -> nn.Sequential:
    """ResNet-32 of the paper's section 4.2, with parameter-free shortcuts. 3x32x32."""
    return _cifar_resnet(5, num_classes)


def resnet44_cifar(num_classes: int = 10) -> nn.Sequential:
    """ResNet-44 of the paper's section 4.2, with parameter-free shortcuts. 3x32x32."""
    return _cifar_resnet(7, num_classes)


def resnet56_cifar(num_classes: int = 10) -> nn.Sequential:
    """ResNet-56 of the paper's section 4.2, with parameter-free shortcuts. 3x32x32."""
    return _cifar_resnet(9, num_classes)


def resnet110_cifar(num_classes: int = 10) -> nn.Sequential:
    """ResNet-110 of the paper's section 4.2, with parameter-free shortcuts. 3x32x32."""
    return _cifar_resnet(18, num_classes)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: (N, channels_in, H, W) -> (N, channels, H / stride, W / stride).

    Args:
        between: channels between the two convolutions; those of the output if left out.
        shortcut: what fits the input to a new shape; a projection if left out.
    """

    def __init__(
        self,
        channels_in: int,
        channels: int,
        stride: int = 1,
        *,
        between: int | None = None,
        shortcut: nn.Module | None = None,
    ) -> None:
        super().__init__()
        between = between or channels
        self.conv1 = _conv(channels_in, between, 3, stride)
        self.bn1 = nn.BatchNorm2d(between)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv(between, channels, 3)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = shortcut or _projection(channels_in, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        x += identity
        out: Tensor = self.relu(x)
        return out


class Bottleneck(nn.Module):
    """1x1 to a quarter of the channels, 3x3, 1x1 to all of them, and a shortcut; shapes as for `BasicBlock`.

    The 3x3 convolution takes the stride, or the first 1x1 if `early`.
    """

    def __init__(self, channels_in: int, channels: int, stride: int, early: bool = False) -> None:
        super().__init__()
        narrow = channels // 4
        self.conv1 = _conv(channels_in, narrow, 1, stride if early else 1)
        self.bn1 = nn.BatchNorm2d(narrow)
        self.conv2 = _conv(narrow, narrow, 3, 1 if early else stride)
        self.bn2 = nn.BatchNorm2d(narrow)
        self.conv3 = _conv(narrow, channels, 1)
        self.bn3 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _projection(channels_in, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        x += identity
        out: Tensor = self.relu(x)
        return out


class ZeroPadShortcut(nn.Module):
    """The paper's shortcut A: every `stride`-th pixel, and zeros for the channels that are new. No parameters."""

    def __init__(self, new_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels, self.stride = new_channels, stride

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))


def bottleneck_v1(channels_in: int, channels: int, stride: int) -> Bottleneck:
    """The bottleneck as published."""
    return Bottleneck(channels_in, channels, stride, early=True)


def option_a_block(channels_in: int, channels: int, stride: int) -> BasicBlock:
    """The block of the CIFAR-10 nets: no shortcut has parameters."""
    new = channels - channels_in
    return BasicBlock(channels_in, channels, stride, shortcut=ZeroPadShortcut(new, stride) if new else None)


def _imagenet_resnet(block: MakeBlock, repeats: tuple[int, ...], channels: int, num_classes: int) -> nn.Sequential:
    """A 7x7 stem, four layers that start `channels` wide, average pooling and a linear layer."""
    one, two, three, four = repeats
    net = chain_modules(
        conv1=nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False),
        bn1=nn.BatchNorm2d(64),
        relu=nn.ReLU(inplace=True),
        maxpool=nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
        layer1=_stack_blocks(block, one, 64, channels, 1),
        layer2=_stack_blocks(block, two, channels, 2 * channels, 2),
        layer3=_stack_blocks(block, three, 2 * channels, 4 * channels, 2),
        layer4=_stack_blocks(block, four, 4 * channels, 8 * channels, 2),
        avgpool=nn.AdaptiveAvgPool2d((1, 1)),
        flatten=nn.Flatten(),
        fc=nn.Linear(8 * channels, num_classes),
    )
    return initialise_weights(net)


def _cifar_resnet(repeats: int, num_classes: int) -> nn.Sequential:
    """A 3x3 stem, three layers of 16, 32 and 64 channels, average pooling and a linear layer: 6 x repeats + 2 deep."""
    net = chain_modules(
        conv1=_conv(3, 16, 3),
        bn1=nn.BatchNorm2d(16),
        relu=nn.ReLU(inplace=True),
        layer1=_stack_blocks(option_a_block, repeats, 16, 16, 1),
        layer2=_stack_blocks(option_a_block, repeats, 16, 32, 2),
        layer3=_stack_blocks(option_a_block, repeats, 32, 64, 2),
        avgpool=nn.AdaptiveAvgPool2d((1, 1)),
        flatten=nn.Flatten(),
        fc=nn.Linear(64, num_classes),
    )
    return initialise_weights(net)


def _stack_blocks(block: MakeBlock, repeats: int, channels_in: int, channels: int, stride: int) -> nn.Sequential:
    """`repeats` blocks of one width; the first takes the stride."""
    rest = [block(channels, channels, 1) for _ in range(repeats - 1)]
    return nn.Sequential(block(channels_in, channels, stride), *rest)


def _conv(channels_in: int, channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels, kernel, stride, padding=kernel // 2, bias=False)


def _projection(channels_in: int, channels: int, stride: int) -> nn.Sequential | None:
    """The 1x1 convolution that fits the shortcut to a new shape; `None` where the shape stays."""
    if channels_in == channels and stride == 1:
        return None
    return nn.Sequential(_conv(channels_in, channels, 1, stride), nn.BatchNorm2d(channels))
