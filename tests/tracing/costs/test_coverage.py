"""No layer of torch.nn dispatches an op without a rule, forward or backward, on meta or on the CPU."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

LINE, SQUARE, CUBE = (2, 4, 8), (2, 4, 8, 8), (2, 4, 8, 8, 8)
BY_DIMS = (LINE, SQUARE, CUBE)

LAYERS = [
    *[(getattr(nn, f"{kind}{d + 1}d"), args, [BY_DIMS[d]]) for d in range(3) for kind, args in {
        "Conv": (4, 6, 3), "ConvTranspose": (4, 6, 3), "MaxPool": (2,), "AvgPool": (2,), "LPPool": (2, 3),
        "AdaptiveAvgPool": (3,), "AdaptiveMaxPool": (3,), "BatchNorm": (4,), "InstanceNorm": (4,),
        "ReflectionPad": (1,),
        "ReplicationPad": (1,), "CircularPad": (1,), "ZeroPad": (1,), "ConstantPad": (1, 2.0), "Dropout": (0.5,),
    }.items()],
    *[(getattr(nn, kind), (), [LINE]) for kind in (
        "ELU", "Hardshrink", "Hardsigmoid", "Hardtanh", "Hardswish", "LeakyReLU", "LogSigmoid", "PReLU", "ReLU",
        "ReLU6", "RReLU", "SELU", "CELU", "GELU", "Sigmoid", "SiLU", "Mish", "Softplus", "Softshrink", "Softsign",
        "Tanh", "Tanhshrink", "GLU", "AlphaDropout", "FeatureAlphaDropout", "Identity", "Flatten", "Dropout",
    )],
    *[(getattr(nn, kind), (1,), [LINE]) for kind in ("Softmin", "Softmax", "LogSoftmax")],
    (nn.Threshold, (0.1, 20), [LINE]), (nn.Softmax2d, (), [SQUARE]), (nn.FractionalMaxPool2d, (2, 3), [SQUARE]),
    (nn.LayerNorm, (8,), [LINE]), (nn.RMSNorm, (8,), [LINE]), (nn.GroupNorm, (2, 4), [LINE]),
    (nn.LocalResponseNorm, (2,), [SQUARE]),
    (nn.Linear, (8, 3), [LINE]), (nn.Bilinear, (4, 5, 6), [(2, 3, 4), (2, 3, 5)]),
    *[(kind, (8, 7, 2), [LINE]) for kind in (nn.LSTM, nn.GRU, nn.RNN)],
    *[(kind, (4, 7), [(3, 4)]) for kind in (nn.LSTMCell, nn.GRUCell, nn.RNNCell)],
    (nn.MultiheadAttention, (8, 2), [LINE] * 3), (nn.TransformerEncoderLayer, (8, 2, 16), [LINE]),
    (nn.TransformerDecoderLayer, (8, 2, 16), [LINE] * 2), (nn.Transformer, (8, 2, 1, 1, 16), [LINE] * 2),
    (nn.PixelShuffle, (2,), [SQUARE]), (nn.PixelUnshuffle, (2,), [SQUARE]), (nn.ChannelShuffle, (2,), [SQUARE]),
    (nn.Fold, ((4, 5), (2, 2)), [(3, 8, 12)]), (nn.Unfold, (2,), [SQUARE]),
    (nn.Upsample, (None, 2, "bicubic"), [SQUARE]),
    (nn.CosineSimilarity, (), [LINE] * 2), (nn.PairwiseDistance, (), [LINE] * 2),
    *[(getattr(nn, f"{kind}Loss"), (), [LINE] * 2) for kind in (
        "L1", "MSE", "SmoothL1", "Huber", "KLDiv", "BCEWithLogits", "SoftMargin", "HingeEmbedding",
        "MultiLabelSoftMargin", "PoissonNLL",
    )],
    (nn.CrossEntropyLoss, (), [LINE] * 2), (nn.TripletMarginLoss, (), [LINE] * 3),
]  # fmt: skip


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize(("layer", "args", "shapes"), LAYERS, ids=lambda part: getattr(part, "__name__", ""))
def test_every_layer_of_torch(dispatched, layer, args, shapes, device):
    def train_and_evaluate():
        module = layer(*args).to(device)
        for mode in (module.eval(), module.train()):
            inputs = [torch.rand(shape, device=device, requires_grad=place == 0) for place, shape in enumerate(shapes)]
            results = torch.utils._pytree.tree_leaves(mode(*inputs))
            torch.autograd.backward([result.sum() for result in results if result.requires_grad])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        calls = dispatched(train_and_evaluate)
    assert {call.name for call in calls if call.count() is None} == set()
    for call in calls:
        macs, flops, _window = call.count()
        assert type(macs) is type(flops) is int
        assert flops >= 2 * macs >= 0


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (torch.linalg.inv, "aten.linalg_inv_ex"),
        (torch.linalg.svdvals, "aten._linalg_svd"),
        (torch.matrix_exp, "aten.linalg_matrix_exp"),
    ],
)
def test_what_has_no_stated_cost_is_unknown_and_never_zero(dispatched, make, name):
    calls = dispatched(lambda: make(torch.eye(3)), name)
    assert [call.count() for call in calls] == [None]
